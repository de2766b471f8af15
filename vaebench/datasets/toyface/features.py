"""What lies on the head of ``toyfaces``: skin, eyes, brows, nose and mouth."""

import numpy as np

from vaebench.datasets.toyface.canvas import CIRCLE, WHITE, Canvas, Colour, Points, between, darker, mix, moved, placed
from vaebench.datasets.toyface.person import IRISES, Person

EYE_HEIGHT, EYE_OFF = 31.0, 6.4
ACROSS = np.linspace(-1, 1, 11)  # from an eye's or a mouth's left end to its right
BOW = 1 - ACROSS**2
FLAT_BOW = BOW**0.8
CUPID = BOW**0.7 + 0.25 * np.exp(-(((np.abs(ACROSS) - 0.28) / 0.16) ** 2)) - 0.12
ROSE: Colour = (240, 78, 92)
SHADOWS: tuple[Colour, ...] = ((146, 84, 168), (84, 108, 186), (60, 138, 138), (164, 92, 60), (188, 84, 134))
LIPSTICKS: tuple[Colour, ...] = ((214, 40, 60), (178, 16, 62), (226, 74, 98), (150, 20, 70), (236, 82, 60))


def draw_skin(canvas: Canvas, person: Person) -> None:
    """Cheeks, cheekbones, blemishes."""
    has, cheek, turn = person.has, person.cheek, person.turn
    for side in (-1, 1):
        x = side * (cheek - 5.2) + turn * 0.7
        if has["High_Cheekbones"]:
            hollow = ((side * (cheek - 0.6), 36.6), (side * (cheek - 3.2), 40.4), (side * (cheek - 6.4), 42.8))
            canvas.stroke(moved(hollow, turn * 0.3, 0), 3.0, person.shade, 0.62)
            canvas.glow(x + side * 0.6, 35.4, 3.6, 2.0, mix(person.skin, WHITE, 0.42), 0.85)
        if has["Rosy_Cheeks"]:
            canvas.glow(x, 38.2, 5.6, 4.4, mix(person.skin, ROSE, 0.8), 0.52)
    if not has["Attractive"]:
        spots = np.random.default_rng(int(person.chance["spots"] * 2**32)).random((5, 3))
        for across, down, size in spots.tolist():
            x, y = (across - 0.5) * 17, 35.5 + 12 * down - 14 * (down > 0.7)
            canvas.oval(x + turn, y, 0.55 + 0.35 * size, 0.5 + 0.3 * size, mix(person.line, ROSE, 0.3), 0.62)


def draw_age(canvas: Canvas, person: Person) -> None:
    """Lines of the forehead, at the eyes and beside the mouth, where the face is not young."""
    if person.has["Young"]:
        return
    line, turn = person.line, person.turn
    for height, wide in ((21.2, 5.6), (23.6, 6.6)):
        furrow = ((-wide, height + 0.3), (0, height - 0.6), (wide, height + 0.3))
        canvas.stroke(moved(furrow, turn, 0), 0.65, line, 0.6)
    for side in (-1, 1):
        for drop in (-1.3, 0.6):
            start, end = side * (EYE_OFF + 4.0), side * (EYE_OFF + 5.9)
            canvas.stroke(((start + turn, EYE_HEIGHT + drop * 0.5), (end + turn, EYE_HEIGHT + drop)), 0.6, line, 0.6)
        fold = ((side * 3.6, 38.2), (side * 5.9, 41.2), (side * 6.7, 45.2))
        canvas.stroke(moved(fold, turn, 0), 0.8, line, 0.62)


def draw_double_chin(canvas: Canvas, person: Person) -> None:
    """A second chin below the first, and the crease between them."""
    if not person.has["Double_Chin"]:
        return
    chin, wide = person.chin, 7.6 + 1.5 * person.has["Chubby"]
    canvas.oval(0, chin - 1.4, wide + 0.5, 5.6, darker(person.skin, 0.66))
    canvas.oval(0, chin - 1.8, wide, 5.2, person.skin)
    crease = ((-wide * 0.72, chin - 1.9), (0, chin + 0.5), (wide * 0.72, chin - 1.9))
    canvas.stroke(moved(crease, person.turn * 0.3, 0), 1.1, person.line, 0.8)


def eye_shape(person: Person) -> tuple[float, float]:
    """Half width and half height of the eyes."""
    grown = 1 + person.sway("eye_size", 0.06) + (0.13 if person.has["Attractive"] else -0.04)
    height = 2.15 * grown * (0.45 if person.has["Narrow_Eyes"] else 1)
    return 3.35 * grown, height


def draw_eyes(canvas: Canvas, person: Person) -> None:
    """Both eyes; in faces that are not attractive one stands higher."""
    gap = EYE_OFF + person.sway("eye_gap", 0.35)
    for side in (-1, 1):
        x = side * gap + person.turn
        draw_eye(canvas, person, np.array([x, EYE_HEIGHT + person.uneven("uneven_eyes", 0.75) * side]), side)


def draw_eye(canvas: Canvas, person: Person, at: Points, side: int) -> None:
    """White, iris, pupil, lids and what is painted or worn around them."""
    has, (wide, high) = person.has, eye_shape(person)
    slant = side * person.sway("eye_slant", 0.5) - side * 0.25
    upper = placed(ACROSS * wide, -BOW * high + ACROSS * slant) + at
    lower = placed(ACROSS * wide, BOW * high * 0.78 + ACROSS * slant) + at
    if has["Bags_Under_Eyes"]:
        bag = moved(lower[1:-1:2], 0, 1.7)
        canvas.stroke(bag, 2.4, mix(person.shade, (96, 58, 96), 0.45), 0.62)
        canvas.stroke(moved(bag, 0, 1.1), 0.6, person.line, 0.6)
    if has["Heavy_Makeup"]:
        powder = between(SHADOWS, person.chance["eyeshadow"])
        top = upper - placed(-side * 0.5, 0.9 + 2.1 * BOW)
        canvas.fill(np.concatenate([top, lower[::-1] - (0, 0.3)]), powder, 0.72)
    canvas.fill(np.concatenate([upper, lower[::-1]]), (246, 244, 242))
    draw_iris(canvas, person, at, (wide, high))
    lash = (30, 22, 24) if has["Heavy_Makeup"] else darker(person.line, 0.55)
    canvas.stroke(upper, 1.5 if has["Heavy_Makeup"] else 0.85, lash)
    if has["Heavy_Makeup"]:
        corner = upper[-1] if side > 0 else upper[0]
        wing = np.array([(-1.2 * side, -0.3), (0.6 * side, -0.6), (1.9 * side, -1.7)])
        canvas.stroke(wing + corner, 1.0, lash)
    canvas.stroke(lower, 0.45, lash, 0.6)
    crease = upper[1:-1] - (0, 1.15 if not has["Narrow_Eyes"] else 0.9)
    canvas.stroke(crease, 0.5, person.line, 0.5)


def draw_iris(canvas: Canvas, person: Person, at: Points, shape: tuple[float, float]) -> None:
    """Iris and pupil, cut off by the lids; a catchlight in attractive faces."""
    wide, high = shape
    gaze = np.array([person.sway("gaze_x", 0.7) + person.turn * 0.25, person.sway("gaze_y", 0.25) - 0.1])
    colour = between(IRISES, person.chance["iris"])
    for radius, tone in ((2.0, darker(colour, 0.62)), (1.65, colour), (0.95, (14, 12, 14))):
        disc = CIRCLE * radius + gaze
        bow = 1 - (disc[:, 0] / wide) ** 2
        disc[:, 1] = np.minimum(np.maximum(disc[:, 1], -bow * high), bow * high * 0.78)
        canvas.fill(disc + at, tone)
    if person.has["Attractive"]:
        light = -0.8 if person.chance["light"] < 0.5 else 0.8
        canvas.oval(at[0] + gaze[0] + light, at[1] - 0.42 * high, 0.75, min(0.75, 0.6 * high), WHITE)


def draw_brows(canvas: Canvas, person: Person) -> None:
    """Flat or arched, thin or bushy; lower and fuller in men."""
    has = person.has
    width = (2.9 if has["Bushy_Eyebrows"] else 1.25) + 0.35 * has["Male"]
    height = 26.3 + person.sway("brow_height", 0.5) + 0.6 * has["Male"] - 0.3 * has["Smiling"]
    rise = 2.3 if has["Arched_Eyebrows"] else 0.45
    slope = person.sway("brow_slope", 0.4)
    for side in (-1, 1):
        off = person.uneven("uneven_brows", 0.8) * side
        way = np.array([(2.6, 0.1), (5.2, -0.1 - 0.5 * rise), (7.9, 0.0 - 0.72 * rise + slope), (10.6, 1.3 + slope)])
        canvas.stroke(moved(way * (side, 1), person.turn, height + off), width, person.whiskers, 0.92)


def draw_nose(canvas: Canvas, person: Person) -> None:
    """Bridge, tip and nostrils."""
    has, turn = person.has, person.turn
    x, tip = turn * 1.5, 38.6 + person.sway("nose_length", 0.6) + 0.9 * has["Big_Nose"]
    wide = 2.0 + person.sway("nose_width", 0.25) + 1.7 * has["Big_Nose"] - 0.55 * has["Pointy_Nose"]
    dark = 1 if person.chance["light"] < 0.5 else -1
    flank = ((turn + dark * 1.4, 29.5), (x + dark * 0.9, 34), (x + dark * wide * 0.7, tip - 1.2))
    canvas.stroke(flank, 1.3, person.shade, 0.8)
    if has["Big_Nose"]:
        canvas.glow(x, tip - 1.2, wide + 1.4, 3.2, darker(mix(person.skin, ROSE, 0.18), 0.9), 0.85)
        canvas.glow(x - dark * 0.8, tip - 2.0, 1.8, 1.6, mix(person.skin, WHITE, 0.55), 0.7)
    if has["Pointy_Nose"]:
        ridge = ((turn - dark * 0.3, 28.5), (x - dark * 0.4, 33.5), (x, tip - 0.6))
        canvas.stroke(ridge, 1.4, mix(person.skin, WHITE, 0.48), 0.9)
        point = np.array([(-wide, tip - 0.3), (0, tip - 0.6), (wide, tip - 0.3), (0, tip + 2.2)])
        canvas.fill(moved(point, x, 0), person.line, 0.72)
    else:
        below = np.array([(-1, -0.7), (-0.5, 0.4), (0, 0.75), (0.5, 0.4), (1, -0.7)])
        canvas.stroke(moved(below * (wide, 1), x, tip), 0.9, person.line, 0.75)
    for side in (-1, 1):
        size = 0.95 if has["Big_Nose"] else 0.5
        canvas.oval(x + side * wide * 0.52, tip + 0.15, size, size * 0.6, darker(person.line, 0.6), 0.85)


def lip_colour(person: Person) -> Colour:
    """Skin's own red, or lipstick's."""
    if person.has["Wearing_Lipstick"]:
        return between(LIPSTICKS, person.chance["lipstick"])
    return mix(darker(person.skin, 0.8), (186, 84, 82), 0.3 + 0.12 * person.chance["lip"])


def draw_mouth(canvas: Canvas, person: Person) -> None:
    """Lips, smiling or not, open or not."""
    has, colour = person.has, lip_colour(person)
    wide = 4.5 + person.sway("mouth_width", 0.4) + 1.5 * has["Smiling"] + 0.35 * has["Big_Lips"]
    full = 1.75 if has["Big_Lips"] else 0.85
    x, y = person.turn * 1.15, 44.2 + person.sway("mouth_height", 0.4)
    gap = (1.15 if has["Smiling"] else 1.35) * has["Mouth_Slightly_Open"]
    lift, skew = 2.1 if has["Smiling"] else 0.3, person.uneven("uneven_mouth", 0.65)
    corners = y + lift * (BOW - 0.75) + skew * ACROSS
    sides = ACROSS * wide + x
    top, bottom = corners - gap * BOW, corners + gap * BOW * 1.15
    upper = placed(sides, np.minimum(top - full * CUPID, top))
    lower = placed(sides, bottom + full * 1.3 * FLAT_BOW)
    canvas.glow(x, y + 3.8 + full, 3.0, 1.0, person.shade, 0.6)
    canvas.fill(np.concatenate([upper, lower[::-1]]), colour)
    canvas.stroke(lower[3:8] - (0, full * 0.75), 0.4 + 0.35 * full, mix(colour, WHITE, 0.45), 0.55)
    if gap:
        edge = placed(sides, top)
        canvas.fill(np.concatenate([edge, placed(sides, bottom)[::-1]]), (74, 18, 24))
        teeth = placed(sides, np.minimum(top + 1.25, bottom - 0.2 * BOW))
        canvas.fill(np.concatenate([edge, teeth[::-1]])[1:-1], (250, 246, 240))
    else:
        canvas.stroke(placed(sides, corners), 0.6, darker(colour, 0.5), 0.9)
    for side in (-1, 1) if has["Smiling"] else ():
        end = x + side * wide
        dimple = ((end + side * 0.5, y - 3.4), (end + side * 1.4, y - 1.7), (end + side * 0.9, y + 0.4))
        canvas.stroke(dimple, 0.6, person.line, 0.6)
