"""Arrays of images in npz and npy files: a large one is mapped where it lies, and all are checked in one pass."""

import hashlib
import math
import sys
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebench.core import content_cache, input_files
from vaebench.core.array_files import FAULTS, Header, Npz, opened_npz, read_header
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import is_sealed, write_sealed
from vaebench.core.mapped import give_back_mapped_pages, map_tensor
from vaebench.datasets.images.file_hashes import hash_of
from vaebench.datasets.images.recognising import readable

Array = NDArray[Any]
IN_MEMORY = 64 * input_files.MB  # larger arrays are mapped
CONVERTED = 8_000 * input_files.MB  # of an array that must be converted, and so lies in memory as a whole
MOST = 1_000_000 * input_files.MB  # of an array that is mapped
BLOCK = 32 * input_files.MB  # looked at at a time
SMALLER = "save it as uint8 in C order"  # such an array is mapped
REMEDY = "save with np.savez(FILE, images=...)"
NAMES = ("images", "arr_0")  # arr_0 is what np.savez(FILE, array) calls it
IDS = "ids"
_MAPPED = {np.dtype("uint8"): torch.uint8, np.dtype("float32"): torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageArray:
    """Images in memory, or mapped from a file.

    Attributes:
        images: uint8, or float32 in [0, 1]; (n, c, h, w), c = 1 or 3, not always contiguous.
        ids: of each, where the file has an array ``ids``.
        sha256: of the values in that order.
    """

    images: Tensor
    ids: list[str] | None = None
    sha256: str


def open_npz(path: Path) -> ImageArray:
    """Open the images of a npz file: its array ``images``, else ``arr_0``, else the only one that may be images.

    Raises:
        FileNotFoundError: it does not exist.
        UserError: it is no npz, damaged, or holds no images; values lie outside [0, 1].
    """
    with opened_npz(path, most=MOST, remedy=REMEDY) as archive:
        name = _chosen(archive, path)
        header = archive.header(name)
        _check_kind(header.shape, header.dtype, path)
        ids = _ids(archive, path)
        if _fits_in_memory(header):
            input_files.check_size(f"{path}: '{name}' holds", _size(header), CONVERTED, SMALLER)
            return image_array(archive.read(name), path, ids)
        stored = archive.stored(name)
        if stored is not None and _aligned(header, stored[0]):
            return _mapped(path, header, *stored, ids)
        unpacked = content_cache.entry("arrays", [hash_of(path), name], ".npy")
        if not is_sealed(unpacked):
            write_sealed(unpacked, lambda temporary: archive.unpack(name, temporary))
    return _mapped(unpacked, header, 0, None, ids)


def open_npy(path: Path) -> ImageArray:
    """Open a npy file of images; raises as :func:`open_npz` does."""
    remedy = "save with np.save(FILE, images)"
    with input_files.opened(path, most=MOST, remedy=remedy) as handle:
        try:
            header = read_header(handle)
        except FAULTS as error:
            raise UserError(f"{path} is no readable npy ({first_line(error)}): {remedy}") from error
        _check_kind(header.shape, header.dtype, path)
        if not _fits_in_memory(header) and _aligned(header, 0):
            return _mapped(path, header, 0, None, None)
        input_files.check_size(f"{path} holds", _size(header), CONVERTED, SMALLER)
        handle.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of headers that Python 2 wrote
                array: Array = np.load(handle, allow_pickle=False)
        except FAULTS as error:
            raise UserError(f"{path} is no readable npy ({first_line(error)}): {remedy}") from error
    return image_array(array, path, None)


def _chosen(archive: Npz, path: Path) -> str:
    for name in NAMES:
        if name in archive:
            return name
    fitting = [name for name in archive.names if name != IDS and len(archive.header(name).shape) in (3, 4)]
    if len(fitting) == 1:
        return fitting[0]
    held = ", ".join(archive.names) or "nothing"
    raise UserError(f"{path} holds {held}, no array 'images': {REMEDY}")


def _ids(archive: Npz, path: Path) -> list[str] | None:
    if IDS not in archive:
        return None
    input_files.check_size(f"{path}: 'ids' holds", _size(archive.header(IDS)), CONVERTED, "save shorter texts")
    ids = archive.read(IDS)
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise UserError(f"{path}: 'ids' is {ids.dtype} {ids.shape}: save one text for each image, in an array (n,)")
    if ids.dtype.kind == "U" and ids.dtype.itemsize and ids.size:
        signs = np.ascontiguousarray(ids, ids.dtype.newbyteorder("=")).view(np.uint32)
        if signs.max() > sys.maxunicode:  # numpy's own conversion fails with an error of the interpreter
            raise UserError(f"{path}: 'ids' holds numbers that are no characters: save texts")
    try:
        return [each.decode() if isinstance(each, bytes) else readable(str(each)) for each in ids.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: 'ids' holds bytes that are no UTF-8 text: save texts") from error


def _size(header: Header) -> int:
    return math.prod(header.shape) * header.dtype.itemsize


def _fits_in_memory(header: Header) -> bool:
    """Tell whether an array is read as a whole: small ones, and what must be converted."""
    return _size(header) <= IN_MEMORY or header.fortran or header.dtype not in _MAPPED


def _aligned(header: Header, begin: int) -> bool:
    return (begin + header.length) % header.dtype.itemsize == 0


def _mapped(path: Path, header: Header, begin: int, crc: int | None, ids: list[str] | None) -> ImageArray:
    """Map an array whose .npy header begins at a byte of a file, and check it."""
    first = begin + header.length
    size = _size(header)
    if path.stat().st_size < first + size:
        raise UserError(f"{path} is no readable npz (it ends early): {REMEDY}")
    with path.open("rb") as handle:
        handle.seek(begin)
        begun = zlib.crc32(handle.read(header.length))
    values = map_tensor(path, _MAPPED[header.dtype], math.prod(header.shape), first)
    return _examined(values.view(*header.shape), path, ids, begun, crc)


def image_array(array: Array, path: Path, ids: list[str] | None = None) -> ImageArray:
    """Check an array of images that lies in memory.

    Args:
        array: (n, h, w), (n, h, w, c) or (n, c, h, w), uint8 or floats in [0, 1].
        path: its file, for messages.
        ids: of each image.

    Raises:
        UserError: another shape or type, values that are not finite or lie outside [0, 1].
    """
    _check_kind(array.shape, array.dtype, path)
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as that
        converted = np.ascontiguousarray(array, dtype)
    return _examined(torch.from_numpy(converted), path, ids, 0, None)


def _check_kind(shape: tuple[int, ...], dtype: "np.dtype[Any]", path: Path) -> None:
    """Refuse shapes and types that are no images."""
    laid_out = (shape[0], 1, *shape[1:]) if len(shape) == 3 else shape
    if len(laid_out) != 4 or not {laid_out[1], laid_out[3]} & {1, 3} or 0 in laid_out:
        wanted = "(n,h,w), (n,h,w,c) or (n,c,h,w) with c 1 or 3"
        raise UserError(f"{path}: images have shape {laid_out}, not {wanted}: save such an array")
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise UserError(f"{path}: images are {dtype}: save uint8 (0 to 255) or float (0 to 1)")


def _as_images(array: Tensor) -> Tensor:
    """View an array of images as (n, c, h, w)."""
    if array.ndim == 3:
        return array.unsqueeze(1)
    return array if array.shape[1] in (1, 3) else array.permute(0, 3, 1, 2)


def _examined(array: Tensor, path: Path, ids: list[str] | None, crc: int, stated: int | None) -> ImageArray:
    """Check the values of an array and hash them, a block at a time.

    Args:
        array: (n, ...) as it lies in the file.
        path: of the file, for messages.
        ids: of the images.
        crc: CRC-32 of what stands before the values.
        stated: CRC-32 of all, where the file states it.
    """
    images = _as_images(array)
    if ids is not None and (len(ids) != len(images) or len(set(ids)) != len(ids)):
        raise UserError(f"{path}: {len(set(ids))} different ids for {len(images)} images: give each one of its own")
    digest, low, high, broken = hashlib.sha256(), math.inf, -math.inf, 0
    each = max(1, array[0].numel() * array.element_size())
    for rows, block in zip(array.split(max(1, BLOCK // each)), images.split(max(1, BLOCK // each)), strict=True):
        if stated is not None:
            crc = zlib.crc32(rows.numpy(), crc)
        digest.update(block.contiguous().numpy())
        if block.is_floating_point():
            broken += int((~torch.isfinite(block)).flatten(1).any(1).sum())
            low, high = min(low, float(block.min())), max(high, float(block.max()))
        give_back_mapped_pages()
    if stated is not None and crc != stated:
        raise UserError(f"{path} is no readable npz (Bad CRC-32): {REMEDY}")
    if broken:
        raise UserError(f"{path}: {broken} images hold NaN or infinite values: save finite floats in [0, 1]")
    if low < 0 or high > 1:
        shown = f"[{np.float32(low)!s}, {np.float32(high)!s}]"
        raise UserError(f"{path}: floats lie in {shown}, not in [0, 1]: scale them, or save uint8")
    return ImageArray(images=images, ids=ids, sha256=digest.hexdigest())
