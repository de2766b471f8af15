"""Mistakes that a new user made: each message says what is there, and what it advises works."""

import re

import pytest

MINE = '''
from dataclasses import replace

import torch
from vaebench.models.vae import vae_digits

WIDTH = 8


def mine_digits():
    """A recipe of my own."""
    return replace(vae_digits(), name="mine-digits")


class Discs:
    pass


def _helper():
    return 0
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)


@pytest.mark.parametrize(
    "command",
    [
        ["train", "./mine.py"],
        ["evaluate", "--model", "./mine.py", "--name", "x", "--dataset", "digits"],
        ["evaluate", "--all", "--metrics", "./mine.py"],
        ["evaluate", "--images", "mine.py", "--name", "x", "--reference", "./mine.py"],
    ],
)
def test_a_file_named_alone_says_what_it_defines(cli, mine, command):
    answer = cli(command)
    assert answer.code == 2 and answer.err.count("\n") == 1
    if "--reference" not in command:  # whose images are looked at first
        assert "./mine.py:NAME, where NAME is one of mine_digits, Discs" in answer.err
    assert "vae-digits" not in answer.err  # the recipes that come with vaebench are not what was meant


def test_that_advice_works(cli, mine):
    assert cli(["train", "./mine.py:mine_digits", "--steps", "1"]).code == 0
    wrong = cli(["train", "./mine.py:mine_digit"])
    assert (wrong.code, "did you mean 'mine_digits'?" in wrong.err) == (2, True)
    other = cli(["train", "./mine.py:zzz"])
    assert "choose from Discs, mine_digits" in other.err and "torch" not in other.err


def test_a_metric_without_options_says_so(cli):
    cli(["train", "vae-digits", "--steps", "1"])
    answer = cli(["evaluate", "vae-digits", "--set", "blur.foo=1"])
    assert (answer.code, answer.err) == (2, "error: blur has no option 'foo': it takes none\n")


def test_a_report_of_other_runs_is_not_replaced_in_silence(cli, places, monkeypatch, tmp_path):
    measure = ["evaluate", "vae-digits", "--metrics", "mse", "--out", tmp_path / "reports"]
    for place in ("one", "two"):
        monkeypatch.setenv("VAEBENCH_RUNS", str(tmp_path / place))
        assert cli(["train", "vae-digits", "--steps", "1"]).code == 0
        said = cli(measure)
        assert said.code == 0
        assert ("held the report of the runs in" in said.out) == (place == "two")
    assert str(tmp_path / "one") in said.out
    assert "held the report" not in cli([*measure, "--again"]).out  # it is these runs' own by now


def test_a_suite_does_not_replace_others_report_in_silence_either(cli, monkeypatch, tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'title = "Mine"\nsource = "me"\nseeds = [0]\n[dataset]\nname = "digits"\n[[models]]\nrecipe = "vae-digits"\n'
        '[budget]\nsteps = 1\nsnapshots = []\n[evaluation]\nmetrics = ["mse"]\n'
    )
    for place in ("one", "two"):
        monkeypatch.setenv("VAEBENCH_RUNS", str(tmp_path / place))
        said = cli(["suite", "run", suite, "--out", tmp_path / "reports"])
        assert said.code == 0, said.err
        assert ("held the report of the runs in" in said.out) == (place == "two")
    again = cli(["suite", "run", suite, "--only", "report", "--out", tmp_path / "reports"])
    assert "held the report" not in again.out


def test_a_study_says_every_file_that_it_drew(cli, tmp_path):
    cli(["train", "vae-digits", "--steps", "1"])
    answer = cli(["interpolate", "vae-digits", "--pairs", "1", "--frames", "3", "--gif", "--out", tmp_path / "reports"])
    (line,) = [line for line in answer.out.splitlines() if line.startswith("drawn: ")]
    drawn = line.removeprefix("drawn: ").split(", ")
    assert [re.sub(r".*\.", ".", path) for path in drawn] == [".png", ".gif"]
    from pathlib import Path

    assert all(Path(path).is_file() for path in drawn)


def test_vaebench_alone_and_a_group_alone_help(cli):
    alone = cli([])
    assert alone.code == 0 and alone.out.count("  vaebench ") == 3 and "--help" in alone.out
    group = cli(["suite"])
    assert group.code == 0 and "verdicts" in group.out and group.err == ""


def test_help_has_every_command_in_a_section(cli):
    from vaebench.cli.help import REST, SECTIONS

    said = cli(["--help"]).out
    assert f"{REST}:" not in said  # a command that no section names
    named = [name for names in SECTIONS.values() for name in names]
    assert len(named) == len(set(named))
    for name in named:
        assert re.search(rf"^  {name} +\S", said, re.M), name
        assert "Example: vaebench" in cli([name, "run", "--help"] if name == "suite" else [name, "--help"]).out
