"""scikit-learn's digits: the split, the resizing, and the bytes that results are compared by."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from vaebench.core.errors import UserError
from vaebench.datasets.digits import Digits

FINGERPRINTS = {
    "train": "d143113d30542035bf36475f160c51264021756407983c89c3b566a5f6fea4b2",
    "test": "3a67285e58235bd0b6090d6f8b774094b3afbdc1a157536178be7f47c101bd3a",
}


@pytest.fixture(scope="module")
def splits():
    return {split: Digits().load(split) for split in Digits.splits}


def test_sizes_and_shapes(splits):
    assert {split: len(data) for split, data in splits.items()} == {"train": 1437, "test": 360}
    for split, data in splits.items():
        assert (data.name, data.split) == ("digits", split)
        assert data.image_shape == (1, 28, 28)
        assert data.images.dtype == torch.uint8
        assert data.labels.dtype == torch.int64


def test_splits_share_no_image_and_leave_none_out(splits):
    train, test = (set(splits[split].ids) for split in ("train", "test"))
    assert not train & test
    assert train | test == {f"digits/{row:04d}" for row in range(1797)}


def test_split_is_stratified(splits):
    whole = np.bincount(load_digits().target)
    for data in splits.values():
        share = whole * len(data) / 1797
        assert np.abs(data.labels.bincount().numpy() - share).max() < 1


def test_the_split_is_scikit_learn_s_draw(splits):
    labels = load_digits().target
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    for split, rows in (("train", train), ("test", test)):
        assert splits[split].ids == [f"digits/{row:04d}" for row in np.sort(rows)]


def test_without_the_file_scikit_learn_is_asked(splits, monkeypatch):
    monkeypatch.setattr("vaebench.datasets.digits.find_spec", lambda name: None)
    assert Digits().load("test").fingerprint == splits["test"].fingerprint


def test_loading_imports_no_scikit_learn():
    program = "import sys; from vaebench.datasets.digits import Digits; Digits().load('test'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "sklearn" not in done.stdout.split()


@pytest.mark.parametrize("split", ["train", "test"])
def test_fingerprint_is_pinned(splits, split):
    """Another fingerprint means other pixels, labels or another split: no table made before holds any more."""
    assert splits[split].fingerprint == FINGERPRINTS[split]


def test_loading_twice_gives_the_same(splits, global_rng_untouched):
    assert Digits().load("test").fingerprint == splits["test"].fingerprint


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("position", [0, 17, -1])
def test_pixels_against_pillow(splits, split, position):
    """From scikit-learn's own 0 to 16 counts: times 255/16, bicubic to 20 x 20, 4 black pixels around."""
    data = splits[split]
    row = int(data.ids[position].removeprefix("digits/"))
    source = load_digits()
    grey = Image.new("L", (8, 8))
    grey.putdata([round(int(count) * 255 / 16) for count in source.data[row]])
    framed = Image.new("L", (28, 28), 0)
    framed.paste(grey.resize((20, 20), Image.BICUBIC), (4, 4))
    assert np.array_equal(data.images[position, 0].numpy(), np.asarray(framed))
    assert data.labels[position] == source.target[row]


def test_frame_is_black_and_digits_are_not(splits):
    images = splits["test"].images
    assert images[:, :, 4:24, 4:24].flatten(1).max(1).values.min() > 128
    inside = torch.zeros(28, 28, dtype=torch.bool)
    inside[4:24, 4:24] = True
    assert images[..., ~inside].max() == 0


def test_fetch_has_nothing_to_do(tmp_path):
    assert "nothing to fetch" in Digits().fetch(None)
    with pytest.raises(UserError, match="nothing to import"):
        Digits().fetch(tmp_path)
