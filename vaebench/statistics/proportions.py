"""Test values that are 0 or 1: right or wrong, there or not."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from vaebench.statistics.base import Comparison, moments, over, pairs, quantile


def mcnemar(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Test two classifiers on the same images by McNemar's exact test: (n,) and (n,) of 0 and 1, n of at least 2.

    Two-sided binomial test of the images on which they disagree (equals ``statsmodels``' ``mcnemar(exact=True)``);
    none of them gives p 1. The interval is Student's of the differences; effect size Cohen's g, the share of
    disagreements that ``a`` wins less a half; the statistic the signed root of McNemar's chi-squared.
    Raises ``ValueError`` for other values than 0 and 1.
    """
    first, second = pairs(a, b)
    if not (np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all()):
        raise ValueError("McNemar's test is of values that are 0 or 1")
    n, won, lost = len(first), int((first > second).sum()), int((first < second).sum())
    mean, deviation = moments(first - second)
    half = quantile(n - 1) * deviation / n**0.5
    return Comparison(
        test="mcnemar",
        n=n,
        mean_difference=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        effect_size=won / (won + lost) - 0.5 if won + lost else 0.0,
        statistic=over(won - lost, (won + lost) ** 0.5),
        df=float(n - 1),
        p_value=float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    )
