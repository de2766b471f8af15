"""The large shapes of ``toyfaces``: backdrop, shoulders, neck and head."""

import colorsys

import numpy as np
from PIL import Image

from vaebench.datasets.toyface.canvas import WHITE, Canvas, Colour, between, darker, mirrored, mix
from vaebench.datasets.toyface.person import Person

FABRICS: tuple[Colour, ...] = ((38, 42, 58), (70, 84, 110), (112, 50, 62), (92, 108, 84), (214, 216, 212))


def tint(hue: float, saturation: float, value: float) -> Colour:
    """A colour from the colour circle, all numbers in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return red * 255, green * 255, blue * 255


def backdrop(person: Person) -> Image.Image:
    """Two tones that fall off diagonally, 2 x 2; the canvas spreads them."""
    chance = person.chance
    tone = 0.36 + 0.42 * chance["backdrop_tone"]
    corners = np.empty((2, 2, 3), np.uint8)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        fall = row * 0.75 + (column if chance["backdrop_side"] < 0.5 else 1 - column) * 0.5
        value = tone * (1.12 - (0.2 + 0.4 * chance["backdrop_fall"]) * fall)
        corners[row, column] = tint(chance["backdrop_hue"] + 0.06 * fall, 0.14 + 0.2 * chance["backdrop_fall"], value)
    return Image.fromarray(corners)


def draw_backdrop(canvas: Canvas, person: Person) -> None:
    """A soft spot of light."""
    chance = person.chance
    size = 9 + 12 * chance["spot_size"]
    canvas.glow(person.sway("spot_x", 30), 6 + 34 * chance["spot_y"], size, size, WHITE, 0.16)


def cloth(person: Person) -> Colour:
    """Colour of the clothes: muted for men, any for others."""
    chance = person.chance
    if person.has["Male"]:
        return between(FABRICS, chance["cloth_tone"])
    return tint(chance["cloth_hue"], 0.3 + 0.3 * chance["cloth_cut"], 0.4 + 0.45 * chance["cloth_tone"])


def draw_body(canvas: Canvas, person: Person) -> None:
    """Shoulders, neck and neckline."""
    male, colour = person.has["Male"], cloth(person)
    skin = darker(person.skin, 0.95)
    neck = (6.7 if male else 4.7) + 1.2 * person.has["Chubby"]
    shoulder = (27.5 if male else 20.5) + 2.5 * person.has["Chubby"]
    top = 54.0 if male else 55.5
    torso = ((0, 53), (neck + 1, 53.4), (shoulder * 0.6, top + 1.2), (shoulder, top + 4.5), (shoulder + 2, 70), (0, 74))
    canvas.fill(mirrored(torso), colour)
    canvas.stroke(((-shoulder * 0.72, 66), (-shoulder * 0.7, 62), (-shoulder * 0.62, 59.5)), 0.7, darker(colour, 0.7))
    canvas.stroke(((shoulder * 0.72, 66), (shoulder * 0.7, 62), (shoulder * 0.62, 59.5)), 0.7, darker(colour, 0.7))
    if male:
        canvas.oval(0, 53.5, neck + 1.6, 4.4, mix(colour, WHITE, 0.25) if colour[0] < 128 else darker(colour, 0.8))
        canvas.oval(0, 52.9, neck + 0.6, 3.6, skin)
    else:
        canvas.oval(0, 53.4, neck + 3.4, 4 + 3.2 * person.chance["cloth_cut"], skin)
    canvas.fill(mirrored(((0, 42), (neck, 42), (neck, 51), (neck + 1.4, 54.5), (0, 56.5))), skin)
    throat = ((0, 42), (neck, 42), (neck - 0.1, person.chin + 0.6), (0, person.chin + 3.4))
    canvas.fill(mirrored(throat), person.shade, 0.5)
    canvas.oval(person.turn * 0.3, person.chin - 0.6, neck - 0.4, 3.0, person.shade, 0.7)


def draw_necktie(canvas: Canvas, person: Person) -> None:
    """A white collar, and a striped tie down to the picture's edge."""
    if not person.has["Wearing_Necktie"]:
        return
    silk = tint(person.chance["tie_hue"], 0.75, 0.62)
    for side in (-1, 1):
        wing = np.array([(0.5, 58), (6.8, 52.6), (8.2, 55.8), (4.6, 61)]) * (side, 1)
        canvas.fill(np.array([(0, 56), (6.8, 52.6), (9.4, 56), (5.5, 70), (0, 70)]) * (side, 1), (232, 234, 240))
        canvas.fill(wing, (252, 252, 255))
        canvas.stroke(wing[[0, 3, 2]], 0.4, (150, 154, 170))
    canvas.fill(np.array([(-1.9, 57), (1.9, 57), (1.2, 60), (-1.2, 60)]), darker(silk, 0.75))
    canvas.fill(np.array([(-1.2, 60), (1.2, 60), (3.2, 70), (-3.2, 70)]), silk)
    if person.chance["tie_stripe"] < 0.6:
        canvas.stroke(((-1.8, 62.8), (1.8, 61.2)), 0.8, mix(silk, WHITE, 0.6))


def draw_head(canvas: Canvas, person: Person) -> None:
    """Ears and face, shaded on the side away from the light."""
    dark = 1 if person.chance["light"] < 0.5 else -1
    for side in (-1, 1):
        x = side * (person.cheek + 0.5) + person.turn * 0.2
        canvas.oval(x, 33.2, 1.9, 3.4, person.skin if side != dark else darker(person.skin, 0.88))
        canvas.oval(x, 33.4, 0.9, 2.0, person.shade)
    outline, middle = person.outline, np.array([0.0, 31.0])
    canvas.fill(outline, darker(person.skin, 0.84))
    canvas.fill((outline - middle) * (0.975, 0.99) + middle - (dark * 0.45, 0.3), darker(person.skin, 0.92))
    canvas.fill((outline - middle) * (0.94, 0.975) + middle - (dark * 0.9, 0.5), person.skin)
    canvas.glow(person.turn - dark * 3, 23.5, 8, 4.5, mix(person.skin, WHITE, 0.5), 0.4)
