"""Cache of what is slow to make, in ``VAEBENCH_CACHE``: an entry's path is a digest of all that decides its content.

An entry that is damaged or missing is made again; so is one whose parts (versions, fingerprints, weights) changed,
since it then has another path.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from vaebench.core.errors import UserError
from vaebench.core.files import is_sealed, write_sealed
from vaebench.core.paths import cache_dir

Value = TypeVar("Value")
Part = str | int | Sequence["Part"]
KEY_LENGTH = 32  # hexadecimal digits of the digest that name an entry
log = logging.getLogger(__name__)


class Format(Protocol[Value]):
    """How values of one kind are read from a file and written to one."""

    def read(self, path: Path) -> Value | None:
        """Read an undamaged file; None if it does not hold such a value."""

    def write(self, path: Path, value: Value) -> None:
        """Write a value to a file."""


def content_key(parts: Sequence[Part]) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of parts that decide an entry's content."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def entry(kind: str, parts: Sequence[Part], suffix: str = "", length: int = KEY_LENGTH) -> Path:
    """Return the path of an entry; nothing is created.

    Args:
        kind: folder below ``VAEBENCH_CACHE``, as ``vaebench cache`` lists it.
        parts: all that decides the content: versions, fingerprints, digests of weights, options.
        suffix: of the file; empty for a folder.
        length: digits of the key in the name.
    """
    return cache_dir() / kind / (content_key(parts)[:length] + suffix)


def read_or_make(path: Path, files: Format[Value], make: Callable[[], Value], *, required: bool = False) -> Value:
    """Read an entry, or make its value and store it with a digest of the file beside it.

    Args:
        path: from :func:`entry`.
        files: reads and writes such values.
        make: computes the value.
        required: raise if the value cannot be stored; by default a full disk costs time, not the answer.

    Raises:
        UserError: ``required``, and the value cannot be stored.
    """
    if is_sealed(path) and (found := files.read(path)) is not None:
        return found
    value = make()
    try:
        write_sealed(path, lambda temporary: files.write(temporary, value))
    except UserError as unwritable:
        if required:
            raise
        log.info("made, but not cached: %s", unwritable)
    return value
