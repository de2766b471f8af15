"""The README's programs run: the third-party model trains, is measured, and passes the checks for plugins; a model that
was trained elsewhere is measured by the lines shown; the API does what stands there.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core.registry import load_file_attribute
from vaebench.testing import check_recipe

README = Path(__file__).parents[1] / "README.md"


def program(word: str) -> str:
    """The one program of README in which a word occurs."""
    programs = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [text for text in programs if word in text]
    return str(found)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    model = program("densevae_digits")
    assert len([line for line in model.splitlines() if line.strip()]) <= 40
    path = tmp_path / "mine.py"
    path.write_text(model, encoding="utf-8")
    return path


def test_it_trains_from_the_file_and_joins_the_table(mine, cli, tmp_path):
    trained = cli(["train", f"{mine}:densevae_digits", "--steps", "5", "--set", "beta=2", "--threads", "1"])
    assert trained.code == 0, trained.err
    measured = cli(["evaluate", "densevae-digits[beta=2]", "--samples", "50", "--out", tmp_path / "reports"])
    assert measured.code == 0, measured.err
    assert "densevae-digits[beta=2]" in (tmp_path / "reports" / "digits" / "leaderboard.md").read_text(encoding="utf-8")


def test_the_sweep_that_is_shown_runs(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaebench.evaluation.evaluate.GALLERY_SAMPLES", 2)
    shown = re.search(
        r"```sh\n(vaebench train vae-digits --set latent_dim=.*?)```", README.read_text("utf-8"), re.DOTALL
    )
    commands = [shlex.split(line, comments=True)[1:] for line in shown[1].splitlines()] if shown else []
    assert [command[0] for command in commands] == ["train", "evaluate", "compare"]
    short = {
        "train": ["--steps", "2", "--threads", "1", "--precision", "fp32"],
        "evaluate": ["--metrics", "mse", "--samples", "16", "--device", "cpu"],
    }
    for command in commands:
        answer = cli([*command, *short.get(command[0], [])])
        assert answer.code == 0, answer.err
    assert "digits: a = vae-digits[latent_dim=10], b = vae-digits" in answer.out
    assert (tmp_path / "reports" / "digits" / "figures" / "sweep_latent_dim.svg").exists()


def test_it_passes_the_checks_for_plugins(mine):
    check_recipe(load_file_attribute(f"{mine}:densevae_digits")())


NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 2, 2))
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4), nn.Sigmoid()
        )

    def encode(self, images):
        return tuple(self.encoder(images).chunk(2, dim=1))

    def decode(self, latents):
        return self.decoder(latents)
"""


def test_a_model_of_a_plain_loop_is_measured_by_the_lines_shown(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for k in range(120):
        pixels = np.random.default_rng(k).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((128, 128)).save(tmp_path / "pictures" / f"{k}.png")
    (tmp_path / "net.py").write_text(NET)
    names: dict[str, Any] = {}
    exec(NET, names)
    torch.manual_seed(0)
    net = names["Net"]()
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(5):  # a plain loop, of nobody's framework
        images = torch.rand(8, 3, 128, 128)
        mean, log_variance = net.encode(images)
        assert mean.shape == (8, 4, 16, 16)
        made = net.decode(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
        adam.zero_grad()
        (made - images).square().mean().backward()
        adam.step()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    lines = program("from net import Net")
    assert len([line for line in lines.splitlines() if line.strip() and not line.startswith(("#", "import"))]) <= 5
    (tmp_path / "outside.py").write_text(lines)
    shown = re.findall(
        r"^vaebench (evaluate --model ./outside.py:model.*\n.*)$", README.read_text("utf-8"), re.MULTILINE
    )
    typed = shlex.split(shown[0].replace("\\\n", " "))
    answer = cli([*typed, "--metrics", "mse,blur,kl,active_units", "--out", str(tmp_path / "reports")])
    assert answer.code == 0, answer.err
    assert "external/mine: measured on folder:test" in answer.out


def test_the_api_does_what_stands_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = program("import vaebench as vb").replace("steps=200", "steps=3, device='cpu', threads=1")
    names: dict[str, Any] = {}
    exec(compile(text, "README.md", "exec"), names)
    assert (tmp_path / "intervals.png").stat().st_size > 1000
    assert set(names["found"].table["metric"]) == {"mse", "blur", "fcd"}
