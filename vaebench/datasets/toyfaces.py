"""16,000 faces drawn by vaebench, with CelebA's 40 attributes: face models without a download."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from vaebench.core import content_cache
from vaebench.core.dataset import DatasetSource, ImageDataset, checked_size
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.paths import cache_dir
from vaebench.datasets.toyface.attributes import attribute_names, draw_attributes
from vaebench.datasets.toyface.canvas import SIZE
from vaebench.datasets.toyface.drawing import draw_face

SIZES = {"train": 12_000, "valid": 2_000, "test": 2_000}
LARGEST = 256  # pixels a side
NOTE = "synthetic faces drawn by vaebench, not photographs"

_log = logging.getLogger(__name__)


class ToyFaces(DatasetSource):
    """Portraits drawn from polygons: 12,000 to train, 2,000 to validate, 2,000 to test.

    Args:
        size: height and width, 16 to 256: the same shapes with finer edges. The classifier that comes with these faces,
            which ``fcd`` reads, takes 64 x 64 only.

    Attributes are drawn first, by a Gaussian copula that has CelebA's shares and correlations
    (``toyface/attributes.py``); then a face that shows them, all else left to chance (``toyface/drawing.py``). Both are
    functions of the image's index, 0 to 15,999 over all splits. Drawn once, in less than a minute at 64 x 64, and kept
    under ``VAEBENCH_CACHE/toyfaces`` (197 MB; 790 MB at 128 x 128, 3.1 GB at 256 x 256).
    """

    name = "toyfaces"
    splits = ("train", "valid", "test")

    def __init__(self, size: int = SIZE) -> None:
        self.size = checked_size(size, LARGEST)

    def load(self, split: str) -> ImageDataset:
        """Images with attributes; ids are ``toyfaces/00000`` to ``toyfaces/15999``."""
        indices = _indices(split)
        attributes = draw_attributes(indices)
        return ImageDataset(
            name=self.name,
            split=split,
            classifier="toyfaces_cnn/dense" if self.size == SIZE else "",
            images=torch.from_numpy(_images(split, attributes, self.size)),
            ids=[f"toyfaces/{index:05d}" for index in indices],
            attributes=torch.from_numpy(attributes),
            attribute_names=attribute_names(),
            showcase=varied(attributes),
            note=NOTE,
        )

    def fetch(self, source: Path | None) -> str:
        """Draw all splits that are not kept yet."""
        if source is not None:
            raise UserError("toyfaces are drawn by vaebench: there is nothing to import; leave --from away")
        for split in self.splits:
            _images(split, draw_attributes(_indices(split)), self.size)
        return f"toyfaces: {sum(SIZES.values()):,} faces drawn, in {cache_dir() / 'toyfaces'}"


def varied(attributes: NDArray[np.bool_], count: int = 10) -> list[int]:
    """Rows of sharp pictures, among the first 200, each of which differs most from those before."""
    sharp = np.flatnonzero(~attributes[:200, attribute_names().index("Blurry")])
    nearest = np.full(len(sharp), attributes.shape[1])
    chosen: list[int] = []
    for _ in range(min(count, len(sharp))):
        chosen.append(int(sharp[nearest.argmax()]))
        nearest = np.minimum(nearest, (attributes[sharp] != attributes[chosen[-1]]).sum(1))
    return chosen


def _indices(split: str) -> range:
    """The split's images, by their index over all splits."""
    start = 0
    for name, size in SIZES.items():
        if name == split:
            break
        start += size
    return range(start, start + SIZES[split])


def _images(split: str, attributes: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """Return the split's pictures, uint8 (n, 3, size, size), drawn or, in a memory map, read from the cache."""
    of_size: list[content_cache.Part] = [] if size == SIZE else [size]
    path = content_cache.entry("toyfaces", [split, *of_size, *_versions()], ".npy")

    def draw() -> NDArray[np.uint8]:
        _log.info("toyfaces: drawing %s faces (%s), once; they are kept in %s", f"{len(attributes):,}", split, path)
        return _drawn(_indices(split), attributes, size)

    return content_cache.read_or_make(path, _FacesFile((len(attributes), 3, size, size)), draw)


def _drawn(indices: range, attributes: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    faces = np.empty((len(indices), 3, size, size), np.uint8)
    for row, index in enumerate(indices):
        if row and row % 3000 == 0:
            _log.info("toyfaces: %s of %s drawn", f"{row:,}", f"{len(indices):,}")
        faces[row] = draw_face(attributes[row], index, size).transpose(2, 0, 1)
    return faces


@dataclass(frozen=True)
class _FacesFile:
    """Reads and writes faces, uint8 of ``shape``."""

    shape: tuple[int, ...]

    def read(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            images: NDArray[np.uint8] = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return images if images.shape == self.shape else None

    def write(self, path: Path, value: NDArray[np.uint8]) -> None:
        with path.open("wb") as handle:
            np.save(handle, value, allow_pickle=False)


def _versions() -> list[str]:
    """Return what pictures depend on: the code that draws, the measured attributes, Pillow's and NumPy's versions."""
    folder = Path(__file__).with_name("toyface")
    files = [*sorted(folder.glob("*.py")), folder / "celeba_attribute_statistics.csv"]
    return [*map(sha256_of, files), PIL.__version__, np.__version__]
