"""What makes a suite an exhibit: names of its own, models in the course of their trainings, a report of it alone."""

import csv
import filecmp
import shutil

import numpy as np
import pytest

from vaebench.core.paths import runs_dir
from vaebench.runs.record import RunFolder

SUITE = """\
title = "Two widths at equal images"
source = "Nobody: a paper that was not written"
seeds = [0, 1, 2]
[dataset]
name = "digits"
[[models]]
recipe = "vae-digits"
settings = { latent_dim = 3 }
name = "narrow"
[[models]]
recipe = "vae-digits"
[budget]
images = 320
[evaluation]
metrics = ["blur", "mse", "training_images"]
samples = 40
[[studies]]
study = "sample"
models = ["narrow"]
options = { count = 4 }
[[claims]]
says = "Fewer latents cost detail"
claim = "mse: narrow > vae-digits"
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "equal.toml"
    path.write_text(SUITE)
    return path


def rows(path):
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_budget_lays_quality_against_compute(cli, suite, tmp_path):
    found = cli(["suite", "run", suite, "--out", tmp_path / "reports", "--evidence"])
    assert found.code == 0, found.err
    report = tmp_path / "reports" / "equal"
    table = rows(report / "compute.csv")
    assert {(row["recipe"], row["share"], row["steps"], row["images"]) for row in table} == {
        (name, f"{steps / 10:.10g}", str(steps), str(32 * steps))
        for name in ("narrow", "vae-digits")
        for steps in (1, 2, 5, 10)  # of 320 images in batches of 32
    }
    assert {row["metric"] for row in table} == {"blur", "mse"}  # those that are looked for first
    whole = [row for row in rows(report / "leaderboard.csv") if row["stratum"] == "all"]
    board = {(row["recipe"], row["metric"], row["protocol"]): row for row in whole}
    for row in table:
        folder = RunFolder(runs_dir() / row["recipe"] / "seed-0")
        each = float(folder.snapshot(5).read_record().facts["flops"]) / 5
        assert float(row["flops"]) == pytest.approx(each * int(row["steps"]), rel=1e-9)
        if row["share"] == "1":
            end = board[row["recipe"], row["metric"], row["protocol"]]
            assert float(row["value"]) == pytest.approx(float(end["value"]), rel=1e-9)
        check_front(
            row, [one for one in table if one["metric"] + one["protocol"] == row["metric"] + row["protocol"]], board
        )
    page = (report / "leaderboard.md").read_text(encoding="utf-8")
    assert page.startswith("# Two widths at equal images: test, 28 x 28 pixels\n") and "After Nobody: a paper" in page
    assert "figures/compute.svg" in page and "| model | trained with | steps | images seen | operations |" in page
    assert "narrow" in (report / "index.html").read_text(encoding="utf-8").split("Quality against compute")[2]
    again = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert again.code == 0 and "measured in" not in again.out and again.out.count("already trained") == 6


def check_front(row, cells, board):
    """Whether no model has a mean as good for as few operations, worked out from the table's text."""
    target = board["real", row["metric"], row["protocol"]]["value"] if row["direction"] == "target" else "0"

    def bad(one):
        return abs(float(one["value"]) - float(target))

    beaten = [
        one for one in cells if float(one["flops"]) <= float(row["flops"]) and bad(one) <= bad(row) and one is not row
    ]
    assert (row["flops_front"] == "True") == (not beaten)


def test_the_report_is_of_the_suite_alone_and_follows_from_its_evidence(cli, suite, tmp_path, monkeypatch):
    assert cli(["train", "dfcvae-digits", "--steps", "3"]).code == 0
    assert cli(["train", "vae-digits", "--seeds", "7", "--steps", "10"]).code == 0
    assert cli(["evaluate", "--all", "--metrics", "blur,mse", "--out", tmp_path / "all"]).code == 0
    assert cli(["suite", "run", suite, "--out", tmp_path / "reports", "--evidence"]).code == 0
    report = tmp_path / "reports" / "equal"
    board = rows(report / "leaderboard.csv")
    assert {row["recipe"] for row in board} >= {"narrow", "vae-digits"}
    assert not any(row["recipe"] == "dfcvae-digits" or "7=" in row["by_seed"] for row in board)
    assert not (report / "evidence" / "dfcvae-digits").exists()
    assert not (report / "evidence" / "vae-digits" / "seed-7").exists()
    assert not (tmp_path / "reports" / "digits").exists()  # studies write no report of their own
    assert (report / "figures" / "sample.png").exists()
    shutil.rmtree(RunFolder(runs_dir() / "narrow" / "seed-0").snapshot(2).path)
    assert cli(["suite", "run", suite, "--only", "report", "--out", tmp_path / "reports", "--evidence"]).code == 0
    assert not (report / "evidence" / "narrow" / "seed-0" / "snapshots" / "2").exists()  # it follows the runs
    monkeypatch.setenv("VAEBENCH_RUNS", str(report / "evidence"))
    assert cli(["suite", "run", suite, "--only", "report", "--out", tmp_path / "again"]).code == 0
    made = sorted(path.relative_to(report) for path in report.rglob("*") if path.is_file())
    for path in [path for path in made if path.parts[0] != "evidence"]:
        assert filecmp.cmp(report / path, tmp_path / "again" / "equal" / path, shallow=False), path


def test_who_has_one_seed_is_told_where_more_of_them_stand(cli, suite, tmp_path):
    suite.write_text(SUITE.replace("seeds = [0, 1, 2]", "seeds = [0]").replace("images = 320", "steps = 2"))
    found = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert found.code == 0 and f"write seeds = [0, 1, 2] into {suite}, then vaebench suite run {suite}" in found.out


def test_a_run_that_was_trained_without_snapshots_is_said(cli, suite, tmp_path):
    assert cli(["train", "vae-digits", "--steps", "10"]).code == 0
    found = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert found.code == 0 and found.out.count("lacks snapshots") == 1
    assert "vae-digits/seed-0 lacks snapshots that this suite measures" in found.out
    table = rows(tmp_path / "reports" / "equal" / "compute.csv")
    seeds = {(row["recipe"], row["steps"]): row["seeds"] for row in table}
    # the same seeds at all points
    assert all(seeds["vae-digits", steps] == "2" and seeds["narrow", steps] == "3" for steps in ("1", "5", "10"))
    assert all(row["flops_front"] for row in table)
    again = cli(["train", "vae-digits", "--steps", "10", "--snapshots", "1/2"])
    assert again.code == 0 and "without snapshots after 5 steps" in again.out


def test_damaged_and_foreign_snapshots_cost_nothing_else(cli, suite, tmp_path):
    assert cli(["suite", "run", suite, "--out", tmp_path / "reports"]).code == 0
    run = RunFolder(runs_dir() / "narrow" / "seed-0")
    run.snapshot(5).record_file.write_text("{")
    (run.path / "snapshots" / "²").mkdir()
    (run.path / "snapshots" / "04").mkdir()
    shutil.move(run.snapshot(2).path, run.snapshot(3).path)  # its record is of another length
    shown = cli(["report", "--out", tmp_path / "reports"])
    assert shown.code == 0 and "snapshot left out" in shown.err
    table = rows(tmp_path / "reports" / "digits" / "compute.csv")
    assert {row["steps"] for row in table if row["recipe"] == "narrow"} == {"1", "10"}  # what all seeds have
    assert {row["seeds"] for row in table} == {"3"}
    again = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert again.code == 0 and "narrow/seed-0 lacks snapshots" in again.out
    measured = cli(["evaluate", "--all", "--snapshots", "--metrics", "mse", "--out", tmp_path / "reports"])
    assert measured.code == 0 and "vae-digits/seed-2: " in measured.out
    looked = cli(["sample", "narrow/seed-0/snapshots/1", "--out", tmp_path / "reports"])
    assert looked.code == 2 and "in the course of its training: name the run" in looked.err


def test_two_suites_do_not_take_each_other_s_pictures_for_their_own(cli, suite, tmp_path):
    other = suite.with_name("other.toml")
    other.write_text(SUITE.replace('models = ["narrow"]', 'models = ["vae-digits"]'))
    for file in (suite, other, suite):
        assert cli(["suite", "run", file, "--out", tmp_path / "reports"]).code == 0
        assert "figures/sample.png" in (tmp_path / "reports" / file.stem / "leaderboard.md").read_text(encoding="utf-8")


def test_a_named_recipe_is_a_run_of_that_name(cli, suite, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["vaebench", "suite", "run", "equal.toml"])
    assert cli(["suite", "run", suite, "--only", "train"]).code == 0
    record = RunFolder(runs_dir() / "narrow" / "seed-0").read_record()
    assert (record.recipe, record.reference, record.hyperparameters["latent_dim"]) == ("narrow", "vae-digits", 3)
    assert cli(["evaluate", "narrow", "--metrics", "mse", "--out", tmp_path / "out"]).code == 0
    (runs_dir() / "narrow" / "seed-0" / "weights.safetensors").unlink()
    text = (runs_dir() / "narrow" / "seed-0" / "run.json").read_text().replace('"finished"', '"training"')
    (runs_dir() / "narrow" / "seed-0" / "run.json").write_text(text)
    refused = cli(["evaluate", "narrow/seed-0", "--out", tmp_path / "out"])
    assert (
        refused.code == 2 and "'vaebench suite run equal.toml'" in refused.err
    )  # what began it is what goes on with it


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "narrow"', 'name = "dcgan-digits"', "equal.toml:9: 'dcgan-digits' is another recipe's name"),
        ('name = "narrow"', 'name = "a b"', "equal.toml:9: 'a b' cannot name a model"),
        ('name = "narrow"\n', 'name = "vae-digits"\n', "equal.toml:10: 'vae-digits' is there already"),
        ("images = 320", "images = 320\nsnapshots = [0.5, 1.5]", "equal.toml:14: 'budget.snapshots[1]'"),
        ("images = 320", 'images = 320\nmetrics = ["msee"]', "equal.toml:14: the evaluation has no metric 'msee'"),
        ("images = 320", "images = 31", "equal.toml:13: images = 31 is less than one step of narrow"),
        ("images = 320", "flops = 9.0", "equal.toml:13: flops = 9 is less than one step of narrow"),
        ("images = 320", "seconds = 1e-7", "equal.toml:13: seconds = 1e-07 is less than one step of narrow"),
        ("images = 320", 'images = 320\nmetrics = ["fid"]', "equal.toml:14: the evaluation has no metric 'fid'"),
    ],
)
def test_what_cannot_be_is_found_beforehand(cli, suite, old, new, said):
    suite.write_text(SUITE.replace(old, new))
    answer = cli(["suite", "check", suite])
    assert answer.code == 2 and said in answer.err + answer.out


def test_a_suite_of_images_alone_is_run(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "made.npz", np.random.default_rng(0).integers(0, 256, (30, 28, 28, 1), np.uint8))
    text = 'title = "Images"\nsource = "none"\n[dataset]\nname = "digits"\n[[models]]\nimages = "made.npz"\n'
    (tmp_path / "images.toml").write_text(text + 'name = "peer"\n[evaluation]\nmetrics = ["blur"]\n')
    found = cli(["suite", "run", tmp_path / "images.toml", "--out", tmp_path / "reports"])
    assert found.code == 0, found.err
    assert (tmp_path / "reports" / "images" / "leaderboard.md").exists()
    shutil.rmtree(runs_dir() / "external")
    refused = cli(["suite", "run", tmp_path / "images.toml", "--only", "report", "--out", tmp_path / "reports"])
    assert refused.code == 2 and "measure them first" in refused.err
