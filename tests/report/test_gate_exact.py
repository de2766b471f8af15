"""The exact gate: stored checkpoints measured by this code, as ``tox -e gate`` does it, repeat the accepted table.

What is held against it: a metric that is off by a hundred-thousandth, a row that is gone, columns that were edited.
"""

import configparser
import csv
import json
import shutil
from pathlib import Path

import pytest

from vaebench.cli.main import main
from vaebench.metrics import latent

ROOT = Path(__file__).parents[2]
ACCEPTED = ROOT / "baselines" / "checkpoints.csv"
pytestmark = pytest.mark.skipif(not ACCEPTED.exists(), reason="an installed copy has no stored checkpoints")


def gate_commands(folder):
    """The evaluations of stored checkpoints and images, word by word, with their reports under ``folder``."""
    ini = configparser.RawConfigParser()
    ini.read(ROOT / "tox.ini", encoding="utf-8")
    lines = ini["testenv:gate"]["commands"].replace("\\\n", " ").splitlines()
    evaluations = [line.partition(" vaebench ")[2] for line in lines if line.startswith("env VAEBENCH_RUNS=")]
    assert len(evaluations) == 2
    return [line.replace("{env_tmp_dir}", str(folder)).split() for line in evaluations]


def evaluate(*commands):
    for words in commands:
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert not stopped.value.code, words


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with a copy of the stored runs, measured once, and the table; nothing in it is changed later."""
    folder = tmp_path_factory.mktemp("stored")
    shutil.copytree(ROOT / "baselines" / "checkpoints", folder / "checkpoints")
    with pytest.MonkeyPatch.context() as environment:
        environment.chdir(ROOT)
        for place, name in (("RUNS", "checkpoints"), ("CACHE", "cache"), ("DATA", "data"), ("WEIGHTS", "weights")):
            environment.setenv(f"VAEBENCH_{place}", str(folder / name))
        evaluate(*gate_commands(folder))
    return folder


@pytest.fixture
def table(stored):
    """The measured table."""
    return stored / "exact" / "digits" / "leaderboard.csv"


@pytest.fixture
def edited(table, tmp_path):
    """The measured table after an edit of its rows, each a dictionary."""

    def write(edit):
        with table.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        edit(rows)
        with (tmp_path / "new.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / "new.csv"

    return write


@pytest.fixture
def check(cli):
    return lambda new, *options: cli(["check", new, "--baseline", ACCEPTED, "--exact", *options])


def to(value, **others):
    """Cells of a row whose value is another, and which say nothing that contradicts it."""
    return {"value": value, "by_seed": "", "ci_low": "", "ci_high": "", **others}


def row_of(rows, metric, recipe="smallvae-digits"):
    return next(row for row in rows if (row["metric"], row["recipe"], row["stratum"]) == (metric, recipe, "all"))


def test_stored_checkpoints_repeat_the_accepted_values(check, table, tmp_path):
    answer = check(table, "--markdown", tmp_path / "gate.md", "--junit", tmp_path / "gate.xml")
    assert answer.code == 0, answer
    assert answer.out.endswith("rows repeat to 1e-06: passes\n") and answer.out.count("\n") == 1
    assert "passes" in (tmp_path / "gate.md").read_text() and 'failures="0"' in (tmp_path / "gate.xml").read_text()


def test_a_metric_that_is_off_by_a_hundred_thousandth_is_named(check, stored, tmp_path, monkeypatch):
    shutil.copytree(stored / "checkpoints", tmp_path / "runs")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("VAEBENCH_CACHE", str(stored / "cache"))
    exact = latent.bernoulli_nll
    monkeypatch.setattr(latent, "bernoulli_nll", lambda *given: exact(*given) * (1 + 1e-5))
    options = ["--again", "--metrics", "nll", "--device", "cpu", "--recipe-file", "baselines/smallvae.py"]
    evaluate(["evaluate", "smallvae-digits", *options, "--out", str(tmp_path / "reports")])
    answer = check(tmp_path / "reports" / "digits" / "leaderboard.csv", "--markdown", tmp_path / "gate.md")
    assert answer.code == 1, answer
    assert "smallvae-digits  nll (bernoulli/1-draw) " in answer.out and "+0.00162" in answer.out
    assert "These checkpoints did not change, so the measurement did" in answer.out
    assert "mse" not in answer.out
    summary = (tmp_path / "gate.md").read_text(encoding="utf-8")
    assert "| smallvae-digits | nll (bernoulli/1-draw) | 162.4" in summary and "accept anew" in summary


EDITS = {  # what is done to the new table, the exit code, and what is said
    "nothing": (lambda rows: None, 0, "passes"),
    "a value off by 9e-7": (lambda rows: row_of(rows, "blur").update(to("0.0290288")), 0, "passes"),
    "a value off by 2e-6": (lambda rows: row_of(rows, "blur").update(to("0.0290299")), 1, "blur (recon)"),
    "another standard error": (
        lambda rows: row_of(rows, "kl").update(std_error="0.3", ci_low="", ci_high=""),
        1,
        "kl (posterior), std_error",
    ),
    "no standard error": (
        lambda rows: row_of(rows, "kl").update(std_error="", ci_low="", ci_high="", df=""),
        1,
        "std_error is gone",
    ),
    "a deleted row": (lambda rows: rows.remove(row_of(rows, "mse")), 1, "the candidate lacks the metric"),
    "a deleted row of the real images": (lambda rows: rows.remove(row_of(rows, "diversity", "real")), 1, "real "),
    "a deleted stratum": (
        lambda rows: rows.remove(next(row for row in rows if row["stratum"] == "label=3" and row["metric"] == "kl")),
        1,
        "kl (posterior), label=3",
    ),
    "a deleted recipe": (
        lambda rows: [rows.remove(row) for row in list(rows) if row["recipe"] == "dcgan-digits"],
        1,
        "the candidate lacks the recipe",
    ),
    "a value taken out": (
        lambda rows: row_of(rows, "ssim").update(to("", note="out of memory")),
        1,
        "n/a in the candidate: out of memory",
    ),
    "a new recipe": (
        lambda rows: rows.append({**row_of(rows, "mse"), "recipe": "other-digits"}),
        0,
        "1 new: passes",
    ),
    "nan": (lambda rows: row_of(rows, "mse").update(to("nan")), 2, "value nan is not finite"),
    "a renamed column": (
        lambda rows: [row.update(valeu=row.pop("value")) for row in rows],
        2,
        "lacks the columns value",
    ),
    "an impossible value": (lambda rows: row_of(rows, "ssim").update(to("1.7")), 2, "cannot be 1.7"),
    "other data": (lambda rows: [row.update(data_fingerprint="0" * 64) for row in rows], 2, "do not compare"),
    "another protocol": (lambda rows: row_of(rows, "mse").update(protocol="crops"), 2, "do not compare"),
    "another dataset": (lambda rows: [row.update(dataset="mnist") for row in rows], 2, "two tables of one dataset"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_gives_its_exit_code(name, check, edited):
    edit, code, words = EDITS[name]
    answer = check(edited(edit))
    assert answer.code == code, answer
    assert words in (answer.err if code == 2 else answer.out)
    if code == 2:
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1


@pytest.mark.parametrize("option", [["--margin", "mse=5%"], ["--allow-missing", "mse"], ["--allow-undecided"]])
def test_options_that_excuse_a_difference_are_refused(option, check, table):
    answer = check(table, *option)
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert answer.err.startswith(f"error: {option[0]} has no meaning with --exact")


def test_a_table_without_values_accepts_nothing(cli, edited, table, tmp_path):
    empty = edited(lambda rows: [row.update(to("")) for row in rows])
    answer = cli(["check", table, "--baseline", empty, "--exact"])
    assert answer.code == 2 and "no row has a value" in answer.err


def test_machines_read_every_change(check, edited, tmp_path):
    new = edited(lambda rows: (row_of(rows, "blur").update(to("0.03")), rows.remove(row_of(rows, "mse"))))
    answer = check(new, "--json", tmp_path / "gate.json", "--junit", tmp_path / "gate.xml")
    assert answer.code == 1
    told = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert [(change["metric"], change["new"]) for change in told["changes"]] == [("blur", 0.03), ("mse", None)]
    assert told["exit_code"] == 1 and told["changes"][1]["reason"] == "the candidate lacks the metric"
    assert 'failures="2"' in (tmp_path / "gate.xml").read_text(encoding="utf-8")


def test_a_file_of_the_check_is_not_written_over(check, table):
    answer = check(table, "--markdown", table)
    assert answer.code == 2 and "another file of this check" in answer.err
