"""A user's own images: files, folders and archives of them, cropped to a square and scaled to the run's size."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.datasets.images.arrays import ImageArray
from vaebench.datasets.images.decoding import decode
from vaebench.datasets.images.image_files import Content
from vaebench.datasets.images.loading import COLLECTIONS, array_files, open_images
from vaebench.datasets.images.preparation import centre_square
from vaebench.datasets.images.recognising import some
from vaebench.studies.opened_runs import Say


def load_user_images(paths: Sequence[Path], image_shape: tuple[int, int, int], say: Say) -> tuple[Tensor, list[str]]:
    """Load images as uint8 (n, c, h, w) of the run's shape, with the files' names; resized ones are reported.

    A folder stands for the images in it, by name. Raises :class:`UserError` for what is missing or no image.
    """
    channels, height, width = image_shape
    found, names, resized = [], [], []
    for where, name, content in _contents(paths, say):
        try:
            picture = decode(content) if isinstance(content, bytes) else content
        except OSError as error:
            raise UserError(f"{where} cannot be read ({error.strerror or error}): give an image file") from error
        if picture.size != (width, height):
            resized.append(name)
            picture = centre_square(picture, width)
        array = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
        found.append(torch.from_numpy(array.reshape(height, width, channels).transpose(2, 0, 1).copy()))
        names.append(PurePosixPath(name).stem)
    if resized:
        more = f" and {len(resized) - 3} more" if len(resized) > 3 else ""
        say(f"{', '.join(resized[:3])}{more}: the middle square is taken and resized to {width} x {height}")
    return torch.stack(found), names


def _contents(paths: Sequence[Path], say: Say) -> Iterator[tuple[str, str, Content]]:
    """Yield where each image lies, its name, and its content."""
    for path in (each.expanduser() for each in paths):
        if not input_files.is_there(path):
            raise UserError(f"{path} does not exist: give image files or folders of them")
        if not input_files.is_folder(path) and path.suffix.lower() not in COLLECTIONS:
            content = input_files.read_bytes(path, most=input_files.IMAGE, remedy="give an image file")
            yield str(path), path.name, content
            continue
        opened = open_images(path)
        files = array_files(path, opened) if isinstance(opened, ImageArray) else opened
        if files.not_read:
            reason = f"{path} holds images of a format that Pillow does not read here ({some(files.not_read)})"
            raise UserError(f"{reason}: convert or take them out")
        if files.passed_over:
            say(f"{path}: passed over {files.passed_over}")
        for name in files.names:
            try:
                yield f"{path}: {name}", PurePosixPath(name).name, files.read(name)
            except OSError as error:
                raise UserError(f"{path}: {name} cannot be read ({first_line(error)}): take it out") from error
