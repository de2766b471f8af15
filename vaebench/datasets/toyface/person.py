"""Who is drawn: measures and colours of one of ``toyfaces``, from its attributes and from chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vaebench.datasets.toyface.canvas import Canvas, Colour, Points, between, darker, mirrored, mix, moved

# what chance decides, each by a number of its own, whatever the attributes are; new ones go to the end
CHANCES = (
    *("shift_x", "shift_y", "tilt", "turn", "scale", "light", "exposure", "warmth"),
    *("backdrop_hue", "backdrop_tone", "backdrop_fall", "backdrop_side", "spot_x", "spot_y", "spot_size"),
    *("skin", "face_width", "jaw", "chin", "iris", "gaze_x", "gaze_y", "eye_gap", "eye_size", "eye_slant"),
    *("brow_height", "brow_slope", "nose_length", "nose_width", "mouth_width", "mouth_height", "lip"),
    *("hair_tone", "hair_kind", "hair_volume", "hair_length", "parting", "hairline", "wave_phase", "fringe"),
    *("uneven_eyes", "uneven_brows", "uneven_mouth", "spots", "cloth_hue", "cloth_tone", "cloth_cut"),
    *("lipstick", "eyeshadow", "glasses_shape", "glasses_colour", "hat_shape", "hat_hue", "hat_tone"),
    *("earring_shape", "jewel", "necklace_shape", "tie_hue", "tie_stripe"),
)

SKINS: tuple[Colour, ...] = (
    (250, 216, 196),
    (243, 200, 174),
    (230, 180, 150),
    (208, 154, 122),
    (174, 120, 92),
    (134, 90, 68),
    (102, 68, 54),
)
PALE: Colour = (255, 240, 230)
HAIRS: Mapping[str, tuple[Colour, Colour]] = {
    "Black_Hair": ((22, 19, 22), (40, 35, 42)),
    "Blond_Hair": ((240, 208, 128), (214, 172, 92)),
    "Brown_Hair": ((106, 66, 38), (76, 46, 28)),
    "Gray_Hair": ((188, 190, 194), (150, 152, 158)),
}
# no colour named: what CelebA's annotators left open
OTHER_HAIRS: tuple[Colour, ...] = ((104, 34, 40), (148, 58, 36), (188, 106, 60), (178, 140, 98))
IRISES: tuple[Colour, ...] = (
    (58, 36, 22),
    (92, 58, 30),
    (104, 100, 46),
    (66, 112, 92),
    (66, 118, 168),
    (120, 136, 150),
)


@dataclass(frozen=True)
class Person:
    """One face. ``has`` tells each attribute, ``chance`` a number in [0, 1) for each of ``CHANCES``."""

    has: Mapping[str, bool]
    chance: Mapping[str, float]

    def sway(self, name: str, amount: float) -> float:
        """Chance as a number from ``-amount`` to ``amount``."""
        return (2 * self.chance[name] - 1) * amount

    def pick(self, name: str, count: int) -> int:
        """Chance as one of ``count`` kinds."""
        return int(self.chance[name] * count)

    def uneven(self, name: str, amount: float) -> float:
        """How far a side is off, half of ``amount`` at least; nothing in attractive faces."""
        if self.has["Attractive"]:
            return 0
        off = self.sway(name, 1)
        return amount * (off + (1 if off >= 0 else -1)) / 2

    @cached_property
    def skin(self) -> Colour:
        place = self.chance["skin"] ** 1.5
        return mix(between(SKINS, place * 0.2), PALE, 0.5) if self.has["Pale_Skin"] else between(SKINS, place)

    @cached_property
    def shade(self) -> Colour:
        """Shadow on the skin."""
        return darker(self.skin, 0.76)

    @cached_property
    def line(self) -> Colour:
        """Lines in the skin: folds, nostrils."""
        return darker(self.skin, 0.52)

    @cached_property
    def hair(self) -> Colour:
        tones = [between(tones, self.chance["hair_tone"]) for name, tones in HAIRS.items() if self.has[name]]
        if not tones:
            return between(OTHER_HAIRS, self.chance["hair_kind"])
        red, green, blue = (sum(part) / len(tones) for part in zip(*tones, strict=True))
        return red, green, blue

    @cached_property
    def strand(self) -> Colour:
        """Dark strands."""
        return darker(self.hair, 0.66)

    @cached_property
    def whiskers(self) -> Colour:
        """Brows and beard: the colour of dark strands, or darker where the skin's is too near to it."""
        apart = abs(sum(self.strand) - sum(self.skin)) / 3
        return self.strand if apart > 45 else darker(self.skin, 0.42)

    @cached_property
    def shine(self) -> Colour:
        """Light strands."""
        return mix(self.hair, (255, 236, 214), 0.3)

    @cached_property
    def turn(self) -> float:
        """How far the features look to the side, in pixels."""
        return self.sway("turn", 1.7)

    @cached_property
    def chin(self) -> float:
        """Height of the chin's lowest point."""
        return 50.6 + self.sway("chin", 0.8) + 0.7 * self.has["Male"] + 1.9 * self.has["Oval_Face"]

    @cached_property
    def cheek(self) -> float:
        """Half the face's width at the cheeks."""
        has = self.has
        width = 13.6 + self.sway("face_width", 0.6) + 2.0 * has["Chubby"] - 1.0 * has["Oval_Face"]
        return width + 0.5 * has["High_Cheekbones"]

    @cached_property
    def outline(self) -> Points:
        """The face without ears, closed."""
        has, cheek, chin = self.has, self.cheek, self.chin
        jaw = 10.9 + self.sway("jaw", 0.8) + 1.5 * has["Male"] + 2.9 * has["Chubby"] - 1.3 * has["Oval_Face"]
        tip = 5.2 + 1.5 * has["Male"] + 2.0 * has["Chubby"] - 0.5 * has["Oval_Face"]
        right = (
            (0, 10.5),
            (9.2, 12.6),
            (cheek - 0.7, 20),
            (cheek + 0.3, 29),
            (cheek - 0.3, 36),
            (jaw, 43.6),
            (tip, chin - 1.7),
            (0, chin),
        )
        return moved(mirrored(right), self.turn * 0.25, 0)

    def pose_head(self, canvas: Canvas) -> None:
        """Place the head: a little off the middle, tilted, nearer or farther."""
        shift = (self.sway("shift_x", 2.2), self.sway("shift_y", 1.2) + 0.3)
        canvas.pose(shift, self.sway("tilt", 0.11), 1.11 + self.sway("scale", 0.045))

    def pose_body(self, canvas: Canvas) -> None:
        """Place the shoulders: they follow the head half the way and do not tilt."""
        canvas.pose((self.sway("shift_x", 1.5), self.sway("shift_y", 0.8) + 0.4))


def chances(seed: tuple[int, ...]) -> dict[str, float]:
    """Numbers in [0, 1), by name."""
    return dict(zip(CHANCES, np.random.default_rng(seed).random(len(CHANCES)).tolist(), strict=True))
