"""A user's own images: any file that Pillow reads, cropped to a square and scaled to the run's size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.datasets.images.files import centre_square, decode, files_under
from vaebench.studies.opened_runs import Say


def load_user_images(paths: Sequence[Path], image_shape: tuple[int, int, int], say: Say) -> tuple[Tensor, list[str]]:
    """Load images as uint8 (n, c, h, w) of the run's shape, with the files' names; resized ones are reported.

    A folder stands for the images in it, by name. Raises :class:`UserError` for what is missing or no image.
    """
    channels, height, width = image_shape
    found, names, resized = [], [], []
    for path in _files(paths):
        try:
            picture = decode(input_files.read_bytes(path, most=input_files.IMAGE, remedy="give an image file"))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror or error}): give an image file") from error
        if picture.size != (width, height):
            resized.append(path.name)
            picture = centre_square(picture, width)
        array = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
        found.append(torch.from_numpy(array.reshape(height, width, channels).transpose(2, 0, 1).copy()))
        names.append(path.stem)
    if resized:
        more = f" and {len(resized) - 3} more" if len(resized) > 3 else ""
        say(f"{', '.join(resized[:3])}{more}: the middle square is taken and resized to {width} x {height}")
    return torch.stack(found), names


def _files(paths: Sequence[Path]) -> list[Path]:
    readable = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [path / name for name in files_under(path) if Path(name).suffix.lower() in readable]
            if not inside:
                raise UserError(f"{path} holds no image files: give another folder")
            files.extend(inside)
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist: give image files or folders of them")
    return files
