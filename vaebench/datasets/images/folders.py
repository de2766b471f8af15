"""Image files in a folder and below."""

from collections.abc import Mapping
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.datasets.images.file_hashes import hashes_of
from vaebench.datasets.images.files import read_image, walk
from vaebench.datasets.images.image_files import ImageFiles, recognised_files
from vaebench.datasets.images.parquet_files import in_parquet
from vaebench.datasets.images.recognising import HEAD, recognise


def in_folder(folder: Path) -> ImageFiles:
    """Find the images in a folder and below, or in its parquet files where it holds no images.

    Raises:
        UserError: it holds neither, or cannot be read.
    """
    states, hidden = walk(folder)
    found = recognise(states, lambda name: _head(folder / name), hidden)
    shards = sorted(folder / name for name in found.others if name.endswith(".parquet"))
    if shards and not found.images:
        return in_parquet(folder, shards)

    def hashed(places: Mapping[str, str]) -> dict[str, str]:
        by_place = hashes_of(folder, {place: states[place] for place in places.values()})
        return {name: by_place[place] for name, place in places.items()}

    return recognised_files(
        folder,
        found,
        lambda name: read_image(folder / name),
        hashes=hashed,
    )


def _head(path: Path) -> bytes:
    try:
        with input_files.opened(path, most=2**62, remedy="take it away") as handle:
            return handle.read(HEAD)
    except (OSError, UserError):
        return b""
