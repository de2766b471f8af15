"""Frames from a camera or a video file."""

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from vaebench.core.errors import UserError
from vaebench.datasets.images.face_detection import Pixels

USUAL_FPS = 25.0  # of a video that does not say
_WHOLE = 0.9  # share of the frames that a video claims, below which it is damaged: claims are estimates
log = logging.getLogger(__name__)

# FFmpeg and OpenCV print to stderr what is said here in a sentence; FFmpeg's level is read once, at its first use
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def is_camera(name: str) -> bool:
    """Whether a source is a camera's number, not a file."""
    return name.isascii() and name.isdigit()


def check_source(name: str) -> None:
    """:class:`UserError` where it is a file that is not there; a camera is only known once it is opened."""
    if not is_camera(name) and not Path(name).is_file():
        raise UserError(f"{name} does not exist: give a video file, or a camera's number such as 0")


class Source:
    """An open camera or video: RGB frames, uint8 (height, width, 3), all of the first one's size.

    Raises :class:`UserError` where it cannot be opened or gives no frame.
    """

    def __init__(self, name: str) -> None:
        check_source(name)
        self.name, self.live = name, is_camera(name)
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            opened = int(name) if self.live else str(Path(name).resolve())  # resolved: no URL
            self._capture = cv2.VideoCapture(opened, cv2.CAP_ANY if self.live else cv2.CAP_FFMPEG)
            if self.live:
                self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, 640)
                self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, 480)
                self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            self._first = self._next() if self._capture.isOpened() else None
        finally:
            cv2.utils.logging.setLogLevel(before)
        if self._first is None:
            self.close()
            raise UserError(self._refusal())
        self.height, self.width = self._first.shape[:2]
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 1 <= fps <= 240 else USUAL_FPS

    def _refusal(self) -> str:
        if self.live:
            return (
                f"camera {self.name} cannot be opened or gives no picture: check that it is plugged in and free, "
                "or give --source with another number or a video file"
            )
        if not Path(self.name).stat().st_size:
            return f"{self.name} is empty: give a video file"
        return f"{self.name} cannot be read as a video: convert it to MP4 (H.264) or AVI (MJPG)"

    def _next(self) -> Pixels | None:
        good, frame = self._capture.read()
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8) if good and frame is not None else None

    def __iter__(self) -> Iterator[Pixels]:
        """Every frame once. A video ends with its file, said in a warning where much is lacking; a camera does not.

        Raises :class:`UserError` where a camera stops giving pictures.
        """
        frame, count = self._first, 0
        while frame is not None:
            count += 1
            if frame.shape[:2] != (self.height, self.width):
                size = (self.width, self.height)
                frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
            yield frame
            frame = self._next()
        if self.live:
            raise UserError(f"camera {self.name} gives no more pictures: check that it is plugged in, then start again")
        claimed = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if count < _WHOLE * claimed:
            log.warning("%s: %d of about %.0f frames can be read: the file is damaged", self.name, count, claimed)

    def close(self) -> None:
        """Give the camera or the file back."""
        self._capture.release()

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
