"""Attributes added to latents: against numpy, scikit-learn and the jackknife, and where all is known beforehand."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vaebench import evaluation, subjects
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import Need, Score
from vaebench.core.model import Autoencoder
from vaebench.core.perceptual import Perceptual
from vaebench.features import Networks
from vaebench.metrics import manipulation as module
from vaebench.metrics.manipulation import Eigenfaces, change, chosen_attributes, corners, mean_over
from vaebench.surroundings import Surroundings

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


def measured(source=None, model=None, names=PARTS, **options):
    networks = Networks()
    networks.provide("judge-1", lambda: Perceptual("judge-1", {"logits": Reader()}, channels=1, sha256="the reader's"))
    surroundings = Surroundings.of_split(source or Blocks(), "test", networks)
    model = (model or Linear()).eval()
    context = subjects.context_of(model, surroundings.context(), "cpu")
    given = {"needs": Need.LATENT, "samples": 0, "seed": 0, "device": "cpu", "context": context}
    metrics = [
        metric
        for name in names
        for metric in getattr(module, f"manipulation_{name}")(judge="judge-1", attributes=True, **options)
    ]
    subject = subjects.of_model(model, surroundings.data, **given)
    return {metric.name.partition("_")[2]: score for metric, score in evaluation.measure(metrics, subject, networks)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# the functions


def test_change_is_what_loops_give():
    draw = np.random.default_rng(0)
    before, after = draw.random((6, 3, 8, 8)), draw.random((6, 3, 8, 8))
    logits = draw.normal(size=(2, 6, 5)) * 3
    projection = draw.normal(size=(3 * 64, 7))
    parts = [torch.from_numpy(part) for part in (before, after)]
    found = change(*parts, tuple(torch.from_numpy(logits)), 2, lambda x: x.flatten(1) @ torch.from_numpy(projection))
    outside = [(y, x) for y in range(8) for x in range(8) if (2 * y / 7 - 1) ** 2 + (2 * x / 7 - 1) ** 2 > 1]

    def apart(a, b):
        return math.sqrt(np.mean([(a[c, y, x] - b[c, y, x]) ** 2 for c in range(3) for y, x in outside]))

    def between(a, b):
        return np.linalg.norm((a - b).reshape(-1) @ projection)

    scenery = np.mean([apart(before[i - 1], before[i]) for i in range(6)])
    strangers = np.mean([between(before[i - 1], before[i]) for i in range(6)])
    for i in range(6):
        gained = sigmoid(logits[1, i]) - sigmoid(logits[0, i])
        assert found.effect[i] == pytest.approx(gained[2])
        assert found.leakage[i] == pytest.approx(np.mean([abs(gained[k]) for k in (0, 1, 3, 4)]))
        assert found.background[i] == pytest.approx(apart(before[i], after[i]) / scenery)
        assert found.identity[i] == pytest.approx(between(before[i], after[i]) / strangers)


def test_nothing_changed_is_nothing():
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = images.flatten(1)[:, :4]
    found = change(images, images, (logits, logits), 0, Eigenfaces((images * 255).to(torch.uint8)))
    for part in PARTS:
        assert getattr(found, part).tolist() == [0] * 5


@pytest.mark.parametrize("shape", [(8, 8), (9, 14), (64, 64)])
def test_corners_are_symmetric(shape):
    found = corners(*shape)
    assert found.shape == shape and found.dtype == torch.bool
    assert torch.equal(found, found.flip(0)) and torch.equal(found, found.flip(1))
    assert torch.equal(corners(*shape[::-1]), found.T)
    assert found[0, 0] and not found[shape[0] // 2, shape[1] // 2]


def test_corners_are_what_a_circle_leaves_of_a_square():
    assert corners(2_000, 1_000).double().mean().item() == pytest.approx(1 - math.pi / 4, abs=0.002)
    assert corners(64, 64).double().mean().item() == pytest.approx(1 - math.pi / 4, abs=0.03)


@pytest.mark.parametrize("shape", [(300, 1, 8, 8), (40, 3, 8, 8)])
def test_eigenfaces_are_scikit_learns_whitened_components(shape, global_rng_untouched):
    """Of 64 pixels the first 63, of 40 images 39: signs are free, distances are not; scikit-learn divides by n - 1."""
    draw = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(shape, generator=draw), 3, 1, 1) * 1.5
    images = (255 * smooth.clamp(0, 1)).to(torch.uint8)
    ours = Eigenfaces(images)(images.float() / 255)
    rows = images.flatten(1).double().numpy() / 255
    size = min(100, shape[0] - 1, rows.shape[1] - 1)
    theirs = PCA(size, whiten=True, svd_solver="full").fit_transform(rows) * math.sqrt(shape[0] / (shape[0] - 1))
    assert ours.shape == theirs.shape and ours.dtype == torch.float64
    np.testing.assert_allclose(ours.abs(), np.abs(theirs), atol=0.01)
    expected = np.linalg.norm(theirs[1:] - theirs[:-1], axis=1)
    np.testing.assert_allclose((ours[1:] - ours[:-1]).norm(dim=1), expected, rtol=1e-3)


def test_eigenfaces_are_fitted_on_a_part_of_many_images(monkeypatch):
    images = made("train").images
    part = Eigenfaces(images[::3])
    monkeypatch.setattr(module, "FITTED_ON", 250)
    found = Eigenfaces(images)  # 640 images, every third
    torch.testing.assert_close(found.mean, part.mean)
    faces = images[:9].float() / 255
    torch.testing.assert_close(found(faces).abs(), part(faces).abs(), rtol=1e-3, atol=1e-3)


def overlapping(sizes=(250, 140, 70), n=300):
    """Three parts of different sizes that share images, whose values correlate."""
    draw = np.random.default_rng(0)
    ids = np.array([f"image/{row:03d}" for row in range(n)])
    base = draw.normal(size=n)
    chosen = [np.sort(draw.choice(n, size, replace=False)) for size in sizes]
    return (
        ids,
        chosen,
        [base[rows] + draw.normal(size=len(rows)) + shift for rows, shift in zip(chosen, (0, 3, -1), strict=True)],
    )


def as_parts(ids, chosen, values):
    return {
        f"attribute={k}": Score.mean_of(torch.from_numpy(part), tuple(ids[rows]))
        for k, (rows, part) in enumerate(zip(chosen, values, strict=True))
    }


def test_a_mean_over_parts_errs_as_leaving_images_out_says():
    ids, chosen, values = overlapping()
    score = mean_over(as_parts(ids, chosen, values), "why")
    assert score.value == pytest.approx(np.mean([part.mean() for part in values]))
    union = sorted({name for rows in chosen for name in ids[rows]})
    assert (score.n, score.ids, score.note, score.influence) == (len(union), tuple(union), "why", True)
    assert score.per_image.mean().item() == pytest.approx(score.value)

    def without(name):
        return np.mean([part[ids[rows] != name].mean() for rows, part in zip(chosen, values, strict=True)])

    left = np.array([without(name) for name in union])
    n = len(union)
    jackknife = math.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    assert score.std_error == pytest.approx(jackknife, rel=0.02)
    pseudo = n * score.value - (n - 1) * left
    assert np.corrcoef(score.per_image, pseudo)[0, 1] > 0.999


def test_a_mean_over_parts_errs_as_drawing_images_anew_says():
    ids, chosen, values = overlapping()
    score = mean_over(as_parts(ids, chosen, values))
    draw = np.random.default_rng(1)
    found = []
    for _ in range(3_000):
        weight = np.bincount(draw.integers(len(ids), size=len(ids)), minlength=len(ids))
        found.append(
            np.mean([np.average(part, weights=weight[rows]) for rows, part in zip(chosen, values, strict=True)])
        )
    assert score.std_error == pytest.approx(np.std(found), rel=0.08)


def test_one_part_is_its_own_mean():
    ids, chosen, values = overlapping()
    parts = as_parts(ids, chosen[1:2], values[1:2])
    score, part = mean_over(parts), parts["attribute=0"]
    assert (score.value, score.n, score.std_error) == pytest.approx((part.value, part.n, part.std_error))
    torch.testing.assert_close(score.per_image, part.per_image)
    assert score.parts == parts


def test_parts_that_share_no_image_err_apart():
    ids, _, values = overlapping((150, 90, 60))
    chosen = [np.arange(150), np.arange(150, 240), np.arange(240, 300)]
    parts = as_parts(ids, chosen, values)
    score = mean_over(parts)
    expected = math.sqrt(sum(part.std_error**2 for part in parts.values())) / 3
    assert score.std_error == pytest.approx(expected, rel=0.02)  # n - 1 images of each, or of all


def test_the_wanted_attributes():
    data = made("test")
    assert chosen_attributes(data, ()) == NAMES  # none of those that the paper shows: the first six
    assert chosen_attributes(data, ("Right", "Left")) == ("Right", "Left")
    with pytest.raises(UserError, match=r"did you mean 'Corners'\?"):
        chosen_attributes(data, ("Corner",))


# the study


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
    assert metric.protocol == "judge/factor=1/images=20/A+B"
    (named,) = module.manipulation_leakage(judge="toyfaces_cnn", attributes=True)
    assert (named.protocol, named.direction) == ("toyfaces_cnn/factor=1/images=200", "lower")
    for options in ({}, {"judge": "mnist_cnn"}, {"attributes": True}):
        (refused,) = module.manipulation_identity(**options)
        assert refused.score(None).note == "needs faces with attributes, and a classifier of them"
    assert "did you mean 'Left'?" in measured(wanted=("Lefty",))["effect"].note
    alone = type("Alone", (Blocks,), {"splits": ("test",)})()
    assert measured(alone)["effect"].note == "there is no training split to take attributes' directions from"


def test_images_of_few_independent_components_have_no_others():
    """Twelve images, each many times: eleven components, and nothing beside them."""
    images = made("train").images[:12].repeat(20, 1, 1, 1)
    faces = made("test").images[:12].float() / 255
    ours = Eigenfaces(images)(faces)
    theirs = PCA(11, whiten=True, svd_solver="full").fit(images.flatten(1).double().numpy() / 255)
    theirs = theirs.transform(faces.flatten(1).double().numpy())
    np.testing.assert_allclose(
        (ours[1:] - ours[:-1]).norm(dim=1), np.linalg.norm(np.diff(theirs, axis=0), axis=1), 0.01
    )


class Collapsed(Linear):
    """Draws everybody alike."""

    def decode(self, z):
        return super().decode(torch.full_like(z, 0.5))


def test_where_all_faces_are_alike_their_distance_is_no_unit():
    scores = measured(model=Collapsed())
    assert scores["effect"].value == 0
    assert scores["identity"].value is None and scores["background"].value is None


@pytest.mark.parametrize("images", [-1, 0, 1])
def test_fewer_than_two_images_are_refused(images):
    with pytest.raises(UserError, match="2 images or more"):
        measured(wanted=("Left",), images=images)


PINNED = [0.5240114, 0, 0.7325573, 7.8740159]
