"""Faces followed from frame to frame: looked for in some frames, carried on by their speed between, smoothed."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from vaebench.datasets.images.cropping import Framing, cropped
from vaebench.datasets.images.face_detection import Detector, Face, Pixels, sighted

EVERY = 2  # frames from one search to the next, for each face that is followed: what a frame costs stays the same
MOST = 5  # faces that are read: the largest
_RAREST = 6  # frames between two searches at most
_WIDE = 320  # pixels that a frame is reduced to before the search
_SMALLEST = 1 / 10  # of that width
_NEAR = 128  # pixels that a face's crop is scaled to before its eyes are looked for
_PATIENCE = 3  # searches that may miss a face before it is gone
# how far what is found counts against what is expected (alpha-beta filters): sides are less sure than places
_PLACE, _SPEED = 0.8, 0.4
_SIZE, _GROWTH = 0.3, 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A face's middle and side in pixels, and how many searches have missed it.

    ``speed`` is in pixels a frame, ``growth`` that of the side's logarithm a frame.
    ``seen``: its eyes were found before; then its side is taken only from searches that find them again.
    """

    x: float
    y: float
    side: float
    speed: tuple[float, float] = (0.0, 0.0)
    growth: float = 0.0
    missed: int = 0
    seen: bool = False

    @property
    def corner(self) -> tuple[float, float]:
        """Left and top of its box."""
        return self.x - self.side / 2, self.y - self.side / 2

    def later(self, frames: int) -> "Track":
        """Where it should be by its speed."""
        return replace(
            self,
            x=self.x + frames * self.speed[0],
            y=self.y + frames * self.speed[1],
            side=self.side * math.exp(frames * self.growth),
        )

    def corrected(self, face: Face, frames: int) -> "Track":
        """Expected here, found there, so many frames after the last search."""
        right = face.left + face.side / 2 - self.x
        down = face.top + face.side / 2 - self.y
        track = replace(
            self,
            x=self.x + _PLACE * right,
            y=self.y + _PLACE * down,
            speed=(self.speed[0] + _SPEED * right / frames, self.speed[1] + _SPEED * down / frames),
            missed=0,
            seen=self.seen or face.eyes is not None,
        )
        if self.seen and face.eyes is None:
            return track
        if track.seen and not self.seen:
            return replace(track, side=face.side)
        larger = math.log(face.side / self.side)
        return replace(track, side=self.side * math.exp(_SIZE * larger), growth=self.growth + _GROWTH * larger / frames)


def updated(tracks: list[Track], faces: list[Face], frames: int) -> list[Track]:
    """Tracks expected in a frame, corrected by the faces found in it; known ones first, in their order.

    A face belongs to the nearest track whose middle lies within half its side. A track that is not found stands still.
    """
    free = list(faces)
    kept = []
    for track in tracks:
        near = min(free, key=lambda face: _distance(track, face), default=None)
        if near is not None and _distance(track, near) <= max(track.side, near.side) / 2:
            free.remove(near)
            kept.append(track.corrected(near, frames))
        elif track.missed + 1 < _PATIENCE:
            kept.append(replace(track, missed=track.missed + 1, speed=(0.0, 0.0), growth=0.0))
    new = [
        Track(x=face.left + face.side / 2, y=face.top + face.side / 2, side=face.side, seen=face.eyes is not None)
        for face in free
    ]
    return kept + new


def _distance(track: Track, face: Face) -> float:
    return math.hypot(face.left + face.side / 2 - track.x, face.top + face.side / 2 - track.y)


class Tracker:
    """The faces of one frame after another; with a framing, their boxes are made surer by their eyes."""

    def __init__(self, detector: Detector, framing: Framing | None = None, every: int = EVERY) -> None:
        self._detector, self._framing, self._every = detector, framing, every
        self._tracks: list[Track] = []
        self._since = _RAREST  # frames since the last search

    def follow(self, frame: Pixels) -> list[Track]:
        """All faces in the next frame."""
        expected = [track.later(1) for track in self._tracks]
        if self._since >= min(self._every * max(1, len(self._tracks)), max(self._every, _RAREST)):
            faces = found(frame, self._detector)
            if self._framing is not None:
                near = sorted(faces, key=lambda face: -face.side)
                faces = [surer(frame, face, self._framing, self._detector) for face in near[:MOST]] + near[MOST:]
            expected = updated(expected, faces, self._since)
            self._since = 0
        self._since += 1
        self._tracks = expected
        return list(expected)


def largest(tracks: list[Track], most: int = MOST) -> list[Track]:
    """The largest so many, in the order they had."""
    chosen = sorted(range(len(tracks)), key=lambda place: -tracks[place].side)[:most]
    return [tracks[place] for place in sorted(chosen)]


def found(frame: Pixels, detector: Detector) -> list[Face]:
    """Faces in a frame, in its pixels; looked for in a reduced one, so without their eyes."""
    height, width = frame.shape[:2]
    share = min(1.0, _WIDE / width)
    small = frame
    if share < 1:
        size = (_WIDE, max(1, round(height * share)))
        small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    faces = detector.faces(small, round(small.shape[1] * _SMALLEST))
    return [replace(face.times(1 / share), eyes=None) for face in faces]


def surer(frame: Pixels, face: Face, framing: Framing, detector: Detector) -> Face:
    """The face as it is sighted in its own crop, as the framing was measured, with its eyes; or as it was."""
    left, top, right, _ = box = framing.around(face.left, face.top, face.side)
    size = (_NEAR, max(1, round(_NEAR * framing.aspect)))
    sight = sighted(np.asarray(cropped(Image.fromarray(frame), box, size)), detector, turns=(0,))
    if sight is None or sight.eyes is None:
        return face
    share = (right - left) / _NEAR
    there = sight.times(share)
    assert there.eyes is not None
    (first_x, first_y), (second_x, second_y) = there.eyes
    eyes = ((first_x + left, first_y + top), (second_x + left, second_y + top))
    start, above, side = framing.by_eyes(eyes, there.side)
    return Face(left=start, top=above, side=side, score=face.score, eyes=eyes)
