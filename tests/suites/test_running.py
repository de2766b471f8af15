"""Suites through the command line: what is missing is trained and measured, what is there is left."""

import re
import shutil

import numpy as np
import pytest

from vaebench.core.paths import runs_dir
from vaebench.runs.recipes import find_recipe, open_dataset
from vaebench.suites import work
from vaebench.suites.reading import read_suite
from vaebench.suites.work import jobs_of
from vaebench.training.compute import choose
from vaebench.training.operations import training_flops

SUITE = """\
title = "Two recipes and somebody's images"
source = "made up"
seeds = [0, 1]
[dataset]
name = "digits"
[[models]]
recipe = "vae-digits"
[[models]]
recipe = "vae-digits"
settings = { latent_dim = 3 }
[[models]]
images = "made.npz"
name = "peer"
[budget]
steps = 3
[evaluation]
metrics = ["blur", "mse"]
samples = 40
[[studies]]
study = "sample"
models = ["vae-digits"]
options = { count = 4 }
[[claims]]
says = "Fewer latents cost detail"
where = "nowhere"
published = "made up"
claim = "mse: vae-digits[latent_dim=3] > vae-digits"
"""
NAMES = ["vae-digits", "vae-digits[latent_dim=3]"]


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "made.npz", draw.integers(0, 256, (30, 28, 28, 1), np.uint8))
    return path


def test_a_suite_is_run_whole_and_a_second_run_does_nothing(cli, suite, tmp_path):
    first = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert first.code == 0, first.err
    trained = [f"{name}/seed-{seed}" for seed in (0, 1) for name in NAMES]
    assert all((runs_dir() / run / "weights.safetensors").exists() for run in trained)
    board = (tmp_path / "reports" / "mine" / "leaderboard.csv").read_text(encoding="utf-8")
    assert all(name in board for name in (*NAMES, "external/peer"))
    again = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert again.code == 0 and again.out.count("already trained, left as it is") == 4
    assert "1 claim: " in first.out and "Fewer latents cost detail" in first.out  # two seeds: it may be undecided
    page = (tmp_path / "reports" / "mine" / "leaderboard.md").read_text(encoding="utf-8")
    assert page.index("Fewer latents cost detail") < page.index("| metric")
    assert "sample.png" in first.out and "sample.png" not in again.out
    status = cli(["suite", "status", suite])
    assert status.code == 0 and status.out.count("3 of 3") == 4
    assert "4 of 4 trained; nothing of training left" in status.out


def test_what_was_deleted_is_trained_alone_and_parts_are_run_apart(cli, suite, tmp_path):
    assert cli(["suite", "run", suite, "--only", "train", "--shard", "1/2"]).code == 0
    assert len(list(runs_dir().glob("*/seed-*/weights.safetensors"))) == 2
    status = cli(["suite", "status", suite])
    assert "2 of 4 trained; " in status.out and status.out.count("0 of 3") == 2
    early = cli(["suite", "run", suite, "--only", "evaluate", "--out", tmp_path / "reports"])
    assert early.code == 0 and early.out.count("is not trained yet, and not measured") == 2
    assert cli(["suite", "run", suite, "--only", "train"]).code == 0
    shutil.rmtree(runs_dir() / "vae-digits" / "seed-1")
    again = cli(["suite", "run", suite, "--only", "train"])
    assert again.out.count("already trained") == 3 and again.out.count(": trained, in ") == 1
    assert "report" not in again.out and not (tmp_path / "reports" / "mine" / "index.html").exists()


def test_a_suite_with_a_fault_is_refused_before_anything_runs(cli, suite):
    suite.write_text(SUITE.replace('"blur"', '"blru"'))
    for command in ("run", "status", "check"):
        answer = cli(["suite", command, suite])
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert f"{suite}:17: no metric 'blru': did you mean 'blur'" in answer.err
    assert not runs_dir().exists()
    answer = cli(["suite", "run", suite, "--shard", "1/2"])
    assert answer.code == 2


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        ("", [None, None]),
        ("[budget]\nsteps = 7", [7, 7]),
        ("[budget]\nimages = 1000", [31, 31]),  # batches of 32
        ("[budget]\nepochs = 2", [None, None]),
    ],
)
def test_a_budget_is_steps_of_each_recipe(suite, budget, steps):
    suite.write_text(SUITE.replace("[budget]\nsteps = 3", budget))
    jobs = jobs_of(read_suite(suite), choose)
    assert [job.steps for job in jobs] == steps * 2
    assert [job.seed for job in jobs] == [0, 0, 1, 1]
    assert {job.epochs for job in jobs} == ({2} if "epochs" in budget else {None})


def test_a_budget_of_operations_gives_less_steps_to_what_costs_more(suite):
    recipe, data = find_recipe("vae-digits")[0], open_dataset("digits").load("train")
    each = training_flops(recipe, data)
    other = find_recipe("vaewgan-digits")[0]
    text = SUITE.replace("steps = 3", f"flops = {10.5 * each}")
    suite.write_text(text.replace('"vae-digits"\nsettings = { latent_dim = 3 }', '"vaewgan-digits"'))
    first, second, *_ = jobs_of(read_suite(suite), choose)
    assert (first.steps, second.steps) == (10, int(10.5 * each / training_flops(other, data)))
    assert second.steps < 10
    suite.write_text(text.replace(f"{10.5 * each}", "1000.0"))
    with pytest.raises(work.UserError, match=r"mine.toml:15: flops = 1000 is less than one step of vae-digits"):
        jobs_of(read_suite(suite), choose)


def test_operations_of_a_step_by_hand():
    """Of the MNIST article's networks: two a weight and place, forward once, backward twice but for the images."""
    first, last = 2 * 9 * 1 * 32 * 28**2, 2 * 9 * 32 * 1 * 28**2
    encoder = first + 2 * 9 * (32 * 64 + 2 * 64 * 64) * 14**2 + 2 * (64 * 14**2 * 32 + 2 * 32 * 5)
    decoder = 2 * 5 * 64 * 14**2 + 2 * 9 * 64 * 32 * 14**2 + last
    recipe, data = find_recipe("vae-digits")[0], open_dataset("digits").load("train")
    assert training_flops(recipe, data) == 32 * (3 * (encoder + decoder) - first)


def test_a_budget_of_seconds_is_measured_once(suite, monkeypatch, cli):
    suite.write_text(SUITE.replace("steps = 3", "seconds = 0.5"))
    jobs = jobs_of(read_suite(suite), choose)
    assert all(job.steps >= 1 for job in jobs)
    assert cli(["suite", "run", suite, "--only", "train"]).code == 0
    monkeypatch.setattr(work, "take_steps", lambda *_: pytest.fail("measured again"))
    again = jobs_of(read_suite(suite), choose)
    assert all(job.steps == job.folder.read_record().steps for job in again)


def test_the_suites_that_come_with_vaebench_are_listed(cli):
    answer = cli(["suite", "list"])
    assert answer.code == 0 and re.search(r"^digits +digits +4 +1 +0 ", answer.out, re.M)
