"""Tables edited by a hand that wants them to pass: each edit of a good table, and the exit code that it must give.

The table is an accepted one of this project, from real trainings.
"""

import csv
from pathlib import Path

import pytest

from vaebench.core.subjects import is_model

BASELINES = Path(__file__).parents[2] / "baselines"


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def row_of(rows, metric, recipe=None, protocol=""):
    """The first row of a metric that has a value; of a model unless a recipe is named."""
    return next(
        row
        for row in rows
        if row["metric"] == metric
        and row["value"]
        and protocol in row["protocol"]
        and (row["recipe"] == recipe if recipe else is_model(row["recipe"]))
    )


def scaled(row, factor):
    """All numbers of a row worsened together, so that its columns agree."""
    for name in ("value", "std_error", "ci_low", "ci_high"):
        row[name] = f"{float(row[name]) * factor:.10g}" if row[name] else ""
    words = (word.split("=") for word in row["by_seed"].split())
    row["by_seed"] = " ".join(f"{seed}={float(value) * factor:.10g}" for seed, value in words)


def without_error(row, factor):
    scaled(row, factor)
    for name in ("std_error", "ci_low", "ci_high", "df"):
        row[name] = ""


EDITS = {  # what is done to the candidate, and the exit code
    "nothing": (lambda rows: None, 0),
    "mse times 100": (lambda rows: scaled(row_of(rows, "mse"), 100), 1),
    "mse times 3": (lambda rows: scaled(row_of(rows, "mse"), 3), 1),
    "fcd times 3": (lambda rows: scaled(row_of(rows, "fcd"), 3), 1),
    "mse times 1.5, of all recipes": (
        lambda rows: [scaled(row, 1.5) for row in rows if row["metric"] == "mse" and row["value"]],
        1,
    ),
    "a deleted row": (lambda rows: rows.remove(row_of(rows, "mse")), 1),
    "a value taken out": (lambda rows: row_of(rows, "ssim").update(value="", by_seed="", ci_low="", ci_high=""), 1),
    "mse of -1": (lambda rows: scaled(row_of(rows, "mse"), -1), 2),
    "ssim of 1.7": (lambda rows: row_of(rows, "ssim").update(value="1.7", by_seed="", ci_low="", ci_high=""), 2),
    "nll of -1": (lambda rows: row_of(rows, "nll").update(value="-1", by_seed="", ci_low="", ci_high=""), 2),
    "a hundredfold without a standard error": (lambda rows: without_error(row_of(rows, "mse"), 100), 1),
    "another real row": (lambda rows: scaled(row_of(rows, "blur", "real"), 0.7), 2),
    "an interval beside the value": (lambda rows: row_of(rows, "mse").update(ci_high="0.0001", ci_low="0"), 2),
    "an interval of another width": (lambda rows: row_of(rows, "nll").update(ci_low="100", ci_high="900"), 2),
    "a value that its seeds do not have": (lambda rows: row_of(rows, "fcd").update(value="0.5"), 2),
    "more seeds than were trained": (lambda rows: row_of(rows, "mse").update(seeds="10"), 2),
    "an unknown column": (lambda rows: [row.update(stderr="0") for row in rows], 2),
    "a row twice": (lambda rows: rows.append(dict(row_of(rows, "mse"))), 2),
    "a negative standard error": (lambda rows: row_of(rows, "mse").update(std_error="-1"), 2),
    "other data": (lambda rows: [row.update(data_fingerprint="0" * 64) for row in rows], 2),
}


@pytest.mark.skipif(not BASELINES.exists(), reason="an installed copy has no accepted tables")
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_gives_its_exit_code(name, tmp_path, cli):
    edit, code = EDITS[name]
    accepted = BASELINES / "digits.csv"
    rows = rows_of(accepted)
    edit(rows)
    write(tmp_path / "new.csv", rows)
    answer = cli(["check", tmp_path / "new.csv", "--baseline", accepted])
    assert answer.code == code, answer
    if code == 2:
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1
        assert "new.csv" in answer.err
    if name == "nothing":
        assert "identical" in answer.out and "regression" not in answer.out


@pytest.mark.skipif(not BASELINES.exists(), reason="an installed copy has no accepted tables")
@pytest.mark.parametrize("table", ["digits.csv", "toyfaces.csv"])
def test_every_valued_row_of_the_accepted_tables_is_gated(table):
    rows = [row for row in rows_of(BASELINES / table) if row["value"] and is_model(row["recipe"])]
    assert rows and all(row["margin"] not in ("", "none") for row in rows)
