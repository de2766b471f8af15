"""Suites through the command line: what is missing is trained and measured, what is there is left."""

import re
import shutil

import numpy as np
import pytest

from vaebench.core.paths import runs_dir
from vaebench.runs.recipes import find_recipe, open_dataset
from vaebench.runs.study_figures import study_folders
from vaebench.suites import work
from vaebench.suites.checking import problems
from vaebench.suites.reading import read_suite
from vaebench.suites.work import jobs_of, names_in_studies, names_of, snapshot_protocol_of
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


def test_other_seconds_are_other_steps_whatever_was_trained_before(suite, monkeypatch, cli):
    """A run that is there already was trained for another budget, or for none."""
    assert cli(["train", "vae-digits", "--steps", "3"]).code == 0
    rate = type("Steps", (), {"rate": 320.0})
    monkeypatch.setattr(work, "take_steps", lambda *_: rate)
    for seconds, steps in ((1, 10), (4, 40), (1, 10)):
        suite.write_text(SUITE.replace("steps = 3", f"seconds = {seconds}"))
        assert {job.steps for job in jobs_of(read_suite(suite), choose)} == {steps}


def test_status_tells_another_training_and_earlier_weights_from_what_is_done(cli, suite):
    one = SUITE.replace("[0, 1]", "[0]").replace("settings = { latent_dim = 3 }", 'steps = 3\nname = "other"')
    suite.write_text(one.replace("vae-digits[latent_dim=3]", "other"))
    assert cli(["suite", "run", suite, "--only", "train"]).code == 0
    assert cli(["evaluate", "vae-digits", "other", "--metrics", "mse", "--samples", "40"]).code == 0
    status = cli(["suite", "status", suite])
    assert len(re.findall(" no *$", status.out, re.M)) == 2  # it asks for blur as well
    assert cli(["suite", "run", suite, "--only", "evaluate"]).code == 0
    assert cli(["suite", "status", suite]).out.count(" yes") == 2
    suite.write_text(suite.read_text().replace('name = "other"', 'name = "other"\nsettings = { latent_dim = 3 }'))
    status = cli(["suite", "status", suite])
    assert "another training" in status.out and "latent_dim is 5 there, 3 was asked for" in status.out
    assert "1 of 2 trained" in status.out
    refused = cli(["suite", "run", suite])
    assert refused.code == 2 and "latent_dim is 5 there, 3 was asked for" in refused.err


def test_a_study_means_a_model_by_its_name_in_the_tables(suite):
    located = read_suite(suite)
    assert names_in_studies(located) == {name: name for name in NAMES}
    suite.write_text(SUITE.replace('["vae-digits"]', '["vae-digits[latent_dim=3]"]'))
    assert problems(read_suite(suite)) == []
    alone = SUITE.replace('[[models]]\nrecipe = "vae-digits"\n[[', "[[", 1).replace("> vae-digits", "> external/peer")
    suite.write_text(alone)
    assert names_in_studies(read_suite(suite)) == {NAMES[1]: NAMES[1], "vae-digits": NAMES[1]}
    assert problems(read_suite(suite)) == []


def test_training_seeds_of_a_model_from_elsewhere_are_one_name(suite):
    seeds = (
        '[[models]]\nmodel = "diffusers:there"\nname = "sd@0"\n[[models]]\nmodel = "diffusers:there"\nname = "sd@1"\n'
    )
    suite.write_text(SUITE.replace("[budget]", f"{seeds}[budget]").replace("> vae-digits", "> external/sd"))
    located = read_suite(suite)
    assert names_of(located) == [*NAMES, "external/peer", "external/sd"]
    assert problems(located) == []


def test_snapshots_are_measured_by_the_suite_s_metrics_where_none_is_looked_for_first(suite):
    suite.write_text(SUITE.replace('["blur", "mse"]', '["active_units"]'))
    assert snapshot_protocol_of(read_suite(suite)).metrics == ("active_units",)


def test_a_study_that_cannot_be_made_keeps_nothing_else_from_it(cli, suite, tmp_path):
    wrong = '[[studies]]\nstudy = "interpolate"\nmodels = ["vae-digits"]\noptions = { pairz = 3 }\n'
    suite.write_text(SUITE.replace("[0, 1]", "[0]").replace("[[claims]]", f"{wrong}[[claims]]"))
    answer = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"{suite}:23: " in answer.err and "--pairz" in answer.err
    assert (tmp_path / "reports" / "mine" / "index.html").exists()
    suite.write_text(suite.read_text().replace(wrong, ""))
    assert cli(["suite", "run", suite, "--out", tmp_path / "reports"]).code == 0
    (folder,) = study_folders()
    for change in (folder.joinpath("sample.json").unlink, lambda: cli(["sample", NAMES[1]])):
        change()  # gone, or another command's: the suite's is drawn again
        again = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
        assert again.code == 0 and "sample.png" in again.out
    assert "sample.png" not in cli(["suite", "run", suite, "--out", tmp_path / "reports"]).out


def test_the_suites_that_come_with_vaebench_are_listed(cli):
    answer = cli(["suite", "list"])
    assert answer.code == 0 and re.search(r"^digits +digits +4 +1 +0 ", answer.out, re.M)
