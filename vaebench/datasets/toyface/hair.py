"""The hair of ``toyfaces``: long or short, straight or wavy, with a fringe, receding or gone."""

import numpy as np

from vaebench.datasets.toyface.canvas import WHITE, Canvas, Points, darker, mix, moved, placed, smooth
from vaebench.datasets.toyface.person import Person


def back_length(person: Person) -> float:
    """How far down the hair falls, or 0 where it does not reach the neck."""
    return 0 if person.has["Male"] or person.has["Bald"] else 45 + 15 * person.chance["hair_length"]


def hair_width(person: Person) -> float:
    """Half the width of the hair at the ears."""
    fuller = 2.0 * (not person.has["Male"]) + 0.7 * person.has["Young"] + person.sway("hair_volume", 0.7)
    return person.cheek + 1.3 + fuller


def waved(person: Person, points: Points, amount: float) -> Points:
    """Hair's outline or strand with curls where the hair is wavy: each point pushed out and in by turns."""
    if not person.has["Wavy_Hair"]:
        return points
    along = np.arange(len(points)) * 1.65 + 6 * person.chance["wave_phase"]
    return points + placed(np.sin(along), 0.4 * np.cos(along)) * amount


def draw_back_hair(canvas: Canvas, person: Person) -> None:
    """Long hair behind neck and shoulders."""
    length, wide = back_length(person), hair_width(person)
    if not length:
        return
    ending = 2.2 if person.has["Straight_Hair"] else 0.6
    down = np.linspace(25, length, 8)
    side = placed(np.linspace(wide - 1.5, wide + ending, 8), down)
    right = waved(person, side, 1.5)
    left = waved(person, side * (-1, 1), 1.5)[::-1]
    canvas.fill(np.concatenate([smooth(right), smooth(left)]), darker(person.hair, 0.72))


def hairline(person: Person) -> Points:
    """Where the hair begins, from the right temple to the left; a receding one leaves corners free."""
    low = 17.6 + person.sway("hairline", 0.9) - 0.5 * (not person.has["Young"])
    part, cheek = person.sway("parting", 5), person.cheek
    if person.has["Receding_Hairline"]:
        right = [(cheek - 0.6, 29), (cheek - 0.7, 23), (cheek - 2.6, 17), (8.2, 11.2), (3.6, 12.6)]
        middle = [(0.5 * part / 5, low - 2.6)]
    else:
        right = [(cheek - 0.6, 30), (cheek - 1.1, 24.5), (cheek - 3.4, low + 2.2)]
        middle = [(part + 2.4, low + 0.3), (part, low - 1.8), (part - 2.4, low + 0.3)]
    left = [(-x, y) for x, y in reversed(right)]
    return moved(smooth(right + middle + left), person.turn * 0.4, 0)


def draw_hair(canvas: Canvas, person: Person) -> None:
    """Hair over the skull, with its shine and strands; of bald heads, a shining crown and a fringe at the sides."""
    if person.has["Bald"]:
        draw_bald(canvas, person)
        return
    wide, crown = hair_width(person), 7.2 - 0.9 * person.has["Young"] - person.sway("hair_volume", 0.8)
    around = np.linspace(0, np.pi, 17)
    ends = 31.5 if person.has["Male"] else 33
    sideways = np.cos(around)
    if person.has["Straight_Hair"]:  # heavier: it falls flat and stands square
        sideways = np.sign(sideways) * np.abs(sideways) ** 0.62 * 1.03
    outer = placed(wide * sideways, ends - 4 - (ends - 4 - crown) * np.sin(around))
    outer[[0, -1], 1] = ends
    outer = waved(person, outer, 1.15)
    canvas.fill(np.concatenate([smooth(outer), hairline(person)[::-1]]), person.hair)
    draw_strands(canvas, person, wide, crown)
    draw_locks(canvas, person, wide)
    draw_bangs(canvas, person)


def draw_strands(canvas: Canvas, person: Person, wide: float, crown: float) -> None:
    """The way the hair is combed, away from the parting: smooth, in straight lines or in waves."""
    part = person.sway("parting", 5)
    straight, wavy = person.has["Straight_Hair"], person.has["Wavy_Hair"]
    for side in (-1, 1):
        canvas.stroke(
            ((part, crown + 2.5), (side * wide * 0.55, crown + 4), (side * (wide - 2), 19)), 1.7, person.shine, 0.7
        )
        for reach in (0.3, 0.62, 0.92) if straight or wavy else (0.62,):
            x = side * wide * reach
            ends = (7.8 if person.has["Receding_Hairline"] else 10.8) + 14.5 * reach**2
            way = np.linspace((part + side * 0.6, crown + 2.2), (x, ends), 7 if wavy else 3)
            if not straight:
                way[1:-1, 1] -= 2.2
            canvas.stroke(waved(person, way, 0.9), 0.8 if straight else 0.95, person.strand, 0.85)


def draw_locks(canvas: Canvas, person: Person, wide: float) -> None:
    """Long hair that falls before the ears."""
    length = back_length(person)
    if not length:
        return
    down = np.linspace(24, length, 8)
    ending = 2.2 if person.has["Straight_Hair"] else 0.2
    for side in (-1, 1):
        outer = placed(np.linspace(wide - 0.2, wide + ending, 8), down) * (side, 1)
        inner_ends = person.cheek - (0.4 if person.has["Straight_Hair"] else -1.2)
        inner = placed(np.linspace(person.cheek - 1.0, inner_ends, 8), down - 0.6) * (side, 1)
        edges = np.concatenate([smooth(waved(person, outer, 1.4)), smooth(waved(person, inner, 1.0))[::-1]])
        canvas.fill(edges, person.hair)
        middle = (outer + inner) / 2
        canvas.stroke(moved(waved(person, middle[1:], 1.1), 0.7 * side, 0), 1.0, person.strand, 0.8)
        canvas.stroke(moved(waved(person, middle[1:6], 1.1), -0.6 * side, 0), 1.1, person.shine, 0.7)


def draw_bangs(canvas: Canvas, person: Person) -> None:
    """A fringe over the forehead, in strands."""
    if not person.has["Bangs"]:
        return
    wide, slope = person.cheek - 0.8, person.sway("fringe", 1.3)
    x = np.linspace(-wide, wide, 9)
    tooth = 0.9 if not person.has["Straight_Hair"] else 0.25
    y = 25.2 + slope * x / wide + tooth * (-1) ** np.arange(9) + 1.4 * (x / wide) ** 2
    top = [(wide * 0.8, 12), (0, 9.5), (-wide * 0.8, 12)]
    fringe = moved(np.concatenate([placed(x, y), np.array(top)]), person.turn * 0.4, 0)
    canvas.blob(fringe, mix(person.hair, person.shine, 0.15))
    for column in (1, 3, 5, 7):
        foot = np.array([x[column], y[column]])
        way = np.stack([np.array([x[column] * 0.35, 11.5]), foot * (0.85, 1) - (0, 7), foot])
        canvas.stroke(waved(person, way, 0.6), 0.8, person.strand, 0.75)


def draw_bald(canvas: Canvas, person: Person) -> None:
    """A shining crown, a fringe above the ears, and a few combed strands where the hairline is said to recede."""
    cheek = person.cheek
    canvas.glow(-2 if person.chance["light"] < 0.5 else 2, 14.5, 6.5, 3.2, WHITE, 0.6)
    for side in (-1, 1):
        patch = ((cheek - 0.7, 20.5), (cheek + 1.3, 22.5), (cheek + 1.7, 27), (cheek + 0.9, 31), (cheek - 0.7, 28))
        canvas.blob(np.array(patch) * (side, 1), person.hair)
    if person.has["Receding_Hairline"]:
        for lift in (0, 1.6, 3.2):
            canvas.stroke(((-9.5, 15.8 - lift), (-1, 11.6 - lift), (9.3, 15 - lift)), 0.9, person.hair, 0.9)
