"""Rank tests of two samples, and Friedman's and Nemenyi's of models over several metrics."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from vaebench.statistics.base import Comparison, Vector, moments, pairs, vector


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What Friedman's test and Nemenyi's say of models' mean ranks: ``average_ranks`` (k,), 1 the best.

    Two models whose mean ranks are less than ``critical_difference`` apart are not told apart at 0.05.
    """

    average_ranks: Vector
    statistic: float
    p_value: float
    critical_difference: float


def friedman(scores: ArrayLike) -> Places:
    """Friedman's test of k models over b blocks: (b, k), b and k of at least 2, higher is better; equals scipy's.

    Critical difference as in Demšar 2006, "Statistical comparisons of classifiers over multiple data sets", section
    3.2.2: q sqrt(k (k + 1) / (6 b)), q the studentised range's quantile over sqrt(2). Blocks count as independent.
    For two models, for which scipy has no Friedman test, the statistic is the same formula's.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"scores must be finite, 2 or more blocks by 2 or more models, not {table.shape}")
    blocks, models = table.shape
    ranks = stats.rankdata(-table, axis=1)
    average = ranks.mean(axis=0)
    # with ties: Conover 1999, "Practical nonparametric statistics", section 5.8
    spread = np.square(ranks - (models + 1) / 2).sum()
    statistic = (
        0.0 if spread == 0 else float((models - 1) * blocks**2 * np.square(average - (models + 1) / 2).sum() / spread)
    )
    quantile = float(stats.studentized_range.isf(0.05, models, math.inf)) / math.sqrt(2)
    return Places(
        average_ranks=average,
        statistic=statistic,
        p_value=float(stats.chi2.sf(statistic, models - 1)),
        critical_difference=quantile * math.sqrt(models * (models + 1) / (6 * blocks)),
    )
