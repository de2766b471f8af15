"""What ``toyfaces`` wear: glasses, earrings, necklace and hat."""

import numpy as np

from vaebench.datasets.toyface.canvas import CIRCLE, WHITE, Canvas, Colour, Points, darker, mirrored, mix, moved, placed
from vaebench.datasets.toyface.features import EYE_HEIGHT, EYE_OFF
from vaebench.datasets.toyface.hair import hair_width
from vaebench.datasets.toyface.head import tint
from vaebench.datasets.toyface.person import Person

FRAMES: tuple[Colour, ...] = ((24, 24, 28), (112, 62, 26), (172, 32, 44), (32, 58, 112))
PEARL: Colour = (250, 244, 236)
GOLD: Colour = (236, 190, 84)
SILVER: Colour = (222, 226, 234)
# the lower edge of a knitted cap, a brimmed hat and a cap: share of the hat's half width, pixels to add, height
Edge = tuple[tuple[float, float, float], ...]
BANDS: tuple[Edge, ...] = (
    ((-1, -0.4, 11.6), (0, 0, 10.2), (1, 0.4, 11.6), (1, 0.2, 16.4), (0, 0, 14.9), (-1, -0.2, 16.4)),
    ((-1, 0, 9.5), (0, 0, 8.4), (1, 0, 9.5), (1, 0, 13.4), (0, 0, 12.8), (-1, 0, 13.4)),
    ((-0.8, 0, 14.4), (0, 0, 10.6), (0.8, 0, 14.4), (0.86, 0, 16.8), (0, 0, 15.4), (-0.86, 0, 16.8)),
)
BRIM: Edge = (
    *((1, 6.5, 15.4), (1, 0, 16.6), (0, 0, 15.2), (-1, 0, 16.6)),
    *((-1, -6.5, 15.4), (-1, 0, 12.9), (0, 0, 12.4), (1, 0, 12.9)),
)


def metal(person: Person) -> Colour:
    """Gold or silver."""
    return GOLD if person.chance["jewel"] < 0.6 else SILVER


def draw_glasses(canvas: Canvas, person: Person) -> None:
    """Round or square frames before the eyes."""
    if not person.has["Eyeglasses"]:
        return
    frame = FRAMES[person.pick("glasses_colour", len(FRAMES))]
    shape = CIRCLE if person.chance["glasses_shape"] < 0.5 else np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.45
    closed = np.concatenate([shape, shape[:1]])
    for side in (-1, 1):
        centre = np.array([side * (EYE_OFF + 0.35) + person.turn, EYE_HEIGHT + 0.6])
        canvas.fill(shape * (4.7, 4.1) + centre, WHITE, 0.16)
        rim = np.concatenate([closed * (5.3, 4.7), closed[::-1] * (4.3, 3.7)])
        canvas.fill(rim + centre, frame)
        canvas.stroke(np.array([(-2.4, 1.6), (0.6, -2.4)]) + centre, 0.8, WHITE, 0.5)
        ends = side * (person.cheek + 0.4)
        canvas.stroke(np.array([moved(centre, side * 4.6, -0.8), (ends, EYE_HEIGHT - 0.4)]), 1.0, frame)
    bridge = np.array([(-1.6, 0), (0, -0.9), (1.6, 0)])
    canvas.stroke(moved(bridge, person.turn, EYE_HEIGHT), 1.0, frame)


def draw_earrings(canvas: Canvas, person: Person) -> None:
    """Pearls, drops or hoops that hang below the ears, before the hair."""
    if not person.has["Wearing_Earrings"]:
        return
    shine, shape = metal(person), person.pick("earring_shape", 3)
    stone = tint(person.chance["jewel"] * 7, 0.7, 0.85)
    for side in (-1, 1):
        x, y = side * (person.cheek + 1.6) + person.turn * 0.2, 37.6
        canvas.oval(x, y, 0.9, 0.9, shine)
        if shape == 0:
            canvas.oval(x, y + 2.3, 2.0, 2.1, darker(PEARL, 0.55))
            canvas.oval(x, y + 2.2, 1.7, 1.8, PEARL)
        elif shape == 1:
            canvas.stroke(((x, y), (x, y + 3)), 0.7, shine)
            canvas.blob(((x, y + 1.6), (x + 1.9, y + 5.0), (x, y + 6.8), (x - 1.9, y + 5.0)), darker(stone, 0.6))
            canvas.blob(((x, y + 2.4), (x + 1.3, y + 5.0), (x, y + 6.2), (x - 1.3, y + 5.0)), stone)
            canvas.oval(x - 0.4, y + 4.4, 0.5, 0.6, WHITE)
        else:
            ring = np.concatenate([CIRCLE, CIRCLE[:1]])
            hoop = moved(np.concatenate([ring * 3.0, ring[::-1] * 1.9]), x, y + 3.0)
            canvas.fill(moved(hoop, 0.25, 0.35), darker(shine, 0.45))
            canvas.fill(hoop, shine)


def draw_necklace(canvas: Canvas, person: Person) -> None:
    """A chain with a pendant, or pearls, over skin and clothes."""
    if not person.has["Wearing_Necklace"]:
        return
    shine, wide = metal(person), 6.4 + 1.6 * person.has["Male"]
    across = np.linspace(-1, 1, 9)
    chain = placed(across * wide, 52.8 + 5.4 * (1 - across**2))
    if person.chance["necklace_shape"] < 0.45:
        for x, y in chain.tolist():
            canvas.oval(x, y + 0.25, 1.15, 1.15, darker(PEARL, 0.55))
            canvas.oval(x, y, 0.95, 0.95, PEARL)
        return
    canvas.stroke(moved(chain, 0, 0.5), 1.3, darker(shine, 0.4), 0.7)
    canvas.stroke(chain, 1.3, shine)
    canvas.oval(0, 59.6, 1.9, 2.1, darker(shine, 0.5))
    canvas.oval(0, 59.4, 1.5, 1.7, mix(shine, tint(person.chance["jewel"] * 7, 0.8, 0.9), 0.65))


def sided(edge: Edge, wide: float) -> Points:
    """An edge of ``BANDS`` for a hat of half width ``wide``, (n, 2)."""
    shares = np.array(edge)
    return placed(shares[:, 0] * wide + shares[:, 1], shares[:, 2])


def draw_hat(canvas: Canvas, person: Person) -> None:
    """A knitted cap, a brimmed hat or a cap with a peak; the hairline stays in sight below it."""
    if not person.has["Wearing_Hat"]:
        return
    tone = person.chance["hat_tone"]
    colour = tint(person.chance["hat_hue"], 0.25 + 0.45 * tone, 0.35 + 0.5 * tone)
    dark, light, wide = darker(colour, 0.68), mix(colour, WHITE, 0.3), hair_width(person) + 1.2
    shape = person.pick("hat_shape", 3)
    crown = mirrored(((0, 0.6), (wide * 0.62, 2.2), (wide * 0.97, 9), (wide, 15.6), (0, 15.2)))
    canvas.fill(crown, colour)
    canvas.stroke(((-wide * 0.62, 11), (-wide * 0.45, 5.5), (0, 3)), 1.6, light, 0.5)
    canvas.blob(sided(BANDS[shape], wide), dark)
    if shape == 0:
        for x in np.linspace(-0.8, 0.8, 7) * wide:
            canvas.stroke(((x, 11.4), (x * 1.02, 15)), 0.6, colour)
        canvas.oval(0, 0.8, 3, 2.6, light)
    elif shape == 1:
        canvas.blob(sided(BRIM, wide), mix(colour, dark, 0.35))
    else:
        canvas.stroke(((0, 1), (0.4, 5), (0, 10.5)), 0.6, dark)
