"""Test two recipes' means after every training seed, with an error rate that no rule of stopping can raise.

A test that is planned for ten seeds errs too often if one looks after each seed and stops at the first significant
look. Here the evidence after n seeds a side is a likelihood ratio of the t statistic, which is a maximal invariant
(right-Haar prior on the standard deviation): a mixture of effects, with either sign, over no effect,

    E_n(t) = sum_j w_j exp(-n d_j^2 / 2) 1F1((df + 1) / 2; 1/2; n d_j^2 / 2 * t^2 / (df + t^2)),

1F1 being Kummer's function: the sequential t-test of Rushton (1950, "On a sequential t-test"), as a mixture. With n - 1
degrees of freedom it is a martingale of expectation 1 under no effect (Pérez-Ortiz, Lardy, de Heide and Grünwald 2022,
"E-statistics, group invariance and anytime-valid testing"; Wang and Ramdas 2023, "Anytime-valid t-tests and confidence
sequences for Gaussian means with unknown variance"), and Ville's inequality bounds by 1 / c how often it ever reaches
c. That bound wastes seeds, since the evidence jumps over c rather than reaches it, and so do n - 1 degrees of freedom
where both sides scatter alike. So the degrees of freedom follow Welch's (:func:`degrees_of_freedom`), and the threshold
(:func:`threshold`) is what the evidence *ever* reaches in at most 5 % of all endless sequences without an effect,
whatever the ratio of the two variances: found by simulation once for all, and measured again by
``tests/calibration/test_sequential_errs.py``. It does not depend on how many seeds one means to train, so that anyone
may stop, or go on later; after a hundred seeds without an effect the evidence has all but vanished.

The seeds share the test images, whose error no further seed takes away. The interval's half-width is the root of two
squares: what the seeds leave at 5 %, and what the images leave at 2 %. At 5 % each a sequence would have two chances
of being wrong, since the seeds may err early and the images for good; at 2 % all of them together err in at most 5 %
of sequences, whichever of the two dominates (simulated likewise).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from vaebench.statistics.base import Vector, moments, vector

# standardised effects (difference over the root of the summed variances of one seed a side) and their weights, chosen
# once among mixtures of normal, moment and point priors for the mean number of seeds at effects that 4 to 10 seeds
# show in 4 of 5 plans; the small one is for those who go on to 50 seeds, the large one decides after three
EFFECTS, WEIGHTS = (0.6, 1.15, 5.0), (0.03, 0.92, 0.05)
THRESHOLD = 18.0  # of the evidence with n - 1 degrees of freedom
IMAGES_LEVEL = 0.02  # two-sided tail of the images' error by which the interval is widened
LEAST = 2  # seeds from which a variance can be estimated; they never decide
_LARGEST = 1e6  # of the t statistic: evidence grows no further


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the seeds so far say of a difference.

    Attributes:
        seeds: training seeds of either side.
        mean_difference: mean of ``a - b``.
        ci_low, ci_high: interval that holds the true difference at every look of 95 % of all sequences; infinite where
            so few seeds can show nothing.
    """

    seeds: int
    mean_difference: float
    ci_low: float
    ci_high: float

    @property
    def sign(self) -> int:
        """Return 1 or -1 where the difference is surely above or below 0, else 0."""
        return int(self.ci_low > 0) - int(self.ci_high < 0)

    def within(self, margin: float) -> bool:
        """Tell whether the difference is surely smaller than a margin; never where there is none (NaN)."""
        return -margin < self.ci_low and self.ci_high < margin


def look(a: ArrayLike, b: ArrayLike, *, images_error: float = 0.0, images_df: float = math.inf) -> Look:
    """Return the difference of two recipes' means and its interval, valid at whichever number of seeds one stops.

    Args:
        a, b: (seeds,) value of each training seed, as many of both, in the order in which they were trained.
        images_error: standard error of the difference that comes from images which all seeds share.
        images_df: its degrees of freedom.

    Raises:
        ValueError: fewer than two seeds, unequal numbers, or values that are not finite.
    """
    difference, error, df, n = _difference(a, b)
    critical = critical_t(df, n)
    half = critical * error if error > 0 else 0.0 if n > LEAST else math.inf
    if math.isnan(images_error):  # all images are of one cluster: nothing is known of others
        half = math.inf
    elif images_error > 0:
        half = math.hypot(half, float(stats.t.isf(IMAGES_LEVEL / 2, images_df)) * images_error)
    return Look(seeds=n, mean_difference=difference, ci_low=difference - half, ci_high=difference + half)


def _difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float, float, int]:
    """Return the difference of the means, its standard error and degrees of freedom, and the seeds of either side."""
    first, second = vector(a, "a", 2), vector(b, "b", 2)
    if len(first) != len(second):
        raise ValueError(f"both sides need as many seeds, not {len(first)} and {len(second)}")
    (mean_a, deviation_a), (mean_b, deviation_b) = moments(first), moments(second)
    df = float(degrees_of_freedom(deviation_a**2, deviation_b**2, len(first)))
    return mean_a - mean_b, math.hypot(deviation_a, deviation_b) / math.sqrt(len(first)), df, len(first)


def degrees_of_freedom(variance_a: ArrayLike, variance_b: ArrayLike, seeds: ArrayLike) -> Vector:
    """Return degrees of freedom between n - 1, where one side scatters alone, and 2 (n - 1), where both do alike.

    Welch's share of what lies between is 2 a b / (a^2 + b^2), which few seeds overestimate where the variances a and b
    differ: what it is above a half counts, twice.
    """
    one, other = np.asarray(variance_a, dtype=np.float64), np.asarray(variance_b, dtype=np.float64)
    squares = one**2 + other**2
    share = np.divide(2 * one * other, squares, out=np.ones_like(squares), where=squares > 0)
    return np.asarray((np.asarray(seeds) - 1) * (1 + np.maximum(0, 2 * share - 1)), dtype=np.float64)


def log_evidence(t: ArrayLike, df: ArrayLike, seeds: ArrayLike) -> Vector:
    """Return the logarithm of the likelihood ratio of the t statistic with an effect over without one.

    Args:
        t: difference over its standard error.
        df: degrees of freedom of the standard error.
        seeds: of either side.
    """
    squared, freedom = np.square(np.asarray(t, dtype=np.float64)), np.asarray(df, dtype=np.float64)
    share = squared / (freedom + squared)
    terms = []
    for effect, weight in zip(EFFECTS, WEIGHTS, strict=True):
        half = np.asarray(seeds) * effect**2 / 2
        # Kummer's transformation: terms of one sign, and no overflow before 200 seeds, where infinity is right enough
        function = special.hyp1f1(-freedom / 2, 0.5, -half * share)
        terms.append(math.log(weight) + np.log(function) - half * (1 - share))
    return np.asarray(np.logaddexp.reduce(terms), dtype=np.float64)


def threshold(df: float, seeds: int) -> float:
    """Return the evidence that decides: the less, the more alike both sides scatter, down to a half.

    With the same threshold for all, equal recipes of equal variances would be told apart less often than those of which
    one scatters ten times as much; so both are at most 5 %.
    """
    return THRESHOLD / 2 ** (df / (seeds - 1) - 1)


def critical_t(df: float, seeds: int) -> float:
    """Return the t statistic from which on the evidence reaches its threshold; infinite if none does."""
    wanted = math.log(threshold(df, seeds))

    def missing(t: float) -> float:
        return min(float(log_evidence(t, df, seeds)), 1e3) - wanted

    reach = 8.0  # most lie below: from there on, since a narrow bracket takes a third of the time
    while missing(reach) <= 0:
        if reach >= _LARGEST:
            return math.inf
        reach *= 8
    return float(optimize.brentq(missing, 0.0, reach, xtol=1e-9))
