"""Classical ways of blending, and the real images, stand beside a run on the same pairs of images."""

import csv
import shutil
from dataclasses import replace

import pytest
import torch

from vaebench.cli import main as command_line
from vaebench.core import results
from vaebench.report import write
from vaebench.runs import per_image

WAYS = {"baseline/pixel-average", "baseline/laplacian-pyramid", "baseline/fourier-mix"}
PAIRS = 40
PROTOCOL = f"mnist_cnn-dense/k=3/pairs={PAIRS}"
STRATA = {"all", "condition=weight 0.25", "condition=weight 0.75"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, measured_defaults):
    """Runs and reports that tests read only."""
    root = tmp_path_factory.mktemp("measured")
    measured_defaults(root / "cache")
    threads = torch.get_num_threads()
    train = ["train", "vae-digits", "dcgan-digits", "--steps", "2", "--device", "cpu", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "draw_all", lambda measured, folder: {})
        for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
            patch.setenv(f"VAEBENCH_{place}", str(root / place.lower()))
        for arguments in (train, evaluation(root)):
            with pytest.raises(SystemExit) as stopped:
                command_line.main(arguments)
            assert stopped.value.code == 0
    torch.set_num_threads(threads)
    return root


def evaluation(root, metrics="blend_realism"):
    wanted = ["--metrics", metrics, *(["--set", f"blend_realism.pairs={PAIRS}"] if metrics == "blend_realism" else [])]
    return ["evaluate", "--all", *wanted, "--out", str(root / "reports")]


@pytest.fixture
def mine(measured, tmp_path, monkeypatch):
    """A copy to change, which commands find."""
    shutil.copytree(measured, tmp_path / "mine")
    monkeypatch.setattr(write, "draw_all", lambda measured, folder: {})
    for place in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"VAEBENCH_{place}", str(tmp_path / "mine" / place.lower()))
    return tmp_path / "mine"


def rows_of(root, name):
    with (root / "reports" / "digits" / name).open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["metric"] == "blend_realism"]


def lines_of(place):
    return results.read(place / "results.jsonl")


def test_classical_ways_and_real_images_have_rows_of_their_own(measured):
    rows = rows_of(measured, "leaderboard.csv")
    assert {row["recipe"] for row in rows} == {"real", "vae-digits", "dcgan-digits", *WAYS}
    assert {(row["protocol"], row["direction"]) for row in rows} == {(PROTOCOL, "target")}
    whole = {row["recipe"]: row for row in rows if row["stratum"] == "all"}
    assert whole["dcgan-digits"]["value"] == "" and "an encoder to blend with" in whole["dcgan-digits"]["note"]
    for name in {"real", "vae-digits", *WAYS}:
        assert 0 < float(whole[name]["value"]) < 10
        assert whole[name]["n"] == str(PAIRS)
        assert {row["stratum"] for row in rows if row["recipe"] == name} == STRATA
    assert len({whole[name]["value"] for name in {"real", "vae-digits", *WAYS}}) == 5
    for name in WAYS:
        assert whole[name]["rank_low"] == ""  # no model of images


def test_the_run_is_compared_with_each_on_the_same_pairs(measured):
    rows = rows_of(measured, "comparisons.csv")
    for stratum in STRATA:
        tested = {
            frozenset((row["a"], row["b"])): row
            for row in rows
            if row["stratum"] == stratum and row["test"] == "paired-t"
        }
        names = ["real", "vae-digits", *WAYS]
        assert set(tested) == {frozenset((a, b)) for a in names for b in names if a != b}
        for row in tested.values():
            assert (row["n"], row["protocol"]) == (str(PAIRS), PROTOCOL)
    board = {
        (row["recipe"], row["stratum"]): float(row["value"])
        for row in rows_of(measured, "leaderboard.csv")
        if row["value"]
    }
    for row in rows:
        if row["test"] == "paired-t":
            difference = board[row["a"], row["stratum"]] - board[row["b"], row["stratum"]]
            assert float(row["mean_difference"]) == pytest.approx(difference, abs=1e-6)
    assert "welch-t-images" not in {row["test"] for row in rows}


def test_a_difference_is_resolved_at_each_weight(measured):
    """Two steps of training blur a digit beyond recognition: the pixel average is nearer to real ones."""
    for stratum in STRATA:
        (row,) = [
            row
            for row in rows_of(measured, "comparisons.csv")
            if (row["stratum"], row["test"]) == (stratum, "paired-t")
            and {row["a"], row["b"]} == {"vae-digits", "baseline/pixel-average"}
        ]
        assert row.get(row["verdict"]) == "baseline/pixel-average", row


def test_values_are_kept_pair_by_pair(measured):
    runs = measured / "runs"
    folders = [runs / "vae-digits" / "seed-0", *(runs / "baseline").iterdir(), *(runs / "real").iterdir()]
    kept = {folder: per_image.read(folder / "per_image.parquet") for folder in folders}
    assert len(kept) == 5
    ids = {content.ids for known in kept.values() for content in known.values()}
    (shared,) = ids  # of every subject and weight
    assert len(shared) == PAIRS
    for known in kept.values():
        assert {series.stratum for series in known} == STRATA
    for folder in folders:
        for line in lines_of(folder):
            assert line.provenance.extractor_sha256 == lines_of(folders[0])[0].provenance.extractor_sha256 != ""


def test_nothing_is_measured_twice(mine, cli):
    before = {path: path.read_bytes() for path in mine.rglob("results.jsonl")}
    again = cli(evaluation(mine))
    assert "baseline/" not in again.out and again.out.count("nothing new to measure") == 2
    assert len(before) == 6 and {path: path.read_bytes() for path in mine.rglob("results.jsonl")} == before
    assert "baseline/fourier-mix: measured" in cli([*evaluation(mine), "--again"]).out


def test_other_metrics_need_no_classical_ways(mine, cli):
    shutil.rmtree(mine / "runs" / "baseline")
    assert cli(evaluation(mine, "mse")).code == 0
    assert not (mine / "runs" / "baseline").exists()


def extracted_elsewhere(folder):
    """The same lines, from an extractor of other weights."""
    lines = lines_of(folder)
    others = [replace(line, provenance=replace(line.provenance, extractor_sha256="0" * 64)) for line in lines]
    path = folder / "results.jsonl"
    path.unlink()
    results.append(path, others)


def pairs_tested(root):
    return {
        (row["stratum"], frozenset((row["a"], row["b"])))
        for row in rows_of(root, "comparisons.csv")
        if row["test"] == "paired-t"
    }


def test_values_of_different_extractors_are_not_compared(mine, cli):
    """Neither whole nor a weight at a time."""
    (average,) = [path for path in (mine / "runs" / "baseline").iterdir() if "pixel-average" in path.name]
    before = pairs_tested(mine)
    extracted_elsewhere(average)
    assert cli(["report", "--out", str(mine / "reports")]).code == 0
    kept = {(stratum, pair) for stratum, pair in before if "baseline/pixel-average" not in pair}
    assert len(before) == 3 * 10 and pairs_tested(mine) == kept and len(kept) == 3 * 6
