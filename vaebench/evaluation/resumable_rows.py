"""Resumable .npy files of rows: an interrupted extraction loses little."""

import io
import json
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import torch
from torch import Tensor

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import is_sealed, seal, write_text

SAVED_EVERY = 5.0  # seconds; what a kill may cost, and rarely enough that waiting for the disk costs nothing


def npy_header(rows: int, width: int) -> bytes:
    """Build the header of a .npy file of float32 (rows, width)."""
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
    return made.getvalue()


def read_rows(path: Path, n: int) -> Tensor | None:
    """Map the float32 rows (n, d) of a file; ``None`` if it is missing, damaged, or has another number of rows.

    A file whose sha256 does not lie beside it, or is another, counts as damaged.
    """
    return map_rows(path, n) if is_sealed(path) else None


def map_rows(path: Path, n: int) -> Tensor | None:
    """Map the float32 rows (n, d) of an undamaged file; ``None`` if it holds something else."""
    try:
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants writable memory
    except (OSError, ValueError, EOFError):
        return None
    if mapped.dtype != np.float32 or mapped.ndim != 2 or len(mapped) != n:
        return None
    return torch.from_numpy(mapped)


def join_rows(parts: Sequence[Tensor], path: Path) -> None:
    """Write float32 parts (k, d), one after the other, into one file."""
    with path.open("wb") as file:
        file.write(npy_header(sum(map(len, parts)), parts[0].shape[1]))
        for part in parts:
            part.numpy().tofile(file)


class ResumableRows:
    """Final: resumable writer of float32 .npy rows (n, d), used in a ``with`` block by one process at a time.

    Beside the file to be lie ``NAME.unfinished``, its beginning, and ``NAME.unfinished.json``: the key of what it is
    made from, how many rows are done, and their checksum. Another key, and rows that are not as they were written,
    are discarded. :class:`UserError` where nothing can be written.

    Attributes:
        done: rows that need not be made again.
    """

    def __init__(self, path: Path, key: str, rows: int) -> None:
        self._path, self._key, self._rows = path, key, rows
        self._data, self._state = (path.with_name(f"{path.name}.unfinished{end}") for end in ("", ".json"))
        self.done = self._width = self._checksum = 0
        self._saved = time.monotonic()
        self._recall()
        self._file: IO[bytes] = self._opened()

    def _recall(self) -> None:
        """Take over the rows of an earlier process, if they are undamaged."""
        try:
            known = input_files.read_bytes(self._state, most=input_files.SMALL, remedy="delete it")
            state = validation.from_json(known, dict[str, Any], str(self._state), "delete it")
            key, done, width, checksum = (state[name] for name in ("key", "done", "width", "checksum"))
            header = npy_header(self._rows, width)
            with self._data.open("rb") as file:
                if key != self._key or not 0 < done <= self._rows or file.read(len(header)) != header:
                    return
                found, left = 0, 4 * done * width
                while part := file.read(min(left, 2**24)):
                    found, left = zlib.crc32(part, found), left - len(part)
            if (left, found) == (0, checksum):
                self.done, self._width, self._checksum = done, width, checksum
        except (OSError, ValueError, KeyError, TypeError, OverflowError, UserError):
            return

    def _opened(self) -> IO[bytes]:
        try:
            if not self.done:
                self._state.unlink(missing_ok=True)
                return self._data.open("wb")
            file = self._data.open("r+b")
            file.truncate(len(npy_header(self._rows, self._width)) + 4 * self.done * self._width)
            file.seek(0, os.SEEK_END)
            return file
        except OSError as error:
            raise self._cannot(error) from error

    def add(self, rows: Tensor) -> None:
        """Append rows, float32 (k, d) on the CPU; ``ValueError`` for another width or too many rows."""
        values = np.ascontiguousarray(rows.numpy(), dtype="<f4")
        if self.done + len(values) > self._rows or (self.done and values.shape[1] != self._width):
            raise ValueError(f"{values.shape} rows after {self.done} of ({self._rows}, {self._width})")
        try:
            if not self.done:
                self._width = values.shape[1]
                self._file.write(npy_header(self._rows, self._width))
            self._file.write(values.data)
            self.done += len(values)
            self._checksum = zlib.crc32(values.data, self._checksum)
            if time.monotonic() - self._saved >= SAVED_EVERY:
                self._save()
        except OSError as error:
            raise self._cannot(error) from error

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())  # before the state: it must not speak of rows that are not there
        state = {"key": self._key, "done": self.done, "width": self._width, "checksum": self._checksum}
        write_text(self._state, json.dumps(state) + "\n")
        self._saved = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Rename the file into place if all rows are there; otherwise keep it for resuming."""
        try:
            with self._file:
                if self.done:
                    self._save()
            if self.done == self._rows:
                seal(self._data, self._path)  # first: rows without their sha256 would be made again
                self._data.replace(self._path)
                self._state.unlink(missing_ok=True)
        except (OSError, UserError) as failed:
            if kind is None:  # else the first error is the one to speak of
                raise self._cannot(failed) from failed

    def _cannot(self, error: Exception) -> UserError:
        if isinstance(error, UserError):
            return error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return UserError(f"cannot write {self._path} ({reason}): free some space or choose another place")
