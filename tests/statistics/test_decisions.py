"""Equivalence, the smallest difference that could be shown, Friedman, McNemar: against statsmodels and scipy."""

import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_paired

from vaebench.statistics import detectable, equivalence_p, mcnemar, paired_t, welch_t, wilcoxon


def numbers(seed, n, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, n)


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
def test_equivalence_equals_statsmodels(margin):
    a, b = numbers(0, 60, 0.1), numbers(1, 60)
    assert equivalence_p(paired_t(a, b), margin) == pytest.approx(ttost_paired(a, b, -margin, margin)[0], rel=1e-9)
    expected = CompareMeans(DescrStatsW(a), DescrStatsW(b[:40])).ttost_ind(-margin, margin, usevar="unequal")[0]
    assert equivalence_p(welch_t(a, b[:40]), margin) == pytest.approx(expected, rel=1e-9)


def test_equivalence_at_the_edges():
    same = paired_t([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (equivalence_p(same, 0.1), equivalence_p(same, 0.0)) == (0, 1)
    constant = paired_t(np.arange(4) / 8 + 0.25, np.arange(4) / 8)
    assert (equivalence_p(constant, 0.5), equivalence_p(constant, 0.125)) == (0, 1)
    assert math.isnan(equivalence_p(wilcoxon(numbers(0, 9), numbers(1, 9)), 0.1))
    assert math.isnan(equivalence_p(paired_t(numbers(0, 9), numbers(1, 9)), math.nan))


def test_equivalence_is_claimed_at_the_margin_in_one_of_twenty_trials():
    draws = np.random.default_rng(2).normal(0.5, 1, (4_000, 30))
    claimed = np.mean([equivalence_p(paired_t(row, np.zeros(30)), 0.5) < 0.05 for row in draws])
    assert 0.04 < claimed < 0.06


@pytest.mark.parametrize("n", [3, 5, 40, 2_000])
def test_the_detectable_difference_has_the_power_it_says(n):
    test = paired_t(numbers(3, n), numbers(4, n))
    deviation = np.std(numbers(3, n) - numbers(4, n), ddof=1)
    power = TTestPower().power(detectable(test) / deviation, n, 0.05)
    assert power == pytest.approx(0.8, abs=1e-4)
    assert math.isnan(detectable(wilcoxon(numbers(3, n), numbers(4, n))))


def test_the_detectable_difference_depends_on_the_spread_alone():
    a, b = numbers(5, 20), numbers(6, 20)
    assert detectable(paired_t(a + 9, b)) == pytest.approx(detectable(paired_t(a, b)), rel=1e-9)
    assert detectable(paired_t(b, a)) == pytest.approx(detectable(paired_t(a, b)), rel=1e-12)
    assert detectable(paired_t(a, a)) == 0


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_mcnemar_equals_statsmodels(share):
    draws = np.random.default_rng(9)
    a, b = (draws.random(80) < share).astype(float), (draws.random(80) < 0.5).astype(float)
    table = [[((a == i) & (b == j)).sum() for j in (0, 1)] for i in (0, 1)]
    found, swapped = mcnemar(a, b), mcnemar(b, a)
    assert found.p_value == pytest.approx(reference_mcnemar(table, exact=True).pvalue, rel=1e-12)
    assert found.statistic**2 == pytest.approx(reference_mcnemar(table, exact=False, correction=False).statistic)
    assert found.mean_difference == pytest.approx(a.mean() - b.mean())
    assert (swapped.statistic, swapped.effect_size) == pytest.approx((-found.statistic, -found.effect_size))


def test_mcnemar_at_the_edges():
    assert mcnemar([1, 0, 1], [1, 0, 1]).p_value == 1
    assert mcnemar(np.ones(10), np.zeros(10)).p_value == pytest.approx(2 / 2**10)
    with pytest.raises(ValueError, match="0 or 1"):
        mcnemar([0.5, 1], [0, 1])
