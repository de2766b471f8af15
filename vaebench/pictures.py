"""Grids of images, as files: what a run draws beside its numbers, and what the report reads back."""

import math
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.core.places import write_atomic

if TYPE_CHECKING:  # a report draws what was decoded long before
    from torch import Tensor

Pixels = NDArray[np.uint8]


def to_pixels(images: "Tensor") -> Pixels:
    """Float (n, c, h, w) in [0, 1], or uint8, -> uint8 (n, h, w, c)."""
    if images.is_floating_point():
        images = images.mul(255).round().clamp(0, 255).byte()
    return images.permute(0, 2, 3, 1).cpu().numpy()


def grid(images: Pixels, columns: int, gap: int = 2) -> Pixels:
    """Images (n, h, w, c) row by row on white: one picture (height, width, c)."""
    n, height, width, channels = images.shape
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8)
    for position, image in enumerate(images):
        top, left = divmod(position, columns)
        y, x = top * (height + gap) + gap, left * (width + gap) + gap
        sheet[y : y + height, x : x + width] = image
    return sheet


def save_png(path: Path, sheet: Pixels, scale: int = 2) -> None:
    """Write a picture (h, w, 1 or 3), each pixel ``scale`` pixels wide, atomically."""
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
    size = (picture.width * scale, picture.height * scale)
    enlarged = picture.resize(size, Image.Resampling.NEAREST)
    write_atomic(path, lambda temporary: enlarged.save(temporary, format="PNG"))


def gallery_file(folder: Path, fingerprint: str) -> Path:
    """Where a run keeps the pictures that belong to the images of one data fingerprint."""
    return folder / f"gallery-{fingerprint[:12]}.npz"


def save_gallery(path: Path, arrays: dict[str, Pixels]) -> None:
    """Keep the images themselves, so that a report can set runs side by side without their models."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]  # numpy types **kwds as bool

    write_atomic(path, write)


def load_gallery(path: Path) -> dict[str, Pixels]:
    """What :func:`save_gallery` wrote; empty where there is no file."""
    if not path.exists():
        return {}
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}): move it away, then evaluate the run again") from error
