"""Reconstructions of posterior draws: a protocol of their own, for runs and for models from elsewhere."""

import csv
import textwrap

import pytest
import torch

from vaebench.core import results
from vaebench.core.dataset import to_float
from vaebench.core.paths import runs_dir
from vaebench.datasets import DATASETS
from vaebench.evaluation.noise import ByPosition

NET = """
import torch
from torch import nn
from vaebench.core.image_model import Posterior

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 8))
            self.decoder = nn.Sequential(nn.Linear(4, 784), nn.Sigmoid())

    def encode(self, images):
        return tuple(self.encoder(images).chunk(2, dim=1))

    def decode(self, latents):
        return self.decoder(latents).view(-1, 1, 28, 28)

class Point(Net):
    def encode(self, images):
        return super().encode(images)[0]

def model():
    return Net()

def point():
    return Point()

def sampler(n, generator):
    return torch.rand(n, 1, 28, 28, generator=generator)
"""


@pytest.fixture
def evaluate(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(textwrap.dedent(NET))

    def call(*options, spec="./mine.py:model", metrics="mse,blur,nll", name="mine"):
        given = [*options, "--metrics", metrics, "--samples", "40", "--out", str(tmp_path / "reports")]
        return cli(["evaluate", "--model", spec, "--name", name, "--dataset", "digits", *given])

    return call


def values_of(run):
    lines = results.read(runs_dir() / run / "results.jsonl")
    return {(line.metric, line.protocol): line.value for line in lines if line.stratum == "all"}


def test_reconstructions_are_decoded_from_draws_by_position(evaluate):
    assert evaluate("--posterior", "sample").code == 0
    names: dict[str, object] = {}
    exec(NET, names)
    net = names["Net"]().eval()
    data = DATASETS.get("digits")().load("test")
    real = to_float(data.images)
    with torch.inference_mode():
        mean, log_variance = net.encode(real)
        noise = ByPosition(0, "posterior draws", len(data), (4,)).rows(torch.arange(len(data)))
        drawn = net.decode(mean + noise * torch.exp(log_variance / 2))
        expected = (drawn - real).double().square().mean().item()
        of_mean = (net.decode(mean) - real).double().square().mean().item()
    found = values_of("external/mine")
    assert found["mse", "recon/posterior=sample"] == pytest.approx(expected, rel=1e-5)
    assert ("mse", "recon") not in found and abs(expected - of_mean) > 1e-3
    assert ("blur", "samples") in found and ("nll", "bernoulli/1-draw") in found  # what no draw changes keeps its name


def test_both_ways_stand_beside_each_other_and_never_rank_together(evaluate, tmp_path):
    for name in ("a", "b"):
        assert evaluate(name=name).code == 0
    before = values_of("external/a")
    assert evaluate("--posterior", "sample", name="a").code == 0
    assert {key: values_of("external/a")[key] for key in before} == before
    with (tmp_path / "reports" / "digits" / "leaderboard.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["metric"] == "mse" and row["stratum"] == "all"]
    assert {(row["recipe"], row["protocol"]) for row in rows if row["recipe"] != "real"} == {
        ("external/a", "recon"), ("external/b", "recon"), ("external/a", "recon/posterior=sample")
    }  # fmt: skip
    with (tmp_path / "reports" / "digits" / "comparisons.csv").open(newline="") as handle:
        tested = {row["protocol"] for row in csv.DictReader(handle) if row["metric"] == "mse"}
    assert tested == {"recon"}


def test_real_images_have_a_row_to_be_near_to_under_the_same_protocol(evaluate, tmp_path):
    assert evaluate("--posterior", "sample").code == 0
    with (tmp_path / "reports" / "digits" / "leaderboard.csv").open(newline="") as handle:
        rows = {(row["recipe"], row["protocol"]) for row in csv.DictReader(handle) if row["metric"] == "blur"}
    assert ("real", "recon/posterior=sample") in rows and ("external/mine", "recon/posterior=sample") in rows


def test_a_run_is_measured_by_draws_too_and_a_gan_says_that_it_cannot(cli, tmp_path):
    plain = ["--steps", "5", "--precision", "fp32", "--threads", "1"]
    assert cli(["train", "vae-digits", "dcgan-digits", *plain]).code == 0
    measured = ["--metrics", "mse,elbo", "--samples", "20", "--out", str(tmp_path / "reports")]
    assert cli(["evaluate", "vae-digits", *measured]).code == 0
    assert cli(["evaluate", "--all", "--posterior", "sample", *measured]).code == 0
    found = values_of("vae-digits/seed-0")
    assert found["mse", "recon/posterior=sample"] != found["mse", "recon"]
    gan = results.read(runs_dir() / "dcgan-digits/seed-0/results.jsonl")
    assert {line.note for line in gan if line.metric == "mse"} == {"needs reconstructions"}
    again = cli(["evaluate", "vae-digits", "--posterior", "sample", *measured])
    assert "nothing new to measure" in again.out


@pytest.mark.parametrize("spec", ["./mine.py:point", "./mine.py:sampler"])
def test_what_has_no_variance_is_refused_and_nothing_is_written(spec, evaluate, tmp_path):
    answer = evaluate("--posterior", "sample", spec=spec)
    assert answer.code == 2 and "this encoder gives no variance" in answer.err
    assert not (runs_dir() / "external").exists() and not (tmp_path / "reports").exists()
    assert evaluate(spec=spec).code == 0


def test_refused_words(evaluate, cli, tmp_path):
    answer = evaluate("--posterior", "sampel")
    assert answer.code == 2 and "did you mean 'sample'?" in answer.err
    answer = cli(["evaluate", "--images", "x.npz", "--name", "x", "--reference", "digits", "--posterior", "sample"])
    assert answer.code == 2 and "--posterior is of models" in answer.err


def test_from_python(evaluate, tmp_path, monkeypatch):
    import vaebench as vb

    names: dict[str, object] = {}
    exec(NET, names)
    found = vb.evaluate(
        names["Net"](), dataset="digits", name="net", metrics=["mse"], posterior="sample", command="by hand"
    )
    assert "recon/posterior=sample" in set(found.table["protocol"])
    lines = results.read(runs_dir() / "external/net/results.jsonl")
    assert {line.provenance.made_by for line in lines} == {"by hand"}
