"""Crop pictures as a dataset's images are cropped, so that faces lie alike in a camera's picture and in the dataset."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; right and bottom lie outside
Point = tuple[
    float, float
]  # x, y in pixels; a picture's top left corner is (0, 0), its first pixel's middle (0.5, 0.5)


def cropped(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Cut a box out of a picture and scale it to ``size`` (width, height) by Pillow's bicubic filter, which is
    antialiased.

    The box may reach beyond the picture, whose edge is then repeated. Raises ``ValueError`` for an empty box.
    """
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        raise ValueError(f"the box {box} is empty")
    if left < 0 or top < 0 or right > picture.width or bottom > picture.height:
        columns = np.arange(left, right).clip(0, picture.width - 1)
        rows = np.arange(top, bottom).clip(0, picture.height - 1)
        part = Image.fromarray(np.asarray(picture)[rows[:, None], columns])
    else:
        part = picture.crop(box)
    return part.resize(size, Image.Resampling.BICUBIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Where a detector's face box and the eyes lie in a dataset's images, as shares of an image's width.

    Attributes:
        left, top: the face box's corner.
        side: the box's side; it is a square.
        left_eye, right_eye: middles of the eyes, the first the one on the image's left.
        aspect: an image's height as a share of its width.
    """

    left: float
    top: float
    side: float
    left_eye: Point
    right_eye: Point
    aspect: float

    def around(self, left: float, top: float, side: float) -> Box:
        """Return the crop of another picture that frames a face as the dataset does: from a square face box, in
        pixels.
        """
        width = side / self.side
        start, above = round(left - self.left * width), round(top - self.top * width)
        return start, above, start + max(1, round(width)), above + max(1, round(width * self.aspect))

    def by_eyes(self, eyes: tuple[Point, Point], side: float) -> tuple[float, float, float]:
        """Return the face box, as left, top and side, that the eyes make likely: surer than a detector's alone.

        Its eyes' middle is where the dataset's face boxes have it; its side is the geometric mean of what the eyes'
        distance says and of the detector's ``side``. Raises ``ValueError`` where both eyes are one point.
        """
        found, usual = np.asarray(eyes, float), np.array([self.left_eye, self.right_eye])
        width = self._width(found, side)
        left, top = found.mean(axis=0) - (usual.mean(axis=0) - (self.left, self.top)) * width
        return float(left), float(top), self.side * width

    def placing(self, eyes: tuple[Point, Point], side: float, width: int) -> NDArray[np.float64]:
        """Return the similarity that lays a face as the dataset does: (2, 3), from a picture's pixels to an image's.

        From the eyes, left one first, and the face box's side, in pixels of the picture; ``width`` is that of the
        image to come. The middle between the eyes and the line through them come to where the dataset has them; the
        scale is that of :meth:`by_eyes`. Raises ``ValueError`` where both eyes are one point.
        """
        found, wanted = np.asarray(eyes, float), np.array([self.left_eye, self.right_eye]) * width
        across, along = found[1] - found[0], wanted[1] - wanted[0]
        scale = width / self._width(found, side)
        angle = math.atan2(along[1], along[0]) - math.atan2(across[1], across[0])
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        shift = wanted.mean(axis=0) - turn @ found.mean(axis=0)
        return np.concatenate([turn, shift[:, None]], axis=1)

    def _width(self, eyes: NDArray[np.float64], side: float) -> float:
        """Return how wide an image of the dataset would be in the picture: by the eyes and by the side, half each."""
        distance = math.dist(eyes[0], eyes[1])
        if distance == 0:
            raise ValueError("both eyes are one point")
        return math.sqrt(distance / math.dist(self.left_eye, self.right_eye) * side / self.side)
