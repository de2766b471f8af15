"""From frames to annotated frames: find, crop, read, draw."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from vaebench.datasets.images.cropping import Box, cropped
from vaebench.datasets.images.face_detection import Pixels
from vaebench.studies.webcam.drawing import annotated, marks
from vaebench.studies.webcam.reader import Reader
from vaebench.studies.webcam.tracking import MOST, Tracker, largest

_RECENT = 30  # frames that frames/s is taken over


def crops(frame: Pixels, boxes: Sequence[Box], image_shape: tuple[int, int, int]) -> torch.Tensor:
    """Faces of a frame, uint8 (n, 3, h, w): cropped and scaled as datasets are."""
    _, height, width = image_shape
    picture = Image.fromarray(frame)
    parts = [np.asarray(cropped(picture, box, (width, height))) for box in boxes]
    return torch.from_numpy(np.stack(parts).transpose(0, 3, 1, 2).copy())


class Show:
    """Marks one frame after another. ``clock`` gives seconds."""

    def __init__(self, reader: Reader, tracker: Tracker, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._tracker, self._clock = reader, tracker, clock
        changes = ", ".join(f"{name} {amount:+g}" for name, amount in reader.changes.items())
        self._beside = [f"beside a face: as decoded, then {changes}"] if changes else []
        self._times: deque[float] = deque(maxlen=_RECENT + 1)

    def frames(self, source: Iterable[Pixels]) -> Iterator[Pixels]:
        """All of a source's frames, marked."""
        for frame in source:
            yield self.marked(frame)

    def marked(self, frame: Pixels) -> Pixels:
        """The next frame, RGB uint8 (h, w, 3), with what was read of its faces; of at most five, the largest."""
        tracks = self._tracker.follow(frame)
        chosen = largest(tracks)
        boxes = [self._reader.framing.around(*track.corner, track.side) for track in chosen]
        faces = []
        if boxes:
            readings = self._reader.read(crops(frame, boxes, self._reader.image_shape))
            faces = marks(boxes, self._reader.attributes, readings)
        notes = [f"{self._rate():.1f} frames/s"] if len(self._times) else []
        self._times.append(self._clock())
        if not tracks:
            notes.append("no face found")
        elif self._beside:
            notes.extend(self._beside)
        if len(tracks) > MOST:
            notes.append(f"{len(tracks)} faces, the {MOST} largest are read")
        return annotated(frame, faces, notes)

    def _rate(self) -> float:
        passed = self._clock() - self._times[0]
        return len(self._times) / passed if passed > 0 else 0.0


def paced(
    frames: Iterable[Pixels], fps: float, wait: Callable[[float], object], clock: Callable[[], float] = time.monotonic
) -> Iterator[Pixels]:
    """Frames no faster than so many a second; where they come slower, none is waited for and none left out."""
    due = clock()
    for frame in frames:
        wait(max(0.0, due - clock()))
        due = max(due, clock() - 1 / fps) + 1 / fps
        yield frame
