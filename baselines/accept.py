"""Make a measured table the accepted one, with margins that its seeds can decide. See README.md beside this file.

python baselines/accept.py reports/digits/leaderboard.csv baselines/digits.csv
"""

import csv
import io
import math
import sys
from pathlib import Path

from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.margin import read_margin

STRATUM = "all"  # the gate reads no other
DEVIATIONS = 6  # between training seeds: what a margin must at least span, so that three seeds a side decide
WIDEST = 0.3  # of the value: what scatters more is not gated

Row = dict[str, str]


def main(arguments: list[str]) -> None:
    """Write the accepted table: the measured values, and margins as declared or as wide as the seeds scatter."""
    if len(arguments) != 2:
        raise UserError("usage: python baselines/accept.py MEASURED.csv ACCEPTED.csv")
    with Path(arguments[0]).open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["stratum"] == STRATUM]
    real = {(row["metric"], row["protocol"]): row["value"] for row in rows if row["recipe"] == "real"}
    for row in rows:
        row["margin"] = _margin(row, real.get((row["metric"], row["protocol"]), ""))
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(Path(arguments[1]), out.getvalue())


def _margin(row: Row, real: str) -> str:
    """As declared, or wider: a share of the value (of the real images' for a target), in whole percent."""
    declared = read_margin(row["margin"], f"{row['recipe']}, {row['metric']}")
    if declared is None or not row["value"] or row["recipe"] == "real" or row["recipe"].startswith("baseline/"):
        return row["margin"]
    if not row["std_error"] or not row["df"]:
        return "none"  # three seeds that agree to the last digit say nothing of the fourth
    reference = abs(float(real if row["direction"] == "target" else row["value"]))
    scatter = DEVIATIONS * float(row["std_error"]) * math.sqrt(int(row["seeds"]))
    if scatter <= declared.of(reference):
        return row["margin"]
    share = math.ceil(100 * scatter / reference) / 100 if reference else math.inf
    return f"{100 * share:.0f}%" if share <= WIDEST else "none"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
