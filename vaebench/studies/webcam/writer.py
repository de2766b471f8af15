"""Annotated frames to a video file."""

from collections.abc import Iterable
from pathlib import Path

import cv2

from vaebench.core.errors import UserError
from vaebench.core.files import write_atomic
from vaebench.datasets.images.face_detection import Pixels

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


def check_out(path: Path) -> None:
    """:class:`UserError` where a video cannot be written there: another ending, a file that exists."""
    if path.suffix.lower() not in CODECS:
        raise UserError(f"--out {path} has no ending that says how to write it: end it in {' or '.join(CODECS)}")
    if path.exists():
        raise UserError(f"{path} exists: move it away, or give --out another name")


def write_video(path: Path, frames: Iterable[Pixels], fps: float) -> int:
    """RGB frames of one size into a video, whole or absent; returns how many.

    Raises :class:`UserError` where the file cannot be written or there is no frame.
    """
    check_out(path)
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        part = temporary.with_name(f"{temporary.name}{path.suffix}")  # OpenCV takes the container from the ending
        try:
            count = _write(part, frames, fps)
            if count and part.exists():
                part.replace(temporary)
        finally:
            part.unlink(missing_ok=True)
        if not count:
            raise UserError(f"no frame came, so {path} is not written: check the source")
        if not temporary.stat().st_size:
            raise UserError(f"{path} cannot be written as a video: choose another place or ending")

    write_atomic(path, write)
    return count


def _write(path: Path, frames: Iterable[Pixels], fps: float) -> int:
    writer, count = None, 0
    try:
        for frame in frames:
            if writer is None:
                height, width = frame.shape[:2]
                codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
                writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, (width, height))
                if not writer.isOpened():
                    raise UserError(f"OpenCV cannot write {path.suffix} here: end --out in another of {list(CODECS)}")
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        if writer is not None:
            writer.release()
    return count
