"""Verdicts of several reports as one table, through the command line: every claim once, and nothing of it is markup."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vaebench import suites
from vaebench.report.analysis.claim_rows import Row
from vaebench.report.analysis.formatting import to_csv

ROOT = Path(__file__).parents[2]
SUITE = """\
title = "One"
source = "Doe 2020"
[dataset]
name = "toy"
[[models]]
recipe = "vae"
[[claims]]
says = "Vae errs more"
where = "table 3"
published = "twice as much"
claim = "mse: vae > gan"
[[claims]]
says = "Vae beats nobody"
claim = "mse: vae > nobody"
"""
EMPTY = {
    **dict.fromkeys(("where", "published", "protocol", "values", "test", "each_seed", "note"), ""),
    **dict.fromkeys(("difference", "ci_low", "ci_high", "p_holm", "seeds_needed")),
}


@pytest.fixture(autouse=True)
def own_suites(tmp_path, monkeypatch):
    """One suite in place of vaebench's own; reports lie in the working directory."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "one.toml").write_text(SUITE)
    monkeypatch.setattr(suites, "bundled", lambda name: tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def report(tmp_path):
    """Write a report's claims, each a change of one that holds; returns the folder."""

    def write(name, *changes):
        known = {"dataset": "toy", "split": "test", "says": "Vae errs more", "source": "Doe 2020", "verdict": "holds"}
        known |= {**EMPTY, "claim": "mse: vae > gan", "seeds": 3, "data_fingerprint": "f" * 64}
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True)
        (folder / "claims.csv").write_text(to_csv(Row, [Row(**{**known, **each}) for each in changes]))
        return folder

    return write


def lines_of(cli, *folders):
    answer = cli(["suite", "verdicts", *folders])
    assert answer.code == 0, answer.err
    head, rule, *lines = answer.out.splitlines()
    assert (
        head == "| claim | in the source | verdict | difference [95 %] | report |" and rule == "|---|---|---|---|---|"
    )
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def test_without_a_report_nothing_was_measured(cli):
    assert lines_of(cli) == [
        ["**Doe 2020**", "", "", "", ""],
        ["Vae errs more", "table 3: twice as much", "not measured here", "", ""],
        ["Vae beats nobody", "", "not measured here", "", ""],
    ]


def test_a_terminal_gets_a_table_that_fits(report):
    report("toy", {"says": "Vae errs more, which is said at a length that no terminal of eighty columns shows at once"})
    env = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "vaebench", "suite", "verdicts", *map(str, Path("reports").glob("*"))]
    ran = subprocess.run(run, env=env, capture_output=True, text=True, check=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout).splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = [line for line in lines if line.startswith("Vae errs more")]
    assert re.fullmatch(r"Vae errs more, which .*…\s+holds\s+3\s+toy", line)
    assert "Doe 2020" in lines and re.fullmatch(r"[0-9]+ claims: 1 holds, [0-9]+ not measured", lines[-1])
    piped = subprocess.run([*run, "--plain"], env=env, capture_output=True, text=True, check=True)
    assert piped.stdout.startswith("| claim |") and "at once" in piped.stdout


def test_machines_get_the_same_claims_as_records(cli, report):
    report("toy", {"difference": 0.5, "ci_low": 0.25, "ci_high": 0.75, "where": "table 3"})
    read = json.loads(cli(["suite", "verdicts", "--json"]).out)
    assert [(each["says"], each["verdict"], each["difference"], each["report"]) for each in read] == [
        ("Vae errs more", "holds", 0.5, "reports/toy/leaderboard.md"),
        ("Vae beats nobody", "not measured", None, ""),
    ]
    rows = list(csv.DictReader(io.StringIO(cli(["suite", "verdicts", "--csv"]).out)))
    assert [row["claim"] for row in rows] == [each["claim"] for each in read] == ["mse: vae > gan", "mse: vae > nobody"]
    assert (rows[0]["seeds"], rows[1]["seeds"]) == ("3", "")


@pytest.mark.parametrize(
    ("changes", "verdict", "difference"),
    [
        ({"difference": 0.5, "ci_low": 0.25, "ci_high": 0.75}, "holds (3 seeds)", "0.5000 [0.2500, 0.7500]"),
        ({"verdict": "does not hold", "difference": -1.0, "seeds": 1}, "does not hold (1 seed)", "-1.000"),
        ({"verdict": "undecided", "seeds_needed": 8}, "undecided (3 seeds, 8 would decide)", ""),
        ({"verdict": "undecided", "seeds": 0}, "undecided", ""),
    ],
)
def test_a_verdict_is_short(cli, report, changes, verdict, difference):
    report("toy", changes)
    _, measured, _ = lines_of(cli)
    assert measured[2:] == [verdict, difference, "[toy, test](reports/toy/leaderboard.md)"]


def test_every_report_that_measured_a_claim_is_linked_and_one_that_did_not_is_passed_over(cli, report):
    lacking = {"verdict": "not measured", "note": "vae was not measured"}
    report("a", {})
    report("b", {"verdict": "undecided"}, {"claim": "mse: vae > nobody", **lacking})
    report("c", lacking)
    (report("d").parent / "no claims").mkdir()
    _, first, second, nobody = lines_of(cli)
    assert [first[2], second[2], nobody[2]] == ["holds (3 seeds)", "undecided (3 seeds)", "not measured here"]
    assert "(reports/a/" in first[4] and "(reports/b/" in second[4] and nobody[4] == ""
    _, again, _ = lines_of(cli, "reports/b")
    assert again == second


def test_claims_of_other_sources_follow(cli, report):
    mine = {"says": "Mine is best", "claim": "mse: mine < gan", "source": "my notes"}
    report("toy", mine, {**mine, "claim": "mse: mine < vae", "verdict": "not measured"}, {})
    words = [line[0] for line in lines_of(cli)]
    assert words[3:] == ["**my notes**", "Mine is best", "Mine is best"]


def test_what_a_source_prints_is_cut_at_a_word(cli, report):
    report("toy", {"where": "table 1", "published": "word " * 100, "source": "Roe"})
    printed = lines_of(cli)[-1][1]
    assert printed.startswith("table 1: word") and printed.endswith("word …") and len(printed) <= 72


def test_text_of_others_is_no_markup(cli, report):
    report("a b", {"says": "<b>x</b> | ![y](http://z)", "source": "=HYPERLINK(1)", "claim": "mse: vae < gan"})
    answer = cli(["suite", "verdicts"])
    assert "&lt;b>x&lt;/b> \\| ![y]&#40;http://z)" in answer.out
    assert "**=HYPERLINK(1)**" in answer.out and "(reports/a%20b/leaderboard.md)" in answer.out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",holds,", ",probably,", "line 2 cannot be read (Invalid enum value 'probably'"),
        (",3,", ",three,", "line 2 cannot be read (Expected `int`, got `str`"),
        ("vae > gan", "vae beats gan", "line 2 cannot be read (claim 'mse: vae beats gan': 'beats gan' after 'vae'"),
        ("verdict", "judgement", "line 2 cannot be read (Object missing required field `verdict`"),
        ("says", '"sa"ys', "cannot be read (',' expected after"),
    ],
)
def test_a_table_that_cannot_be_read_is_exit_code_2(cli, report, old, new, said):
    path = report("toy", {}) / "claims.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    answer = cli(["suite", "verdicts"])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"claims.csv{',' if 'line' in said else ''} {said}" in answer.err
    assert "make the report again with 'vaebench report'" in answer.err


def test_a_folder_that_is_no_report_is_exit_code_2(cli):
    answer = cli(["suite", "verdicts", "nowhere"])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "nowhere has no claims.csv: give a dataset's report, such as reports/mnist" in answer.err
