"""Draw sweeps: each headline metric against the values of one setting, a line a recipe."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.core.setting_names import spelled_key
from vaebench.core.subjects import REAL
from vaebench.report.analysis.formatting import DIRECTIONS, short
from vaebench.report.analysis.leaderboard import Row
from vaebench.report.analysis.sweeps import Line, Sweep
from vaebench.report.figures import svg
from vaebench.report.figures.forest import headlines

WIDTH, HEIGHT, GAP = 430.0, 214.0, 36.0  # of a panel, and between two beside each other
_LEFT, _RIGHT, _TOP, _BOTTOM = 74.0, 418.0, 14.0, 168.0  # of a panel's axes
LOGARITHMIC = 20.0  # times the least value: from there on the horizontal axis is logarithmic
_LETTER = 6.6  # about the width of a digit
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_COLOURS = ("#0b62a8", "#1a7f4b", "#7a3e9d", "#b3246b", "#59636e")  # none of them is the originals'
_ON_DARK = ("#6cb6ff", "#62c48d", "#c69be6", "#f58ab8", "#9aa4af")


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
    if row.ci_low is None or row.ci_high is None or row.ci_high <= row.ci_low:
        return ""
    return f" ({short(row.ci_low)} to {short(row.ci_high)})"


def _figure(sweep: Sweep, panels: Sequence[tuple[str, Sequence[Row]]]) -> str:
    width = 12 + (WIDTH + GAP) * min(2, len(panels))
    pieces, top = _legend(sweep.lines, width)
    places = _places(sweep)
    for position, (word, rows) in enumerate(panels):
        what = f"{rows[0].metric} ({word}), {DIRECTIONS[rows[0].direction]}"
        body = [svg.fitted(0, 0, what, 62), *_panel(sweep, rows, places)]
        across, down = position % 2, position // 2
        pieces.append(svg.shifted(12 + (WIDTH + GAP) * across, top + (HEIGHT + 14) * down, body))
    height = top + (HEIGHT + 14) * math.ceil(len(panels) / 2)
    title = f"{', '.join(dict.fromkeys(rows[0].metric for _, rows in panels))} against {sweep.key}"
    return svg.picture(width, height, pieces, title, own_colours=True, more_colours=_line_colours())


def _line_colours() -> str:
    """Return the colours of lines and their points, for light and for dark pages."""

    def rules(colours: Sequence[str]) -> str:
        return "".join(
            f".line{place}{{stroke:{colour}}}.point{place}{{fill:{colour};stroke:{colour}}}"
            for place, colour in enumerate(colours)
        )

    return f"{rules(_COLOURS)}@media (prefers-color-scheme:dark){{{rules(_ON_DARK)}}}"


def _style(place: int) -> tuple[str, str, str]:
    """Return the classes of a line and its points, and its dashes; they repeat together only after twenty lines."""
    colour = place % len(_COLOURS)
    return f"line{colour}", f"point{colour}", _DASHES[place % len(_DASHES)]


def _legend(lines: Sequence[Line], width: float) -> tuple[list[str], float]:
    """Name the lines, one below the other; return the elements, and where the panels begin."""
    pieces, y = [], 22.0
    for place, line in enumerate(lines):
        stroke, point, dashes = _style(place)
        pieces += [svg.line(12, y - 4, 46, y - 4, stroke, 2, dashes), svg.circle(29, y - 4, 3.5, point)]
        pieces.append(svg.fitted(56, y, line.name, int((width - 70) / _LETTER)))
        y += 19
    return pieces, y + 14


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
    return {value: _LEFT + room + (scale[value] - low) / reach * (_RIGHT - _LEFT - 2 * room) for value in values}


def _panel(sweep: Sweep, rows: Sequence[Row], places: Mapping[str, float]) -> list[str]:
    known = _valued(rows)
    drawn = [known[point.recipe] for point in sweep.points if point.recipe in known]
    real = _originals(rows)
    ends = [end for row in drawn for end in (row.value, row.ci_low, row.ci_high) if end is not None]
    ends += [real.value] if real is not None and real.value is not None else []
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room

    def at(value: float) -> float:
        return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)

    body = [*_axes(sweep.key, places), *_ticks(low, high, at)]
    if real is not None and real.value is not None:
        body.append(svg.line(_LEFT, at(real.value), _RIGHT, at(real.value), "reference", 1, "4 3"))
    for place, line in enumerate(sweep.lines):
        beside = 5.0 * (place - (len(sweep.lines) - 1) / 2) if len(sweep.lines) <= len(_COLOURS) else 0.0
        marks = [(places[point.value] + beside, known[point.recipe]) for point in line.points if point.recipe in known]
        if sweep.numeric:  # between categories there is nothing that a line could stand for
            body += _line(place, [(x, at(row.value or 0.0)) for x, row in marks])
        for x, row in marks:
            body += _mark(place, x, row, at)
    return body


def _axes(key: str, places: Mapping[str, float]) -> list[str]:
    """Draw both axes, and the values below the horizontal one as far as they do not run into each other."""
    body = [svg.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"), svg.line(_LEFT, _TOP, _LEFT, _BOTTOM, "axis")]
    body.append(svg.text((_LEFT + _RIGHT) / 2, _BOTTOM + 36, key, "faint", "middle"))
    letters = max(4, int((_RIGHT - _LEFT) / max(1, len(places)) / _LETTER))
    free = -math.inf
    for value, x in places.items():
        body.append(svg.line(x, _BOTTOM, x, _BOTTOM + 4, "axis"))
        half = min(len(value), letters) * _LETTER / 2
        if x - half > free:
            body.append(svg.fitted(x, _BOTTOM + 18, value, letters, "faint", "middle"))
            free = x + half + _LETTER / 2
    return body


def _ticks(low: float, high: float, at: "svg.Scale") -> list[str]:
    shown = svg.ticks(low, high)
    step = shown[1] - shown[0] if len(shown) > 1 else abs(shown[0])
    body = []
    for tick in shown:
        body.append(svg.line(_LEFT - 4, at(tick), _LEFT, at(tick), "axis"))
        body.append(svg.text(_LEFT - 8, at(tick) + 4, svg.tick_text(tick, step), "faint", "end"))
    return body


def _line(place: int, points: Sequence[tuple[float, float]]) -> list[str]:
    stroke, _, dashes = _style(place)
    return [svg.line(*start, *end, stroke, 2, dashes) for start, end in itertools.pairwise(points)]


def _mark(place: int, x: float, row: Row, at: "svg.Scale") -> list[str]:
    stroke, point, _ = _style(place)
    body = []
    if row.ci_low is not None and row.ci_high is not None and row.ci_high > row.ci_low:
        body.append(svg.line(x, at(row.ci_low), x, at(row.ci_high), stroke, 1.5))
        body += [svg.line(x - 3, at(end), x + 3, at(end), stroke, 1.5) for end in (row.ci_low, row.ci_high)]
    return [*body, svg.circle(x, at(row.value or 0.0), 3.5, point)]
