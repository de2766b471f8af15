"""Files in folders: find, read, identify, split by hash."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.datasets.images.recognising import is_hidden


def read_image(path: Path) -> bytes:
    """Read an image file's bytes; :class:`UserError` where it is no regular file or larger than images are."""
    return input_files.read_bytes(path, most=input_files.IMAGE, remedy="take it away")


def files_under(folder: Path) -> dict[str, os.stat_result]:
    """List every regular file in a folder and below, by its POSIX path from there, sorted; neither hidden nor linked
    folders.
    """
    return {name: state for name, state in walk(folder)[0].items() if stat.S_ISREG(state.st_mode)}


def walk(folder: Path) -> tuple[dict[str, os.stat_result], int]:
    """List as :func:`files_under` does, and what is no regular file, such as a link that leads nowhere; also count
    hidden files, and folders that are hidden or linked.
    """
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
                    elif stat.S_ISDIR((state := _state(entry)).st_mode):
                        hidden += 1
                    else:
                        found[f"{above}{entry.name}"] = state
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): mend that or choose another") from error
    return dict(sorted(found.items())), hidden


def _state(entry: "os.DirEntry[str]") -> os.stat_result:
    """Return the state of what an entry leads to, or where it leads nowhere or in a circle, that of the link."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def digest_of(names: Iterable[str], states: Mapping[str, object]) -> str:
    """Hash names and whatever changes with their files by SHA-256: part of an ``identity``."""
    return hashlib.sha256(repr([(name, states[name]) for name in names]).encode(errors="backslashreplace")).hexdigest()


def split_of(digest: str) -> str:
    """Assign ``train`` (80%), ``valid`` or ``test`` (10% each), as a function of a hexadecimal hash alone."""
    tenth = int(digest[:15], 16) % 10
    return "test" if tenth == 9 else "valid" if tenth == 8 else "train"
