"""From a trained run to files: results with provenance, strata, per-image values; twice the same."""

import csv
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from vaebench import __version__
from vaebench.cli import main
from vaebench.core import results
from vaebench.core.files import sha256_of
from vaebench.datasets.digits import Digits
from vaebench.report import write
from vaebench.runs import per_image
from vaebench.runs.record import RunFolder

TRAIN = ["train", "vae-digits", "--precision", "fp32", "--threads", "1", "--device", "cpu"]
METRICS = "active_units,blur,elbo,kl,mse,nll,parameters,psnr,ssim,throughput"  # the others have tests of their own
EVALUATE = ["evaluate", "vae-digits", "--samples", "40", "--device", "cpu", "--metrics", METRICS]
ONCE = {
    ("active_units", "variance>0.01"),
    ("blur", "samples"),
    ("parameters", "trained"),
    ("throughput", "training/cpu/fp32/threads=1"),
}
STRATIFIED = {
    ("blur", "recon"),
    ("elbo", "bernoulli/1-draw"),
    ("kl", "posterior"),
    ("mse", "recon"),
    ("nll", "bernoulli/1-draw"),
    ("psnr", "recon/mean-of-images/cap=100dB"),
    ("ssim", "recon/gaussian11"),
}


def vaebench(root: Path, arguments: list[str], *, figures: bool = False) -> None:
    """Run a command with its places under ``root``, reports included; figures take half a second."""
    reports = ["--out", str(root / "reports")] if arguments[0] in ("evaluate", "report") else []
    with pytest.MonkeyPatch.context() as patch:
        for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
            patch.setenv(f"VAEBENCH_{place}", str(root / place.lower()))
        if not figures:
            patch.setattr(write, "draw_all", lambda measured, folder: {})
        patch.setattr(sys, "argv", ["vaebench", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main.main([*arguments, *reports])
    assert stopped.value.code == 0


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained_and_measured(root: Path, measured_defaults) -> Path:
    measured_defaults(root / "cache")
    vaebench(root, [*TRAIN, "--steps", "3"])
    vaebench(root, EVALUATE, figures=True)
    return root


@pytest.fixture(scope="module")
def measured(tmp_path_factory, measured_defaults) -> Path:
    """A root that tests read only."""
    return trained_and_measured(tmp_path_factory.mktemp("measured"), measured_defaults)


@pytest.fixture
def mine(measured, tmp_path) -> Path:
    """A copy to change."""
    shutil.copytree(measured, tmp_path / "mine")
    return tmp_path / "mine"


def run_of(root: Path) -> RunFolder:
    return RunFolder(root / "runs" / "vae-digits" / "seed-0")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows_of(root: Path, name: str) -> list[dict[str, str]]:
    with (root / "reports" / "digits" / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def lines(measured):
    return results.read(run_of(measured).results)


@pytest.fixture(scope="module")
def digits():
    return Digits().load("test")


def test_every_metric_has_one_result_a_stratum(lines):
    assert len({line.key for line in lines}) == len(lines)
    assert {(line.metric, line.protocol) for line in lines if line.stratum == "all"} == ONCE | STRATIFIED
    cut = {(line.metric, line.protocol) for line in lines if line.stratum != "all"}
    assert cut == STRATIFIED
    assert {line.stratum for line in lines} == {"all", "label!=1", *(f"label={k}" for k in range(10))}
    assert {(line.recipe, line.seed, line.dataset, line.split) for line in lines} == {
        ("vae-digits", 0, "digits", "test")
    }
    assert all(line.value is not None for line in lines)


def test_every_result_says_where_it_came_from(measured, lines, digits):
    for line in lines:
        source = line.provenance
        assert source.data_fingerprint == digits.fingerprint
        assert (
            source.weights_sha256
            == sha256_of(run_of(measured).weights)
            == run_of(measured).read_record().weights_sha256
        )
        assert source.extractor_sha256 == ""
        assert source.vaebench_version == __version__
        assert source.versions["torch"] == str(torch.__version__)
        assert source.command == "vaebench " + " ".join(EVALUATE)
        assert datetime.fromisoformat(source.created).utcoffset() is not None
        assert source.seconds >= 0
        assert source.device


def test_values_per_image_are_keyed_by_id(measured, lines, digits):
    kept = {(s.metric, s.protocol): content for s, content in per_image.read(run_of(measured).per_image).items()}
    assert set(kept) == STRATIFIED | {("blur", "samples")}
    for key, content in kept.items():
        (line,) = [line for line in lines if (line.metric, line.protocol, line.stratum) == (*key, "all")]
        samples = key == ("blur", "samples")
        expected = tuple(f"vae-digits/{i:06d}" for i in range(40)) if samples else tuple(digits.ids)
        assert content.ids == expected
        assert line.n == len(expected)
        # the values lie there with float32's precision
        assert line.value == pytest.approx(content.values.mean(), rel=1e-7)
        assert line.std_error == pytest.approx(content.values.std(ddof=1) / np.sqrt(line.n), rel=1e-6)


def test_strata_are_means_over_their_images(measured, lines, digits):
    labels = digits.labels.numpy()
    kept = {(s.metric, s.protocol): content for s, content in per_image.read(run_of(measured).per_image).items()}
    for line in lines:
        if line.stratum != "all":
            rows = labels != 1 if line.stratum == "label!=1" else labels == int(line.stratum.removeprefix("label="))
            values = kept[line.metric, line.protocol].values[rows]
            assert (line.value, line.n) == (pytest.approx(values.mean(), rel=1e-7), rows.sum())


def test_the_bound_adds_up_in_the_stored_values(measured):
    kept = {series.metric: content for series, content in per_image.read(run_of(measured).per_image).items()}
    np.testing.assert_allclose(kept["elbo"].values, -(kept["nll"].values + kept["kl"].values), rtol=2e-7)
    assert kept["elbo"].ids == kept["nll"].ids == kept["kl"].ids


def test_the_real_images_have_only_what_can_be_taken_of_them(measured, digits):
    (folder,) = (measured / "runs" / "real").iterdir()
    found = results.read(folder / "results.jsonl")
    assert {(line.metric, line.protocol) for line in found} == {("blur", "recon"), ("blur", "samples")}
    assert {(line.recipe, line.seed, line.provenance.weights_sha256) for line in found} == {("real", None, "")}
    ids, columns = per_image.read_labels(folder / "images.parquet")
    assert (ids, columns) == (tuple(digits.ids), {"label": digits.labels.tolist()})


def test_pictures_lie_beside_the_numbers(measured):
    from PIL import Image

    with Image.open(run_of(measured).path / "samples.png") as opened:
        assert opened.size == (2 * (10 * 30 + 2), 2 * (6 * 30 + 2))
    with Image.open(run_of(measured).path / "reconstructions.png") as opened:
        assert opened.size == (2 * (10 * 30 + 2), 2 * (2 * 30 + 2))


def test_measuring_again_replaces_what_is_measured_anew_and_nothing_else(mine):
    before = results.read(run_of(mine).results)
    kept = per_image.read(run_of(mine).per_image)
    vaebench(mine, ["evaluate", "vae-digits", "--metrics", "blur", "--samples", "360", "--device", "cpu"])
    after = results.read(run_of(mine).results)
    assert {line.key for line in after} == {line.key for line in before}
    assert len(after) == len(before)
    gone = [line for line in before if line not in after]
    assert {(line.metric, line.protocol) for line in gone} == {("blur", "samples")}
    (samples,) = [line for line in after if (line.metric, line.protocol) == ("blur", "samples")]
    assert samples.n == 360
    (row,) = [
        row
        for row in rows_of(mine, "leaderboard.csv")
        if row["recipe"] == "vae-digits" and row["protocol"] == "samples"
    ]
    assert (row["n"], float(row["value"])) == ("360", pytest.approx(samples.value, rel=1e-9))
    now = per_image.read(run_of(mine).per_image)
    assert set(now) == set(kept)
    for series, content in now.items():
        if series.protocol == "samples":
            # as many as there are real images, and still of none of them
            assert content.ids == tuple(f"vae-digits/{i:06d}" for i in range(360))
        else:
            np.testing.assert_array_equal(content.values, kept[series].values)


def test_the_same_seed_gives_the_same_bytes(measured, tmp_path, measured_defaults):
    again = trained_and_measured(tmp_path / "again", measured_defaults)
    assert run_of(again).weights.read_bytes() == run_of(measured).weights.read_bytes()
    boards = [
        [row for row in rows_of(root, "leaderboard.csv") if row["metric"] != "throughput"] for root in (measured, again)
    ]
    assert boards[0] == boards[1]
    assert len(boards[0]) > 80
    ours, theirs = (tree(root / "reports" / "digits") for root in (measured, again))
    assert ours.keys() == theirs.keys()
    same = {name for name in ours if ours[name] == theirs[name]}
    assert same == set(ours) - {"leaderboard.csv", "leaderboard.md", "index.html", "answer.json"}  # these show seconds


def test_a_report_made_again_is_the_same(mine):
    before = tree(mine / "reports")
    assert any(name.endswith(".png") for name in before)
    shutil.rmtree(mine / "reports")
    vaebench(mine, ["report", "--dataset", "digits"], figures=True)
    assert tree(mine / "reports") == before


def test_results_of_an_earlier_length_are_stale(mine):
    stale = run_of(mine).read_record().weights_sha256
    vaebench(mine, [*TRAIN, "--steps", "6", "--resume"])
    assert run_of(mine).read_record().weights_sha256 != stale
    vaebench(mine, ["report", "--dataset", "digits"])
    assert {row["recipe"] for row in rows_of(mine, "leaderboard.csv")} == {"real"}
    assert rows_of(mine, "comparisons.csv") == []
    vaebench(mine, ["evaluate", "vae-digits", "--metrics", "mse", "--device", "cpu"])
    board = [row for row in rows_of(mine, "leaderboard.csv") if row["recipe"] == "vae-digits"]
    assert {row["metric"] for row in board} == {"mse"}
    assert rows_of(mine, "comparisons.csv") == []  # blur per image is there still, of weights that are not
    assert stale in {line.provenance.weights_sha256 for line in results.read(run_of(mine).results)}


def test_explain_and_compare_speak_of_it(mine, cli, monkeypatch):
    monkeypatch.setenv("VAEBENCH_RUNS", str(mine / "runs"))
    answer = cli(["explain", "vae-digits/seed-0", "elbo"])
    assert answer.code == 0
    for text in ("bernoulli/1-draw", "n = 360", sha256_of(run_of(mine).weights), "vaebench evaluate vae-digits"):
        assert text in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "vae-digits", "--metrics", "blurr"], "did you mean 'blur'?"),
        (["evaluate", "vae-digits", "--set", "active_units.treshold=1"], "did you mean 'threshold'?"),
        (["evaluate", "vae-digits", "--metrics", "mse", "--set", "blur.x=1"], "no metric 'blur' is measured"),
        (["evaluate", "vae-digit"], "did you mean 'vae-digits'?"),
        (["evaluate"], "nothing to measure"),
    ],
)
def test_bad_requests_measure_nothing(measured, cli, monkeypatch, arguments, said):
    monkeypatch.setenv("VAEBENCH_RUNS", str(measured / "runs"))
    before = tree(measured)
    answer = cli(arguments)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert said in answer.err
    assert tree(measured) == before


def test_an_option_of_a_metric_is_part_of_its_protocol(mine):
    vaebench(
        mine,
        [
            "evaluate",
            "vae-digits",
            "--metrics",
            "active_units",
            "--set",
            "active_units.threshold=0.5",
            "--device",
            "cpu",
        ],
    )
    protocols = {line.protocol for line in results.read(run_of(mine).results) if line.metric == "active_units"}
    assert protocols == {"variance>0.01", "variance>0.5"}


def test_an_unfinished_run_is_passed_over_by_all_and_refused_by_name(mine, cli, monkeypatch):
    import json

    monkeypatch.setenv("VAEBENCH_RUNS", str(mine / "runs"))
    file = run_of(mine).record_file
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "training"}))
    assert "not finished" in cli(["evaluate", "vae-digits"]).err
    answer = cli(["evaluate", "--all"])
    assert (answer.code, "nothing to measure" in answer.err, "passed over" in answer.out) == (2, True, True)


def test_images_that_may_not_be_republished_stay_out_of_the_report(tmp_path, cli, monkeypatch):
    """Reports are made to be published; the run's own sheet, which is not, has the originals above."""
    from dataclasses import replace

    load = Digits.load
    monkeypatch.setattr(Digits, "load", lambda self, split: replace(load(self, split), redistributable=False))
    assert cli(["train", "vae-digits", "--steps", "2", "--threads", "1"]).code == 0
    assert cli(["evaluate", "vae-digits", "--samples", "20", "--out", tmp_path / "reports"]).code == 0
    assert not list((tmp_path / "runs" / "real").rglob("gallery-*.npz"))
    page = (tmp_path / "reports" / "digits" / "leaderboard.md").read_text(encoding="utf-8")
    assert "may not be republished" in page and "Test images (first row)" not in page
    assert (tmp_path / "runs" / "vae-digits" / "seed-0" / "reconstructions.png").exists()


def test_damaged_runs_are_passed_over_by_all_and_named(mine, cli, monkeypatch):
    monkeypatch.setenv("VAEBENCH_RUNS", str(mine / "runs"))
    whole = run_of(mine).path
    for name, spoilt in (("seed-1", "run.json"), ("seed-2", "weights.safetensors"), ("seed-3", "results.jsonl")):
        shutil.copytree(whole, whole.with_name(name))
        file = whole.with_name(name) / "run.json"
        file.write_text(file.read_text().replace('"seed": 0', f'"seed": {name[-1]}'))
        (whole.with_name(name) / "results.jsonl").unlink()  # of seed 0
        (whole.with_name(name) / spoilt).write_bytes(b"damaged")
    answer = cli(["evaluate", "--all", "--metrics", "blur", "--samples", "40", "--again", "--out", mine / "out"])
    assert answer.code == 0, answer
    assert "vae-digits/seed-0: measured in" in answer.out
    for spoilt in ("seed-1/run.json", "seed-2/weights.safetensors", "seed-3/results.jsonl"):
        assert any(spoilt in line for line in answer.err.splitlines() if line.startswith("warning: passed over: "))
    assert cli(["evaluate", "vae-digits/seed-2", "--again", "--metrics", "blur"]).code == 2  # by name
    shutil.rmtree(whole)
    assert cli(["evaluate", "--all", "--again"]).code == 2  # nothing could be measured
