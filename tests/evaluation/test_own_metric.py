"""A metric in one file of the user's own is measured without a package, and what cannot be measured is said."""

import numpy as np
import pytest

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.datasets import DATASETS

BRIGHTNESS = """
from vaebench.core.metric import MetricSpec, Need, PerImage

def brightness(power: float = 1.0):
    spec = MetricSpec(name="brightness", needs=Need.RECONSTRUCTION, unit="share", direction="target",
                      protocol=f"recon/power={power}", margin="0.01", of_real=True)
    return [PerImage(lambda batch: batch.reconstruction.pow(power).mean(dim=(1, 2, 3)), spec)]
"""


@pytest.fixture
def evaluate(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(BRIGHTNESS)
    images = DATASETS.get("digits")().load("test").images
    np.savez(tmp_path / "same.npz", images=images.numpy())

    def call(*options, paired=True):
        given = ["--images", "same.npz", "--name", "same", "--reference", "digits", "--out", str(tmp_path / "reports")]
        return cli(["evaluate", *given, *(["--paired", "position"] if paired else []), *options])

    return call


def lines_of(run):
    return results.read(runs_dir() / run / "results.jsonl")


def test_a_metric_of_ones_own_file_joins_the_table(evaluate, tmp_path):
    answer = evaluate("--metrics", "./mine.py:brightness,mse", "--set", "./mine.py:brightness.power=2")
    assert answer.code == 0, answer.err
    found = {line.metric: line for line in lines_of("external/same") if line.stratum == "all"}
    images = DATASETS.get("digits")().load("test").images.double() / 255
    assert found["brightness"].value == pytest.approx(float(images.square().mean()), rel=1e-6)
    assert found["brightness"].protocol == "recon/power=2.0"
    page = (tmp_path / "reports" / "digits" / "leaderboard.md").read_text()
    assert "| brightness (recon/power=2.0), share; nearer to the originals is better |" in page


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("./mine.py:brightnes", "did you mean 'brightness'?"),
        ("./none.py:brightness", "does not exist"),
        ("brightness", "no metric is named 'brightness'"),
    ],
)
def test_a_metric_that_is_not_there_is_refused(metric, said, evaluate):
    answer = evaluate("--metrics", metric)
    assert answer.code == 2 and said in answer.err


def test_where_nothing_can_be_measured_nothing_is_written(evaluate, tmp_path):
    answer = evaluate("--metrics", "mse,kl", "--kind", "samples", paired=False)
    assert answer.code == 2, answer.out
    assert "nothing could be measured of external/same (mse: needs reconstructions; kl: " in answer.err
    assert not (runs_dir() / "external").exists() and not (tmp_path / "reports").exists()


def test_samples_have_no_meaning_with_images(evaluate):
    answer = evaluate("--metrics", "mse", "--samples", "100")
    assert answer.code == 2 and "leave --samples away" in answer.err


def test_a_second_evaluation_of_samples_measures_nothing(evaluate):
    options = ("--metrics", "fcd,diversity", "--kind", "samples")
    assert evaluate(*options, paired=False).code == 0
    before = lines_of("external/same")
    assert evaluate(*options, paired=False).code == 0
    assert lines_of("external/same") == before
