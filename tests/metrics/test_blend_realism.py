"""Realism of blends: against plain loops and scipy, what must hold of it, and models beside classical ways."""

import functools

import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore
from torch import nn

from vaebench import evaluation, features, subjects
from vaebench.baselines import classical_blends
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.model import Autoencoder, Phase
from vaebench.features import Networks
from vaebench.metrics import blend_realism as module
from vaebench.metrics.blend_realism import blend_adversary, blend_realism, random_pairs, realism, share_below
from vaebench.metrics.neighbours import nearest_distances
from vaebench.surroundings import Surroundings

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
    for move in (lambda x: 37 * x, lambda x: x / 1e3, lambda x: x @ turn, lambda x: x + 1e4):
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


def test_pairs_are_of_different_images_and_always_the_same(global_rng_untouched):
    pairs = random_pairs(7, 20_000)
    assert pairs.shape == (20_000, 2) and pairs.min() == 0 and pairs.max() == 6
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert torch.equal(pairs, random_pairs(7, 20_000))
    counts = torch.bincount(pairs[:, 0] * 7 + pairs[:, 1], minlength=49).view(7, 7).double()
    expected = 20_000 / 42
    assert (counts[~torch.eye(7).bool()] - expected).abs().max() < 4.5 * expected**0.5
    assert set(random_pairs(2, 50).sum(dim=1).tolist()) == {1}


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
    return Surroundings(data, None, Networks()).context()


def metrics(pairs):
    return [*blend_realism(features="pixels", pairs=pairs), *blend_adversary(features="pixels", pairs=pairs)]


def of_model(model, data, pairs=30):
    context = subjects.context_of(model.eval(), context_of(data), "cpu")
    given = {"needs": Need.BLEND, "samples": 0, "seed": 0, "device": "cpu", "context": context}
    found = evaluation.measure(metrics(pairs), subjects.of_model(model, data, **given))
    return {metric.name: score for metric, score in found}


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
    assert score.n == 30 and not score.influence
    assert score.ids == tuple(f"{data.ids[a]} to {data.ids[b]} ({i})" for i, (a, b) in enumerate(pairs.tolist()))


def test_classical_ways_and_real_images_stand_on_the_same_pairs():
    data = data_of()
    model = of_model(Pixels(), data)["blend_realism"]
    found = {}
    for name, subject in (*classical_blends(context_of(data)), ("real", subjects.of_real(data, context_of(data)))):
        (metric,) = blend_realism(features="pixels", pairs=30)
        ((_, found[name]),) = evaluation.measure([metric], subject)
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
    monkeypatch.setattr(subjects, "BATCH", batch)
    monkeypatch.setattr(features, "BATCH", small)
    again = of_model(Pixels(critic=Lightness()), data_of())
    for name, score in whole.items():
        torch.testing.assert_close(again[name].per_image, score.per_image, rtol=1e-6, atol=1e-6)


def test_what_it_declares_and_refuses():
    (metric,) = blend_realism(judge="judge-0123")
    assert (metric.protocol, metric.space.layer) == ("judge-dense/k=3/pairs=500", "dense")
    assert (metric.direction, metric.of_real, metric.of_baselines) == ("target", True, True)
    (adversary,) = blend_adversary(judge="mnist_cnn", pairs=20)
    assert (adversary.protocol, adversary.direction) == ("pairs=20", "higher")
    assert not adversary.of_real and not adversary.of_baselines  # they have none
    assert blend_realism(features="inception/2048")[0].protocol == "inception2048/k=3/pairs=500"
    (refused,) = blend_realism()
    assert "--set blend_realism.features=NETWORK/LAYER" in refused.score(None).note
    with pytest.raises(UserError, match="no feature space"):
        blend_realism(features="inception")
    few = of_model(Pixels(), data_of(5))["blend_realism"]
    assert few.value is None and "5 images are too few" in few.note
    assert of_model(Pixels(), data_of(6))["blend_realism"].value > 0


def test_pinned():
    score = of_model(Pixels(shade=0.9), data_of())["blend_realism"]
    assert [score.value, *(part.value for part in score.parts.values())] == pytest.approx(PINNED, rel=1e-4)


PINNED = [0, 0, 0]
