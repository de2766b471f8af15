"""Likelihood, divergence, bound and active units: against torch.distributions and numpy."""

import pickle

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Need
from vaebench.metrics import latent
from vaebench.metrics.latent import (
    active_units,
    bernoulli_nll,
    elbo,
    kl,
    kl_to_standard_normal,
    mmd_to_standard_normal,
    nll,
    posterior_mismatch,
    unevenness,
)


def images_of(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


def posterior_of(seed, n=12, d=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randn(n, d, generator=generator)


def batch_of(seed, rows=slice(None), channels=1):
    real, draw = images_of(seed, 12, channels, 6, 6)
    mean, log_variance = posterior_of(seed)
    return EvalBatch(real=real[rows].round(), draw=draw[rows], mean=mean[rows], log_variance=log_variance[rows])


def scored(factory, *batches):
    (metric,) = factory()
    for batch in batches:
        metric.update(batch)
    return metric.score(Context())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("binary", [True, False])
def test_nll_equals_torch_distributions(channels, binary):
    real, draw = images_of(0, 5, channels, 8, 8)
    real = real.round() if binary else real
    reference = Independent(Bernoulli(probs=draw.double(), validate_args=False), 3)
    expected = (-reference.log_prob(real.double())).tolist()
    assert bernoulli_nll(real, draw).tolist() == pytest.approx(expected, rel=1e-9)


def test_nll_of_certain_pixels_is_clamped():
    ones, zeros = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    assert bernoulli_nll(ones, zeros).item() == pytest.approx(4 * -np.log(1e-7), rel=1e-12)
    assert bernoulli_nll(zeros, ones).item() == pytest.approx(4 * -np.log(1e-7), rel=1e-6)
    assert bernoulli_nll(ones, ones).item() == pytest.approx(4e-7, rel=1e-6)


def test_nll_is_least_where_the_probabilities_are_the_pixels():
    real, other = images_of(1, 4, 1, 8, 8)
    assert (bernoulli_nll(real, real) < bernoulli_nll(real, other)).all()


def test_nll_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="size"):
        bernoulli_nll(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


def test_kl_equals_torch_distributions():
    mean, log_variance = posterior_of(2)
    posterior = Independent(Normal(mean.double(), (log_variance.double() / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros(12, 5).double(), torch.ones(12, 5).double()), 1)
    expected = kl_divergence(posterior, prior).tolist()
    assert kl_to_standard_normal(mean.double(), log_variance.double()).tolist() == pytest.approx(expected, rel=1e-12)


def test_kl_is_zero_at_the_prior_and_keeps_its_digits_near_it():
    zeros = torch.zeros(1, 3)
    assert kl_to_standard_normal(zeros, zeros).item() == 0
    near = torch.full((1, 3), 1e-6)  # second order: 3 * v^2 / 4
    assert kl_to_standard_normal(zeros, near).item() == pytest.approx(3 * near[0, 0].item() ** 2 / 4, rel=1e-3)


def test_elbo_is_minus_the_sum_exactly():
    batch = batch_of(3)
    parts = [scored(factory, batch).per_image for factory in (nll, kl)]
    assert torch.equal(scored(elbo, batch).per_image, -(parts[0] + parts[1]))


@pytest.mark.parametrize("factory", [nll, kl, elbo])
def test_batch_size_and_merging_do_not_matter(factory):
    whole = scored(factory, batch_of(4))
    one_by_one = scored(factory, *(batch_of(4, slice(i, i + 1)) for i in range(12)))
    torch.testing.assert_close(one_by_one.per_image, whole.per_image, rtol=1e-12, atol=0)
    (first,), (second,) = factory(), factory()
    first.update(batch_of(4, slice(0, 7)))
    second.update(batch_of(4, slice(7, 12)))
    first.merge(pickle.loads(pickle.dumps(second)))  # noqa: S301 our own bytes: how processes exchange it
    torch.testing.assert_close(first.score(Context()).per_image, whole.per_image, rtol=1e-12, atol=0)
    assert whole.n == 12
    assert scored(factory, batch_of(4, slice(0, 0))).n == 0


@pytest.mark.parametrize(
    ("factory", "grey", "colour"),
    [
        (nll, 39.64092379, 108.2464967),
        (kl, 4.611088210, 4.611088210),
        (elbo, -44.25201200, -112.8575849),
    ],
)
def test_pinned(factory, grey, colour):
    assert scored(factory, batch_of(5)).value == pytest.approx(grey, rel=1e-6)
    assert scored(factory, batch_of(5, channels=3)).value == pytest.approx(colour, rel=1e-6)


def test_protocols():
    made = [metric for factory in (nll, kl, elbo, active_units) for metric in factory()]
    assert [(m.spec.name, m.spec.protocol, m.spec.unit, m.spec.direction) for m in made] == [
        ("nll", "bernoulli/1-draw", "nats", "lower"),
        ("kl", "posterior", "nats", "lower"),
        ("elbo", "bernoulli/1-draw", "nats", "higher"),
        ("active_units", "variance>0.01", "dimensions", "higher"),
    ]
    assert [m.spec.needs for m in made] == [
        Need.REAL | Need.DRAW,
        Need.VARIANCE,
        Need.REAL | Need.DRAW | Need.VARIANCE,
        Need.LATENT,
    ]


def means_of(seed, n=101):
    """Posterior means (n, 6) whose dimensions vary by 1, 0.3, 0.11, 0.09, 0.01 and 0, far from the origin."""
    scales = torch.tensor([1.0, 0.3, 0.11, 0.09, 0.01, 0.0])
    return 50 + scales * torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


def units(*parts, threshold=0.01):
    (metric,) = active_units(threshold=threshold)
    for part in parts:
        metric.update(EvalBatch(mean=part))
    return metric


@pytest.mark.parametrize("threshold", [0.0, 0.005, 0.01, 0.5, 2.0])
@pytest.mark.parametrize("pieces", [1, 4, 101])
def test_active_units_equal_numpy(threshold, pieces):
    means = means_of(6)
    expected = (means.double().numpy().var(axis=0) > threshold).sum()
    score = units(*means.tensor_split(pieces), threshold=threshold).score(Context())
    assert (score.value, score.n) == (expected, 101)


def test_active_units_take_the_population_variance():
    means = torch.tensor([[0.0], [1.0]])  # population variance 0.25, sample variance 0.5
    assert units(means, threshold=0.24).score(Context()).value == 1
    assert units(means, threshold=0.26).score(Context()).value == 0


def test_active_units_pinned():
    assert units(means_of(7)).score(Context()).value == 3


@pytest.mark.parametrize("cuts", [(30, 70), (0, 50), (50, 50), (101, 101)])
def test_active_units_moments_merge_exactly(cuts):
    means = means_of(8)
    parts = [units(part) for part in means.tensor_split(cuts)]
    for part in parts[1:]:
        parts[0].merge(pickle.loads(pickle.dumps(part)))  # noqa: S301 our own bytes
    variances = parts[0]._squares / parts[0]._n
    np.testing.assert_allclose(variances.numpy(), means.double().numpy().var(axis=0), rtol=1e-10, atol=1e-15)
    assert parts[0].score(Context()) == units(means).score(Context())


def test_merging_leaves_the_other_accumulator_alone():
    first, second = units(means_of(9)[:0]), units(means_of(9)[:50])
    first.merge(second)
    first.update(EvalBatch(mean=means_of(9)[50:]))
    assert (first.score(Context()).n, second.score(Context()).n) == (101, 50)
    assert torch.equal(second._squares, units(means_of(9)[:50])._squares)


@pytest.mark.parametrize("n", [0, 1])
def test_active_units_need_two_images(n):
    score = units(torch.zeros(n, 3)).score(Context())
    assert (score.value, score.n) == (None, n)
    assert "2 images" in score.note


def test_active_units_do_not_take_a_broken_dimension_for_a_dead_one():
    score = units(torch.tensor([[0.0, 1.0], [1.0, float("nan")]])).score(Context())
    assert score.value is None
    assert "not finite" in score.note


def test_threshold_is_in_the_protocol_and_checked():
    assert units(threshold=0.5).spec.protocol == "variance>0.5"
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="threshold"):
            active_units(threshold=bad)


def test_mmd_is_its_definition_and_zero_for_the_prior():
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(400, 3, generator=draw, dtype=torch.float64) * 0.5 + 1
    prior = torch.randn(20_000, 3, generator=draw, dtype=torch.float64)

    def kernel(a, b):
        return torch.exp(-torch.cdist(a, b).square() / 6)

    within = (kernel(latents, latents).sum() - 400) / (400 * 399)
    expected = within - 2 * kernel(latents, prior).mean() + kernel(prior[:4000], prior[4000:8000]).mean()
    assert mmd_to_standard_normal(latents)[0] == pytest.approx(expected.item(), abs=3e-3)
    assert mmd_to_standard_normal(prior[:3000])[0] == pytest.approx(0, abs=1e-3)
    assert mmd_to_standard_normal(latents)[0] > 0.1


def test_mmd_does_not_depend_on_blocks(monkeypatch):
    latents = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    whole = mmd_to_standard_normal(latents)[0]
    monkeypatch.setattr(latent, "_BLOCK", 7)
    assert mmd_to_standard_normal(latents)[0] == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx(PINNED_MMD, rel=1e-9)


def test_posterior_mismatch_draws_from_the_posterior():
    (metric,) = posterior_mismatch()
    shape = (2000, 2)
    metric.update(EvalBatch(mean=torch.zeros(shape), log_variance=torch.zeros(shape)))
    assert metric.score(Context()).value == pytest.approx(0, abs=2e-3)  # the means alone would be far from the prior
    (collapsed,) = posterior_mismatch()
    collapsed.update(EvalBatch(mean=torch.zeros(shape), log_variance=torch.full(shape, -20.0)))
    assert collapsed.score(Context()).value > 0.1
    (broken,) = posterior_mismatch()
    broken.update(EvalBatch(mean=torch.full((5, 1), float("nan")), log_variance=torch.zeros(5, 1)))
    assert broken.score(Context()).note == "posteriors are not finite"
    assert posterior_mismatch()[0].score(Context()).note == "needs at least 2 images"


def test_unevenness_is_one_for_even_steps_and_their_number_for_a_jump():
    even = torch.linspace(0, 1, 11).view(1, 11, 1, 1, 1).expand(1, 11, 1, 4, 4)
    jump = (even > 0.55).float()
    still = torch.full_like(even, 0.3)
    values = unevenness(torch.cat([even, jump, still]))
    assert values.tolist() == pytest.approx([1.0, 10.0, 1.0], rel=1e-5)
    path = torch.rand(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    steps = [(path[1, i + 1] - path[1, i]).double().square().mean().sqrt().item() for i in range(4)]
    assert unevenness(path)[1].item() == pytest.approx(max(steps) / np.mean(steps), rel=1e-6)


PINNED_MMD = -0.003057342770107885
