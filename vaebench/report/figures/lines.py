"""Draw panels of lines with points: what figures of several models against one quantity have in common."""

import itertools
from collections.abc import Sequence

from vaebench.report.figures import svg

COLOURS = ("#0b62a8", "#1a7f4b", "#7a3e9d", "#b3246b", "#59636e")  # none of them is the originals'
WIDTH, HEIGHT, GAP = 430.0, 214.0, 36.0  # of a panel, and between two beside each other
LEFT, RIGHT, TOP, BOTTOM = 74.0, 418.0, 14.0, 168.0  # of a panel's axes
LETTER = 6.6  # about the width of a digit
_ON_DARK = ("#6cb6ff", "#62c48d", "#c69be6", "#f58ab8", "#9aa4af")
_DASHES = ("", "7 3", "2 3", "9 3 2 3")


def colour_rules() -> str:
    """Return the colours of lines and their points, for light and for dark pages."""

    def rules(colours: Sequence[str]) -> str:
        return "".join(
            f".line{place}{{stroke:{colour}}}.point{place}{{fill:{colour};stroke:{colour}}}"
            f".open{place}{{fill:none;stroke:{colour}}}"
            for place, colour in enumerate(colours)
        )

    return f"{rules(COLOURS)}@media (prefers-color-scheme:dark){{{rules(_ON_DARK)}}}"


def style(place: int) -> tuple[str, str, str]:
    """Return the classes of a line and its points, and its dashes; they repeat together only after twenty lines."""
    colour = place % len(COLOURS)
    return f"line{colour}", f"point{colour}", _DASHES[place % len(_DASHES)]


def legend(names: Sequence[str], width: float) -> tuple[list[str], float]:
    """Name the lines, one below the other; return the elements, and where the panels begin."""
    pieces, y = [], 22.0
    for place, name in enumerate(names):
        stroke, point, dashes = style(place)
        pieces += [svg.line(12, y - 4, 46, y - 4, stroke, 2, dashes), svg.circle(29, y - 4, 3.5, point)]
        pieces.append(svg.fitted(56, y, name, int((width - 70) / LETTER)))
        y += 19
    return pieces, y + 14


def value_axis(low: float, high: float, at: "svg.Scale") -> list[str]:
    """Draw the vertical axis with round numbers."""
    shown = svg.ticks(low, high)
    step = shown[1] - shown[0] if len(shown) > 1 else abs(shown[0])
    body = [svg.line(LEFT, TOP, LEFT, BOTTOM, "axis")]
    for tick in shown:
        body.append(svg.line(LEFT - 4, at(tick), LEFT, at(tick), "axis"))
        body.append(svg.text(LEFT - 8, at(tick) + 4, svg.tick_text(tick, step), "faint", "end"))
    return body


def joined(place: int, points: Sequence[tuple[float, float]]) -> list[str]:
    """Join points by straight lines."""
    stroke, _, dashes = style(place)
    return [svg.line(*start, *end, stroke, 2, dashes) for start, end in itertools.pairwise(points)]


def mark(
    place: int, x: float, value: float, interval: tuple[float, float] | None, at: "svg.Scale", *, filled: bool = True
) -> list[str]:
    """Draw a point and its interval."""
    stroke, point, _ = style(place)
    body = []
    if interval is not None:
        body.append(svg.line(x, at(interval[0]), x, at(interval[1]), stroke, 1.5))
        body += [svg.line(x - 3, at(end), x + 3, at(end), stroke, 1.5) for end in interval]
    return [*body, svg.circle(x, at(value), 3.5, point if filled else point.replace("point", "open"))]


def with_room(ends: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds all values with some room."""
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room
