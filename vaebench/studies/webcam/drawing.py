"""A frame with what was read of its faces drawn into it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vaebench.datasets.images.cropping import Box
from vaebench.datasets.images.face_detection import Pixels
from vaebench.metrics.probes.novelty import Strangeness
from vaebench.studies.webcam.reader import Readings

Colour = tuple[int, int, int]  # red, green, blue
GREEN: Colour = (40, 200, 80)  # the attribute is there
RED: Colour = (240, 60, 50)  # it is not
AMBER: Colour = (255, 190, 60)  # warnings
WHITE: Colour = (245, 245, 245)
_PLATE = 0.3  # what is left of the picture behind text
_FONT, _USUAL_WIDTH = cv2.FONT_HERSHEY_SIMPLEX, 640
_GAP = 6
_TEXT, _SMALL = 0.5, 0.4  # scale of the text in a frame of the usual width; the least that can be read
_FEW = 2  # faces, beyond which their text is smaller
_BESIDE, _BESIDE_OF_MANY = (96, 160), (48, 160)  # least and largest side of a picture beside a face
Line = tuple[str, Colour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is drawn of one face: its box in a colour, lines of text, and pictures (h, w, 3) beside it."""

    box: Box
    colour: Colour
    lines: Sequence[Line]
    beside: Sequence[Pixels] = ()


def marks(boxes: Sequence[Box], names: Sequence[str], readings: Readings) -> list[Mark]:
    """A mark for each face: green where the first attribute is there; a line for each attribute, and for a warning.

    Where faces are changed, the reconstruction and the changed face stand beside.
    """
    found = []
    for row, box in enumerate(boxes):
        scores = readings.scores[row].tolist()
        lines: list[Line] = [
            (f"{name} {'yes' if score > 0 else 'no'} {score:+.2f}", GREEN if score > 0 else RED)
            for name, score in zip(names, scores, strict=True)
        ]
        lines += [(text, AMBER) for text in warning(readings.strangeness, row)]
        beside: list[Pixels] = []
        if readings.changed is not None:
            pair = (readings.reconstruction[row], readings.changed[row])
            beside = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in pair]
        found.append(Mark(box=box, colour=GREEN if scores[0] > 0 else RED, lines=lines, beside=beside))
    return found


def warning(strangeness: Strangeness, row: int) -> list[str]:
    """What to say of a face that is out of the distribution: lines, or none."""
    if not strangeness.outside[row]:
        return []
    error, norm = (f"{100 * float(part[row]):.0f} %" for part in (strangeness.error, strangeness.norm))
    return ["unlike the training faces:", f"error above {error} of them", f"norm above {norm} of them"]


def annotated(frame: Pixels, faces: Sequence[Mark], notes: Sequence[str]) -> Pixels:
    """A copy of an RGB frame (h, w, 3) with its faces marked, and notes at its top left."""
    drawn = frame.copy()
    for face in faces:
        _draw_beside(drawn, face, _BESIDE if len(faces) == 1 else _BESIDE_OF_MANY)
    thick = max(2, round(2 * frame.shape[1] / _USUAL_WIDTH))
    for face in faces:
        left, top, right, bottom = _within(face.box, drawn)
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), face.colour, thick)
    usual = float(np.clip(_TEXT * frame.shape[1] / _USUAL_WIDTH, _SMALL, 3 * _TEXT))
    taken = [_write(drawn, [(note, WHITE) for note in notes], (_GAP, _GAP), usual)] if notes else []
    scale = usual if len(faces) <= _FEW else max(_SMALL, 0.8 * usual)
    for face in faces:
        taken.append(_write(drawn, face.lines, _label_place(drawn, face, taken, scale), scale))
    return drawn


def _within(box: Box, frame: Pixels) -> Box:
    """The part of a box that a frame has, two pixels wide and high at least."""
    height, width = frame.shape[:2]
    left, top, right, bottom = box
    left, top = min(max(left, 0), width - 2), min(max(top, 0), height - 2)
    return left, top, max(min(right, width), left + 2), max(min(bottom, height), top + 2)


def _extent(lines: Sequence[Line], scale: float) -> tuple[int, int, int]:
    """Width and height of the lines' plate, and the height of one line."""
    widest = max(cv2.getTextSize(text, _FONT, scale, 1)[0][0] for text, _ in lines)
    line = round(36 * scale)
    return widest + 2 * _GAP, line * len(lines) + _GAP, line


def _label_place(frame: Pixels, face: Mark, taken: Sequence[Box], scale: float) -> tuple[int, int]:
    """Under the box, above it, or at its lower end within: the first that the frame has room for, free of others."""
    width, height, _ = _extent(face.lines, scale)
    left, top, right, bottom = _within(face.box, frame)
    x = min(max((left + right - width) // 2, 0), max(frame.shape[1] - width, 0))
    places = [y for y in (bottom + 2, top - height - 2, bottom - height - 2) if 0 <= y <= frame.shape[0] - height]
    free = [y for y in places if not any(_meet((x, y, x + width, y + height), other) for other in taken)]
    return x, (free or places or [max(frame.shape[0] - height, 0)])[0]


def _meet(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _write(frame: Pixels, lines: Sequence[Line], place: tuple[int, int], scale: float) -> Box:
    """Lines of text on a dark plate; returns where the plate lies."""
    width, height, line = _extent(lines, scale)
    left, top = place
    study_figure = frame[top : top + height, left : left + width]
    study_figure[:] = (study_figure * _PLATE).astype(np.uint8)
    for row, (text, colour) in enumerate(lines):
        at = (left + _GAP, top + _GAP // 2 + round((row + 0.75) * line))
        cv2.putText(frame, text, at, _FONT, scale, colour, max(1, round(scale)), cv2.LINE_AA)
    return left, top, left + width, top + height


def _draw_beside(frame: Pixels, face: Mark, sides: tuple[int, int]) -> None:
    """The pictures, one above the other: right of the box, left of it, or over its right part; where they fit."""
    if not face.beside:
        return
    left, top, right, bottom = _within(face.box, frame)
    height, width = frame.shape[:2]
    side = min(int(np.clip((bottom - top) // len(face.beside), *sides)), width, height // len(face.beside))
    starts = [x for x in (right + _GAP, left - _GAP - side) if 0 <= x <= width - side]
    x = (starts or [max(right - side, 0)])[0]
    y = max(min(top, height - len(face.beside) * side), 0)
    for picture in face.beside:
        frame[y : y + side, x : x + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
        y += side
