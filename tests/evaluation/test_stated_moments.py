"""A reference that states mean and covariance of Inception's features, as FID's authors publish them."""

import csv

import numpy as np
import pytest
import torch

from vaebench.core import seeding
from vaebench.core.dataset import to_float
from vaebench.core.paths import runs_dir
from vaebench.core.perceptual import Perceptual
from vaebench.evaluation.features import Networks
from vaebench.evaluation.stated_moments import open_moments
from vaebench.metrics.fidelity import inception_space
from vaebench.perceptual import inception as inception_module


@pytest.fixture
def random_inception(monkeypatch):
    """A network of Inception's name and one layer of 64 features, with random weights."""
    with seeding.isolated(0, "stand-in"):
        stage = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU())
    made = Perceptual("inception", {"64": stage.eval().requires_grad_(False)}, channels=3, sha256="0" * 64, remedy="")
    monkeypatch.setattr(inception_module, "inception", lambda: made)


@pytest.fixture
def images(tmp_path):
    made = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "made.npz", images=made)
    return made


def moments_of(images, layer=64):
    pixels = to_float(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
    space = inception_space(layer)
    features = Networks().extract(pixels, [space])[space].double().numpy()
    return features.mean(0), np.cov(features, rowvar=False)


def evaluate(cli, tmp_path, reference, *options):
    asked = ["evaluate", "--images", tmp_path / "made.npz", "--name", "x", "--reference", reference]
    return cli([*asked, "--inception", "64", "--out", tmp_path / "o", *options])


def rows(tmp_path, dataset):
    with (tmp_path / "o" / dataset / "leaderboard.csv").open(newline="") as handle:
        return {(row["metric"], row["protocol"].rpartition("/")[2]): row for row in csv.DictReader(handle)}


def test_the_distance_is_that_to_the_images_themselves(cli, tmp_path, images, places, random_inception):
    real = np.random.default_rng(1).integers(60, 256, (50, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "real.npz", images=real)
    mean, covariance = moments_of(real)
    np.savez(tmp_path / "stated.npz", mu=mean, sigma=covariance)
    for name in ("real", "stated"):
        answer = evaluate(cli, tmp_path, tmp_path / f"{name}.npz", "--metrics", "fid,kid,blur")
        assert answer.code == 0, answer.err
    ours, theirs = (rows(tmp_path, f"file-{name}") for name in ("stated", "real"))
    assert float(ours["fd", "samples"]["value"]) == pytest.approx(float(theirs["fd", "samples"]["value"]), rel=1e-4)
    assert float(ours["blur", "samples"]["value"]) > 0
    assert "states mean and covariance alone" in ours["kid", "samples"]["note"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mu": np.zeros(64), "sigma": np.zeros((64, 63))}, "give a npz with mu (d,) and sigma (d, d)"),
        ({"mu": np.full(64, np.nan), "sigma": np.eye(64)}, "give a npz with mu"),
        ({"mu": np.zeros(64), "sigma": np.triu(np.ones((64, 64)))}, "is not symmetric"),
        (
            {"mu": np.zeros(64), "sigma": -np.eye(64)},
            "states a variance of -1 along one direction, so it is no covariance",
        ),
        ({"mu": np.zeros(64), "sigma": np.diag([2.0] * 63 + [-1.0])}, "states a variance of -1 along one direction"),
        ({"mu": np.zeros(64, int), "sigma": np.eye(64)}, "mu is int64 (64,) and sigma float64 (64, 64): give a npz"),
        ({"mu": np.zeros(64)}, "no array 'images'"),
    ],
)
def test_what_is_no_mean_and_covariance_is_refused(cli, tmp_path, images, places, arrays, said):
    np.savez(tmp_path / "stated.npz", **arrays)
    answer = evaluate(cli, tmp_path, tmp_path / "stated.npz", "--metrics", "fid")
    assert answer.code == 2 and said in answer.err
    assert not runs_dir().exists()


def test_moments_of_another_layer_are_refused(cli, tmp_path, images, places, random_inception):
    np.savez(tmp_path / "stated.npz", mu=np.zeros(192), sigma=np.eye(192))
    answer = evaluate(cli, tmp_path, tmp_path / "stated.npz", "--metrics", "fid")
    assert answer.code == 2 and "states moments of inception192, not of inception64" in answer.err


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_covariances_of_few_images_are_taken_whatever_rounding_makes_of_them(tmp_path, images, dtype):
    features = np.random.default_rng(2).normal(size=(9, 64)) * np.linspace(0.1, 9, 64)
    path = tmp_path / "stated.npz"
    np.savez(path, mu=features.mean(0).astype(dtype), sigma=np.cov(features.T).astype(dtype))
    assert open_moments(path, "stated", (3, 16, 16), Networks(torch.device("cpu"))).data.moments
