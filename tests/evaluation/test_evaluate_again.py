"""An evaluation measures what has no answer yet, and nothing else; baselines and parts stand beside what was asked."""

import csv

import pytest

from vaebench.core import results
from vaebench.core.context import FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.paths import cache_dir, runs_dir
from vaebench.evaluation import features
from vaebench.report import write

NAMES = "blur,fcd,svm_accuracy,svm_lift,memorisation,diversity,training_steps,peak_memory,interpolation_smoothness"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(write, "draw_all", lambda measured, folder: {})


@pytest.fixture
def trained(cli):
    assert cli(["train", "vae-digits", "dcgan-digits", "--steps", "2", "--device", "cpu", "--threads", "1"]).code == 0


@pytest.fixture
def evaluate(cli, tmp_path):
    def call(*options, metrics=NAMES):
        names = ("--metrics", metrics) if metrics else ()
        return cli(["evaluate", "--all", "--samples", "30", *names, "--out", tmp_path / "reports", *options])

    return call


@pytest.fixture
def extracted(monkeypatch):
    """How many images went through each network."""
    seen: dict[str, int] = {}
    real = features.Networks.extract

    def counted(self, images, spaces):
        spaces = list(spaces)
        for space in spaces:
            seen[str(space)] = seen.get(str(space), 0) + len(images)
        return real(self, images, spaces)

    monkeypatch.setattr(features.Networks, "extract", counted)
    return seen


def lines_of(run):
    return results.read(runs_dir() / run / "results.jsonl")


def rows_of(tmp_path, name):
    with (tmp_path / "reports" / "digits" / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_second_evaluation_measures_nothing(trained, evaluate, extracted, tmp_path):
    first = evaluate()
    assert first.code == 0, first.err
    # 360 test and 1,437 training digits once; 30 samples of each run and 360 reconstructions of the one that has any
    assert extracted == {"mnist_cnn-dense": 360 + 1437 + 2 * 30 + 360 + 30}
    before = {path: path.read_bytes() for path in runs_dir().rglob("results.jsonl")}
    reports = (tmp_path / "reports" / "digits" / "leaderboard.csv").read_bytes()
    extracted.clear()
    second = evaluate()
    assert second.out.count("nothing new to measure") == 2
    assert extracted == {}
    assert {path: path.read_bytes() for path in runs_dir().rglob("results.jsonl")} == before
    assert (tmp_path / "reports" / "digits" / "leaderboard.csv").read_bytes() == reports


def test_only_what_is_new_is_measured(trained, evaluate, extracted):
    evaluate(metrics="blur,fcd")
    before = lines_of("vae-digits/seed-0")
    extracted.clear()
    evaluate("--samples", "40", metrics="blur,fcd")  # of samples, anew; of reconstructions, answered already
    after = lines_of("vae-digits/seed-0")
    added = [line for line in after if line not in before]
    assert {(line.metric, line.protocol) for line in added} == {
        ("blur", "samples"),
        ("fcd", "mnist_cnn-dense/n=40/samples"),
    }
    assert extracted == {"mnist_cnn-dense": 2 * 40 + 40}  # 40 training images in place of samples, too
    assert len({line.key for line in after}) == len(after)  # what was measured anew stands once
    assert "measured in" in evaluate("--again", metrics="blur,fcd").out
    again = lines_of("vae-digits/seed-0")
    assert {line.key for line in again} == {line.key for line in after}
    assert len(again) == len(after) and again != after  # remade at another time


def test_other_weights_are_measured_anew(trained, cli, evaluate):
    evaluate(metrics="blur")
    assert cli(["train", "vae-digits", "--steps", "4", "--resume", "--device", "cpu", "--threads", "1"]).code == 0
    answer = evaluate(metrics="blur")
    assert "vae-digits/seed-0: measured in" in answer.out
    assert "dcgan-digits/seed-0: nothing new" in answer.out


def test_the_real_images_features_lie_in_the_cache(trained, evaluate, extracted):
    evaluate(metrics="fcd")
    kept = list((cache_dir() / "features").rglob("features.npy"))
    assert len(kept) == 1
    kept[0].write_bytes(b"damaged")
    extracted.clear()
    evaluate("--again", metrics="fcd")
    # samples of two runs, training images in place of samples, reconstructions of one, and once the real images again,
    # which its error is of, too
    assert extracted["mnist_cnn-dense"] == 2 * 30 + 30 + 360 + 360
    evaluate("--again", metrics="memorisation,diversity")
    assert kept[0].stat().st_size > 360 * 64 * 4


def test_baselines_stand_beside_what_was_read_off_latents(trained, evaluate, tmp_path):
    evaluate()
    rows = rows_of(tmp_path, "leaderboard.csv")
    probed = {row["recipe"]: row for row in rows if row["metric"] == "svm_accuracy" and row["stratum"] == "all"}
    assert set(probed) == {"vae-digits", "dcgan-digits", "baseline/majority", "baseline/pca-5"}
    assert probed["dcgan-digits"]["note"] == "needs a posterior"
    assert float(probed["baseline/majority"]["value"]) < 0.15
    assert float(probed["baseline/pca-5"]["value"]) > 0.6
    assert probed["baseline/pca-5"]["rank_low"] == ""  # no model of images
    lift = {row["recipe"]: row["value"] for row in rows if row["metric"] == "svm_lift" and row["stratum"] == "all"}
    assert float(lift["baseline/majority"]) == pytest.approx(0, abs=1e-12)
    page = (tmp_path / "reports" / "digits" / "leaderboard.md").read_text()
    assert "## What can be read off the latents" in page
    assert "| pca-5 | official | measured |" in page
    header = next(line for line in page.splitlines() if line.startswith("| metric |"))
    assert "baseline" not in header
    assert not (tmp_path / "reports" / "digits" / "attributes.csv").exists()  # digits have classes, no attributes


def test_cost_says_on_what(trained, evaluate, tmp_path):
    evaluate()
    board = {(row["metric"], row["recipe"]): row for row in rows_of(tmp_path, "leaderboard.csv")}
    assert float(board["training_steps", "vae-digits"]["value"]) == 2
    memory = board["peak_memory", "vae-digits"]
    assert memory["protocol"].startswith("training/cpu/") and memory["unit"] == "MiB"
    assert 100 < float(memory["value"]) < 100_000


def test_missing_weights_are_na_with_the_command_that_gets_them(trained, evaluate, tmp_path):
    answer = evaluate(metrics="fid,kid,precision,blur")
    assert answer.code == 0
    rows = rows_of(tmp_path, "leaderboard.csv")
    for row in rows:
        if row["recipe"] == "vae-digits" and row["metric"] in ("fd", "kid", "precision"):
            assert row["value"] == "" and "vaebench fetch inception" in row["note"]
    assert any(row["metric"] == "blur" and row["value"] for row in rows)
    page = (tmp_path / "reports" / "digits" / "leaderboard.md").read_text()
    assert page.count("vaebench fetch inception") == 1  # one line for all the metrics and runs that lack it
    assert evaluate(metrics="fid,kid,precision,blur").out.count("nothing new to measure") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--inception", "100"], "no layer of 100 features"),
        (["--set", "fcd.classifier=pixel"], "no feature space"),
        (["--set", "kid.size=1"], "2 or more images"),
        (["--set", "precision.k=0"], "give 1 or more"),
    ],
)
def test_refused_options_are_said_before_anything_is_measured(evaluate, options, said):
    answer = evaluate(*options, metrics="")
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_options_of_all_inception_metrics(trained, evaluate):
    evaluate("--inception", "768", "--fid-infinity", metrics="fid,kid")
    protocols = {line.protocol for line in lines_of("vae-digits/seed-0")}
    assert {part.partition("/")[0] for part in protocols} == {"inception768"}
    assert any("infinity" in part for part in protocols)


def test_feature_spaces_by_name():
    assert str(FeatureSpace.parse("inception/2048")) == "inception2048"
    assert str(FeatureSpace.parse("mnist_cnn/dense")) == "mnist_cnn-dense"
    assert str(FeatureSpace.parse("pixels")) == "pixels"
    for text in ("", "inception", "pixels/1", "/dense"):
        with pytest.raises(UserError, match="no feature space"):
            FeatureSpace.parse(text)
