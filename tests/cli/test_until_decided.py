"""``vaebench train --until-decided``: trains, measures and looks; goes on where it stopped; refuses what cannot be."""

import json

import pytest

from vaebench.cli import until_decided
from vaebench.core.errors import Interrupted
from vaebench.core.paths import runs_dir

SHORT = ["--precision", "fp32", "--threads", "1", "--steps", "2"]
ASK = ["--until-decided", "dfcvae-digits,vae-digits:mse"]


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """Pictures and samples take longer than such trainings."""
    monkeypatch.setattr("vaebench.evaluation.evaluate.GALLERY_SAMPLES", 2)


def trained():
    return sorted(
        f"{path.parent.parent.name}/{path.parent.name}" for path in runs_dir().glob("*/*/weights.safetensors")
    )


def test_it_adds_seeds_until_the_limit_and_goes_on_with_a_larger_one(cli):
    first = cli(["train", *ASK, "--most", "2", *SHORT])
    assert first.code == 0, first.err
    lines = first.out.splitlines()
    assert trained() == [f"{name}/seed-{seed}" for name in ("dfcvae-digits", "vae-digits") for seed in (0, 1)]
    assert "decides by mse (recon); a = dfcvae-digits, b = vae-digits" in lines
    assert any(line.startswith("2 seeds each: mse (recon), a - b = ") for line in lines)
    assert lines[-2].startswith("undecided after 2 seeds each: go on with --most 4, or see what would decide")
    more = cli(["train", *ASK, "--most", "3", "vae-digits", *SHORT])
    assert more.code == 0 and more.out.count("already trained, left as it is") == 4
    assert more.out.count("nothing new to measure") == 4
    assert len(trained()) == 6 and "3 seeds each: " in more.out
    planned = cli(["plan", "dfcvae-digits", "vae-digits", "--metric", "mse"])
    if "unresolved" in planned.out:
        named = "vaebench train --until-decided dfcvae-digits,vae-digits:mse  # or seed by seed, until it is decided"
        assert planned.out.splitlines()[-1] == named
    again = cli(["train", *ASK, "--most", "3", *SHORT])
    assert again.out.splitlines()[-2:] == more.out.splitlines()[-2:]


def test_it_stops_at_the_look_that_decides(cli):
    """The number of parameters is the same for every seed, so that three are enough."""
    answer = cli(["train", "--until-decided", "vae-digits,dcgan-digits:parameters", "--most", "9", *SHORT])
    assert answer.code == 0, answer.err
    assert any(line.startswith("decided after 3 seeds each (of 9 at most): ") for line in answer.out.splitlines())
    assert len(trained()) == 6 and "2 seeds each: " in answer.out and "4 seeds each: " not in answer.out


def test_an_interrupted_training_goes_on_by_the_same_command(cli, monkeypatch):
    whole, calls = until_decided.train_jobs, []

    def stopped(jobs, *arguments, **known):
        calls.append(jobs)
        if len(calls) == 4:
            whole(jobs, *arguments, **known)
            record = jobs[0].folder.record_file
            changed = {**json.loads(record.read_text()), "status": "training", "weights_sha256": "", "facts": {}}
            record.write_text(json.dumps(changed))
            jobs[0].folder.weights.unlink()
            raise Interrupted("saved at step 2")
        whole(jobs, *arguments, **known)

    monkeypatch.setattr(until_decided, "train_jobs", stopped)
    answer = cli(["train", *ASK, "--most", "2", *SHORT])
    assert answer.code == 130
    assert answer.err == "interrupted: saved at step 2; the same command goes on from there\n"
    assert "undecided" not in answer.out
    monkeypatch.setattr(until_decided, "train_jobs", whole)
    again = cli(["train", *ASK, "--most", "2", *SHORT])
    assert again.code == 0, again.err
    assert again.out.count("already trained, left as it is") == 3 and len(trained()) == 4
    assert "undecided after 2 seeds each" in again.out


def test_runs_of_another_length_are_refused(cli):
    assert cli(["train", "vae-digits", *SHORT[:-1], "3"]).code == 0
    answer = cli(["train", *ASK, *SHORT])
    assert answer.code == 2 and "holds a run with other steps" in answer.err and answer.err.count("\n") == 1


def test_a_recipe_that_cannot_be_measured_so_is_said_after_one_seed(cli):
    answer = cli(["train", "--until-decided", "dcgan-digits,vae-digits:mse", *SHORT])
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "dcgan-digits has no value of 'mse'" in answer.err and "decide by another metric" in answer.err
    assert len(trained()) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--until-decided", "dfcvae-digits,vae-digits:blurr"], "did you mean 'blur'?"),
        (["--until-decided", "dfcvae-digits,vae-digit:blur"], "did you mean 'vae-digits'?"),
        (["--until-decided", "vae-digits,vae-digits:blur"], "names vae-digits twice"),
        (["--until-decided", "vae-digits:blur"], "write --until-decided A,B:METRIC"),
        (["--until-decided", "vae-digits,dfcvae-digits"], "write --until-decided A,B:METRIC"),
        (["--until-decided", "a,b,c:blur"], "write --until-decided A,B:METRIC"),
        (["--until-decided", "vae-digits/seed-0,dfcvae-digits:blur"], "write --until-decided A,B:METRIC"),
        (["--until-decided", "vae-digits,vae-toyfaces:blur"], "name two on the same"),
        ([*ASK, "--most", "1"], "--most 1 is too few"),
        ([*ASK, "--seeds", "0,1"], "leave --seeds away"),
        ([*ASK, "--shard", "1/2"], "leave --shard away"),
        ([*ASK, "--all"], "leave --all away"),
        ([*ASK, "--dataset", "digits"], "leave --dataset away"),
        ([*ASK, "dcgan-digits"], "not dcgan-digits: leave it away"),
        (["vae-digits", "--most", "3"], "--most is the limit of --until-decided"),
    ],
)
def test_bad_input(cli, options, said):
    answer = cli(["train", *options, *SHORT])
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not runs_dir().exists()


def test_several_processes_are_refused(cli, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os._exit", lambda code: None)
    answer = cli(["train", *ASK, *SHORT])
    assert answer.code == 2 and "start it without torchrun" in answer.err


def test_a_recipe_of_ones_own_file_is_named_as_an_argument(cli, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import replace\n"
        "from vaebench.runs.recipes import find_recipe\n\n"
        "def small():\n"
        "    return replace(find_recipe('vae-digits')[0], name='small-digits', hyperparameters={'latent_dim': 2})\n"
    )
    ask = ["--until-decided", "small-digits,vae-digits:mse", "--most", "2"]
    assert cli(["train", f"{mine}:small", *ask, *SHORT]).code == 0
    assert "small-digits/seed-1" in trained()
