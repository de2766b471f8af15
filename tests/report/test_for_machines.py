"""What a machine reads on standard output is one table and nothing else; what is said meanwhile is elsewhere."""

import csv
import io
import json

import numpy as np
import pytest
from handmade import drawn, write_run

from vaebench.cli import progress

SUITE = """\
title = "One recipe"
source = "made up"
seeds = [0]
[dataset]
name = "digits"
[[models]]
recipe = "vae-digits"
[budget]
steps = 3
[evaluation]
metrics = ["mse"]
samples = 40
"""


@pytest.fixture(autouse=True)
def talkative(monkeypatch):
    """Every stage is told, as those of long work are."""
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)


def test_reports_of_several_datasets_are_one_table(cli, tmp_path):
    for place, dataset in enumerate(("one", "two")):
        write_run(f"vae-{dataset}", 0, {"mse": drawn(place, 30, 1.0, 0.1)}, dataset=dataset)
    report = ["report", "--out", tmp_path / "reports"]
    for _ in range(2):  # the second time nothing is new
        records = json.loads(cli([*report, "--json"]).out)
        assert {each["dataset"] for each in records} == {"one", "two"}
        rows = list(csv.DictReader(io.StringIO(cli([*report, "--csv"]).out)))
        assert [row["recipe"] for row in rows] == [each["recipe"] for each in records]


def test_trainings_and_stages_are_told_beside_a_suite_s_table(cli, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    answer = cli(["suite", "run", path, "--out", tmp_path / "reports", "--json"])
    assert answer.code == 0, answer.err
    assert {each["recipe"] for each in json.loads(answer.out)} >= {"vae-digits"}
    assert "step 3/3" in answer.err and "vae-digits/seed-0: images" in answer.err
    measured = cli(["evaluate", "vae-digits", "--metrics", "mse", "--again", "--out", tmp_path / "more", "--json"])
    assert json.loads(measured.out) and "vae-digits/seed-0: images" in measured.err


def test_an_infinite_effect_is_a_text(cli):
    for value, name in ((1.0, "one"), (2.0, "two")):
        write_run(name, 0, {"mse": np.full(30, value)})
    records = json.loads(cli(["compare", "one", "two", "--json"]).out)
    (row,) = [each for each in records if each["test"] == "paired-t"]
    assert row["effect_size"] == "-inf" and row["ci_low"] == -1.0
