"""Draw forest plots: each model's value of a metric with its interval, beside the originals' if there are any."""

from collections.abc import Sequence
from dataclasses import dataclass

from vaebench.core.setting_names import own_name
from vaebench.core.subjects import is_baseline, is_model, is_real, title_of
from vaebench.report.analysis.formatting import DIRECTIONS, short
from vaebench.report.analysis.leaderboard import Row
from vaebench.report.figures import svg

MOST = 8  # panels of the overview
WIDTH, LINE, FOOT = 430.0, 23.0, 24.0
_LEFT, _RIGHT = 150.0, 345.0  # of the axis; names stand on its left, values on its right


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One line of a forest plot; ``place`` is ``first``, ``shared`` (first, with others), ``originals`` or empty."""

    name: str
    value: float
    low: float
    high: float
    place: str


def place_of(row: Row) -> str:
    """Classify a row: ``first`` alone, ``shared`` if the data leave open who is first, else empty."""
    if is_real(row.recipe):
        return "originals"
    if row.rank_low != 1:
        return ""
    return "first" if row.rank_high == 1 else "shared"


def marks(rows: Sequence[Row]) -> list[Mark]:
    """List the rows of one metric, protocol and stratum that have values; the originals first."""
    found = []
    for row in rows:
        if row.value is not None and not is_baseline(row.recipe):
            low, high = (row.value if end is None else end for end in (row.ci_low, row.ci_high))
            name = title_of(row.recipe)
            found.append(Mark(name=name, value=row.value, low=low, high=high, place=place_of(row)))
    return sorted(found, key=lambda mark: mark.place != "originals")


def panel(lines: Sequence[Mark], target: bool) -> tuple[list[str], float]:
    """Draw one panel: return its elements and its height; the originals are a line through all if ``target``."""
    low, high = min(mark.low for mark in lines), max(mark.high for mark in lines)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    bottom = LINE * len(lines) + 4

    def at(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT)

    body = [svg.line(_LEFT, bottom, _RIGHT, bottom, "axis")]
    shown = svg.ticks(low, high)
    step = shown[1] - shown[0] if len(shown) > 1 else abs(shown[0])
    for tick in shown:
        body += [svg.line(at(tick), bottom, at(tick), bottom + 4, "axis")]
        body += [svg.text(at(tick), bottom + 17, svg.tick_text(tick, step), "faint", "middle")]
    for mark in lines:
        if target and mark.place == "originals":
            body.append(svg.line(at(mark.value), 2, at(mark.value), bottom, "reference", 1, "4 3"))
    for position, mark in enumerate(lines):
        y = LINE * (position + 0.5) + 2
        settings = len(mark.name) - len(own_name(mark.name))  # what tells the recipes of a sweep apart
        body += [svg.fitted(_LEFT - 10, y + 4, mark.name, 21, "ink", "end", ending=settings)]
        if mark.high > mark.low:
            body.append(svg.line(at(mark.low), y, at(mark.high), y, "interval", 2))
        shape = svg.diamond if mark.place == "originals" else svg.circle
        body.append(shape(at(mark.value), y, 4.5, "diamond" if mark.place == "originals" else mark.place or "dot"))
        body.append(svg.text(WIDTH - 2, y + 4, short(mark.value), "ink", "end"))
    return body, bottom + FOOT


def forest(rows: Sequence[Row]) -> str:
    """Draw one metric's plot for a page, which colours it; empty if nothing has a value."""
    lines = marks(rows)
    if not lines:
        return ""
    body, height = panel(lines, rows[0].direction == "target")
    return svg.picture(WIDTH, height, body, f"{rows[0].metric} ({rows[0].protocol}): values and 95 % intervals")


def forest_svg(ranked: Sequence[Row]) -> str:
    """Draw ``figures/forest.svg``: at most eight metrics that a reader looks for first, two beside each other.

    Empty where none of them was measured.
    """
    panels = []
    for part, rows in headlines(ranked):
        body, height = panel(marks(rows), rows[0].direction == "target")
        what = f"{rows[0].metric} ({part}), {DIRECTIONS[rows[0].direction]}"
        panels.append(([svg.fitted(10, 0, what, 62), svg.shifted(0, 10, body)], height + 44))
    if not panels:
        return ""
    pieces, top = [], 30.0
    for start in range(0, len(panels), 2):
        pair = panels[start : start + 2]
        pieces += [svg.shifted(12 + (WIDTH + 36) * side, top, body) for side, (body, _) in enumerate(pair)]
        top += max(height for _, height in pair)
    width = 12 + (WIDTH + 36) * min(2, len(panels))
    title = "Values and 95 % intervals of the metrics that are looked for first"
    return svg.picture(width, top - 14, pieces, title, own_colours=True)


def headlines(ranked: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """List the headline metrics that a model has a value of, in their order, each with a word for its protocol.

    One that stands in for another is left out where that one is there.
    """
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(ranked, key=lambda row: (row.facts.headline, row.metric, row.protocol)):
        if row.stratum == "all" and row.facts.headline:
            cells.setdefault((row.metric, row.protocol), []).append(row)
    found: dict[tuple[str, int], list[Row]] = {}  # of several protocols, the first
    for rows in cells.values():
        if any(is_model(row.recipe) for row in _valued(rows)):
            found.setdefault((rows[0].metric, rows[0].facts.headline), rows)
    present = {metric for metric, _ in found}
    shown = [rows for rows in found.values() if rows[0].facts.stands_in_for not in present]
    return [(_protocol_word(rows[0]), rows) for rows in shown[:MOST]]


def _protocol_word(row: Row) -> str:
    return row.facts.column if row.facts.column and not row.facts.study else row.protocol.split("/")[0]


def _valued(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.value is not None and not is_baseline(row.recipe)]
