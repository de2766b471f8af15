"""Faults in a user's own files are said with file and line, never called vaebench's; and a ~ is the home folder."""

import textwrap

import pytest

from vaebench.cli.exit_codes import OWN_FAULT, outcome
from vaebench.cli.main import with_home
from vaebench.core.paths import runs_dir

MODEL = """
import math
from functools import partial
import torch
from torch import nn
from vaebench.core.model import Autoencoder, GenerativeModel, Phase
from vaebench.core.recipe import Recipe

class Dense(Autoencoder):
    def __init__(self, *, image_shape, latent_dim: int = 4):
        super().__init__()
        self.latent_dim, self.image_shape = latent_dim, image_shape
        self.encoder = nn.Linear(math.prod(image_shape), latent_dim)
        self.decoder = nn.Linear(latent_dim, math.prod(image_shape))

    def posterior(self, x):
        mean = self.encoder(x.flatten(1))
        return mean, torch.zeros_like(mean)

    def decode(self, z):
        return torch.sigmoid(self.decoder(z)).unflatten(1, self.image_shape)

    def phases(self):
        adam = partial(torch.optim.Adam, lr=1e-3)
        return [Phase(name="vae", modules=[self.encoder, self.decoder], loss=self.loss, optimizer=adam)]

    def loss(self, batch, step):
        return {"squared": (self.decode(self.posterior(batch.images)[0]) - batch.images).square().mean()}

def dense():
    return Recipe(name="dense-digits", model=MODEL, dataset="digits", batch_size=16, epochs=1)
"""
FAULTS = {
    "an abstract method": ("class Bad(GenerativeModel):\n    def phases(self): return []", "abstract"),
    "a wrong shape": (
        "class Bad(Dense):\n    def posterior(self, x): return self.encoder(x), None",
        "shapes cannot be multiplied",
    ),
    "its constructor": ("class Bad(Dense):\n    def __init__(self, *, image_shape): self.x = {}['y']", "KeyError: 'y'"),
    "its loss": ("class Bad(Dense):\n    def loss(self, batch, step): raise ValueError('mine')", "ValueError: mine"),
    "a helper beside it": ("import beside\nclass Bad(Dense):\n    def loss(self, *_): beside.fail()", "beside.py:2"),
}
SAID = {
    "no mapping": ("def loss(self, batch, step): return batch.images.mean()", "returns Tensor: return {'name': scalar"),
    "no scalar": (
        "def loss(self, batch, step): return {'a': batch.images.mean((1, 2, 3))}",
        "'a' of phase vae has the sh",
    ),
    "no tensor": ("def loss(self, batch, step): return {'a': 1.0}", "'a' of phase vae is float"),
    "no phases": ("def phases(self): return [1]", "Bad.phases() returns list: return a list of one"),
}


@pytest.fixture
def train(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside.py").write_text("def fail():\n    raise RuntimeError('beside')\n")

    def call(text="", model="Dense"):
        whole = MODEL.replace("model=MODEL", f"model={model}")
        (tmp_path / "mine.py").write_text(whole + "\n" + textwrap.dedent(text) + "\n")
        plain = ["--steps", "3", "--precision", "fp32", "--threads", "1"]
        return cli(["train", "./mine.py:dense", *plain])

    return call


@pytest.mark.parametrize("fault", FAULTS)
def test_a_models_own_error_names_its_file_and_line(fault, train, tmp_path):
    text, said = FAULTS[fault]
    answer = train(text, "Bad")
    assert answer.code == 2, answer.err
    (told,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert said in told and ".py:" in told and str(tmp_path) in told and "vaebench's" not in told


@pytest.mark.parametrize("case", SAID)
def test_what_a_model_may_not_return_is_said_with_what_it_must(case, train):
    method, said = SAID[case]
    answer = train("class Bad(Dense):\n    " + method, "Bad")
    assert answer.code == 2, answer.err
    assert said in answer.err


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            "def decode(self, z): return torch.sigmoid(self.decoder(z))",
            "Bad.decode returns (60, 784): return images (60, 1",
        ),
        ("def posterior(self, x): return self.encoder(x.flatten(1))", "Bad.posterior returns (10, 4): return mean and"),
        ("def decode(self, z): raise KeyError('mine')", "KeyError: 'mine', "),
    ],
)
def test_a_trained_models_own_error_in_evaluate(method, said, train, cli, tmp_path):
    assert train().code == 0
    with (tmp_path / "mine.py").open("a") as handle:
        handle.write("\nclass Bad(Dense):\n    " + method + "\ndef dense():\n")
        handle.write("    return Recipe(name='dense-digits', model=Bad, dataset='digits', batch_size=16, epochs=1)\n")
    named = ["--recipe-file", "./mine.py", "--metrics", "mse", "--samples", "10", "--out", str(tmp_path / "reports")]
    answer = cli(["evaluate", "dense-digits", *named])
    assert answer.code == 2, answer.err
    assert said in answer.err and "vaebench's" not in answer.err


def test_a_metrics_own_error_names_its_file_and_line(train, cli, tmp_path):
    assert train().code == 0
    (tmp_path / "metric.py").write_text(
        "from vaebench.core.metric import MetricSpec, Need, PerImage\n"
        "def broken(batch):\n    return batch.reconstruction.nothing()\n"
        "def metric():\n    spec = MetricSpec(name='m', needs=Need.RECONSTRUCTION, unit='u', direction='lower', "
        "protocol='recon')\n    return [PerImage(broken, spec)]\n"
    )
    answer = cli(["evaluate", "dense-digits", "--metrics", "./metric.py:metric", "--out", str(tmp_path / "reports")])
    assert answer.code == 2 and "metric.py:3)" in answer.err


def test_a_fault_of_vaebenchs_own_stays_one(train):
    def broken():
        raise KeyError("ours")

    code, problem = outcome(broken, debug=False)
    assert code == OWN_FAULT and "a fault of vaebench's" in problem


NO_TERMS = "class Silent(Dense):\n    def loss(self, batch, step): return {}"


def test_a_phase_that_never_returns_a_term_breaks_no_report(train, cli, tmp_path):
    """Its model is as it was; a second recipe with terms stands beside it."""
    assert train(NO_TERMS, "Silent").code == 0
    plain = ["--steps", "3", "--precision", "fp32", "--threads", "1"]
    reports = ["--metrics", "mse,blur", "--samples", "10", "--out", str(tmp_path / "reports")]
    assert cli(["evaluate", "dense-digits", *reports]).code == 0
    assert not (tmp_path / "reports" / "digits" / "figures" / "learning_curves.png").exists()
    assert cli(["train", "vae-digits", *plain]).code == 0
    assert cli(["evaluate", "--all", *reports]).code == 0
    assert (tmp_path / "reports" / "digits" / "figures" / "learning_curves.png").exists()
    assert cli(["report", "--out", str(tmp_path / "again")]).code == 0
    assert (runs_dir() / "dense-digits" / "seed-0" / "history.csv").read_text().startswith("step,")


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = [
        "evaluate",
        "~/runs/a",
        "--images",
        "~/x",
        "--out=~/y",
        "--set",
        "dataset.path=~/z",
        "--name",
        "a~b",
        "./m.py:f",
    ]
    assert with_home(given) == [
        "evaluate", "/home/me/runs/a", "--images", "/home/me/x", "--out=/home/me/y", "--set", "dataset.path=/home/me/z",
        "--name", "a~b", "./m.py:f",
    ]  # fmt: skip
    assert with_home(["--command", "~/train.sh --out=~/x", "--command=~/y"]) == [
        "--command", "~/train.sh --out=~/x", "--command=~/y"
    ]  # fmt: skip


def test_a_quoted_tilde_works_in_commands_and_places(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAEBENCH_RUNS", "~/elsewhere")
    plain = ["--steps", "1", "--precision", "fp32", "--threads", "1"]
    assert cli(["train", "vae-digits", *plain]).code == 0
    assert (tmp_path / "elsewhere" / "vae-digits").is_dir()
    assert (
        cli(["evaluate", "~/elsewhere/vae-digits", "--metrics", "mse", "--samples", "5", "--out", "~/told"]).code == 0
    )
    assert (tmp_path / "told" / "digits" / "index.html").is_file()
