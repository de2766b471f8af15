"""Load the 1,797 handwritten digits that come with scikit-learn: no download, no network."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError

COUNT = 1797
# bit k: whether row k is a test image; a stratified draw (tests/datasets/test_dataset_digits.py makes it anew)
_TEST_ROWS = (
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a000080a882044"
    "1524494240a00a0000004004d80000818020004805c400104008a0100005404800301000020ec409000224840083a8013c20"
    "a6980a0000000b08400804a0184802024041c1008004404684376a810216004480004042a0a4180a5000840b8561c6081080"
    "08004c80c02004068e00010882008100380803c008190000100e01008410a0210033282904c044c080680e01028300820088"
    "22a6402c24042108a860809081a00c02820242120138a41500"
)


def _table() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read counts (1797, 64) and labels (1797,) from the file that ``load_digits`` reads.

    Importing scikit-learn takes longer than everything else that an evaluation of digits imports beside torch.
    """
    found = find_spec("sklearn")
    path = Path(found.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if found else Path()
    if path.is_file():
        rows = np.loadtxt(path, delimiter=",")
        return rows[:, :-1], rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # noqa: PLC0415  (wherever another version keeps them)

    counts, labels = load_digits(return_X_y=True)
    return counts, labels.astype(np.int64)


class Digits(DatasetSource):
    """scikit-learn's ``load_digits`` (UCI optical digits, test part): 8 x 8 counts 0 to 16 -> 28 x 28 uint8.

    Resized by Pillow's bicubic filter to 20 x 20 and set into a black 28 x 28 frame, 4 pixels from each
    side, as MNIST's digits stand in theirs: a classifier trained on MNIST reads them best so. Split once,
    stratified by class: 1,437 to train, 360 to test. An image's id is its row in scikit-learn's array.
    """

    name = "digits"
    splits = ("train", "test")

    def load(self, split: str) -> ImageDataset:
        """Load images with labels; ids are ``digits/0000`` to ``digits/1796``."""
        counts, labels = _table()
        is_test = np.unpackbits(np.frombuffer(bytes.fromhex(_TEST_ROWS), np.uint8))[:COUNT].astype(bool)
        rows = np.flatnonzero(is_test if split == "test" else ~is_test)
        images = np.zeros((len(rows), 1, 28, 28), np.uint8)
        for position, row in enumerate(rows):
            small = Image.fromarray((counts[row].reshape(8, 8) * (255 / 16)).round().astype(np.uint8))
            images[position, 0, 4:24, 4:24] = np.asarray(small.resize((20, 20), Image.Resampling.BICUBIC))
        return ImageDataset(
            name=self.name,
            split=split,
            classifier="mnist_cnn/dense",
            images=torch.from_numpy(images),
            ids=[f"digits/{row:04d}" for row in rows],
            labels=torch.from_numpy(labels[rows]),
        )

    def fetch(self, source: Path | None) -> str:
        """Do nothing: the data come with scikit-learn."""
        if source is not None:
            raise UserError("digits come with scikit-learn: there is nothing to import; leave --from away")
        return "digits: come with scikit-learn, nothing to fetch"
