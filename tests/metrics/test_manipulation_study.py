"""Attributes added to latents of test images, where what becomes of them is known by how the images were made."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.model import Autoencoder
from vaebench.core.perceptual import Perceptual
from vaebench.evaluation import evaluator, model_source
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import manipulation as module
from vaebench.metrics.manipulation import corners
from vaebench.metrics.probes.attribute_vectors import chosen_attributes
from vaebench.runs.trained_model import TrainedModel

SIDE = 8
NAMES = ("Left", "Right", "Corners", "Rare")
PARTS = ("effect", "leakage", "identity", "background")
LIFT, SHARPNESS = 25, 12.0  # grey levels that an attribute adds or takes away; of the judge's logits
TINT = 0.13 / 255  # that the model adds, so that no mean lies half-way between two levels


def regions():
    """What the attributes lie in: two blocks of the middle, the corners, and the rest; bool (4, 8, 8)."""
    found = torch.zeros(4, SIDE, SIDE, dtype=torch.bool)
    found[0, 3:5, 2:4] = found[1, 3:5, 4:6] = True
    found[2] = corners(SIDE, SIDE)
    found[3] = ~found[:3].any(dim=0)
    return found


REGIONS = regions()


def made(split, rare=0):
    """To train, every combination of the first three attributes on the same noise: their directions are known."""
    draw = np.random.default_rng(len(split))
    if split == "train":
        noise = np.tile(draw.integers(-20, 21, (80, SIDE, SIDE)), (8, 1, 1))
        has = np.repeat(list(itertools.product([False, True], repeat=3)), 80, axis=0)
    else:
        noise = draw.integers(-20, 21, (40, SIDE, SIDE))
        has = draw.random((40, 3)) < 0.5
    images = 128 + noise + LIFT * np.einsum("nk,khw->nhw", 2 * has - 1, REGIONS[:3].numpy())
    seldom = np.arange(len(has)) < rare
    return ImageDataset(
        name="blocks",
        split=split,
        images=torch.from_numpy(images[:, None].astype(np.uint8)),
        ids=[f"{split}/{row:03d}" for row in range(len(has))],
        attributes=torch.from_numpy(np.column_stack([has, seldom])),
        attribute_names=NAMES,
    )


class Blocks(DatasetSource):
    name, splits = "blocks", ("train", "test")

    def __init__(self, rare=0):
        self.rare = rare

    def load(self, split):
        return made(split, self.rare)

    def fetch(self, source):
        return ""


class Linear(Autoencoder):
    """Its latents are the regions' mean shades, and it draws these."""

    latent_dim = 4

    def phases(self):
        return ()

    def posterior(self, x):
        mean = torch.stack([x[:, 0, region].mean(dim=1) for region in REGIONS], dim=1) + TINT
        return mean, torch.zeros_like(mean)

    def decode(self, z):
        return torch.einsum("nk,khw->nhw", z, REGIONS.float())[:, None].clamp(0, 1)


class Reader(nn.Module):
    """A logit an attribute: how light its region is."""

    def forward(self, images):
        return SHARPNESS * (torch.stack([images[:, 0, region].mean(dim=1) for region in REGIONS], dim=1) - 0.5)


def measured(source=None, model=None, reader=Reader, **options):
    networks = Networks()
    networks.provide("judge-1", lambda: Perceptual("judge-1", {"logits": reader()}, channels=1, sha256="the reader's"))
    split = SplitContext.of_split(source or Blocks(), "test", networks)
    model = (model or Linear()).eval()
    metrics = [
        metric
        for name in PARTS
        for metric in getattr(module, f"manipulation_{name}")(judge="judge-1", attributes=True, **options)
    ]
    source = model_source.of_model(
        TrainedModel(model, split.data.image_shape), split.data, samples=0, seed=0, context=split.context()
    )
    return {metric.spec.name.partition("_")[2]: score for metric, score in evaluator.measure(metrics, source, networks)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numbers(images):
    """The latents of uint8 images, in float64."""
    return torch.stack([images[:, 0, region].double().mean(dim=1) for region in REGIONS], dim=1).numpy() / 255 + TINT


def rounded(shades):
    return np.round(np.clip(shades, 0, 1) * 255) / 255


def drawn(shades):
    return np.einsum("nk,khw->nhw", shades, REGIONS.numpy())


def by_hand(name, factor=1.0, rows=None):
    """Ids, effect, leakage, identity and background of an attribute, known by how the images were made."""
    data, column = made("test"), NAMES.index(name)
    rows = (~data.attributes[:, column]).nonzero()[:, 0] if rows is None else rows
    before = numbers(data.images[rows])
    after = before.copy()
    after[:, column] += factor * 2 * LIFT / 255
    says = [sigmoid(SHARPNESS * (rounded(shades) - 0.5)) for shades in (before, after)]
    gained = says[1] - says[0]
    outside = REGIONS[2].numpy()
    pictures = [drawn(shades).reshape(len(rows), -1) for shades in (before, after)]
    faces = PCA(63, whiten=True).fit(made("train").images.flatten(1).double().numpy() / 255)
    projected = [faces.transform(part) for part in pictures]
    strangers = np.linalg.norm(np.roll(projected[0], 1, 0) - projected[0], axis=1).mean()
    corner = [part[:, outside.reshape(-1)] for part in pictures]
    scenery = np.sqrt(((np.roll(corner[0], 1, 0) - corner[0]) ** 2).mean(1)).mean()
    return {
        "ids": tuple(data.ids[row] for row in rows.tolist()),
        "effect": gained[:, column],
        "leakage": np.abs(np.delete(gained, column, axis=1)).mean(1),
        "identity": np.linalg.norm(projected[1] - projected[0], axis=1) / strangers,
        "background": np.sqrt(((corner[1] - corner[0]) ** 2).mean(1)) / scenery,
    }


def test_the_wanted_attributes():
    data = made("test")
    assert chosen_attributes((), data.attribute_names) == list(NAMES)  # none of the paper's: the first six
    assert chosen_attributes(("Right", "Left", "Right"), data.attribute_names) == ["Right", "Left"]
    with pytest.raises(UserError, match=r"did you mean 'Corners'\?"):
        chosen_attributes(("Corner",), data.attribute_names)


def test_where_all_is_known_the_study_finds_it():
    scores = measured()
    expected = {name: by_hand(name) for name in NAMES[:3]}
    for part in PARTS:
        assert set(scores[part].parts) == {f"attribute={name}" for name in NAMES[:3]}
        for name, known in expected.items():
            found = scores[part].parts[f"attribute={name}"]
            assert found.ids == known["ids"]
            np.testing.assert_allclose(found.per_image, known[part], rtol=2e-3, atol=1e-5)
            assert (found.value, found.n) == (pytest.approx(known[part].mean(), rel=2e-3, abs=1e-5), len(known["ids"]))
            assert "balanced accuracy 100.0 %" in found.note
        mean = np.mean([known[part].mean() for known in expected.values()])
        assert scores[part].value == pytest.approx(mean, rel=2e-3, abs=1e-5)
        assert scores[part].std_error > 0 or part == "leakage"
    assert scores["effect"].value > 0.5
    assert scores["leakage"].value == pytest.approx(0, abs=1e-6)  # directions are at right angles
    assert scores["background"].parts["attribute=Left"].value == pytest.approx(0, abs=1e-5)
    assert scores["background"].parts["attribute=Corners"].value > 0.5


def test_an_attribute_with_too_few_examples_is_named_and_left_out():
    scores = measured(Blocks(rare=9))
    for part in PARTS:
        assert "Rare: 9 images with it, too few" in scores[part].note
        assert len(scores[part].parts) == 3 and scores[part].value is not None
    enough = measured(Blocks(rare=10))
    assert enough["effect"].note == "" and len(enough["effect"].parts) == 4
    only = measured(Blocks(rare=9), wanted=("Rare",))
    assert all(only[part].value is None and "too few" in only[part].note for part in PARTS)
    common = measured(Blocks(rare=39), wanted=("Rare",))["effect"]
    assert common.value is None and common.note == "Rare: 1 test images lack it, too few to add it to"


def test_a_factor_a_choice_and_fewer_images():
    back = measured(wanted=("Left",), factor=-0.5)
    np.testing.assert_allclose(back["effect"].per_image, by_hand("Left", -0.5)["effect"], atol=1e-5)
    few, again = (measured(wanted=("Left",), images=7)["effect"] for _ in range(2))
    whole = by_hand("Left")
    assert few.n == 7 and few.ids == again.ids and set(few.ids) < set(whole["ids"])
    places = [whole["ids"].index(name) for name in few.ids]
    np.testing.assert_allclose(few.per_image, whole["effect"][places], atol=1e-5)


class Worse(Linear):
    """Draws half of what its latents say."""

    def decode(self, z):
        return super().decode(0.25 + 0.5 * z)


def test_models_are_compared_on_the_same_images_and_values_are_pinned():
    good, bad = measured(), measured(model=Worse())
    for part in PARTS:
        assert good[part].ids == bad[part].ids
        assert {k: p.ids for k, p in good[part].parts.items()} == {k: p.ids for k, p in bad[part].parts.items()}
    assert bad["effect"].value < good["effect"].value
    assert bad["identity"].value == pytest.approx(good["identity"].value, rel=1e-3)  # a share of its own spread
    assert [good[part].value for part in PARTS] == pytest.approx(PINNED, rel=1e-4, abs=1e-6)


def test_one_study_serves_all_four(monkeypatch):
    asked = []
    real = module.attribute_vector
    monkeypatch.setattr(module, "attribute_vector", lambda name, *rest: (asked.append(name), real(name, *rest))[1])
    measured()
    assert asked == list(NAMES)


def test_what_it_declares_and_refuses():
    (metric,) = module.manipulation_effect(judge="judge-1", attributes=True, wanted=("A", "B"), images=20)
    assert metric.spec.protocol == "judge/factor=1/images=20/A+B"
    assert metric.spec.needs == Need.CODE | Need.ATTRIBUTES  # no batch carries it: images go through the model once
    (named,) = module.manipulation_leakage(judge="toyfaces_cnn", attributes=True)
    assert (named.spec.protocol, named.spec.direction) == ("toyfaces_cnn/factor=1/images=200", "lower")
    for options in ({}, {"judge": "mnist_cnn"}, {"attributes": True}):
        (refused,) = module.manipulation_identity(**options)
        assert refused.score(None).note == "needs faces with attributes, and a classifier of them"
    assert "did you mean 'Left'?" in measured(wanted=("Lefty",))["effect"].note
    alone = type("Alone", (Blocks,), {"splits": ("test",)})()
    assert measured(alone)["effect"].note == "there is no training split to take attributes' directions from"


class Collapsed(Linear):
    """Draws everybody alike."""

    def decode(self, z):
        return super().decode(torch.full_like(z, 0.5))


def test_where_all_faces_are_alike_their_distance_is_no_unit():
    scores = measured(model=Collapsed())
    assert scores["effect"].value == 0
    for part in ("identity", "background"):
        assert scores[part].value is None
        assert scores[part].note == "the model draws all images, or all their corners, alike"
        assert all(found.value is None and found.note for found in scores[part].parts.values())


class OneAttribute(Blocks):
    """Images of which one thing is told."""

    def load(self, split):
        data = super().load(split)
        return replace(data, attributes=data.attributes[:, :1], attribute_names=NAMES[:1])


class OneReader(Reader):
    """A judge of it."""

    def forward(self, images):
        return super().forward(images)[:, :1]


def test_one_attribute_alone_is_refused():
    for score in measured(OneAttribute(), reader=OneReader).values():
        assert score.value is None and "one attribute" in score.note


@pytest.mark.parametrize("images", [-1, 0, 1])
def test_fewer_than_two_images_are_refused(images):
    with pytest.raises(UserError, match="2 images or more"):
        measured(wanted=("Left",), images=images)


PINNED = [0.5240114, 0, 0.7325573, 7.8740159]
