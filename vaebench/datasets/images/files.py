"""Files in folders: find, read, identify, split by hash."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.datasets.images.recognising import is_hidden


def read_image(path: Path) -> bytes:
    """Read an image file's bytes; :class:`UserError` where it is no regular file or larger than images are."""
    return input_files.read_bytes(path, most=input_files.IMAGE, remedy="take it away")


def files_under(folder: Path) -> dict[str, os.stat_result]:
    """List every file in a folder and below, by its POSIX path from there, sorted; neither hidden nor linked
    folders.
    """
    return walk(folder)[0]


def walk(folder: Path) -> tuple[dict[str, os.stat_result], int]:
    """List as :func:`files_under` does; also count hidden files, and folders that are hidden or linked."""
    found, pending, hidden = {}, [""], 0
    try:
        while pending:
            above = pending.pop()
            with os.scandir(folder / above) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        hidden += 1
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append(f"{above}{entry.name}/")
                    elif entry.is_file():
                        found[f"{above}{entry.name}"] = entry.stat()
                    elif entry.is_dir():
                        hidden += 1
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): mend that or choose another") from error
    return dict(sorted(found.items())), hidden


def digest_of(names: Iterable[str], states: Mapping[str, object]) -> str:
    """Hash names and whatever changes with their files by SHA-256: part of an ``identity``."""
    return hashlib.sha256(repr([(name, states[name]) for name in names]).encode()).hexdigest()


def split_of(digest: str) -> str:
    """Assign ``train`` (80%), ``valid`` or ``test`` (10% each), as a function of a hexadecimal hash alone."""
    tenth = int(digest[:15], 16) % 10
    return "test" if tenth == 9 else "valid" if tenth == 8 else "train"
