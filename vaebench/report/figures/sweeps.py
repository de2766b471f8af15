"""Draw sweeps: each headline metric against the values of one setting, a line a recipe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.core.setting_names import spelled_key
from vaebench.core.subjects import REAL
from vaebench.report.analysis.formatting import DIRECTIONS, short
from vaebench.report.analysis.leaderboard import Row
from vaebench.report.analysis.sweeps import Sweep
from vaebench.report.figures import lines, svg
from vaebench.report.figures.forest import headlines

LOGARITHMIC = 20.0  # times the least value: from there on the horizontal axis is logarithmic


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure as text, with its caption and what stands for it where it cannot be seen."""

    file: str
    drawing: str
    caption: str
    alternative: str


def draw_sweeps(found: Sequence[Sweep], ranked: Sequence[Row]) -> list[Drawn]:
    """Draw a figure for each sweep of which a headline metric has values at two points or more."""
    figures = []
    for sweep in found:
        panels = [(word, rows) for word, rows in headlines(ranked) if _is_drawn(sweep, rows)]
        if panels:
            figures.append(
                Drawn(
                    file=f"sweep_{spelled_key(sweep.key)}.svg",
                    drawing=_figure(sweep, panels),
                    caption=_caption(sweep, panels),
                    alternative=_in_words(sweep, panels),
                )
            )
    return figures


def _valued(rows: Sequence[Row]) -> dict[str, Row]:
    return {row.recipe: row for row in rows if row.value is not None}


def _is_drawn(sweep: Sweep, rows: Sequence[Row]) -> bool:
    known = _valued(rows)
    return any(len({point.value for point in line.points if point.recipe in known}) > 1 for line in sweep.lines)


def _is_logarithmic(sweep: Sweep) -> bool:
    numbers = [point.number for point in sweep.points if point.number is not None]
    return sweep.numeric and min(numbers) > 0 and max(numbers) / min(numbers) >= LOGARITHMIC


def _originals(rows: Sequence[Row]) -> Row | None:
    """Return the row of the real images, where nearness to them counts."""
    return _valued(rows).get(REAL) if rows[0].direction == "target" else None


def _caption(sweep: Sweep, panels: Sequence[tuple[str, Sequence[Row]]]) -> str:
    steps = sorted({point.steps for point in sweep.points})
    beside = (
        f" Trainings took {steps[0]:,} to {steps[-1]:,} steps: the setting is not all they differ in."
        if len(steps) > 1
        else ""
    )
    originals = ", a dashed line without points is the originals" if any(_originals(rows) for _, rows in panels) else ""
    scale = f"{sweep.key} (logarithmic)" if _is_logarithmic(sweep) else sweep.key
    return (
        f"Metrics that are looked for first against {scale}, everything else alike along a line; means over training "
        f"seeds, bars are 95 % intervals{originals}.{beside}"
    )


def _in_words(sweep: Sweep, panels: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """Say every number that is drawn."""
    said = []
    for word, rows in panels:
        known = _valued(rows)
        for line in sweep.lines:
            values = [
                f"{point.value}: {short(known[point.recipe].value)}{_interval(known[point.recipe])}"
                for point in line.points
                if point.recipe in known
            ]
            if values:
                said.append(f"{rows[0].metric} ({word}) of {line.name}: {', '.join(values)}")
    return f"Against {sweep.key}. {'; '.join(said)}."


def _interval(row: Row) -> str:
    ends = _ends(row)
    return f" ({short(ends[0])} to {short(ends[1])})" if ends else ""


def _ends(row: Row) -> tuple[float, float] | None:
    """Return the ends of a value's interval, if it has any width."""
    if row.ci_low is None or row.ci_high is None or row.ci_high <= row.ci_low:
        return None
    return row.ci_low, row.ci_high


def _figure(sweep: Sweep, panels: Sequence[tuple[str, Sequence[Row]]]) -> str:
    width = 12 + (lines.WIDTH + lines.GAP) * min(2, len(panels))
    pieces, top = lines.legend([line.name for line in sweep.lines], width)
    places = _places(sweep)
    for position, (word, rows) in enumerate(panels):
        what = f"{rows[0].metric} ({word}), {DIRECTIONS[rows[0].direction]}"
        body = [svg.fitted(0, 0, what, 62), *_panel(sweep, rows, places)]
        across, down = position % 2, position // 2
        pieces.append(svg.shifted(12 + (lines.WIDTH + lines.GAP) * across, top + (lines.HEIGHT + 14) * down, body))
    height = top + (lines.HEIGHT + 14) * math.ceil(len(panels) / 2)
    title = f"{', '.join(dict.fromkeys(rows[0].metric for _, rows in panels))} against {sweep.key}"
    return svg.picture(width, height, pieces, title, own_colours=True, more_colours=lines.colour_rules())


def _places(sweep: Sweep) -> dict[str, float]:
    """Return where each value stands on the horizontal axis: a number by its size, a category by its order."""
    numbers = {point.value: point.number for point in sweep.points if point.number is not None}
    values = sweep.values
    if sweep.numeric:
        scale = {value: math.log(number) if _is_logarithmic(sweep) else number for value, number in numbers.items()}
    else:
        scale = {value: float(place) for place, value in enumerate(values)}
    low, high = min(scale.values()), max(scale.values())
    room = 26.0
    reach = (high - low) or 1.0
    return {
        value: lines.LEFT + room + (scale[value] - low) / reach * (lines.RIGHT - lines.LEFT - 2 * room)
        for value in values
    }


def _panel(sweep: Sweep, rows: Sequence[Row], places: Mapping[str, float]) -> list[str]:
    known = _valued(rows)
    drawn = [known[point.recipe] for point in sweep.points if point.recipe in known]
    real = _originals(rows)
    ends = [end for row in drawn for end in (row.value, row.ci_low, row.ci_high) if end is not None]
    ends += [real.value] if real is not None and real.value is not None else []
    low, high = lines.with_room(ends)

    def at(value: float) -> float:
        return lines.BOTTOM - (value - low) / (high - low) * (lines.BOTTOM - lines.TOP)

    body = [*_axis(sweep.key, places), *lines.value_axis(low, high, at)]
    if real is not None and real.value is not None:
        body.append(svg.line(lines.LEFT, at(real.value), lines.RIGHT, at(real.value), "reference", 1, "4 3"))
    for place, line in enumerate(sweep.lines):
        beside = 5.0 * (place - (len(sweep.lines) - 1) / 2) if len(sweep.lines) <= len(lines.COLOURS) else 0.0
        marks = [(places[point.value] + beside, known[point.recipe]) for point in line.points if point.recipe in known]
        if sweep.numeric:  # between categories there is nothing that a line could stand for
            body += lines.joined(place, [(x, at(row.value or 0.0)) for x, row in marks])
        for x, row in marks:
            body += lines.mark(place, x, row.value or 0.0, _ends(row), at)
    return body


def _axis(key: str, places: Mapping[str, float]) -> list[str]:
    """Draw the horizontal axis, and the values below it as far as they do not run into each other."""
    body = [svg.line(lines.LEFT, lines.BOTTOM, lines.RIGHT, lines.BOTTOM, "axis")]
    body.append(svg.text((lines.LEFT + lines.RIGHT) / 2, lines.BOTTOM + 36, key, "faint", "middle"))
    letters = max(4, int((lines.RIGHT - lines.LEFT) / max(1, len(places)) / lines.LETTER))
    free = -math.inf
    for value, x in places.items():
        body.append(svg.line(x, lines.BOTTOM, x, lines.BOTTOM + 4, "axis"))
        half = min(len(value), letters) * lines.LETTER / 2
        if x - half > free:
            body.append(svg.fitted(x, lines.BOTTOM + 18, value, letters, "faint", "middle"))
            free = x + half + lines.LETTER / 2
    return body
