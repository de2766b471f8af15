"""Load the 1,797 handwritten digits that come with scikit-learn: no download, no network."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError

SPLIT_SEED = 0
TEST_SIZE = 360


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
        from sklearn.datasets import load_digits  # noqa: PLC0415  (a second's import)
        from sklearn.model_selection import train_test_split  # noqa: PLC0415

        counts, labels = load_digits(return_X_y=True)
        train, test = train_test_split(
            np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=SPLIT_SEED
        )
        rows = np.sort({"train": train, "test": test}[split])
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
            labels=torch.from_numpy(labels[rows].astype(np.int64)),
        )

    def fetch(self, source: Path | None) -> str:
        """Do nothing: the data come with scikit-learn."""
        if source is not None:
            raise UserError("digits come with scikit-learn: there is nothing to import; leave --from away")
        return "digits: come with scikit-learn, nothing to fetch"
