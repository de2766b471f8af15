"""A small canvas of smooth shapes for ``toyfaces``: drawn three times too large, then averaged down."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 64  # side of the picture in whose pixels all shapes are given; larger ones show the same shapes, finer
OVERSAMPLING = 3
NECK = 50  # the height that a tilted head turns about

Points = NDArray[np.float64]
Colour = tuple[float, float, float]
Control = Sequence[tuple[float, float]]

_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
CIRCLE: Points = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
WHITE: Colour = (255, 255, 255)


def placed(x: float | Points, y: Points) -> Points:
    """Points, (n, 2), from their coordinates, (n,); one x may do for all."""
    points = np.empty((len(y), 2))
    points[:, 0] = x
    points[:, 1] = y
    return points


def moved(points: Control | Points, x: float, y: float) -> Points:
    """Points, (n, 2), moved by as much."""
    there: Points = np.asarray(points, np.float64) + np.array([x, y])
    return there


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` at share 0, ``second`` at share 1."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def between(palette: Sequence[Colour], position: float) -> Colour:
    """The colour at ``position`` in [0, 1] of a scale whose marks are ``palette``."""
    mark = min(int(position * (len(palette) - 1)), len(palette) - 2)
    return mix(palette[mark], palette[mark + 1], position * (len(palette) - 1) - mark)


def darker(colour: Colour, share: float) -> Colour:
    """Times ``share``, blue a little less than red: shadows on skin and hair are warm."""
    return colour[0] * share, colour[1] * share**1.15, colour[2] * share**1.2


@cache
def _spline(count: int, *, closed: bool, steps: int = 4) -> Points:
    """(points, count): weights of the control points along a Catmull and Rom spline through all of them."""
    segments = count if closed else count - 1
    weights = np.zeros((segments * steps + (not closed), count))
    for row in range(len(weights)):
        segment, t = (row // steps, row % steps / steps) if row < segments * steps else (segments - 1, 1.0)
        terms = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
        for offset, term in enumerate(terms, start=-1):
            place = (segment + offset) % count if closed else min(max(segment + offset, 0), count - 1)
            weights[row, place] += term / 2
    return weights


def smooth(control: Control | Points, *, closed: bool = False) -> Points:
    """Points on a smooth curve through ``control``, (k, 2) -> (n, 2)."""
    points = np.asarray(control, np.float64)
    curve: Points = _spline(len(points), closed=closed) @ points
    return curve


@cache
def _ribbon(count: int) -> tuple[Points, Points]:
    """Weights of a line's points and of its direction there, (2 n, count), and half a stroke's width there, (n, 1).

    Of a stroke of width 1: full in the middle, thin at the ends.
    """
    points = _spline(count, closed=False)
    directions = np.gradient(points, axis=0)
    along = np.linspace(-1, 1, len(points))[:, None]
    return np.concatenate([points, directions]), 0.5 * np.sqrt(1 - 0.94 * along**4)


def mirrored(right: Control) -> Points:
    """A closed outline from its right half, top to bottom: then up the left, points on the axis taken once."""
    half = np.asarray(right, np.float64)
    left = half[::-1] * (-1, 1)
    return smooth(np.concatenate([half, left[left[:, 0] != 0]]), closed=True)


class Canvas:
    """Shapes in pixels of the 64 x 64 picture, x from its middle to the right, y from its top down; drawn with
    ``size`` pixels a side.
    """

    def __init__(self, backdrop: Image.Image, size: int = SIZE) -> None:
        side = size * OVERSAMPLING
        self._scale = side / SIZE
        fine = backdrop.resize((size, size), Image.Resampling.BILINEAR)
        self._image = fine.resize((side, side), Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._waiting: list[tuple[Points, tuple[int, int, int, int]]] = []
        self.pose()

    def pose(self, shift: tuple[float, float] = (0, 0), tilt: float = 0, scale: float = 1) -> None:
        """Place what is drawn from now on: turned by ``tilt`` (radians) and scaled about the neck, then shifted."""
        self._place()
        cosine, sine = scale * math.cos(tilt), scale * math.sin(tilt)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        neck = np.array([0.0, NECK])
        self._turn = turn * self._scale
        self._shift = (moved(neck - neck @ turn, SIZE / 2, 0) + np.array(shift)) * self._scale

    def fill(self, points: Points, colour: Colour, alpha: float = 1) -> None:
        """A polygon, (n, 2)."""
        red, green, blue = colour
        self._waiting.append((points, (int(red), int(green), int(blue), int(alpha * 255))))

    def _place(self) -> None:
        """Draw what waits: placed all at once, which takes a tenth off a picture's time."""
        if not self._waiting:
            return
        flat = (np.concatenate([points for points, _ in self._waiting]) @ self._turn + self._shift).ravel().tolist()
        start = 0
        for points, ink in self._waiting:
            self._draw.polygon(flat[start : start + points.size], fill=ink)
            start += points.size
        self._waiting.clear()

    def blob(self, control: Control | Points, colour: Colour, alpha: float = 1) -> None:
        """A smooth closed shape through ``control``."""
        self.fill(smooth(control, closed=True), colour, alpha)

    def oval(self, x: float, y: float, wide: float, high: float, colour: Colour, alpha: float = 1) -> None:
        """An ellipse of these half axes."""
        self.fill(moved(CIRCLE * (wide, high), x, y), colour, alpha)

    def glow(self, x: float, y: float, wide: float, high: float, colour: Colour, alpha: float = 1) -> None:
        """A soft spot: ``alpha`` in its middle, nothing at its edge."""
        for part in (1.0, 0.8, 0.6, 0.4):
            self.oval(x, y, wide * part, high * part, colour, 1 - (1 - alpha) ** 0.25)

    def stroke(self, control: Control | Points, width: float, colour: Colour, alpha: float = 1) -> None:
        """A smooth line through ``control`` that thins towards its ends."""
        points = np.asarray(control, np.float64)
        weights, profile = _ribbon(len(points))
        both = weights @ points
        line, along = both[: len(profile)], both[len(profile) :]
        length = np.hypot(along[:, :1], along[:, 1:]) + 1e-9
        across = along[:, ::-1] * (profile / length) * (-width, width)
        self.fill(np.concatenate([line + across, (line - across)[::-1]]), colour, alpha)

    def finish(self) -> Image.Image:
        """The picture, RGB."""
        self._place()
        return self._image.reduce(OVERSAMPLING)
