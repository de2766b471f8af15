"""Directions of attributes and what is strange to a model: against numpy, plain counting, and what must hold."""

import math

import numpy as np
import pytest
import torch

from vaebench.core.errors import UserError
from vaebench.core.interpolation import line
from vaebench.metrics.probes import novelty
from vaebench.metrics.probes.attribute_vectors import EXAMPLES, FEWEST, AttributeVector, attribute_vector, position_of
from vaebench.metrics.probes.novelty import NoveltyDetector, Strangeness, squared_errors

NAMES = ("Bald", "Smiling", "Eyeglasses")


def made(n=300, d=5, seed=0, shares=(0.2, 0.5, 0.9)):
    draw = np.random.default_rng(seed)
    attributes = draw.random((n, 3)) < np.array(shares)
    latents = draw.normal(3.0, 2.0, (n, d)) + 1.5 * attributes @ draw.normal(size=(3, d))
    return torch.from_numpy(latents).float(), torch.from_numpy(attributes)


# directions of attributes


@pytest.mark.parametrize("name", NAMES)
def test_all_rows_count_where_there_are_fewer_than_asked_for(name):
    latents, attributes = made()
    found = attribute_vector(name, latents, attributes, NAMES)
    rows, has = latents.double().numpy(), attributes[:, NAMES.index(name)].numpy()
    assert isinstance(found, AttributeVector) and found.name == name
    assert found.direction.dtype == torch.float32
    np.testing.assert_allclose(found.direction, rows[has].mean(0) - rows[~has].mean(0), rtol=0, atol=1e-6)
    assert (found.with_it, found.without_it) == (has.sum(), (~has).sum())


def test_of_more_rows_a_seeded_subset_of_the_right_ones_is_taken():
    """Row i is the i-th unit vector: the direction says which rows went into it, and with what weight."""
    attributes = made(n=200)[1]
    has = attributes[:, 1]
    found = attribute_vector("Smiling", torch.eye(200), attributes, NAMES, examples=15).direction
    torch.testing.assert_close(found[has].unique(), torch.tensor([0.0, 1 / 15]))
    torch.testing.assert_close(found[~has].unique(), torch.tensor([-1 / 15, 0.0]))
    assert ((found > 0).sum(), (found < 0).sum()) == (15, 15)
    assert torch.equal(found, attribute_vector("Smiling", torch.eye(200), attributes, NAMES, examples=15).direction)
    other = attribute_vector("Smiling", torch.eye(200), attributes, NAMES, examples=15, seed=1).direction
    assert not torch.equal(found > 0, other > 0) and not torch.equal(found < 0, other < 0)


def test_the_subset_is_drawn_of_all_rows_alike():
    attributes = torch.zeros(60, 1, dtype=torch.bool)
    attributes[:30] = True
    counts = torch.zeros(60)
    for seed in range(400):
        counts += attribute_vector("A", torch.eye(60), attributes, ("A",), examples=10, seed=seed).direction.ne(0)
    expected, deviation = 400 / 3, math.sqrt(400 * 2 / 9)
    assert (counts - expected).abs().max() < 4.5 * deviation
    assert counts.std() == pytest.approx(deviation, rel=0.35)


def test_counts_say_what_was_taken():
    latents, attributes = made(n=400)
    found = attribute_vector("Bald", latents, attributes, NAMES, examples=100)
    assert (found.with_it, found.without_it) == (int(attributes[:, 0].sum()), 100)
    assert EXAMPLES == 1_000  # of each kind, as in the replication of Hou et al. 2017


def test_the_direction_leads_where_it_should():
    latents, attributes = made(n=4_000, shares=(0.5, 0.5, 0.5))
    first = attribute_vector("Bald", latents, attributes, NAMES).direction
    moved = attribute_vector("Bald", latents + 7, attributes, NAMES).direction
    flipped = attribute_vector("Bald", latents, ~attributes, NAMES, examples=4_000).direction
    torch.testing.assert_close(moved, first, rtol=0, atol=1e-4)
    torch.testing.assert_close(flipped, -attribute_vector("Bald", latents, attributes, NAMES, examples=4_000).direction)
    projected = latents @ first
    assert projected[attributes[:, 0]].mean() > projected[~attributes[:, 0]].mean()


def test_the_global_generator_is_left_alone(global_rng_untouched):
    latents, attributes = made()
    attribute_vector("Bald", latents, attributes, NAMES, examples=20)


def test_too_few_examples_are_refused():
    latents = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    attributes = torch.zeros(40, 1, dtype=torch.bool)
    attributes[: FEWEST - 1] = True
    with pytest.raises(UserError, match="A: 9 images with it, too few"):
        attribute_vector("A", latents, attributes, ("A",))
    with pytest.raises(UserError, match="A: 9 images without it, too few"):
        attribute_vector("A", latents, ~attributes, ("A",))
    attributes[FEWEST - 1] = True
    assert attribute_vector("A", latents, attributes, ("A",)).with_it == FEWEST


def test_an_attribute_by_name():
    assert [position_of(name, NAMES) for name in NAMES] == [0, 1, 2]
    with pytest.raises(UserError, match=r"no attribute is named 'Smilling': did you mean 'Smiling'\?"):
        position_of("Smilling", NAMES)
    with pytest.raises(UserError, match=r"did you mean 'Eyeglasses'\?"):
        attribute_vector("Eyeglases", *made(), NAMES)
    with pytest.raises(UserError, match="choose from Bald, Eyeglasses, Smiling"):
        position_of("x", NAMES)


# lines


@pytest.mark.parametrize("frames", [2, 3, 11])
def test_lines_have_exact_ends_and_equal_steps(frames):
    draw = torch.Generator().manual_seed(1)
    first, second = torch.randn(7, 4, generator=draw) * 100, torch.randn(7, 4, generator=draw)
    found = line(first, second, frames)
    assert found.shape == (7, frames, 4)
    assert torch.equal(found[:, 0], first) and torch.equal(found[:, -1], second)
    steps = found.diff(dim=1).double()
    expected = ((second - first).double() / (frames - 1))[:, None].expand_as(steps)
    torch.testing.assert_close(steps, expected, rtol=0, atol=1e-4)
    assert line(first.double(), second.double(), frames).dtype == torch.float64


def test_lines_by_numpy():
    first, second = torch.tensor([[0.0, 10.0]]), torch.tensor([[1.0, -10.0]])
    expected = np.linspace([0.0, 10.0], [1.0, -10.0], 5)
    np.testing.assert_allclose(line(first, second, 5)[0], expected, atol=1e-6)


# what is strange


def pictures(n, seed):
    """Known images: a smooth shade each; the model answers with noise whose strength differs from image to image."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 1, 1, generator=draw) * torch.linspace(0.2, 1, 64).view(8, 8)
    strength = 0.01 + 0.02 * torch.rand(n, 1, 1, 1, generator=draw)
    answers = images + strength * torch.randn(n, 1, 8, 8, generator=draw)
    return images, answers, torch.randn(n, 16, generator=draw)


def test_squared_errors_by_hand():
    images, answers, _ = pictures(20, 0)
    expected = ((images.double().numpy() - answers.double().numpy()) ** 2).reshape(20, -1).mean(1)
    np.testing.assert_allclose(squared_errors(images, answers), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [30, 1_001, 5_000])
def test_what_is_known_is_kept_as_numpys_quantiles(n):
    images, answers, means = pictures(n, 0)
    known = NoveltyDetector.of(images, answers, means)
    shares = np.linspace(0, 1, len(known.errors))
    np.testing.assert_allclose(known.errors, np.quantile(squared_errors(images, answers), shares), rtol=1e-9)
    norms = np.linalg.norm(means.double().numpy(), axis=1)
    np.testing.assert_allclose(known.norms, np.quantile(norms, shares), rtol=1e-9)


def test_shares_are_those_that_counting_gives():
    known = pictures(5_000, 0)
    familiar = NoveltyDetector.of(*known)
    images, answers, means = pictures(700, 1)
    found = familiar.judge(images, answers, means)
    for share, values, theirs in (
        (found.error, squared_errors(images, answers), squared_errors(*known[:2])),
        (found.norm, means.double().norm(dim=1), known[2].double().norm(dim=1)),
    ):
        counted = (theirs.numpy()[None] < values.numpy()[:, None]).mean(1)
        np.testing.assert_allclose(share, counted, atol=1.5e-3)  # a quantile's width, and one image of 5,000
        assert (share >= 0).all() and (share <= 1).all()


def test_about_two_of_a_hundred_like_images_are_flagged():
    familiar = NoveltyDetector.of(*pictures(20_000, 0))
    fresh = familiar.judge(*pictures(20_000, 1))
    deviation = math.sqrt(2 * 0.01 / 20_000)  # of both sides: the quantiles come of as many images
    assert (fresh.error > 0.99).double().mean().item() == pytest.approx(0.01, abs=4 * deviation)
    assert fresh.outside.double().mean().item() == pytest.approx(1 - 0.99**2, abs=6 * deviation)


def test_what_is_unlike_is_flagged():
    images, answers, means = pictures(2_000, 0)
    familiar = NoveltyDetector.of(images, answers, means)
    typical = slice(0, 1)  # answered as usual, its norm in the middle
    assert not familiar.judge(images[typical], images[typical] + 0.02, means[typical]).outside.item()
    noise = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    smooth = noise.mean().expand(1, 1, 8, 8)  # what a model that knows shades alone can make of it
    far, near = 20 * means[typical], torch.zeros(1, 16)
    for image, answer, mean in (
        (noise, smooth, means[typical]),
        (torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.3), means[typical]),
        (images[typical], images[typical] + 0.02, far),
        (images[typical], images[typical] + 0.02, near),
    ):
        assert familiar.judge(image, answer, mean).outside.item()
    assert familiar.judge(noise, smooth, means[typical]).error.item() == 1
    assert familiar.judge(images[typical], answers[typical], far).norm.item() == 1
    assert familiar.judge(images[typical], answers[typical], near).norm.item() == 0


@pytest.mark.parametrize("levels", [10**9, 4, 1])
def test_shares_rise_with_the_value(levels):
    """Of known values that differ, of a few that many share, and of one that all have."""
    draw = torch.Generator().manual_seed(0)
    known = torch.randint(0, levels, (500,), generator=draw) * (3.0 / levels)
    quantiles = torch.quantile(known.double(), torch.linspace(0, 1, 1_001, dtype=torch.float64))
    values = torch.linspace(-0.5, 4.5, 3_001, dtype=torch.float64)
    shares = novelty._share_below(quantiles, values)
    assert (shares.diff() >= 0).all()
    assert shares[0] <= 0.001 and shares[-1] == 1
    middle = (quantiles[1:] + quantiles[:-1]) / 2
    lower = (known.double()[None] < middle[:, None]).double().mean(dim=1)
    upper = (known.double()[None] <= middle[:, None]).double().mean(dim=1)
    found = novelty._share_below(quantiles, middle)
    assert (found >= lower - 0.0035).all() and (found <= upper + 0.0035).all()


def test_what_is_known_can_be_kept_and_brought_back(tmp_path):
    from safetensors.torch import load_file, save_file

    known = NoveltyDetector.of(*pictures(300, 0))
    save_file(dict(known.tensors()), tmp_path / "known.safetensors")
    back = NoveltyDetector(**load_file(tmp_path / "known.safetensors"))
    ours, theirs = known.judge(*pictures(50, 1)), back.judge(*pictures(50, 1))
    assert torch.equal(ours.error, theirs.error) and torch.equal(ours.norm, theirs.norm)


def test_both_tails_of_the_norm_and_one_of_the_error():
    shares = torch.tensor([0.0, 0.004, 0.006, 0.5, 0.989, 0.994, 0.996, 1.0])
    middle = torch.full((8,), 0.5)
    assert Strangeness(error=middle, norm=shares).outside.tolist() == [True, True, *[False] * 4, True, True]
    assert Strangeness(error=shares, norm=middle).outside.tolist() == [*[False] * 5, True, True, True]


def test_what_is_not_finite_is_strange():
    images, answers, means = pictures(100, 0)
    familiar = NoveltyDetector.of(images, answers, means)
    usual = familiar.judge(images, answers, means).outside.logical_not().nonzero()[:3, 0]
    images, answers, means = images[usual], answers[usual], means[usual]
    for lost in (math.nan, math.inf):
        for told in ((answers * lost, means), (answers, means * lost), (answers * lost, means * lost)):
            assert familiar.judge(images, *told).outside.all()
    one = answers.clone()
    one[1] = math.nan
    assert familiar.judge(images, one, means).outside.tolist() == [False, True, False]


@pytest.mark.parametrize("examples", [-3, 0, 9])
def test_a_direction_of_no_examples_is_refused(examples):
    with pytest.raises(UserError, match=f"{examples} examples are too few for a direction: ask for 10 or more"):
        attribute_vector("Bald", *made(), NAMES, examples=examples)


def test_pinned():
    latents, attributes = made()
    found = attribute_vector("Smiling", latents, attributes, NAMES, examples=50).direction
    familiar = NoveltyDetector.of(*pictures(200, 0)).judge(*pictures(3, 1))
    assert [*found.tolist()] == pytest.approx(PINNED, abs=1e-5)
    assert [*familiar.error.tolist(), *familiar.norm.tolist()] == pytest.approx(PINNED_SHARES, abs=1e-6)


PINNED = [-1.6810250, 1.0459477, 3.2840681, -2.4119632, -1.5635296]
PINNED_SHARES = [0.8454011, 0.0427249, 0.5894861, 0.8301460, 0.9524673, 0.7102764]
