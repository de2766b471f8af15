"""The sequential test against numerical integration of the t statistic's densities, and its invariants."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from vaebench.statistics import images_error, look, nested_t
from vaebench.statistics.sequential import (
    EFFECTS,
    WEIGHTS,
    critical_t,
    degrees_of_freedom,
    log_evidence,
    threshold,
)


def noncentral_density(t, df, shift):
    """Density of (Z + shift) / sqrt(V / df), Z normal and V chi-squared, summed over log V: no formula of ours."""
    log_scale = np.linspace(-25, 4, 60_001)
    scale = np.exp(log_scale)
    chi = stats.chi2.pdf(df * scale**2, df) * 2 * df * scale**2
    return float(integrate.trapezoid(stats.norm.pdf(t * scale - shift) * scale * chi, log_scale))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("t", [0.0, 0.7, 2.5, 6.0])
def test_evidence_is_the_likelihood_ratio_of_the_t_statistic(seeds, t):
    for df in (seeds - 1.0, 1.5 * (seeds - 1), 2.0 * (seeds - 1)):
        ratios = [
            weight * (noncentral_density(t, df, shift) + noncentral_density(t, df, -shift)) / 2
            for effect, weight in zip(EFFECTS, WEIGHTS, strict=True)
            for shift in [effect * math.sqrt(seeds)]
        ]
        expected = sum(ratios) / stats.t.pdf(t, df)
        assert math.exp(log_evidence(t, df, seeds)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("df", [1.0, 4.0, 9.0, 18.0, 60.0])
def test_evidence_has_expectation_1_without_an_effect(df):
    seeds = round(df) + 1

    def weighted(t):
        return math.exp(log_evidence(t, df, seeds)) * stats.t.pdf(t, df)

    whole = 2 * sum(integrate.quad(weighted, *part, limit=400)[0] for part in [(0, 3), (3, 30), (30, np.inf)])
    assert whole == pytest.approx(1, abs=1e-6)


def test_evidence_is_a_martingale_where_one_side_alone_scatters():
    """From three seeds to four, given the first three: its mean over what the fourth may be is what it was.

    Given the three, the next is a Student variable under the prior that is behind a maximal invariant.
    """
    first = np.array([0.3, -0.4, 1.1])
    mean, deviation = first.mean(), first.std(ddof=1)

    def t_of(values):
        return values.mean() / (values.std(ddof=1) / math.sqrt(len(values)))

    # under no effect, (mean fixed at 0) the next value over the root mean square of the first is Student's with n df
    scale = math.sqrt(np.square(first).mean())

    def weighted(x):
        values = np.append(first, x * scale)
        return math.exp(log_evidence(t_of(values), 3.0, 4)) * stats.t.pdf(x, 3)

    parts = [(-np.inf, -20), (-20, 0), (0, 20), (20, np.inf)]
    whole = sum(integrate.quad(weighted, *part, limit=400)[0] for part in parts)
    assert whole == pytest.approx(math.exp(log_evidence(mean / (deviation / math.sqrt(3)), 2.0, 3)), rel=1e-5)


def test_no_scale_or_offset_or_order_of_sides_matters():
    draws = np.random.default_rng(1)
    a, b = draws.normal(0.5, 1, 6), draws.normal(0, 2, 6)
    found, scaled, turned = look(a, b), look(1000 * a + 7, 1000 * b + 7), look(b, a)
    assert scaled.ci_low == pytest.approx(1000 * found.ci_low) and scaled.ci_high == pytest.approx(1000 * found.ci_high)
    assert turned.ci_low == pytest.approx(-found.ci_high) and turned.mean_difference == -found.mean_difference


def test_the_interval_is_what_the_evidence_does_not_rule_out():
    draws = np.random.default_rng(2)
    a, b = draws.normal(2, 1, 5), draws.normal(0, 1.5, 5)
    found = look(a, b)
    df = float(degrees_of_freedom(a.var(ddof=1), b.var(ddof=1), 5))
    error = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 5)
    for end in (found.ci_low, found.ci_high):
        t = (found.mean_difference - end) / error
        assert math.exp(log_evidence(t, df, 5)) == pytest.approx(threshold(df, 5), rel=1e-6)
    assert nested_t(a[:, None], b[:, None], shared=False).ci_low > found.ci_low  # looking at will has its price


def test_degrees_of_freedom_lie_between_one_sides_and_both():
    assert degrees_of_freedom(1, 1, 5) == 8 and degrees_of_freedom(1, 0, 5) == 4 and degrees_of_freedom(0, 0, 5) == 8
    ratios = degrees_of_freedom(np.ones(50), np.logspace(0, 4, 50), 5)
    assert (np.diff(ratios) <= 0).all() and ratios[-1] == 4
    assert threshold(8.0, 5) == threshold(4.0, 5) / 2


def test_two_seeds_never_decide_and_three_do_where_the_difference_is_huge():
    assert math.isinf(look([1.0, 1.1], [900.0, 900.1]).ci_low) and math.isinf(critical_t(2.0, 2))
    three = look([1.0, 1.1, 1.2], [900.0, 900.1, 900.2])
    assert three.sign == -1 and look([1.0, 1.1, 1.2], [1.1, 1.0, 1.2]).sign == 0
    assert math.isinf(look([3.0, 3.0], [4.0, 4.0]).ci_low)


def test_seeds_without_scatter():
    assert look([3.0] * 3, [4.0] * 3).sign == -1
    same = look([3.0] * 3, [3.0] * 3)
    assert same.sign == 0 and same.within(1e-9) and not same.within(math.nan)


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), ([1.0, math.nan], [1.0, 2.0])])
def test_bad_input(a, b):
    with pytest.raises(ValueError):
        look(a, b)


def test_hundreds_of_seeds_are_no_trouble():
    draws = np.random.default_rng(3)
    found = look(draws.normal(9, 1, 600), draws.normal(0, 1, 600))
    assert found.sign == 1 and math.isfinite(found.ci_low)
    assert 0 < critical_t(398.0, 200) < 10


def test_the_images_widen_the_interval_by_their_error():
    a, b = [1.0, 1.2, 0.9, 1.1], [0.2, 0.1, 0.3, 0.2]
    alone, wider = look(a, b), look(a, b, images_error=0.5)
    half = alone.ci_high - alone.mean_difference
    expected = math.hypot(half, stats.norm.isf(0.01) * 0.5)
    assert wider.ci_high - wider.mean_difference == pytest.approx(expected)
    assert look(a, b, images_error=0.5, images_df=3.0).ci_high > wider.ci_high
    assert math.isinf(look(a, b, images_error=math.nan).ci_high)


def test_the_images_error_is_what_seeds_have_in_common():
    draws, found = np.random.default_rng(4), []
    for _ in range(300):
        shared = draws.normal(0, 0.8, (1, 50))
        a = draws.normal(0, 1, (6, 1)) + shared + draws.normal(0, 0.3, (6, 50))
        b = draws.normal(0, 1, (6, 1)) + draws.normal(0, 0.3, (6, 50))
        found.append(images_error([a, b], (1, -1), shared=True)[0] ** 2)
    assert np.mean(found) == pytest.approx(0.64 / 50, rel=0.03)
    assert images_error([a[:, :1], b[:, :1]], (1, -1), shared=False) == (0.0, math.inf)  # one value a seed
    same = draws.normal(0, 1, (6, 1)) + draws.normal(0, 1, (1, 50))
    assert images_error([same, same - 1], (1, -1), shared=True)[0] == 0.0
    clusters = np.repeat(np.arange(10), 5)
    assert images_error([a, b], (1, -1), shared=True, clusters=clusters)[1] == 9
    assert math.isnan(images_error([a, b], (1, -1), shared=True, clusters=np.zeros(50, int))[0])


def test_sequences_without_an_effect_seldom_decide():
    """A small one for every day; the calibration has thousands of each kind."""
    draws, wrong = np.random.default_rng(5), 0
    for _ in range(150):
        a, b = draws.normal(0, 1, 12), draws.normal(0, 3, 12)
        wrong += any(look(a[:seeds], b[:seeds]).sign for seeds in range(2, 13))
    assert wrong <= 15
