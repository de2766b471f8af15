"""Arrays of .npy and .npz files from outside: their headers say how large they are before anything is read."""

import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line

Array = NDArray[Any]
PART = 2**24  # bytes read at a time
_ENDING = ".npy"
LOCAL_HEADER, ENCRYPTED = 30, 1  # bytes of a zip member's own header before its name; a flag's bit


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a .npy stream says.

    Attributes:
        shape: of the array.
        fortran: whether its first axis varies fastest.
        dtype: of its values, never of Python objects.
        length: of the header, in bytes.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int


class Npz:
    """The arrays of an open .npz file by name, each read when it is asked for. Nothing is unpickled.

    Attributes:
        names: of the arrays, in the file's order.
    """

    def __init__(self, archive: ZipFile, path: Path, most: int, remedy: str) -> None:
        self._archive, self._path, self._most, self._remedy = archive, path, most, remedy
        self.names = [name.removesuffix(_ENDING) for name in archive.namelist() if name.endswith(_ENDING)]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str) -> Array:
        """One array.

        Raises:
            UserError: it is damaged, holds objects, or is larger than is read of such a file.
        """
        try:
            info = self._archive.getinfo(name + _ENDING)
            with self._archive.open(info) as member:
                return _array(member, info.file_size, f"{self._path}: '{name}' holds", self._most, self._remedy)
        except FAULTS as error:
            reason = f"{self._path} is no readable npz ('{name}': {first_line(error)})"
            raise UserError(f"{reason}: {self._remedy}") from error

    def header(self, name: str) -> Header:
        """Read the header of one array; raises as :meth:`read` does."""
        try:
            with self._archive.open(name + _ENDING) as member:
                return read_header(member)
        except FAULTS as error:
            reason = f"{self._path} is no readable npz ('{name}': {first_line(error)})"
            raise UserError(f"{reason}: {self._remedy}") from error

    def stored(self, name: str) -> tuple[int, int] | None:
        """Return where one array's bytes, header included, begin in the file, and their CRC-32; None if compressed."""
        info = self._archive.getinfo(name + _ENDING)
        if info.compress_type != ZIP_STORED or info.flag_bits & ENCRYPTED:
            return None
        with input_files.opened(self._path, most=2**62, remedy=self._remedy) as handle:
            handle.seek(info.header_offset)
            local = handle.read(LOCAL_HEADER)
        name_length, extra_length = struct.unpack("<HH", local[26:30])
        return info.header_offset + LOCAL_HEADER + name_length + extra_length, info.CRC

    def unpack(self, name: str, target: Path) -> None:
        """Write one array to a .npy file; raises as :meth:`read` does, and OSError where the disk is full."""
        try:
            member = self._archive.open(name + _ENDING)
        except FAULTS as error:
            raise UserError(f"{self._path} is no readable npz ({first_line(error)}): {self._remedy}") from error
        with member, target.open("wb") as written:
            while True:
                try:
                    part = member.read(PART)
                except FAULTS as error:
                    reason = f"{self._path} is no readable npz ('{name}': {first_line(error)})"
                    raise UserError(f"{reason}: {self._remedy}") from error
                if not part:
                    return
                written.write(part)


# what zipfile, zlib and numpy raise of damaged files (RuntimeError and NotImplementedError: encrypted, unknown methods)
FAULTS = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, NotImplementedError, MemoryError),
    *(OverflowError, SyntaxError, BadZipFile, ZlibError),
)


@contextmanager
def opened_npz(path: Path, *, most: int, remedy: str, inside: Path | None = None) -> Iterator[Npz]:
    """A .npz file's arrays.

    Args:
        path: the file.
        most: bytes that one array may have.
        remedy: what to do where it cannot be read, an imperative clause.
        inside: folder that links must not lead out of.

    Raises:
        FileNotFoundError: it does not exist.
        UserError: it is no .npz, or as :func:`vaebench.core.input_files.opened`.
    """
    with input_files.opened(path, most=max(most, input_files.LARGE), remedy=remedy, inside=inside) as handle:
        try:
            archive = ZipFile(handle)
        except FAULTS as error:
            raise UserError(f"{path} is no readable npz ({first_line(error)}): {remedy}") from error
        with archive:
            yield Npz(archive, path, most, remedy)


def read_npz(
    path: Path, *, most: int, remedy: str, inside: Path | None = None, names: Sequence[str] = ()
) -> dict[str, Array]:
    """The named arrays of a .npz, or all; raises as :func:`opened_npz` and :meth:`Npz.read` do."""
    with opened_npz(path, most=most, remedy=remedy, inside=inside) as archive:
        return {name: archive.read(name) for name in names or archive.names}


def _array(member: IO[bytes], size: int, what: str, most: int, remedy: str) -> Array:
    """An array from a .npy stream of ``size`` bytes, read into the one place where it will lie."""
    header = read_header(member)
    wanted = math.prod(header.shape) * header.dtype.itemsize
    input_files.check_size(what, wanted, most, remedy)
    if wanted > size:
        raise ValueError(f"it should have {wanted:,} bytes and has {size:,}")
    flat = np.empty(wanted, np.uint8)
    view, done = flat.data, 0
    while done < wanted:
        part = member.read(min(PART, wanted - done))
        if not part:
            raise EOFError(f"it ends after {done:,} of {wanted:,} bytes")
        view[done : done + len(part)] = part
        done += len(part)
    array: Array = flat.view(header.dtype)
    return array.reshape(header.shape[::-1]).T if header.fortran else array.reshape(header.shape)


def read_header(stream: IO[bytes]) -> Header:
    """Read the header of a .npy stream, which then stands at the first value.

    Raises:
        ValueError: it is none, of an unknown version, of an array of Python objects, or damaged.
    """
    counted = _Counted(stream)
    version = npy_format.read_magic(counted)
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the npy format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's of what Python 2 wrote, Python's of what a damaged header looks like
        try:
            shape, fortran, dtype = readers[version](counted)
        except Exception as error:  # damaged headers raise whatever numpy and Python's tokenizer stumble over
            raise ValueError(first_line(error)) from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if any(length < 0 for length in shape):
        raise ValueError(f"its shape is {shape}")
    return Header(tuple(shape), bool(fortran), dtype, counted.count)


class _Counted:
    """Counts the bytes that are read of a stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.count = stream, 0

    def read(self, size: int = -1, /) -> bytes:
        found = self._stream.read(size)
        self.count += len(found)
        return found
