"""Detect faces and eyes in pictures, by OpenCV's cascades or by YuNet; measure how a dataset frames faces; align others
alike.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from cv2.data import haarcascades
from numpy.typing import NDArray
from torch import Tensor

from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of
from vaebench.datasets.images.cropping import Framing, Point

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]

FEWEST, FEWEST_SHARE = 20, 0.2  # images in which a face must be found, below which medians say little
TURNS = (0, 20, -20, 40, -40)  # degrees: a cascade knows upright faces, and forgives about 20
_COARSE, _FINE = 128, 256  # pixels that an image is enlarged to: for faces, then for eyes; both of 20 pixels or more
_MARGIN = 1 / 4  # of an image, repeated border about it: faces that fill an image would not be found
_UPPER = (0.15, 0.6)  # the part of a face box, from its top, that the eyes are looked for in
_HALF = 0.55  # of a face box's width, in which one eye is looked for
_EYE = (0.125, 0.4)  # least and largest side of an eye's box, in face sides
_APART, _SLANT = (0.25, 0.65), 0.35  # eyes' distance across in face sides; down, as a share of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A square face box in pixels, how sure the detector is in units of its own, and the eyes, left one first."""

    left: float
    top: float
    side: float
    score: float
    eyes: tuple[Point, Point] | None = None

    def times(self, factor: float) -> "Face":
        """Return the face in a picture that is so many times as large."""
        eyes = self.eyes
        if eyes is not None:
            (left, left_height), (right, right_height) = eyes
            eyes = ((left * factor, left_height * factor), (right * factor, right_height * factor))
        return Face(
            left=self.left * factor, top=self.top * factor, side=self.side * factor, score=self.score, eyes=eyes
        )


class Detector(ABC):
    """Finder of faces and eyes; ``name`` changes with what it finds, since boxes of two detectors differ."""

    name: str

    @abstractmethod
    def faces(self, picture: Pixels, smallest: int) -> list[Face]:
        """Find faces at least ``smallest`` pixels wide in an RGB picture, uint8 (h, w, 3), the surest first."""

    @abstractmethod
    def eyes(self, picture: Pixels, face: Face) -> tuple[Point, Point] | None:
        """Find the eyes of one of those faces, left one first; ``None`` without a likely pair."""


class Cascade(Detector):
    """OpenCV's cascades of Haar features (Viola and Jones 2001): upright frontal faces, then eyes within them."""

    name = "haarcascade_frontalface_alt2"

    def __init__(self) -> None:
        self._face, self._eye = _cascade("haarcascade_frontalface_alt2"), _cascade("haarcascade_eye")

    def faces(self, picture: Pixels, smallest: int) -> list[Face]:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        boxes, _, scores = self._face.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=3, minSize=(smallest, smallest), outputRejectLevels=True
        )
        return _apart(
            [
                Face(left=float(left), top=float(top), side=float(side), score=float(score))
                for (left, top, side, _), score in zip(boxes, np.ravel(scores), strict=True)
            ]
        )

    def eyes(self, picture: Pixels, face: Face) -> tuple[Point, Point] | None:
        left, top, side = int(face.left), int(face.top), int(face.side)
        above = top + int(_UPPER[0] * side)
        part = cv2.cvtColor(picture[above : top + int(_UPPER[1] * side), left : left + side], cv2.COLOR_RGB2GRAY)
        least, largest = (int(share * side) for share in _EYE)
        found = []
        for start in (0, int((1 - _HALF) * side)):
            boxes, _, scores = self._eye.detectMultiScale3(
                part[:, start : start + int(_HALF * side)],
                scaleFactor=1.05,
                minNeighbors=3,
                minSize=(least, least),
                maxSize=(largest, largest),
                outputRejectLevels=True,
            )
            if not len(boxes):
                return None
            _, x, y, width = max((float(score), *map(int, box[:3])) for box, score in zip(boxes, scores, strict=True))
            found.append((left + start + x + width / 2, above + y + width / 2))
        pair = (found[0], found[1])
        return pair if _likely(pair, side) else None


class YuNet(Detector):
    """YuNet (Wu, Peng and Yu 2023), from its ONNX file, which OpenCV's model zoo has; it gives the eyes as well."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`UserError` where the file is missing or is no YuNet."""
        if not path.is_file():
            raise UserError(f"{path} does not exist: give YuNet's .onnx file, or leave --detector away")
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (_FINE, _FINE), score_threshold=0.7)
            self._network.detect(np.zeros((_FINE, _FINE, 3), np.uint8))
        except (cv2.error, SystemError) as error:
            reason = f"{path} cannot be read as YuNet ({first_line(error)})"
            raise UserError(f"{reason}: give OpenCV zoo's face_detection_yunet_2023mar.onnx") from error
        self.name = f"yunet-{sha256_of(path)[:12]}"

    def faces(self, picture: Pixels, smallest: int) -> list[Face]:
        self._network.setInputSize((picture.shape[1], picture.shape[0]))
        rows: Any = self._network.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]  # None where there is no face
        found = []
        for x, y, width, height, right_x, right_y, left_x, left_y, *_, score in [] if rows is None else rows.tolist():
            side = (width + height) / 2
            if side >= smallest:  # a person's right eye is on the picture's left
                eyes = ((right_x, right_y), (left_x, left_y))
                middle = (x + width / 2, y + height / 2)
                found.append(
                    Face(left=middle[0] - side / 2, top=middle[1] - side / 2, side=side, score=score, eyes=eyes)
                )
        return _apart(found)

    def eyes(self, picture: Pixels, face: Face) -> tuple[Point, Point] | None:
        return face.eyes if face.eyes is not None and _likely(face.eyes, face.side) else None


def _cascade(name: str) -> cv2.CascadeClassifier:
    path = Path(haarcascades) / f"{name}.xml"
    loaded = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    if loaded is None or loaded.empty():
        raise UserError(f"{path} is missing or damaged: install 'opencv-python-headless>=4.11,<5'")
    return loaded


def _apart(faces: Sequence[Face]) -> list[Face]:
    """Sort the surest first; of boxes about the same middle keep the surest. The order does not depend on threads."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.left, face.top, face.side)):
        middle = (face.left + face.side / 2, face.top + face.side / 2)
        if not any(
            0 <= middle[0] - other.left <= other.side and 0 <= middle[1] - other.top <= other.side for other in kept
        ):
            kept.append(face)
    return kept


def _likely(eyes: tuple[Point, Point], side: float) -> bool:
    (left, left_height), (right, right_height) = eyes
    across = right - left
    return _APART[0] * side <= across <= _APART[1] * side and abs(right_height - left_height) <= _SLANT * across


def sighted(image: Pixels, detector: Detector, turns: Sequence[int] = TURNS) -> Face | None:
    """Find the surest face with eyes in an image (h, w, 3) that is little else, trying these angles in degrees.

    Box and eyes are in the image's pixels; the box of a turned face is an upright one about the same middle.
    """
    found = [
        (-face.score, order, face.times(_FINE / _COARSE))
        for order, turn in enumerate(turns)
        for face in detector.faces(_enlarged(image, turn, _COARSE)[0], _COARSE // 4)
    ]
    for _, order, face in sorted(found, key=lambda candidate: candidate[:2]):
        picture, back = _enlarged(image, turns[order], _FINE)
        eyes = detector.eyes(picture, face)
        if eyes is not None:
            half = face.side / 2
            middle, left, right = _moved([(face.left + half, face.top + half), *eyes], back)
            side = face.side * math.hypot(*back[:, 0])
            return replace(face, left=middle[0] - side / 2, top=middle[1] - side / 2, side=side, eyes=(left, right))
    return None


def _enlarged(image: Pixels, turn: float, side: int) -> tuple[Pixels, Matrix]:
    """Turn the image by so many degrees, ``side`` pixels wide, its border repeated; also return the way back from its
    pixels.
    """
    height, width = image.shape[:2]
    scale, margin = side / width, round(side * _MARGIN)
    size = (side + 2 * margin, round(height * scale) + 2 * margin)
    there = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale), np.float64)
    there[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return _warped(image, there, size, cv2.INTER_LINEAR), np.asarray(cv2.invertAffineTransform(there), np.float64)


def _moved(points: Sequence[Point], matrix: Matrix) -> list[Point]:
    return [(float(x), float(y)) for x, y in np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]]


def _warped(image: Pixels, matrix: Matrix, size: tuple[int, int], how: int = cv2.INTER_CUBIC) -> Pixels:
    """Warp by OpenCV, which counts from the first pixel's middle; on a finer grid first where it shrinks."""
    fine = max(1, round(1 / math.hypot(*matrix[:, 0])))
    there = matrix * fine
    there[:, 2] += there[:, :2].sum(axis=1) / 2 - 0.5
    grown = (size[0] * fine, size[1] * fine)
    warped = cv2.warpAffine(image, there, grown, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped if fine == 1 else cv2.resize(warped, size, interpolation=cv2.INTER_AREA), np.uint8)


def _as_pictures(images: Tensor) -> Pixels:
    """uint8 (n, 1 or 3, h, w) -> (n, h, w, 3)."""
    return np.ascontiguousarray(images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy())


def measure_framing(images: Tensor, at_most: int = 300, detector: Detector | None = None) -> Framing:
    """Measure where faces lie in images uint8 (n, 1 or 3, h, w): medians over so many, evenly chosen.

    By the cascade where no detector is given. Raises :class:`UserError` where a face with two eyes is found in fewer
    than 20 of them or in less than a fifth.
    """
    detector = detector or Cascade()
    rows = torch.linspace(0, len(images) - 1, min(len(images), at_most)).round().long()
    sights = [sighted(picture, detector, turns=(0,)) for picture in _as_pictures(images[rows])]
    known = [(face, face.eyes) for face in sights if face is not None and face.eyes is not None]
    if len(known) < max(FEWEST, FEWEST_SHARE * len(rows)):
        raise UserError(
            f"a face with two eyes is found in {len(known)} of {len(rows)} images, too few to say how they frame it: "
            "choose a dataset of upright faces that fill the image"
        )
    height, width = images.shape[2:]
    measured = [(face.left, face.top, face.side, *left, *right) for face, (left, right) in known]
    left, top, side, *eyes = (np.median(np.array(measured), axis=0) / width).tolist()
    return Framing(
        left=left,
        top=top,
        side=side,
        left_eye=(eyes[0], eyes[1]),
        right_eye=(eyes[2], eyes[3]),
        aspect=height / width,
    )


def aligned(images: Tensor, framing: Framing, detector: Detector | None = None) -> tuple[Tensor, Tensor]:
    """Align each face as the dataset has it, by its eyes and its size, however it was shifted, scaled or turned.

    uint8 (n, 3, h, w) -> images of the same kind, and whether a face with two eyes was found, bool (n,); where none
    was, the image is as it came. Turns up to about 45 degrees are found. ``detector`` is the one that ``framing`` was
    measured by, the cascade by default.
    """
    detector = detector or Cascade()
    height, width = images.shape[2:]
    laid, found = [], []
    for picture in _as_pictures(images):
        face = sighted(picture, detector)
        found.append(face is not None)
        if face is not None and face.eyes is not None:
            laid.append(_warped(picture, framing.placing(face.eyes, face.side, width), (width, height)))
        else:
            laid.append(picture)
    stacked = np.stack(laid) if laid else np.zeros((0, height, width, 3), np.uint8)
    return torch.from_numpy(stacked.transpose(0, 3, 1, 2).copy()), torch.tensor(found, dtype=torch.bool)
