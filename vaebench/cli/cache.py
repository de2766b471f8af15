"""The cache: its size by part, and its removal. All of it can be made again."""

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vaebench.core.errors import UserError
from vaebench.core.files import LOCK
from vaebench.core.paths import cache_dir
from vaebench.runs.recipe_files import list_file

DAY = 86_400
CONTENTS = {
    "features": "features of real images",
    "latents": "latents of real images",
    "images": "decoded images of datasets",
    "arrays": "unpacked arrays of images",
    "hashes": "hashes of files",
    "toyfaces": "drawn faces",
    "judges": "classifiers that judge",
    "realigned": "realigned faces",
    "compute.json": "measured training defaults",
    "reports.json": "what reports were made from",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePart:
    """One folder or file at the top of the cache.

    Attributes:
        name: of the folder or file.
        what: in words.
        size: bytes.
        files: how many.
        used: seconds since the epoch, when anything in it was last written.
    """

    name: str
    what: str
    size: int
    files: int
    used: float


def cache_parts() -> list[CachePart]:
    """List the cache's parts, the largest first."""
    folder = cache_dir()
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        files = [file.lstat() for file in _files(path)]
        if files and path.name != LOCK:
            what = CONTENTS.get(path.name, "recipe files you trained from" if path == list_file() else "other")
            size, used = sum(state.st_size for state in files), max(state.st_mtime for state in files)
            found.append(CachePart(name=path.name, what=what, size=size, files=len(files), used=used))
    return sorted(found, key=lambda part: -part.size)


def _files(path: Path) -> Iterator[Path]:
    """Files at or below a path; links are not followed."""
    if path.is_symlink() or path.is_file():
        yield path
    elif path.is_dir():
        for inner in sorted(path.iterdir()):
            yield from _files(inner)


def clear(older_than: str = "") -> tuple[int, int]:
    """Remove the whole cache, or folders in which nothing was written for so long.

    Which recipe files you trained from stays: it is no measurement.

    Args:
        older_than: such as ``30d`` or ``12h``; empty for everything.

    Returns:
        Bytes and files removed.

    Raises:
        UserError: ``older_than`` is no span of time, or the cache cannot be written to.
    """
    before = time.time() - _seconds(older_than)
    size = count = 0
    try:
        for path in _units(cache_dir()):
            states = [file.lstat() for file in _files(path)]
            if older_than and any(state.st_mtime > before for state in states):
                continue
            size, count = size + sum(state.st_size for state in states), count + len(states)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise UserError(f"cannot remove {error.filename} ({error.strerror}): make it writable") from error
    return size, count


def _units(folder: Path) -> Iterable[Path]:
    """What is removed whole: a folder with files in it, since they belong together, or a file at the top."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name == LOCK or path == list_file():
            continue
        if path.is_dir() and not path.is_symlink() and not any(inner.is_file() for inner in path.iterdir()):
            yield from _units(path)
        else:
            yield path


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([dh])", text, re.ASCII)
    if text and not found:
        raise UserError(f"--older-than {text!r} is no span of time: write e.g. 30d or 12h")
    return int(found[1]) * (DAY if found[2] == "d" else 3600) if found else 0.0


def readable(size: int) -> str:
    """``1.2 GB``, ``340 MB``, ``5 KB``."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
