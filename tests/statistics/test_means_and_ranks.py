"""Tests of difference: against scipy and statsmodels, at the edges, and what must hold of them."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from vaebench.statistics import combination, holm, mann_whitney, mean_interval, nested_t, paired_t, welch_t, wilcoxon

PAIRED = [paired_t, wilcoxon]
EIGHTHS = np.arange(6) / 8  # exact in binary, so that adding 1/4 leaves exactly 1/4


def numbers(seed, n, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, n)


@pytest.mark.parametrize("n", [2, 3, 10, 500])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_paired_t_equals_scipy(n, offset):
    a, b = numbers(0, n, 0.3) + offset, numbers(1, n) + offset
    expected, ours = stats.ttest_rel(a, b), paired_t(a, b)
    assert (ours.statistic, ours.df, ours.p_value) == pytest.approx(
        (expected.statistic, expected.df, expected.pvalue), rel=1e-10
    )
    interval = expected.confidence_interval(0.95)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert ours.mean_difference == pytest.approx((a - b).mean(), rel=1e-12)
    assert ours.effect_size == pytest.approx(ours.statistic / math.sqrt(n), rel=1e-12)
    assert (ours.test, ours.n) == ("paired-t", n)


def test_paired_t_without_any_difference():
    ours = paired_t(EIGHTHS, EIGHTHS)
    assert (ours.statistic, ours.p_value, ours.effect_size) == (0, 1, 0)
    assert (ours.mean_difference, ours.ci_low, ours.ci_high, ours.df) == (0, 0, 0, 5)


@pytest.mark.parametrize("sign", [1, -1])
def test_paired_t_with_a_constant_difference(sign):
    ours = paired_t(EIGHTHS + sign * 0.25, EIGHTHS)
    assert (ours.statistic, ours.effect_size, ours.p_value) == (sign * math.inf, sign * math.inf, 0)
    assert (ours.mean_difference, ours.ci_low, ours.ci_high) == (sign * 0.25,) * 3


def test_float32_scores_are_compared_in_float64():
    a, b = numbers(2, 400, 1e4).astype(np.float32), numbers(3, 400, 1e4).astype(np.float32)
    assert paired_t(a, b) == paired_t(a.astype(np.float64), b.astype(np.float64))


@pytest.mark.parametrize("n", [2, 5, 13, 50, 51, 2000])
@pytest.mark.parametrize("decimals", [15, 1])  # one decimal makes ties and zeros
def test_wilcoxon_equals_scipy(n, decimals):
    a, b = numbers(4, n, 0.2).round(decimals), numbers(5, n).round(decimals)
    expected, ours = stats.wilcoxon(a, b), wilcoxon(a, b)
    assert (ours.statistic, ours.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert ours.mean_difference == pytest.approx((a - b).mean(), rel=1e-9)
    assert all(map(math.isnan, (ours.df, ours.ci_low, ours.ci_high)))
    assert (ours.test, ours.n) == ("wilcoxon", n)


def test_rank_biserial_by_hand():
    # differences 1, -2, 3, 4, 0: the zero goes, ranks 1 to 4, of which rank 2 is negative
    ours = wilcoxon([1.0, 0.0, 3.0, 4.0, 7.0], [0.0, 2.0, 0.0, 0.0, 7.0])
    assert (ours.effect_size, ours.statistic, ours.n) == ((8 - 2) / 10, 2, 5)
    assert wilcoxon(EIGHTHS + 1, EIGHTHS).effect_size == 1


@pytest.mark.parametrize("n", [2, 60])
def test_wilcoxon_without_any_difference(n):
    ours = wilcoxon(np.ones(n), np.ones(n))
    assert (ours.statistic, ours.p_value, ours.effect_size, ours.mean_difference) == (0, 1, 0, 0)


@pytest.mark.parametrize("test", PAIRED)
@pytest.mark.parametrize("n", [7, 200])
def test_paired_tests_turn_round_when_the_sides_are_swapped(test, n):
    a, b = numbers(6, n, 0.4), numbers(7, n)
    one, other = test(a, b), test(b, a)
    assert other.mean_difference == -one.mean_difference
    assert other.effect_size == pytest.approx(-one.effect_size, rel=1e-12)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-12)
    if test is paired_t:
        assert other.statistic == -one.statistic
        assert (other.ci_low, other.ci_high) == (-one.ci_high, -one.ci_low)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (5, 3), (30, 40)])
@pytest.mark.parametrize("scale", [1.0, 1e-60])
def test_welch_equals_scipy(sizes, scale):
    a, b = scale * numbers(8, sizes[0], 1.0), scale * numbers(9, sizes[1], 0.0, 3.0)
    expected, ours = stats.ttest_ind(a / scale, b / scale, equal_var=False), welch_t(a, b)
    assert (ours.statistic, ours.df, ours.p_value) == pytest.approx(
        (expected.statistic, expected.df, expected.pvalue), rel=1e-9
    )
    interval = expected.confidence_interval(0.95)
    assert (ours.ci_low / scale, ours.ci_high / scale) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (ours.test, ours.n) == ("welch-t", sum(sizes))


@pytest.mark.parametrize("sizes", [(3, 3), (5, 8), (40, 30)])
def test_hedges_g_equals_statsmodels(sizes):
    a, b = numbers(10, sizes[0], 1.0), numbers(11, sizes[1])
    expected, _ = effectsize_smd(a.mean(), a.std(ddof=1), len(a), b.mean(), b.std(ddof=1), len(b))
    # statsmodels corrects by 1 - 3 / (4 m - 1), an approximation to within 0.3 % from 4 degrees of freedom on
    assert welch_t(a, b).effect_size == pytest.approx(expected, rel=3e-3)


def test_hedges_g_by_hand():
    # means 4 and 1, pooled deviation 1; exact factor at 4 degrees of freedom: Gamma(2) / (sqrt(2) Gamma(3/2))
    factor = 1 / (math.sqrt(2) * math.gamma(1.5))
    assert welch_t([3.0, 4.0, 5.0], [0.0, 1.0, 2.0]).effect_size == pytest.approx(3 * factor, rel=1e-12)


def test_welch_without_spread():
    same = welch_t([0.1, 0.1, 0.1], [0.1, 0.1])
    assert (same.statistic, same.p_value, same.effect_size, same.mean_difference) == (0, 1, 0, 0)
    assert (same.ci_low, same.ci_high) == (0, 0)
    assert math.isnan(same.df)
    apart = welch_t([0.25, 0.25], [0.5, 0.5])
    assert (apart.statistic, apart.p_value, apart.effect_size) == (-math.inf, 0, -math.inf)
    assert (apart.mean_difference, apart.ci_low, apart.ci_high) == (-0.25, -0.25, -0.25)


def test_welch_with_spread_on_one_side_only():
    ours = welch_t([1.0, 2.0, 3.0], [1.0, 1.0])
    expected = stats.ttest_1samp([1.0, 2.0, 3.0], 1.0)  # a sample without spread is a constant
    assert (ours.statistic, ours.df, ours.p_value) == pytest.approx((expected.statistic, 2, expected.pvalue), rel=1e-12)


def against(seeds, fixed):
    return nested_t(np.array(seeds)[:, None], [[fixed]], shared=False)


@pytest.mark.parametrize("n", [2, 3, 12])
def test_seeds_against_a_fixed_value_equal_scipys_one_sample_test(n):
    a = numbers(12, n, 5.0)
    expected, ours = stats.ttest_1samp(a, 4.5), against(a, 4.5)
    assert (ours.statistic, ours.df, ours.p_value) == pytest.approx(
        (expected.statistic, expected.df, expected.pvalue), rel=1e-10
    )
    interval = expected.confidence_interval(0.95)
    assert (ours.ci_low + 4.5, ours.ci_high + 4.5) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert (ours.test, ours.n) == ("nested-t", n)


def test_one_sample_effect_size_and_no_spread():
    factor = 1 / (math.gamma(0.5))  # exact at 2 degrees of freedom: Gamma(1) / Gamma(1/2)
    assert against([2.0, 3.0, 4.0], 1.0).effect_size == pytest.approx(2 * factor, rel=1e-12)
    assert math.isnan(against([2.0, 3.0], 1.0).effect_size)
    assert against([0.1, 0.1, 0.1], 0.1).p_value == 1
    assert against([0.5, 0.5, 0.5], 0.25).p_value == 0


def test_rejection_rate_under_no_difference_is_the_level():
    draws = np.random.default_rng(13).normal(size=(2000, 2, 6))
    for test in (paired_t, welch_t):
        rate = np.mean([test(a, b).p_value < 0.05 for a, b in draws])
        assert 0.03 < rate < 0.07


@pytest.mark.parametrize("m", [1, 2, 7, 40])
def test_holm_equals_statsmodels(m):
    p = np.random.default_rng(14).uniform(0, 1, m) ** 3
    p[m // 2 :] = p[m // 2 :].round(1)  # ties, zeros
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).shape == (0,)
    p = np.array([0.2, 0.001, 0.9])
    assert (holm(p) >= p).all()
    assert p.tolist() == [0.2, 0.001, 0.9]


@pytest.mark.parametrize("bad", [[0.1, math.nan], [0.1, -0.1], [1.1], [[0.1]]])
def test_holm_refuses(bad):
    with pytest.raises(ValueError, match="p_values"):
        holm(bad)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 5, 300])
def test_mean_interval_equals_statsmodels(n, confidence):
    values = numbers(15, n, 1e3)
    expected = DescrStatsW(values)
    low, high = expected.tconfint_mean(alpha=1 - confidence)
    assert mean_interval(values, confidence) == pytest.approx((expected.mean, stats.sem(values), low, high), rel=1e-10)


def test_mean_interval_at_the_edges():
    mean, *rest = mean_interval([0.3])
    assert mean == 0.3
    assert all(map(math.isnan, rest))
    assert mean_interval([0.1] * 7) == (0.1, 0, 0.1, 0.1)
    for bad in (0, 1, math.nan):
        with pytest.raises(ValueError, match="confidence"):
            mean_interval([1.0, 2.0], bad)
    with pytest.raises(ValueError, match="at least 1"):
        mean_interval([])


@pytest.mark.parametrize("test", [*PAIRED, welch_t])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [1.0], "at least 2"),
        ([1.0, 2.0], [1.0], "at least 2"),
        ([1.0, math.nan], [1.0, 2.0], "not finite"),
        ([1.0, 2.0], [math.inf, 2.0], "not finite"),
        ([[1.0, 2.0]], [[1.0, 2.0]], "one-dimensional"),
    ],
)
def test_bad_samples_are_refused(test, a, b, message):
    with pytest.raises(ValueError, match=message):
        test(a, b)


@pytest.mark.parametrize("test", PAIRED)
def test_pairs_need_equal_lengths(test):
    with pytest.raises(ValueError, match="equal lengths, not 3 and 2"):
        test([1.0, 2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (paired_t, (2.270626416, 0.03077575642, 0.4145577691)),
        (wilcoxon, (130.0, 0.03453673422, 0.4408602151)),
        (welch_t, (2.547328135, 0.01375328429, 0.6491693267)),
    ],
)
def test_pinned(test, expected):
    ours = test(numbers(16, 30, 0.5), numbers(17, 30))
    assert (ours.statistic, ours.p_value, ours.effect_size) == pytest.approx(expected, rel=1e-8)


def test_a_combination_of_two_samples_is_welch_and_of_three_has_its_size():
    draws = np.random.default_rng(0)
    a, b = draws.normal(0, 1, 20), draws.normal(0.3, 2, 35)
    two, expected = nested_t([a], [b], shared=False), stats.ttest_ind(a, b, equal_var=False)
    assert (two.statistic, two.p_value, two.df) == pytest.approx((expected.statistic, expected.pvalue, expected.df))
    p_values = []
    for _ in range(2_000):
        a, b, c = draws.normal(1, 1, 30), draws.normal(3, 2, 40), draws.normal(2, 1.5, 25)
        estimate = combination([[a], [b], [c]], [1, 1, -2], shared=False)
        p_values.append(2 * stats.t.sf(abs(estimate.value / estimate.std_error), estimate.df))  # 1 + 3 - 2 * 2 = 0
    assert 0.04 < np.mean(np.array(p_values) < 0.05) < 0.06


@pytest.mark.parametrize(("n", "m"), [(2, 3), (6, 8), (50, 31)])
@pytest.mark.parametrize("decimals", [15, 0])  # whole numbers make ties
def test_mann_whitney_equals_scipy_and_its_effect_size_is_cliffs_delta(n, m, decimals):
    a, b = numbers(18, n, 0.5, 2).round(decimals), numbers(19, m, 0, 2).round(decimals)
    expected, ours, swapped = stats.mannwhitneyu(a, b), mann_whitney(a, b), mann_whitney(b, a)
    assert ours.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert ours.effect_size == pytest.approx(np.sign(a[:, None] - b[None]).mean(), abs=1e-12)
    assert (swapped.statistic, swapped.effect_size) == pytest.approx((-ours.statistic, -ours.effect_size), abs=1e-12)
    assert swapped.mean_difference == pytest.approx(-ours.mean_difference, abs=1e-15)
    assert swapped.p_value == pytest.approx(ours.p_value, rel=1e-12)
