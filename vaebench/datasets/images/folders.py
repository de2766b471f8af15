"""Image files in a folder and below."""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.datasets.images.file_hashes import hashes_of
from vaebench.datasets.images.files import read_image, walk
from vaebench.datasets.images.image_files import ImageFiles, recognised_files
from vaebench.datasets.images.parquet_files import in_parquet
from vaebench.datasets.images.recognising import HEAD, readable, recognise


def in_folder(folder: Path) -> ImageFiles:
    """Find the images in a folder and below, or in its parquet files where it holds no images.

    Raises:
        UserError: it holds neither, or cannot be read.
    """
    states, hidden = walk(folder)
    files = {name: state for name, state in states.items() if stat.S_ISREG(state.st_mode)}
    strays = recognise(states.keys() - files.keys(), lambda name: b"")
    found = recognise(files, lambda name: _head(folder / name), hidden)
    found = replace(found, others=sorted([*found.others, *strays.images, *strays.not_read, *strays.others]))
    shards = [name for name in found.others if name in files and name.lower().endswith(".parquet")]
    if shards and not found.images:
        beside = replace(found, others=[name for name in found.others if name not in shards])
        made = in_parquet(folder, [folder / name for name in shards])
        return replace(made, not_read=found.not_read, passed_over=beside.passed_over())

    def hashed(places: Mapping[str, str]) -> dict[str, str]:
        by_place = hashes_of(folder, {place: states[place] for place in places.values()})
        return {name: by_place[place] for name, place in places.items()}

    def read(name: str) -> bytes:
        content = read_image(folder / name)
        if _state((folder / name).stat()) != _state(states[name]):  # under its old hash it would lie in the cache
            raise UserError(f"{folder / name} was changed while the images were read: give the command again")
        return content

    made = recognised_files(folder, found, read, hashes=hashed)
    return replace(made, no_files=[readable(name) for name in strays.images])


def _state(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_size, state.st_mtime_ns, state.st_ino


def _head(path: Path) -> bytes:
    try:
        with input_files.opened(path, most=2**62, remedy="take it away") as handle:
            return handle.read(HEAD)
    except (OSError, UserError):
        return b""
