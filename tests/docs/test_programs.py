"""Programs of the pages do more than run: a family in a file passes the checks for plugins, a model that was trained
elsewhere is measured on pictures by the lines shown, a sweep makes the figure that is promised.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documented import ROOT, blocks_of, commands_of
from PIL import Image

from vaebench.core.registry import load_file_attribute
from vaebench.testing import check_recipe

OWN_MODEL, QUICKSTART = ROOT / "docs" / "own-model.md", ROOT / "docs" / "quickstart.md"


def file_of(page: Path, name: str) -> str:
    """The content of a file that a page shows."""
    (found,) = [block.text for block in blocks_of(page) if block.file == name]
    return found


def shown(page: Path, start: str) -> list[list[str]]:
    """The arguments of vaebench's commands in the one block that begins so."""
    (found,) = [block.text for block in blocks_of(page) if block.language == "sh" and block.text.startswith(start)]
    return [list(command.of_vaebench) for command in commands_of(found) if command.of_vaebench]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    model = file_of(OWN_MODEL, "mine.py")
    assert len([line for line in model.splitlines() if line.strip()]) <= 40
    path = tmp_path / "mine.py"
    path.write_text(model, encoding="utf-8")
    return path


def test_the_sweep_that_is_shown_runs(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaebench.evaluation.evaluate.GALLERY_SAMPLES", 2)
    commands = shown(QUICKSTART, "vaebench train vae-digits --set latent_dim=")
    assert [command[0] for command in commands] == ["train", "evaluate", "compare"]
    short = {
        "train": ["--steps", "2", "--threads", "1", "--precision", "fp32"],
        "evaluate": ["--metrics", "mse", "--samples", "16", "--device", "cpu"],
    }
    for command in commands:
        answer = cli([*command, *short.get(command[0], [])])
        assert answer.code == 0, answer.err
    assert "digits: vae-digits[latent_dim=10] against vae-digits: " in answer.out
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
    lines = file_of(OWN_MODEL, "outside.py")
    assert len([line for line in lines.splitlines() if line.strip() and not line.startswith(("#", "import"))]) <= 5
    (tmp_path / "outside.py").write_text(lines)
    typed = shown(OWN_MODEL, "vaebench evaluate --model ./outside.py:model --name mine --dataset folder")[0]
    answer = cli([*typed, "--metrics", "mse,blur,kl,active_units", "--out", str(tmp_path / "reports")])
    assert answer.code == 0, answer.err
    assert "external/mine: measured on folder:test" in answer.out
