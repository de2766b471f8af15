"""Count how often each model is first, by question: a reader's first glance, and no test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.report.analysis.leaderboard import Row
from vaebench.report.figures.forest import place_of

Rows = Mapping[tuple[str, str], Mapping[str, Row]]  # (metric, protocol) -> recipe -> row


@dataclass(frozen=True, slots=True, kw_only=True)
class WinCount:
    """How often a model is first among the metrics of one question."""

    question: str
    ranked: int
    cells: Sequence[tuple[int, int]]  # alone first, first with others


def win_counts(rows: Rows, names: Sequence[str]) -> list[WinCount]:
    """Count per question the metrics that are ranked, and how often each model is first, alone or with others."""
    found: dict[str, list[Mapping[str, Row]]] = {}
    for row_of in rows.values():
        if any(row.rank_low is not None for row in row_of.values()):
            found.setdefault(next(iter(row_of.values())).facts.question, []).append(row_of)
    return [
        WinCount(
            question=question,
            ranked=len(members),
            cells=[
                (
                    sum(name in row_of and place_of(row_of[name]) == "first" for row_of in members),
                    sum(name in row_of and place_of(row_of[name]) == "shared" for row_of in members),
                )
                for name in names
            ],
        )
        for question, members in found.items()
    ]
