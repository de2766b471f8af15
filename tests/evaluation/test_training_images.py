"""Real training images stand in place of samples: what real images read, with as many of them."""

import csv

import numpy as np
import pytest
import torch

from vaebench.core import results, seeding
from vaebench.core.paths import runs_dir
from vaebench.core.subjects import TRAINING_IMAGES, is_model, is_real
from vaebench.datasets import DATASETS
from vaebench.evaluation.features import Networks
from vaebench.evaluation.protocol import Protocol
from vaebench.metrics import METRICS

SAMPLES = 300


@pytest.fixture
def evaluated(cli, tmp_path):
    trained = cli(["train", "vae-digits", "dcgan-digits", "--steps", "2", "--device", "cpu", "--threads", "1"])
    assert trained.code == 0, trained.err
    options = ("--samples", SAMPLES, "--metrics", "blur,fcd,memorisation", "--out", tmp_path / "reports")
    answer = cli(["evaluate", "--all", *map(str, options)])
    assert answer.code == 0, answer.err
    return tmp_path / "reports" / "digits"


def lines_of_training_images():
    (folder,) = runs_dir().glob("real/train-digits-test-*")
    return results.read(folder / "results.jsonl")


def test_the_distance_is_that_of_drawn_training_images(evaluated):
    (line,) = lines_of_training_images()
    assert (line.recipe, line.metric, line.protocol) == ("real/train", "fcd", f"mnist_cnn-dense/n={SAMPLES}/samples")
    source = DATASETS.get("digits")()
    training, test = source.load("train"), source.load("test")
    chosen = torch.randperm(len(training), generator=seeding.generator(0, "training images"))[:SAMPLES]
    assert len(set(chosen.tolist())) == SAMPLES
    (metric,) = [metric for metric in Protocol(metrics=("fcd",)).build(test) if metric.spec.of_training_images]
    space = metric.spec.space
    made, real = (
        Networks("cpu").extract(images.float() / 255, [space])[space].double().numpy()
        for images in (training.images[chosen], test.images)
    )
    a, b = np.cov(made, rowvar=False), np.cov(real, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(a @ b).real.clip(min=0)).sum()  # eigenvalues 0 are those of units that never fire
    expected = np.square(made.mean(0) - real.mean(0)).sum() + np.trace(a + b) - 2 * root
    assert line.value == pytest.approx(expected, rel=1e-4)


def test_they_stand_for_reference_without_a_rank(evaluated):
    with (evaluated / "leaderboard.csv").open(newline="") as handle:
        rows = {(row["recipe"], row["metric"], row["protocol"]): row for row in csv.DictReader(handle)}
    row = rows["real/train", "fcd", f"mnist_cnn-dense/n={SAMPLES}/samples"]
    assert (row["seeds"], row["rank_low"], row["n"]) == ("0", "", str(SAMPLES))
    assert not any(name == "real/train" and metric != "fcd" for name, metric, _ in rows)
    header = next(
        line for line in (evaluated / "leaderboard.md").read_text().splitlines() if line.startswith("| metric")
    )
    assert header == "| metric | originals | training images | dcgan-digits | vae-digits |"
    assert "Training images: as many real images" in (evaluated / "index.html").read_text()


def test_they_are_measured_once(evaluated, cli, tmp_path):
    before = lines_of_training_images()
    again = ["--samples", str(SAMPLES), "--metrics", "fcd", "--out", str(tmp_path / "reports")]
    assert cli(["evaluate", "--all", *again]).code == 0
    assert lines_of_training_images() == before


def test_samples_made_elsewhere_stand_beside_as_many(evaluated, cli, tmp_path):
    shape = DATASETS.get("digits")().load("test").image_shape
    images = np.random.default_rng(0).random((120, *shape)).astype(np.float32)
    np.savez(tmp_path / "images.npz", images=images)
    given = ["--images", tmp_path / "images.npz", "--name", "noise", "--reference", "digits", "--metrics", "fcd"]
    answer = cli(["evaluate", *map(str, given), "--out", str(tmp_path / "reports")])
    assert answer.code == 0, answer.err
    assert {line.n for line in lines_of_training_images()} == {SAMPLES, 120}


def test_data_without_a_training_split_have_none(cli, tmp_path):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(12):
        noise = np.random.default_rng(k).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{k}.png")
    options = ["--images", folder, "--name", "same", "--reference", folder, "--metrics", "blur,fcd"]
    answer = cli(["evaluate", *map(str, options), "--out", str(tmp_path / "reports")])
    assert answer.code == 0, answer.err
    assert not list(runs_dir().glob("real/train-*"))


def test_which_metrics_have_such_a_row():
    digits = DATASETS.get("digits")().load("test")
    built = Protocol(metrics=tuple(METRICS.names())).build(digits)
    found = {metric.spec.name for metric in built if metric.spec.of_training_images}
    # fid away from its layer of 2048 features is fd
    assert found - {"fid_infinity"} == {"fid", "kid", "fcd", "precision", "recall", "density", "coverage"}
    assert is_real(TRAINING_IMAGES) and not is_model(TRAINING_IMAGES)
