"""Draw quality against the compute of training: a row a metric, against operations and against time, a line a model."""

import math
from collections.abc import Sequence
from typing import get_args

from vaebench.core.setting_names import order_of
from vaebench.report.analysis.equal_compute import Row, Spent, by_metric
from vaebench.report.analysis.formatting import DIRECTIONS, short
from vaebench.report.compute_wording import duration, operations, seeds, what
from vaebench.report.figures import lines, svg

FILE = "compute.svg"
CAPTION = (
    "Quality against the compute of training, logarithmic: every model at parts of its training. Filled: no model has "
    "a mean at least as good for no more. Against time stand models that were trained on one machine in one way. Bars "
    "are 95 % intervals over three training seeds or more, of a single one over images."
)
MOST = 4  # metrics
KINDS: tuple[Spent, ...] = get_args(Spent)
_ROOM = 22.0


def draw_compute(table: Sequence[Row], targets: dict[tuple[str, str], float]) -> str:
    """Draw the metrics that are looked for first; empty where nothing was measured at a snapshot.

    Args:
        table: rows of ``compute.csv``.
        targets: the originals' value, of metrics where nearness to it counts, by metric and protocol.
    """
    shown = by_metric(table)[:MOST]
    kinds = [kind for kind in KINDS if any(row.on_front(kind) is not None for cells in shown for row in cells)]
    if not (shown and kinds):
        return ""
    names = sorted({row.recipe for cells in shown for row in cells}, key=order_of)
    width = 12 + (lines.WIDTH + lines.GAP) * len(kinds)
    pieces, top = lines.legend(names, width)
    for down, cells in enumerate(shown):
        for across, kind in enumerate(kinds):
            head = f"{cells[0].metric} ({cells[0].protocol.split('/')[0]}), {DIRECTIONS[cells[0].direction]}"
            target = targets.get((cells[0].metric, cells[0].protocol))
            body = [svg.fitted(0, 0, head, 62), *_panel(cells, kind, names, target)]
            place = (12 + (lines.WIDTH + lines.GAP) * across, top + (lines.HEIGHT + 14) * down)
            pieces.append(svg.shifted(*place, body))
    height = top + (lines.HEIGHT + 14) * len(shown)
    title = f"{', '.join(dict.fromkeys(cells[0].metric for cells in shown))} against the compute of training"
    return svg.picture(width, height, pieces, title, own_colours=True, more_colours=lines.colour_rules())


def in_words(table: Sequence[Row]) -> str:
    """Say every number that is drawn."""
    said = []
    for cells in by_metric(table)[:MOST]:
        for name in sorted({row.recipe for row in cells}, key=order_of):
            own = [row for row in cells if row.recipe == name]
            values = [f"{short(row.value)} after {operations(row.flops)}, {duration(row.seconds)}" for row in own]
            of = f"{name}, {seeds(own[-1])}" if own[-1].seeds == 1 else name
            said.append(f"{what(cells[0])}, of {of}: {'; '.join(values)}")
    return f"{'. '.join(said)}."


def _panel(cells: Sequence[Row], kind: Spent, names: Sequence[str], target: float | None) -> list[str]:
    drawn = [row for row in cells if row.on_front(kind) is not None and 0 < (row.spent(kind) or 0.0) < math.inf]
    if not drawn:
        return []
    ends = [end for row in drawn for end in (row.value, row.ci_low, row.ci_high) if end is not None]
    low, high = lines.with_room([*ends, *([] if target is None else [target])])
    costs = [math.log10(row.spent(kind) or 1.0) for row in drawn]
    first, last = min(costs), max(costs)

    def across(cost: float) -> float:
        room = lines.RIGHT - lines.LEFT - 2 * _ROOM
        return lines.LEFT + _ROOM + (math.log10(cost) - first) / ((last - first) or 1.0) * room

    def at(value: float) -> float:
        return lines.BOTTOM - (value - low) / (high - low) * (lines.BOTTOM - lines.TOP)

    body = [*_axis(first, last, kind, across), *lines.value_axis(low, high, at)]
    if target is not None:
        body.append(svg.line(lines.LEFT, at(target), lines.RIGHT, at(target), "reference", 1, "4 3"))
    for place, name in enumerate(names):
        own = [row for row in drawn if row.recipe == name]
        body += lines.joined(place, [(across(row.spent(kind) or 1.0), at(row.value)) for row in own])
        for row in own:
            wide = row.ci_low is not None and row.ci_high is not None and row.ci_high > row.ci_low
            ends_of = (row.ci_low or 0.0, row.ci_high or 0.0) if wide else None
            x, front = across(row.spent(kind) or 1.0), bool(row.on_front(kind))
            body += lines.mark(place, x, row.value, ends_of, at, filled=front)
    return body


def _axis(first: float, last: float, kind: Spent, across: "svg.Scale") -> list[str]:
    """Draw the horizontal axis with 1, 2 and 5 times powers of ten, as far as they do not run into each other."""
    bottom = lines.BOTTOM
    body = [svg.line(lines.LEFT, bottom, lines.RIGHT, bottom, "axis")]
    name = "operations of training" if kind == "flops" else "time of training"
    body.append(svg.text((lines.LEFT + lines.RIGHT) / 2, bottom + 36, name, "faint", "middle"))
    free = -math.inf
    for cost in _round_costs(first, last, kind):
        x, text = across(cost), operations(cost) if kind == "flops" else duration(cost)
        body.append(svg.line(x, bottom, x, bottom + 4, "axis"))
        half = len(text) * lines.LETTER / 2
        if x - half > free:
            body.append(svg.text(x, bottom + 18, text, "faint", "middle"))
            free = x + half + lines.LETTER
    return body


def _round_costs(first: float, last: float, kind: Spent) -> list[float]:
    """Return round costs between two, which are given as logarithms; the ends themselves where there are none."""
    steps = [factor * 10.0**power for power in range(int(first) - 1, int(last) + 2) for factor in (1, 2, 5)]
    if kind == "seconds":
        steps = [1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 18_000, 36_000, 72_000, 180_000, 360_000]
    within = [cost for cost in steps if first - 1e-9 <= math.log10(cost) <= last + 1e-9]
    return within if len(within) > 1 else [10.0**first, 10.0**last]
