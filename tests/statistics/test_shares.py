"""Shares never have certainty: few images that are all right, and tests of such."""

import numpy as np
import pytest
from scipy import stats

from vaebench.statistics import equivalence_p, nested_mean, nested_t, paired_t, welch_t

RIGHT = np.ones(8)


def test_eight_of_eight_right_is_no_certainty():
    found = nested_mean(RIGHT[None])
    assert found.value == 1
    assert 0.05 < found.std_error < 0.2
    assert found.ci_low < 0.8


@pytest.mark.parametrize("test", [paired_t, welch_t, lambda a, b: nested_t(a[None], b[None], shared=True)])
def test_eight_of_eight_twice_is_not_equivalent_for_certain_nor_surely_different_from_none(test):
    same = test(RIGHT, RIGHT)
    assert same.p_value == 1
    assert equivalence_p(same, 0.02) > 0.3
    apart = test(RIGHT, np.zeros(8))
    assert apart.mean_difference == 1
    assert 1e-6 < apart.p_value < 0.05


def test_many_images_leave_no_trace_of_the_two_made_up():
    draws = np.random.default_rng(0)
    a, b = (draws.random(20_000) < share for share in (0.7, 0.69))
    a, b = a.astype(float), b.astype(float)
    assert paired_t(a, b).p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-2)
    assert welch_t(a, b).p_value == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-2)


def test_other_values_are_as_they_were():
    draws = np.random.default_rng(1)
    a, b = draws.normal(size=30), draws.normal(size=30)
    assert paired_t(a, b).p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-12)
