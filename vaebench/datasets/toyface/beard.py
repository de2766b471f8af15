"""The beards of ``toyfaces``: stubble, cropped beard, sideburns, goatee and mustache."""

import numpy as np

from vaebench.datasets.toyface.canvas import Canvas, Points, darker, mirrored, mix, moved, smooth
from vaebench.datasets.toyface.person import Person


def lower_face(person: Person, inner: Points, start: float, fuller: float = 1) -> Points:
    """The part of the face below ``start`` and outside of ``inner``, (k, 2), which runs from right to left."""
    outline = person.outline
    rim = outline[(outline[:, 1] > start)]  # from the right side over the chin to the left
    return np.concatenate([moved(moved(rim, 0, -40) * fuller, 0, 40), smooth(inner)[::-1]])


def draw_stubble(canvas: Canvas, person: Person) -> None:
    """Five o'clock shadow: jaw, chin and upper lip as if dusted with grey."""
    if not person.has["5_o_Clock_Shadow"]:
        return
    tone, cheek = mix(darker(person.skin, 0.38), (62, 68, 82), 0.35), person.cheek
    for reach, alpha in ((0.0, 0.26), (1.3, 0.26)):
        right = [(cheek - 0.5, 36.5 + reach), (cheek - 3.5, 39.6 + reach), (5.4, 40.8 + reach * 0.5)]
        inner = np.array([*right, (0, 40.6), *((-x, y) for x, y in right[::-1])])
        canvas.fill(lower_face(person, inner, 36), tone, alpha)


def draw_beard(canvas: Canvas, person: Person) -> None:
    """A cropped beard along the jaw, a goatee on the chin, strips before the ears."""
    has, cheek, chin = person.has, person.cheek, person.chin
    if has["Sideburns"]:
        for side in (-1, 1):
            strip = ((cheek - 2.9, 26), (cheek + 0.5, 25), (cheek + 0.5, 36), (cheek - 1.0, 41.5), (cheek - 3.3, 40))
            canvas.blob(np.array(strip) * (side, 1), person.whiskers)
    if not has["No_Beard"]:
        right = [(cheek - 1.2, 35), (cheek - 2.8, 40), (8.2, 44.6), (5.2, chin - 3.0)]
        inner = np.array([*right, (0, chin - 2.4), *((-x, y) for x, y in right[::-1])])
        canvas.fill(lower_face(person, inner, 33.5, fuller=1.035), person.whiskers, 0.82)
        light = ((-7.8, 46.6), (-4.5, chin - 0.9), (0, chin - 0.2), (4.5, chin - 0.9), (7.8, 46.6))
        canvas.stroke(light, 0.8, person.hair, 0.5)


def draw_goatee(canvas: Canvas, person: Person) -> None:
    """Hair on the chin, to a point."""
    if not person.has["Goatee"]:
        return
    chin, x = person.chin, person.turn * 0.6
    tuft = mirrored(((0, 46.6), (3.0, 47.0), (4.4, chin - 1.6), (3.0, chin + 1.6), (0, chin + 3.6)))
    canvas.fill(moved(tuft, x, 0), darker(person.whiskers, 0.9))
    for lean in (-1.4, 0, 1.4):
        canvas.stroke(((lean + x, 48.6), (lean * 0.6 + x, chin + 2.0)), 0.6, person.hair, 0.8)


def draw_mustache(canvas: Canvas, person: Person) -> None:
    """Two wings under the nose."""
    if not person.has["Mustache"]:
        return
    lift = 0.6 if person.has["Smiling"] else 0
    for side in (-1, 1):
        wing = ((0, 40.6), (2.6, 40.7), (5.4, 42.3 - lift), (6.7, 44.6 - lift), (4.2, 43.7 - lift), (0, 43.1))
        canvas.blob(moved(np.array(wing) * (side, 1), person.turn * 1.25, 0), person.whiskers)
        light = np.array([(0.6, 41.4), (3.4, 41.9), (5.4, 43.4 - lift)])
        canvas.stroke(moved(light * (side, 1), person.turn * 1.25, 0), 0.6, person.hair, 0.8)
