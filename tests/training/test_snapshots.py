"""Snapshots of a training: the model after a share of its steps is the model of a training of that length."""

import json

import pytest

from vaebench.core.paths import runs_dir
from vaebench.runs.record import RunFolder

FAMILIES = ("vae-digits", "dfcvae-digits", "dcgan-digits", "vaewgan-digits", "blend-digits", "blendw-digits")
PLAIN = ["--threads", "1", "--precision", "fp32", "--device", "cpu"]


def tensors(folder):
    from safetensors.torch import load_file

    return load_file(folder.weights)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_snapshot_is_the_training_of_that_length(family, cli, places, monkeypatch):
    assert cli(["train", family, "--steps", "8", "--snapshots", "1/4,1/2", *PLAIN]).code == 0
    run = RunFolder(runs_dir() / family / "seed-0")
    assert [folder.path.name for folder in run.snapshots()] == ["2", "4"]
    kept, record = tensors(run.snapshot(4)), run.snapshot(4).read_record()
    assert (record.status, record.steps, record.facts["steps"]) == ("finished", 4, 4)
    assert record.facts["images"] == 4 * record.batch_size
    assert record.facts["flops"] * 2 == run.read_record().facts["flops"] > 0
    monkeypatch.setenv("VAEBENCH_RUNS", str(places / "short"))
    assert cli(["train", family, "--steps", "4", *PLAIN]).code == 0
    alone = tensors(RunFolder(runs_dir() / family / "seed-0"))
    assert kept.keys() == alone.keys() and all(kept[name].equal(alone[name]) for name in kept)


def test_an_extended_training_keeps_the_same_snapshots(cli, places, monkeypatch):
    """A training that was extended twice keeps, of what it had not reached, what a whole one keeps."""
    assert cli(["train", "vae-digits", "--steps", "10", "--snapshots", "0.3,0.6", *PLAIN]).code == 0
    whole = tensors(RunFolder(runs_dir() / "vae-digits" / "seed-0").snapshot(6))
    monkeypatch.setenv("VAEBENCH_RUNS", str(places / "stopped"))
    for steps in ("2", "4", "10"):
        assert cli(["train", "vae-digits", "--steps", steps, "--snapshots", "0.3,0.6", "--resume", *PLAIN]).code == 0
    run = RunFolder(runs_dir() / "vae-digits" / "seed-0")
    assert all(whole[name].equal(tensors(run.snapshot(6))[name]) for name in whole)


def test_snapshots_are_measured_by_name_and_stand_in_no_table(cli, places):
    assert cli(["train", "vae-digits", "--steps", "8", "--snapshots", "1/2", *PLAIN]).code == 0
    asked = ["--metrics", "mse,training_images", "--out", str(places / "out")]
    assert "vae-digits/seed-0 after 4 steps: measured" in cli(["evaluate", "vae-digits/seed-0/snapshots/4", *asked]).out
    assert cli(["evaluate", "vae-digits", *asked]).code == 0
    run = RunFolder(runs_dir() / "vae-digits" / "seed-0")
    values = [
        {line["metric"]: line["value"] for line in map(json.loads, folder.results.read_text().splitlines())}
        for folder in (run.snapshot(4), run)
    ]
    assert values[0]["mse"] != values[1]["mse"]
    assert [value["training_images"] for value in values] == [4 * 32, 8 * 32]
    board = (places / "out" / "digits" / "leaderboard.csv").read_text()
    assert board.count("vae-digits,training_images") == 1


@pytest.mark.parametrize("given", ["1", "0", "a", "1/0", "-1/2", "1/8,2", "nan"])
def test_what_is_no_share_is_refused(given, cli):
    found = cli(["train", "vae-digits", "--steps", "8", f"--snapshots={given}"])
    assert found.code == 2 and "no share of a training" in found.err and not runs_dir().exists()
