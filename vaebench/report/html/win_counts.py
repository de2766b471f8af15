"""Count how often each model is first, by question: a reader's first glance, and no test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.report.analysis.leaderboard import Row
from vaebench.report.figures.forest import place_of

Rows = Mapping[tuple[str, str], Mapping[str, Row]]  # (metric, protocol) -> recipe -> row


@dataclass(frozen=True, slots=True, kw_only=True)
class WinCount:
    """How often each model is first among the ranked metrics of one question that it has a value of.

    Each cell is (first alone, first with others, ranked metrics), or None for a model without any value.
    """

    question: str
    cells: Sequence[tuple[int, int, int] | None]


def win_counts(rows: Rows, names: Sequence[str]) -> list[WinCount]:
    """Count per question the metrics that are ranked, and how often each model is first, alone or with others."""
    found: dict[str, list[Mapping[str, Row]]] = {}
    for row_of in rows.values():
        if any(row.rank_low is not None for row in row_of.values()):
            found.setdefault(next(iter(row_of.values())).facts.question, []).append(row_of)
    return [
        WinCount(question=question, cells=[_cell(name, members) for name in names])
        for question, members in found.items()
    ]


def _cell(name: str, members: Sequence[Mapping[str, Row]]) -> tuple[int, int, int] | None:
    places = [place_of(row) for row_of in members if (row := row_of.get(name)) and row.rank_low is not None]
    return (places.count("first"), places.count("shared"), len(places)) if places else None
