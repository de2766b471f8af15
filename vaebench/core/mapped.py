"""Memory-mapped tensors whose pages can be given back, so that reading a large file once does not fill memory."""

import mmap
import weakref
from pathlib import Path

import torch
from torch import Tensor

_open_maps: "weakref.WeakSet[mmap.mmap]" = weakref.WeakSet()


def map_tensor(path: Path, dtype: torch.dtype, count: int, offset: int = 0) -> Tensor:
    """Map ``count`` values of a file as a flat tensor; what is written to the tensor does not reach the file.

    Args:
        path: the file, which must not shrink while the tensor lives.
        dtype: of the values, in the machine's byte order.
        count: 1 or more.
        offset: of the first value, in bytes.

    Returns:
        Tensor (count,), read as it is touched.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is shorter than that.
    """
    with path.open("rb") as handle:
        found = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
    _open_maps.add(found)
    return torch.frombuffer(found, dtype=dtype, count=count, offset=offset)


def give_back_mapped_pages() -> None:
    """Let the system take back the pages of all mapped files: they are read again when they are touched.

    Without it what was read of a file counts as this process's memory until another one asks for it. Nothing may have
    been written to a mapped tensor: that would be lost.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for found in list(_open_maps):
        if not found.closed:
            found.madvise(mmap.MADV_DONTNEED)
