"""Sheets of small labelled pictures in strips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaebench.runs.galleries import Pixels

DPI = 100  # a unit of the layout is then a pixel of the file: pictures are shown as they are
_SHOWN = 64  # pixels: pictures of half that side are shown twice as large, and so on
_GAP = 3
_LETTER, _LINE = 6.6, 14  # room for a letter and a line of text, in pixels
_ALARM = "#D55E00"  # Okabe and Ito's vermilion: seen by colour-blind readers too


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Pictures (n, h, w, c) in one row.

    Attributes:
        label: before the strip; may have lines.
        heading: over the strip, where a group of strips begins.
        words: one under each picture; empty for none.
        alarms: which of the words are red.
        apart: after which pictures there is a gap.
    """

    label: str
    pictures: Pixels
    heading: str = ""
    words: Sequence[str] = ()
    alarms: Sequence[bool] = ()
    apart: Sequence[int] = ()


def image_sheet(strips: Sequence[Strip], columns: Sequence[str] = (), stacks: int = 1) -> Figure:
    """Draw all strips on one figure, with ``columns`` over the first strip's pictures.

    Groups of strips, each from a heading on, lie in so many ``stacks`` beside each other.
    """
    height, width = (max(strip.pictures.shape[axis] for strip in strips) for axis in (1, 2))
    zoom = max(1, _SHOWN // max(height, width))
    cell = (width * zoom + _GAP, height * zoom + _GAP)
    margin = _LETTER * max(len(line) for strip in strips for line in strip.label.split("\n")) + 8
    headings = max((_LETTER * len(strip.heading) for strip in strips), default=0)
    across = max(len(strip.pictures) * cell[0] + _GAP * 3 * len(strip.apart) for strip in strips)
    wide = max(margin + across, headings + 8) + _GAP
    piles = _piled(strips, stacks)
    heads = _LINE if columns else 0
    down = max(sum(_height(strip, cell[1]) for strip in pile) for pile in piles) + heads + 2 * _GAP
    size = (wide * len(piles) + 4 * _GAP * (len(piles) - 1), down)
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for number, pile in enumerate(piles):
        left = number * (wide + 4 * _GAP)
        y = float(_GAP)
        for position, strip in enumerate(pile):
            if strip.heading:
                axes.text(left + _GAP, y + _LINE - 3, strip.heading, **_HEADING)
                y += _LINE + 2
            if columns and position == 0:
                for place, text in enumerate(columns):
                    x = left + _left(strip, place, margin, cell[0]) + cell[0] / 2
                    axes.text(x, y + _LINE - 4, text, **_SMALL_TEXT)
                y += _LINE
            _draw(axes, strip, left + margin, y, cell, zoom)
            y += _height(strip, cell[1]) - (_LINE + 2 if strip.heading else 0)
    axes.set_xlim(0, size[0])  # at last: every picture shown would set its own
    axes.set_ylim(size[1], 0)
    axes.set_aspect("auto")
    return figure


def _piled(strips: Sequence[Strip], stacks: int) -> list[list[Strip]]:
    """Divide the groups, each beginning at a heading, into as many stacks of equal size as possible."""
    groups: list[list[Strip]] = []
    for strip in strips:
        if strip.heading or not groups:
            groups.append([])
        groups[-1].append(strip)
    each = -(-len(groups) // max(1, min(stacks, len(groups))))
    return [[strip for group in groups[at : at + each] for strip in group] for at in range(0, len(groups), each)]


# file names are words, whatever dollar signs they have
_HEADING: dict[str, Any] = {"fontsize": 8, "weight": "bold", "va": "baseline", "parse_math": False}
_SMALL_TEXT: dict[str, Any] = {"fontsize": 7, "ha": "center", "va": "baseline", "parse_math": False}


def _height(strip: Strip, cell: int) -> float:
    label = _LINE * (strip.label.count("\n") + 1)
    return max(cell, label) + (_LINE if strip.words else 0) + (_LINE + 2 if strip.heading else 0)


def _left(strip: Strip, place: int, margin: float, cell: int) -> float:
    return margin + place * cell + 3 * _GAP * sum(edge < place for edge in strip.apart)


def _draw(axes: Axes, strip: Strip, margin: float, y: float, cell: tuple[int, int], zoom: int) -> None:
    height, width = strip.pictures.shape[1] * zoom, strip.pictures.shape[2] * zoom
    axes.text(margin - 5, y + height / 2, strip.label, fontsize=7.5, ha="right", va="center", parse_math=False)
    for place, picture in enumerate(strip.pictures):
        x = _left(strip, place, margin, cell[0])
        shown = np.broadcast_to(picture, (*picture.shape[:2], 3))  # a colour map of greys would move some by one
        axes.imshow(shown, extent=(x, x + width, y + height, y), interpolation="nearest")
    for place, word in enumerate(strip.words):
        x = _left(strip, place, margin, cell[0])
        colour = _ALARM if place < len(strip.alarms) and strip.alarms[place] else "black"
        axes.text(x + width / 2, y + height + _LINE - 4, word, color=colour, **_SMALL_TEXT)
