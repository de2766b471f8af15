"""Galleries: grids of images that a run draws beside its numbers, and the images themselves for the report."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaebench.core import input_files
from vaebench.core.array_files import read_npz
from vaebench.core.errors import UserError
from vaebench.core.files import write_atomic
from vaebench.core.validation import Token, from_json, plain_line

if TYPE_CHECKING:  # a report draws what was decoded long before
    from torch import Tensor

Pixels = NDArray[np.uint8]
MOST = 1_000 * input_files.MB  # of one set of images in a gallery
REMEDY = "move it away, then evaluate the run again"
ABOUT = "about"  # an array of its own: JSON in bytes
DIFFERENCES = "differences"  # between neighbouring pixels; galleries of earlier versions hold the pixels themselves


def to_pixels(images: "Tensor") -> Pixels:
    """Convert float (n, c, h, w) in [0, 1], or uint8, to uint8 (n, h, w, c)."""
    if images.is_floating_point():
        images = images.mul(255).round().clamp(0, 255).byte()
    return images.permute(0, 2, 3, 1).cpu().numpy()


def grid(images: Pixels, columns: int, gap: int = 2) -> Pixels:
    """Lay out images (n, h, w, c) row by row on white: one picture (height, width, c)."""
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
    """Path of a run's gallery for the images of one data fingerprint."""
    return folder / f"gallery-{fingerprint[:12]}.npz"


def save_gallery(path: Path, arrays: Mapping[str, Pixels], weights_sha256: str | None = None) -> None:
    """Store the images themselves, so that a report can show runs side by side without their models.

    Args:
        path: the file.
        arrays: name -> uint8 (n, h, w, c).
        weights_sha256: of the weights that made them, or of external images themselves; empty for real images,
            ``None`` where it is not known.
    """
    about = {"sha256": _digest(arrays), "coding": DIFFERENCES}
    about |= {} if weights_sha256 is None else {"weights_sha256": weights_sha256}
    stored = {name: _differences(pixels) for name, pixels in arrays.items()}
    stored[ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.savez_compressed(handle, **stored)  # type: ignore[arg-type]  # numpy types **kwds as bool

    write_atomic(path, write)


def load_gallery(path: Path, weights_sha256: str | None = None) -> dict[str, Pixels]:
    """Read what :func:`save_gallery` wrote; empty if there is no file, or if it is of other weights.

    Galleries of earlier versions do not say of which weights they are, and are taken as they are.

    Raises:
        UserError: the file is damaged.
    """
    arrays, made_by = _read_gallery(path)
    return arrays if None in (weights_sha256, made_by) or made_by == weights_sha256 else {}


def is_gallery_of(path: Path, weights_sha256: str) -> bool:
    """Tell whether the file is undamaged and was made by these weights."""
    try:
        arrays, made_by = _read_gallery(path)
    except UserError:
        return False
    return bool(arrays) and made_by == weights_sha256


def _read_gallery(path: Path) -> tuple[dict[str, Pixels], str | None]:
    """Read and check the pictures, and the sha256 of the weights that made them if it is stored."""
    try:
        arrays = read_npz(path, most=MOST, remedy=REMEDY, inside=path.parent)
    except FileNotFoundError:
        return {}, None
    noted = arrays.pop(ABOUT, None)
    for name, pixels in arrays.items():
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or 0 in pixels.shape[1:3] or pixels.shape[-1] not in (1, 3):
            raise UserError(f"{path} cannot be read ('{plain_line(name)}' is no set of images): {REMEDY}")
    if noted is None:
        return arrays, None
    about = from_json(noted.tobytes(), dict[str, Token], str(path), REMEDY)
    if about.get("coding") == DIFFERENCES:
        arrays = {name: _sums(pixels) for name, pixels in arrays.items()}
    if about.get("sha256") != _digest(arrays):
        raise UserError(f"{path} cannot be read (its sha256 is not that of its content): {REMEDY}")
    return arrays, about.get("weights_sha256")


def _differences(pixels: Pixels) -> Pixels:
    """Subtract from each pixel those above and before it, modulo 256: neighbours are alike, and so these are small.

    Deflate makes of smooth images half of what it makes of the pixels themselves.
    """
    across = np.diff(pixels, axis=2, prepend=np.uint8(0))
    return np.diff(across, axis=1, prepend=np.uint8(0))


def _sums(differences: Pixels) -> Pixels:
    """Undo :func:`_differences`."""
    return differences.cumsum(axis=1, dtype=np.uint8).cumsum(axis=2, dtype=np.uint8)


def _digest(arrays: Mapping[str, Pixels]) -> str:
    digest = hashlib.sha256()
    for name, pixels in sorted(arrays.items()):
        digest.update(f"{name} {pixels.dtype} {pixels.shape}".encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
