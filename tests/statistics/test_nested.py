"""Seeds and images together: against mixed models and bootstraps, at the edges, and what must hold."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from vaebench.statistics import combination, nested_mean, nested_t


def crossed(draws, seeds, images, training=1.0, image=1.0, rest=1.0, mean=0.0):
    """Values whose variance parts are known; images drawn once for all seeds."""
    return (
        mean
        + draws.normal(0, training, (seeds, 1))
        + draws.normal(0, image, (1, images))
        + draws.normal(0, rest, (seeds, images))
    )


def test_one_seed_is_students_interval_of_the_images():
    values = np.random.default_rng(0).normal(5, 2, (1, 30))
    found, expected = nested_mean(values), stats.ttest_1samp(values[0], 0).confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.df == 29
    assert math.isnan(found.training)


def test_one_column_is_students_interval_of_the_seeds():
    values = np.random.default_rng(1).normal(5, 2, (4, 1))
    found, expected = nested_mean(values), stats.ttest_1samp(values[:, 0], 0).confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.training == 1


@pytest.mark.parametrize("parts", [(1, 1, 1), (0.1, 3, 1), (2, 0.1, 0.5)])
def test_the_squared_error_is_the_variance_of_the_mean(parts):
    draws = np.random.default_rng(2)
    tables = [crossed(draws, 4, 25, *parts) for _ in range(3_000)]
    true = np.var([table.mean() for table in tables])
    estimated = np.mean([nested_mean(table).std_error ** 2 for table in tables])
    assert estimated == pytest.approx(true, rel=0.08)


def test_the_squared_error_agrees_with_analysis_of_variance():
    table = crossed(np.random.default_rng(3), 5, 40, 0.5, 2, 1)
    seeds, images = table.shape
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    square_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    square_seeds = images * table.mean(1).var(ddof=1)
    square_images = seeds * table.mean(0).var(ddof=1)
    expected = (square_seeds + square_images - square_rest) / (seeds * images)
    assert nested_mean(table).std_error ** 2 == pytest.approx(expected, rel=1e-12)


def test_a_nested_bootstrap_tends_to_it():
    table = crossed(np.random.default_rng(4), 6, 50, 1, 1.5, 1)
    draws = np.random.default_rng(5)
    means = [table[draws.integers(0, 6, 6)][:, draws.integers(0, 50, 50)].mean() for _ in range(20_000)]
    seeds_part = table.mean(1).var(ddof=1) / 6
    # a bootstrap over S seeds lacks the factor S / (S - 1), and counts the rest with both
    expected = nested_mean(table).std_error ** 2 - seeds_part / 6
    assert np.var(means) == pytest.approx(expected, rel=0.06)


def test_clusters_are_what_a_robust_regression_on_a_constant_says():
    draws = np.random.default_rng(6)
    people = np.repeat(np.arange(40), draws.integers(1, 6, 40))
    values = draws.normal(0, 1, 40)[people] + draws.normal(0, 1, len(people))
    fit = OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": people, "use_correction": False}
    )
    expected = fit.bse[0] * math.sqrt(40 / 39)
    found = nested_mean(values[None], people)
    assert found.std_error == pytest.approx(expected, rel=1e-10)
    assert found.df == 39
    assert found.std_error > 1.5 * nested_mean(values[None]).std_error
    own = nested_mean(values[None], np.arange(len(values)))  # every image a person of its own
    assert own.std_error == pytest.approx(nested_mean(values[None]).std_error, rel=1e-12)


def test_antisymmetry_and_offsets():
    draws = np.random.default_rng(7)
    a, b = crossed(draws, 3, 20, mean=1), crossed(draws, 4, 20)
    for shared in (True, False):
        one, other = nested_t(a, b, shared=shared), nested_t(b, a, shared=shared)
        assert (one.statistic, one.effect_size, one.mean_difference) == pytest.approx(
            (-other.statistic, -other.effect_size, -other.mean_difference), rel=1e-12
        )
        assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), rel=1e-12)
        assert (one.p_value, one.df) == pytest.approx((other.p_value, other.df), rel=1e-12)
        moved = nested_t(a + 1e6, b + 1e6, shared=shared)
        assert moved.statistic == pytest.approx(one.statistic, rel=1e-6)


def test_shared_images_cancel_where_both_sides_have_them():
    draws = np.random.default_rng(8)
    image = draws.normal(0, 50, (1, 200))
    a, b = image + draws.normal(0, 1, (3, 200)), image + draws.normal(0, 1, (3, 200))
    assert nested_t(a, b, shared=True).std_error < 0.2
    assert nested_t(a, b, shared=False).std_error > 3


def test_a_fixed_side_has_no_training_part():
    draws = np.random.default_rng(9)
    a, real = crossed(draws, 3, 30), draws.normal(0, 1, (1, 30))
    found = nested_t(a, real, shared=False)
    expected = nested_mean(a).std_error ** 2 + real.var(ddof=1) / 30
    assert found.std_error**2 == pytest.approx(expected, rel=1e-10)


def test_no_spread_and_no_freedom():
    same = nested_t(np.ones((2, 3)), np.ones((2, 3)), shared=True)
    assert (same.p_value, same.statistic, same.effect_size) == (1, 0, 0)
    apart = nested_t(np.full((2, 3), 2.0), np.ones((2, 3)), shared=True)
    assert (apart.p_value, apart.statistic) == (0, math.inf)
    alone = nested_mean([[3.0]])
    assert alone.value == 3
    assert math.isnan(alone.std_error)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([[1.0, 2.0]], "seeds, images"),
        ([[[1.0, math.nan]]], "not finite"),
        ([[[1.0, 2.0]], [[1.0, 2.0, 3.0]]], "as many columns"),
    ],
)
def test_refusals(samples, message):
    with pytest.raises(ValueError, match=message):
        combination(samples, [1.0] * len(samples), shared=True)


def test_pinned():
    draws = np.random.default_rng(10)
    found = nested_t(crossed(draws, 3, 12, mean=0.4), crossed(draws, 4, 12), shared=True)
    assert (found.statistic, found.df, found.p_value) == pytest.approx(
        (-0.0555962845, 8.266665241, 0.9569837343), rel=1e-8
    )
