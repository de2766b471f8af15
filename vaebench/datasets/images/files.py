"""Image files in folders: find, identify, split by hash, decode."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line


def decode(content: bytes) -> Image.Image:
    """Decode any file that Pillow reads as an RGB picture: its first frame, turned as its EXIF orientation says.

    16 bits a channel are scaled to 8, transparent parts become white. OSError where it cannot be read.
    """
    try:
        with Image.open(BytesIO(content)) as picture:
            picture.load()
            return _as_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise OSError("no image, or of no format that Pillow reads") from error
    except Exception as error:  # damaged files raise whatever Pillow's readers stumble over
        raise OSError(first_line(error)) from error


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range: convert it to 8 or 16 bits")
    if picture.mode.startswith("I"):  # Pillow would cut off at 255
        deep = np.asarray(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("pixels are 32-bit numbers of unknown range: convert it to 8 or 16 bits")
        return Image.fromarray((deep // 256).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def read_image(path: Path) -> bytes:
    """Read an image file's bytes; :class:`UserError` where it is no regular file or larger than images are."""
    return input_files.read_bytes(path, most=input_files.IMAGE, remedy="take it away")


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """Cut out the middle square and scale it to ``size`` by Pillow's bicubic filter, which is antialiased."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def files_under(folder: Path) -> dict[str, os.stat_result]:
    """List every file in a folder and below, by its POSIX path from there, sorted; neither hidden nor linked
    folders.
    """
    found, pending = {}, [""]
    try:
        while pending:
            above = pending.pop()
            with os.scandir(folder / above) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{above}{entry.name}/")
                    elif entry.is_file():
                        found[f"{above}{entry.name}"] = entry.stat()
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): mend that or choose another") from error
    return dict(sorted(found.items()))


def digest_of(names: Iterable[str], states: Mapping[str, object]) -> str:
    """Hash names and whatever changes with their files by SHA-256: part of an ``identity``."""
    return hashlib.sha256(repr([(name, states[name]) for name in names]).encode()).hexdigest()


def split_of(digest: str) -> str:
    """Assign ``train`` (80%), ``valid`` or ``test`` (10% each), as a function of a hexadecimal hash alone."""
    tenth = int(digest[:15], 16) % 10
    return "test" if tenth == 9 else "valid" if tenth == 8 else "train"
