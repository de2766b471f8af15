"""Decide from tests: Holm's correction, equivalence within a margin, detectable differences."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from vaebench.statistics.base import Comparison, Vector, quantile, vector

POWER = 0.8


def holm(p_values: ArrayLike) -> Vector:
    """Adjust p-values by Holm's step-down procedure (Holm 1979), in the order given: (m,) in [0, 1] -> (m,)."""
    p = vector(p_values, "p_values", 0)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p_values must lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def equivalence_p(comparison: Comparison, margin: float) -> float:
    """Test by two one-sided t-tests whether the mean difference lies within ``margin`` either way: the larger p-value.

    Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach"; equals
    ``statsmodels.stats.weightstats.ttost_paired``. NaN for tests without an interval, or without a margin (NaN).
    """
    error, difference = comparison.std_error, comparison.mean_difference
    if math.isnan(error) or math.isnan(margin):
        return math.nan
    if error == 0:
        return float(abs(difference) >= margin)
    return float(stats.t.sf((margin - abs(difference)) / error, comparison.df))


def detectable(comparison: Comparison, alpha: float = 0.05) -> float:
    """Return the smallest true difference that this test, with this standard error, shows in 4 of 5 repetitions.

    ``alpha`` is the level: 0.05 over the number of tests in a family, for Holm's first step. Not the power of the
    difference that was seen: it depends on the spread alone. NaN for tests of ranks.
    """
    error = comparison.std_error
    return error if math.isnan(error) or error == 0 else error * _noncentrality(round(comparison.df, 6), alpha)


@lru_cache(maxsize=4096)
def _noncentrality(df: float, alpha: float) -> float:
    """In standard errors; by the noncentral t distribution, as ``statsmodels``' TTestPower has it."""
    critical = quantile(df, 1 - alpha)
    if df > 1e5:
        return critical + float(stats.norm.ppf(POWER))

    def missing(shift: float) -> float:  # the far tail adds less than 1e-4 at this power
        return float(stats.nct.sf(critical, df, shift)) - POWER

    return float(optimize.brentq(missing, 0.1, 40 * critical, xtol=1e-8))
