"""Make a measured table the accepted one: its values, the accepted table's margins. See README.md beside this file.

python baselines/accept.py reports/digits/leaderboard.csv baselines/digits.csv [METRIC=MARGIN ...]
"""

import csv
import io
import sys
from pathlib import Path

from vaebench.core.errors import UserError
from vaebench.core.margin import read_margin
from vaebench.core.places import write_text

KEPT = ("all",)  # strata: the gate reads no other


def main(arguments: list[str]) -> None:
    """Write the accepted table; a metric's margin given here stands above the one that was accepted before."""
    if len(arguments) < 2:
        raise UserError(f"usage: {__doc__.splitlines()[2]}")
    measured, accepted = Path(arguments[0]), Path(arguments[1])
    given = dict(setting.split("=", 1) for setting in arguments[2:])
    for metric, text in given.items():
        read_margin(text, metric)
    rows = [row for row in _read(measured) if row["stratum"] in KEPT]
    before = {_key(row): row["margin"] for row in _read(accepted)} if accepted.exists() else {}
    for row in rows:
        row["margin"] = given.get(row["metric"], before.get(_key(row), row["margin"]))
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(accepted, out.getvalue())


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _key(row: dict[str, str]) -> tuple[str, ...]:
    return row["recipe"], row["metric"], row["protocol"], row["stratum"]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
