"""Test two samples by ranks."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from vaebench.statistics.base import Comparison, moments, pairs, vector


def wilcoxon(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Test by Wilcoxon's signed ranks over images: (n,) and (n,), n of at least 2; by ``scipy.stats.wilcoxon``.

    Zero differences are dropped (``n`` still counts them). The p-value is exact for up to 50 pairs without
    ties or zeros and, by enumeration, up to 13 with; beyond, the normal approximation. Effect size is the
    matched-pairs rank-biserial correlation (Kerby 2014): (W+ - W-) / (W+ + W-), in [-1, 1].
    """
    first, second = pairs(a, b)
    differences = first - second
    signed = differences[differences != 0]
    statistic, p_value, effect = 0.0, 1.0, 0.0
    if len(signed):
        ranks = stats.rankdata(np.abs(signed))
        effect = float((np.sign(signed) * ranks).sum() / ranks.sum())
        tested = stats.wilcoxon(differences, zero_method="wilcox", method="auto")
        statistic, p_value = float(tested.statistic), float(tested.pvalue)
    return Comparison(
        test="wilcoxon",
        n=len(differences),
        mean_difference=moments(differences)[0],
        ci_low=math.nan,
        ci_high=math.nan,
        effect_size=effect,
        statistic=statistic,
        df=math.nan,
        p_value=p_value,
    )


def mann_whitney(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Test two independent samples by Mann and Whitney: (n,) and (m,), each of at least 2; by ``scipy.stats``.

    Exact for small samples without ties, else the normal approximation with a correction for ties. Effect size is
    Cliff's delta (Cliff 1993, "Dominance statistics"): P(a > b) - P(a < b), in [-1, 1].
    """
    first, second = vector(a, "a", 2), vector(b, "b", 2)
    tested = stats.mannwhitneyu(first, second, alternative="two-sided", method="auto")
    largest = len(first) * len(second)
    return Comparison(
        test="mann-whitney",
        n=len(first) + len(second),
        mean_difference=moments(first)[0] - moments(second)[0],
        ci_low=math.nan,
        ci_high=math.nan,
        effect_size=2 * float(tested.statistic) / largest - 1,
        statistic=float(tested.statistic) - largest / 2,  # U less its expectation, so that it changes sign with a and b
        df=math.nan,
        p_value=float(tested.pvalue),
    )
