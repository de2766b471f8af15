"""Realism of blends: against plain loops and scipy, what must hold of it, and models beside classical ways."""

import functools
import math

import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore
from torch import nn

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder, Phase
from vaebench.evaluation import evaluator, feature_extraction, image_sources, model_source
from vaebench.evaluation.baselines import classical_blends
from vaebench.evaluation.feature_extraction import Way
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import blend_realism as module
from vaebench.metrics.blend_realism import blend_adversary, blend_realism, distinct, random_pairs, realism, share_below
from vaebench.metrics.functional.neighbours import nearest_distances
from vaebench.runs.trained_model import TrainedModel

SIDE = 8


def rows(n, d, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw) * torch.linspace(1, 0.2, d)


def by_loop(points, references, k, left_out):
    """Equation 3 with the larger half of the radii put aside, in numpy."""
    points, references = points.double().numpy(), references.double().numpy()
    distances = np.linalg.norm(references[:, None] - references[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    radii = np.sort(distances, axis=1)[:, k - 1]
    kept = set(np.argsort(radii, kind="stable")[: (len(radii) + 1) // 2].tolist())
    found = []
    for point, parents in zip(points, left_out.tolist(), strict=True):
        allowed = sorted(kept - {parent for parent in parents if parent >= 0})
        found.append(max(radii[row] / np.linalg.norm(point - references[row]) for row in allowed))
    return found


def radii_of(references, k=3):
    return nearest_distances(references, references, k, same=True)


def none(n):
    return torch.full((n, 2), -1)


# the functions


@pytest.mark.parametrize("number", [30, 31])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [1, 5, 50])
def test_realism_is_what_a_loop_gives(number, k, d):
    references, points = rows(number, d, seed=d), 0.8 * rows(40, d, seed=d + 1)
    draw = torch.Generator().manual_seed(2)
    left_out = torch.randint(-1, number, (40, 2), generator=draw)
    found = realism(points, references, radii_of(references, k), left_out)
    assert found.dtype == torch.float64 and found.shape == (40,)
    assert found.tolist() == pytest.approx(by_loop(points, references, k, left_out), rel=1e-9)
    assert realism(points, references, radii_of(references, k), none(40)).tolist() == pytest.approx(
        by_loop(points, references, k, none(40)), rel=1e-9
    )


def test_realism_by_hand():
    """On a line at 0, 1, 3, 7 and 20 the first neighbours are 1, 1, 2, 4 and 13 away: the last two do not count."""
    references = torch.tensor([[0.0], [1.0], [3.0], [7.0], [20.0]])
    points = torch.tensor([[0.5], [7.5], [2.0]])
    found = realism(points, references, radii_of(references, 1), torch.tensor([[-1, -1], [-1, -1], [2, -1]]))
    assert found.tolist() == pytest.approx([2, 2 / 4.5, 1])


def test_one_or_more_lies_within_a_ball():
    references, points = rows(60, 3), rows(80, 3, seed=1)
    radii = radii_of(references)
    kept = radii <= radii.median()
    inside = (torch.cdist(points.double(), references[kept].double()) <= radii[kept]).any(dim=1)
    assert ((realism(points, references, radii, none(80)) >= 1) == inside).all()
    assert 0 < inside.sum() < 80


def test_what_is_left_out_is_as_if_it_were_not_there():
    references = rows(50, 4)
    radii = radii_of(references)
    cut = radii.median()
    for row in range(50):
        rest = torch.arange(50) != row
        alone = references[row : row + 1]
        # as many large radii fall away as keep the median where it was
        others = torch.where(radii[rest] <= cut, radii[rest], 0.0)
        expected = (others / torch.cdist(alone.double(), references[rest].double())[0]).max()
        assert realism(alone, references, radii, torch.tensor([[row, -1]])).item() == pytest.approx(expected.item())
        assert realism(alone, references, radii, torch.tensor([[-1, row]])).item() == pytest.approx(expected.item())


def test_realism_has_no_scale_and_no_place():
    references, points = rows(60, 6).double(), rows(40, 6, seed=1).double()
    draw = torch.Generator().manual_seed(3)
    left_out = torch.randint(-1, 60, (40, 2), generator=draw)
    whole = realism(points, references, radii_of(references), left_out)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw).double()).Q
    for move in (lambda x: 37 * x, lambda x: x / 1e3, lambda x: x @ turn, lambda x: x + 1e6):
        moved = realism(move(points), move(references), radii_of(move(references)), left_out)
        torch.testing.assert_close(moved, whole, rtol=1e-6, atol=0)
    order = torch.randperm(60, generator=draw)
    numbers = torch.where(left_out >= 0, order.argsort()[left_out], -1)
    shuffled = realism(points, references[order], radii_of(references[order]), numbers)
    torch.testing.assert_close(shuffled, whole, rtol=1e-9, atol=0)
    parts = [realism(points[i : i + 1], references, radii_of(references), left_out[i : i + 1]) for i in range(40)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-9, atol=0)


def test_a_point_far_away_is_less_real():
    references = rows(60, 6)
    points = torch.ones(5, 6) * torch.tensor([0.1, 1, 3, 10, 100])[:, None]
    found = realism(points, references, radii_of(references), none(5))
    assert (found.diff() < 0).all() and found[-1] < 0.02


@pytest.mark.parametrize("levels", [None, 4])
def test_shares_below_are_scipys(levels):
    draw = np.random.default_rng(0)
    known, values = (draw.normal(size=50), draw.normal(size=30)) if levels is None else draw.integers(0, 4, (2, 40))
    known = torch.from_numpy(known).double().sort().values
    found = share_below(known, torch.from_numpy(values).float() if levels else torch.from_numpy(values))
    expected = [percentileofscore(known.numpy(), value, kind="mean") / 100 for value in values]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert share_below(known, known).mean().item() == pytest.approx(0.5)  # real images among themselves


@pytest.mark.parametrize(("n", "count"), [(7, 20), (7, 2), (8, 4), (501, 250), (40, 19), (2, 5), (1, 3)])
def test_no_image_is_in_two_pairs_and_they_are_always_the_same(n, count, global_rng_untouched):
    pairs = random_pairs(n, count)
    assert pairs.shape == (min(count, n // 2), 2) and pairs.dtype == torch.int64
    assert len(set(pairs.flatten().tolist())) == 2 * len(pairs)
    assert set(pairs.flatten().tolist()) <= set(range(n))
    assert torch.equal(pairs, random_pairs(n, count))
    assert torch.equal(pairs[:1], random_pairs(n, 1))  # fewer pairs are the first of more


def test_pairs_are_drawn_of_all_images_alike():
    """The first of many sizes: each third of the images is first, and second, in about a third of them."""
    pairs = torch.cat([random_pairs(n, 1) * 3 // n for n in range(3, 1_803, 3)])
    counts = torch.bincount(pairs[:, 0] * 3 + pairs[:, 1], minlength=9).double()
    assert (counts - 600 / 9).abs().max() < 4.5 * (600 / 9) ** 0.5


def test_equal_images_are_told_by_pixels():
    images = torch.tensor([5, 3, 5, 7, 3, 5], dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 2, 2)
    images[5, 2, 1, 1] = 6  # but for one pixel
    rows, places = distinct(images)
    assert rows.tolist() == [0, 1, 3, 5] and places.tolist() == [0, 1, 0, 2, 1, 3]
    assert torch.equal(images[rows][places], images)


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_shares_of_what_is_not_finite_are_refused(lost):
    known = torch.tensor([0.0, 1.0, 2.0])
    for parts in ((known, torch.tensor([1.0, lost])), (torch.tensor([0.0, 1.0, lost]), known)):
        with pytest.raises(UserError, match="not finite"):
            share_below(*parts)


# the study


def data_of(n=50):
    """Smooth noise, of as many shades."""
    draw = torch.Generator().manual_seed(4)
    coarse = torch.rand(n, 1, 4, 4, generator=draw)
    images = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    return ImageDataset(
        name="noise",
        split="test",
        images=(255 * images).to(torch.uint8),
        ids=[f"test/{row:03d}" for row in range(n)],
    )


class Lightness(nn.Module):
    """A critic that takes light images for real."""

    def forward(self, images):
        return images.mean((1, 2, 3))


class Pixels(Autoencoder):
    """Its latents are the pixels: it blends as an average of pixels does."""

    latent_dim = SIDE * SIDE

    def __init__(self, critic=None, shade=1.0):
        super().__init__()
        self.critic, self.shade = critic, shade

    def phases(self):
        phase = functools.partial(Phase, loss=lambda batch, step: {}, optimizer=torch.optim.Adam)
        player = phase(name="model", modules=[self])
        return [player, phase(name="critic", modules=[self.critic], adversary="critic")] if self.critic else [player]

    def posterior(self, x):
        return x.flatten(1), torch.zeros(len(x), self.latent_dim)

    def decode(self, z):
        return self.shade * z.view(-1, 1, SIDE, SIDE)


def context_of(data):
    return SplitContext(data, None, Networks()).context()


def metrics(pairs):
    return [*blend_realism(features="pixels", pairs=pairs), *blend_adversary(features="pixels", pairs=pairs)]


def of_model(model, data, pairs=30):
    source = model_source.of_model(
        TrainedModel(model.eval(), data.image_shape), data, samples=0, seed=0, context=context_of(data)
    )
    found = evaluator.measure(metrics(pairs), source)
    return {metric.spec.name: score for metric, score in found}


def expected_realism(data, weight, pairs, step=1, shade=1.0, images=None):
    pixels = data.images.flatten(1).double() / 255
    if images is None:
        images = shade * (pixels[pairs[:, 0]] + weight * (pixels[pairs[:, 1]] - pixels[pairs[:, 0]]))
    rounded = (images * 255).float().round().double() / 255
    left_out = torch.tensor([[row // step if row % step == 0 else -1 for row in pair] for pair in pairs.tolist()])
    return by_loop(rounded, pixels[::step], 3, left_out)


WEIGHTS = {"condition=weight 0.25": 0.25, "condition=weight 0.75": 0.75}


@pytest.mark.parametrize(("limit", "step"), [(5_000, 1), (50, 1), (49, 2), (20, 3)])
def test_a_model_blends_at_three_weights(monkeypatch, limit, step):
    """Of more images than the limit every second, third and so on stands for all; parents among them are left out."""
    monkeypatch.setattr(module, "REFERENCES", limit)
    data, pairs = data_of(), random_pairs(50, 30)
    score = of_model(Pixels(shade=0.9), data)["blend_realism"]
    known = functools.partial(expected_realism, data, pairs=pairs, step=step, shade=0.9)
    close = functools.partial(pytest.approx, rel=2e-3)  # a pixel may be rounded to the next of its 255 levels
    assert score.per_image.tolist() == close(known(0.5))
    assert set(score.parts) == set(WEIGHTS)
    for name, weight in WEIGHTS.items():
        part = score.parts[name]
        assert part.per_image.tolist() == close(known(weight))
        assert (part.ids, part.value) == (score.ids, pytest.approx(part.per_image.mean().item()))
    assert score.n == 25 and not score.influence  # of 50 images no more pairs can be made
    assert score.ids == tuple(f"{data.ids[a]} to {data.ids[b]}" for a, b in pairs.tolist())


def test_classical_ways_and_real_images_stand_on_the_same_pairs():
    data = data_of()
    model = of_model(Pixels(), data)["blend_realism"]
    found = {}
    for source in (*classical_blends(context_of(data)), image_sources.of_real(data, context_of(data))):
        (metric,) = blend_realism(features="pixels", pairs=30)
        ((_, found[source.identity.name]),) = evaluator.measure([metric], source)
    assert list(found) == ["baseline/pixel-average", "baseline/laplacian-pyramid", "baseline/fourier-mix", "real"]
    assert all(score.ids == model.ids for score in found.values())
    torch.testing.assert_close(found["baseline/pixel-average"].per_image, model.per_image, rtol=2e-3, atol=0)
    pairs = random_pairs(50, 30)
    first = data.images.flatten(1).double()[pairs[:, 0]] / 255
    expected = expected_realism(data, 0, pairs, images=first)  # itself left out: not infinitely real
    assert found["real"].per_image.tolist() == pytest.approx(expected, rel=1e-6)
    assert found["real"].parts["condition=weight 0.75"].value == found["real"].value
    assert len({score.value for score in found.values()}) == 4


def test_what_the_adversary_says():
    data, pairs = data_of(), random_pairs(50, 30)
    without = of_model(Pixels(), data)["blend_adversary"]
    assert without.value is None and without.note == "the run has no discriminator or critic"
    score = of_model(Pixels(critic=Lightness()), data)["blend_adversary"]
    light = to_float(data.images).mean((1, 2, 3)).double()
    for weight, part in ((0.5, score), *((weight, score.parts[name]) for name, weight in WEIGHTS.items())):
        blended = (1 - weight) * light[pairs[:, 0]] + weight * light[pairs[:, 1]]
        expected = [percentileofscore(light, value, kind="mean") / 100 for value in blended.tolist()]
        assert part.per_image.tolist() == pytest.approx(expected, abs=0.5 / 50 + 1e-9)
        assert part.ids == score.ids
    dark = of_model(Pixels(critic=Lightness(), shade=0.0), data)["blend_adversary"]
    assert dark.value == 0


@pytest.mark.parametrize(("part", "batch", "small"), [(1, 7, 3), (1_000, 1, 500)])
def test_values_do_not_depend_on_batches(monkeypatch, part, batch, small):
    whole = of_model(Pixels(critic=Lightness()), data_of())
    monkeypatch.setattr(module, "_BATCH", part)
    monkeypatch.setattr("vaebench.evaluation.source.BATCH", batch)
    monkeypatch.setattr(feature_extraction, "ON_CPU", Way(small))
    again = of_model(Pixels(critic=Lightness()), data_of())
    for name, score in whole.items():
        torch.testing.assert_close(again[name].per_image, score.per_image, rtol=1e-6, atol=1e-6)


def test_what_it_declares_and_refuses():
    (metric,) = blend_realism(judge="judge-0123")
    assert (metric.spec.protocol, metric.spec.space.layer) == ("judge-dense/k=3/pairs=500", "dense")
    assert (metric.spec.direction, metric.spec.of_real, metric.spec.of_baselines) == ("target", True, True)
    (adversary,) = blend_adversary(judge="mnist_cnn", pairs=20)
    assert (adversary.spec.protocol, adversary.spec.direction) == ("own adversary/pairs=20", "higher")
    assert adversary.spec.space is None
    assert not adversary.spec.of_real and not adversary.spec.of_baselines  # they have none
    assert blend_realism(features="inception/2048")[0].spec.protocol == "inception2048/k=3/pairs=500"
    (refused,) = blend_realism()
    assert "--set blend_realism.features=NETWORK/LAYER" in refused.score(None).note
    with pytest.raises(UserError, match="no feature space"):
        blend_realism(features="inception")
    few = of_model(Pixels(), data_of(5))["blend_realism"]
    assert few.value is None and "5 images are too few" in few.note
    assert of_model(Pixels(), data_of(6))["blend_realism"].value > 0


def test_a_twin_of_a_parent_is_left_out_too():
    """All is as if each image were there once: real images lean neither on themselves nor on their copies."""
    data = data_of()
    images = data.images.clone()
    images[25:30] = images[:5]
    twice = ImageDataset(name="twice", split="test", images=images, ids=data.ids)
    (metric,) = blend_realism(features="pixels", pairs=200)
    ((_, score),) = evaluator.measure([metric], image_sources.of_real(twice, context_of(twice)))
    once = torch.cat([images[:25], images[30:]]).flatten(1).double() / 255
    place = [row if row < 25 else row - 25 if row < 30 else row - 5 for row in range(50)]
    parents = torch.tensor([[place[row] for row in pair] for pair in random_pairs(50, 25).tolist()])
    assert (parents[:, 0] < 5).any()
    expected = by_loop(once[parents[:, 0]], once, 3, parents)
    assert score.per_image.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kinds", [1, 3, 4, 5])
def test_too_few_different_images_are_refused(kinds):
    """As so few images are where each is there once: of four the half that counts may be a blend's two parents."""
    data = data_of()
    copies = ImageDataset(name="few", split="test", images=data.images[torch.arange(50) % kinds], ids=data.ids)
    score = of_model(Pixels(), copies)["blend_realism"]
    assert score.value is None and score.note


class Lost(Lightness):
    """A critic that diverged."""

    def forward(self, images):
        return super().forward(images) * float("nan")


def test_an_adversary_that_says_nothing_has_no_value():
    scores = of_model(Pixels(critic=Lost()), data_of())
    assert scores["blend_adversary"].value is None and "not finite" in scores["blend_adversary"].note
    assert scores["blend_realism"].value == of_model(Pixels(), data_of())["blend_realism"].value


@pytest.mark.parametrize("pairs", [-1, 0, 1])
def test_fewer_than_two_pairs_are_refused(pairs):
    with pytest.raises(UserError, match="2 pairs or more"):
        of_model(Pixels(), data_of(), pairs=pairs)


@pytest.mark.parametrize("space", [{"features": "inception/2048"}, {"judge": "judge-0123"}, {}], ids=str)
@pytest.mark.parametrize("order", [1, -1])
def test_an_adversary_needs_no_network(space, order):
    """It has its value where realism has none, in whichever order both are asked for."""
    data, model = data_of(), Pixels(critic=Lightness()).eval()
    source = model_source.of_model(
        TrainedModel(model, data.image_shape), data, samples=0, seed=0, context=context_of(data)
    )
    metrics = [*blend_realism(**space, pairs=30), *blend_adversary(**space, pairs=30)][::order]
    found = evaluator.measure(metrics, source)
    scores = {metric.spec.name: score for metric, score in found}
    assert scores["blend_realism"].value is None and scores["blend_realism"].note
    expected = of_model(Pixels(critic=Lightness()), data)["blend_adversary"]
    assert scores["blend_adversary"] == expected


def test_the_error_is_the_spread_over_other_images():
    """Of a value that belongs to the first image of each pair, as the realism of real images does."""
    found = []
    for seed in range(300):
        values = torch.randn(100, generator=torch.Generator().manual_seed(seed))
        part = values[random_pairs(100, 500)[:, 0]]
        found.append((part.mean().item(), part.std().item() / len(part) ** 0.5))
    means, errors = np.array(found).T
    assert np.sqrt((errors**2).mean()) == pytest.approx(means.std(ddof=1), rel=0.15)


def test_pinned():
    score = of_model(Pixels(shade=0.9), data_of())["blend_realism"]
    assert [score.value, *(part.value for part in score.parts.values())] == pytest.approx(PINNED, rel=1e-4)


PINNED = [1.1961817, 1.1474851, 1.1725426]
