"""Images as they are held: what is refused, what the fingerprint sees, and what strata are cut."""

from dataclasses import replace

import pytest
import torch

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.strata import strata


def labelled(**changes):
    """Four grey 2 x 3 images with labels and two attributes."""
    whole = {
        "name": "toy",
        "split": "test",
        "images": torch.arange(24, dtype=torch.uint8).view(4, 1, 2, 3),
        "ids": ["a", "b", "c", "d"],
        "labels": torch.tensor([7, 1, 7, 0]),
        "attributes": torch.tensor([[True, False], [False, False], [True, True], [False, True]]),
        "attribute_names": ("Smiling", "Eyeglasses"),
    }
    return ImageDataset(**{**whole, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(4, 1, 2, 3)}, r"images must be uint8 .*not torch.float32 \(4, 1, 2, 3\)"),
        ({"images": torch.zeros(4, 2, 3, dtype=torch.uint8)}, "images must be uint8"),
        ({"images": torch.zeros(4, 2, 2, 3, dtype=torch.uint8)}, "images must be uint8"),
        ({"ids": ["a", "b", "c"]}, "every image needs an id of its own"),
        ({"ids": ["a", "b", "c", "c"]}, "every image needs an id of its own"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "4 images but 3 labels"),
        ({"attributes": torch.zeros(5, 2, dtype=torch.bool)}, "4 images but 5 labels"),
        ({"attributes": torch.zeros(4, dtype=torch.bool)}, "every attribute column needs a name"),
        ({"attribute_names": ("Smiling",)}, "every attribute column needs a name"),
        ({"attribute_names": ()}, "every attribute column needs a name"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(UserError, match=f"dataset toy: .*{message}"):
        labelled(**changes)


def test_length_and_shape():
    assert len(labelled()) == 4
    assert labelled().image_shape == (1, 2, 3)


def flipped(tensor, position):
    """The tensor with one element changed."""
    changed = tensor.clone().flatten()
    changed[position] = ~changed[position] if tensor.dtype == torch.bool else changed[position] + 1
    return changed.view_as(tensor)


CHANGES = {
    "first pixel": {"images": flipped(labelled().images, 0)},
    "last pixel": {"images": flipped(labelled().images, 23)},
    "shape": {"images": labelled().images.view(4, 1, 3, 2)},
    "channels": {"images": labelled().images.view(4, 3, 2, 1)},
    "split": {"split": "train"},
    "id": {"ids": ["a", "b", "c", "e"]},
    "order of ids": {"ids": ["b", "a", "c", "d"]},
    "label": {"labels": flipped(labelled().labels, 3)},
    "no labels": {"labels": None},
    "attribute": {"attributes": flipped(labelled().attributes, 5)},
    "attribute name": {"attribute_names": ("Smiling", "Hat")},
    "no attributes": {"attributes": None, "attribute_names": ()},
}


@pytest.mark.parametrize("what", CHANGES)
def test_fingerprint_sees_any_change_of_content(what):
    assert labelled(**CHANGES[what]).fingerprint != labelled().fingerprint


def test_all_changes_have_fingerprints_of_their_own():
    fingerprints = [labelled(**change).fingerprint for change in CHANGES.values()]
    assert len(set(fingerprints)) == len(CHANGES)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"showcase": (2, 1)},
        {"ids": ("a", "b", "c", "d")},
        {"images": labelled().images.clone(memory_format=torch.channels_last)},
        {"images": labelled().images.flip(3).flip(3)},
        {"labels": torch.tensor([[7, 0], [1, 0], [7, 0], [0, 0]])[:, 0]},
    ],
)
def test_fingerprint_sees_nothing_but_content(changes):
    assert labelled(**changes).fingerprint == labelled().fingerprint


def test_fingerprint_is_pinned():
    """Results are compared by it across versions: a change of its definition parts every table."""
    assert labelled().fingerprint == "3ef3d1720728175e5ee558927a3f53bc4b1b971dccbaf19f5a3c169449fbb197"


def test_showcase_declared():
    assert labelled(showcase=(3, 0, 1)).showcase_indices() == [3, 0, 1]
    assert labelled(showcase=(3, 0, 1)).showcase_indices(at_most=2) == [3, 0]


def test_showcase_is_the_first_of_each_label_by_default():
    assert labelled().showcase_indices() == [3, 1, 0]
    assert labelled().showcase_indices(at_most=2) == [3, 1]


def test_showcase_without_labels_is_the_first_images():
    assert replace(labelled(), labels=None).showcase_indices() == [0, 1, 2, 3]
    assert replace(labelled(), labels=None).showcase_indices(at_most=2) == [0, 1]


def test_to_float_spans_zero_to_one_exactly():
    images = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    floats = to_float(images)
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (0.0, 1.0)
    assert torch.equal((floats * 255).round().to(torch.uint8), images)
    assert torch.equal(images, torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8))


def test_strata_of_labels():
    assert strata({"label": [7, 1, 7, 0]}) == {
        "label!=1": [True, False, True, True],
        "label=0": [False, False, False, True],
        "label=1": [False, True, False, False],
        "label=7": [True, False, True, False],
    }


def test_strata_without_a_one():
    assert list(strata({"label": [7, 0]})) == ["label=0", "label=7"]


def test_strata_of_attributes():
    assert strata({"Smiling": [1, 0, 1], "Eyeglasses": [0, 0, 0]}) == {
        "Smiling=1": [True, False, True],
        "Eyeglasses=1": [False, False, False],
    }


def test_no_labels_no_strata():
    assert strata({}) == {}
