"""Hash files by content once: a hash is kept for as long as nothing about its file changes."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of, write_text
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores

STATED = 1_000  # files; hashing fewer is not worth a message
log = logging.getLogger(__name__)


def hashes_of(folder: Path, files: Mapping[str, os.stat_result]) -> dict[str, str]:
    """Hash each file's bytes by SHA-256; hashes are cached, so that only files that are new or changed are read.

    A file has changed where its size, its time of writing, its time of change (which nobody can set) or its place on
    the disk differ: two files that swap their names keep size and time of writing.

    Args:
        folder: where they lie; for one file, the file.
        files: path from there -> state.

    Returns:
        Path -> hexadecimal SHA-256.

    Raises:
        UserError: a file cannot be read.
    """
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    kept = cache_dir() / "hashes" / f"{place}.json"
    known = _kept_hashes(kept)
    states = {name: _state(state) for name, state in files.items()}
    changed = [name for name in files if known.get(name, [])[:-1] != states[name]]
    if len(changed) >= STATED:
        log.info("%s: hashing %s files, once", folder, f"{len(changed):,}")
    with ThreadPoolExecutor(cores()) as pool:
        fresh = dict(zip(changed, pool.map(partial(_hash, folder), changed), strict=True))
    hashes = {name: fresh[name] if name in fresh else known[name][-1] for name in files}
    if changed or known.keys() - files.keys():
        entries = {name: [*states[name], hashes[name]] for name in files}
        write_text(kept, json.dumps({"files": entries, "sha256": _digest(entries)}))
    return hashes


def hash_of(path: Path) -> str:
    """Hash one file's bytes by SHA-256, as :func:`hashes_of` does."""
    return hashes_of(path, {"": path.stat()})[""]


def _state(state: os.stat_result) -> list[int]:
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _hash(folder: Path, name: str) -> str:
    try:
        return sha256_of(folder / name)
    except OSError as error:
        reason = f"{folder / name} cannot be read ({error.strerror})"
        raise UserError(f"{reason}: make it readable or take it away") from error


def _digest(entries: object) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _kept_hashes(kept: Path) -> dict[str, list[Any]]:
    """Read path -> state, hash; empty if there are none yet or the file is damaged."""
    try:
        noted = json.loads(kept.read_text(encoding="utf-8"))
        entries = dict(noted["files"])
        if _digest(entries) == noted["sha256"]:
            return entries
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}
