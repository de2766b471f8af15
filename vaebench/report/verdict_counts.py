"""Marks of verdicts on claims, and how many there are of each."""

from collections.abc import Sequence

from vaebench.report.analysis.claims import FAILS, HOLDS, NOT_MEASURED, UNDECIDED

MARKS = {HOLDS: "\N{CHECK MARK}", FAILS: "\N{BALLOT X}", UNDECIDED: "?", NOT_MEASURED: "\N{EN DASH}"}
_SEVERAL = {HOLDS: "hold", FAILS: "do not hold", UNDECIDED: "undecided", NOT_MEASURED: "not measured"}


def counted(verdicts: Sequence[str]) -> str:
    """Count verdicts on claims, such as ``6 claims: 5 hold, 1 does not hold``."""
    counts = {verdict: verdicts.count(verdict) for verdict in MARKS}
    said = [f"{count} {verdict if count == 1 else _SEVERAL[verdict]}" for verdict, count in counts.items() if count]
    return f"{len(verdicts)} claim{'' if len(verdicts) == 1 else 's'}: {', '.join(said)}"
