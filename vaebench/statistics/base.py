"""Share parts of all tests: checked vectors, exact moments, and the result of a test."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Vector = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one test says of the difference between ``a`` and ``b``; NaN where the test has no such number.

    Attributes:
        test: ``paired-t``, ``welch-t``, ``wilcoxon``, ``mann-whitney``, ``mcnemar`` or ``nested-t``.
        n: pairs of images, or images of both sides together; where there are no images, training seeds.
        mean_difference: mean of ``a - b``, in the metric's unit.
        ci_low, ci_high: 95 % interval of the mean difference; NaN for tests of ranks.
        effect_size: Cohen's d_z (paired-t), matched-pairs rank-biserial correlation (wilcoxon), Cliff's delta
            (mann-whitney), Cohen's g (mcnemar), Hedges' g (the others).
        statistic, df: as the test defines them; ``df`` is NaN for tests of ranks and where there is no spread.
        p_value: two-sided. May underflow to 0.
    """

    test: str
    n: int
    mean_difference: float
    ci_low: float
    ci_high: float
    effect_size: float
    statistic: float
    df: float
    p_value: float

    @property
    def std_error(self) -> float:
        """Return the standard error of the mean difference: the half-width of the interval in units of Student's
        quantile; 0 without spread.
        """
        half = (self.ci_high - self.ci_low) / 2
        if half == 0 or math.isnan(half):
            return half
        return half / quantile(self.df)


def vector(values: ArrayLike, name: str, least: int) -> Vector:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, its shape is {array.shape}")
    if len(array) < least:
        raise ValueError(f"{name} needs at least {least} values, it has {len(array)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def pairs(a: ArrayLike, b: ArrayLike) -> tuple[Vector, Vector]:
    first, second = vector(a, "a", 2), vector(b, "b", 2)
    if len(first) != len(second):
        raise ValueError(f"pairs need equal lengths, not {len(first)} and {len(second)}")
    return first, second


def moments(values: Vector) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1; 0 for one value).

    The first value is taken off before summing: a constant sample has its own value as mean and exactly no
    spread, and a large common offset costs no digits.
    """
    shifted = values - values[0]
    mean = shifted.mean()
    deviation = math.sqrt(np.square(shifted - mean).sum() / (len(values) - 1)) if len(values) > 1 else 0.0
    return float(values[0] + mean), deviation


def is_binary(*samples: Vector) -> bool:
    """Tell whether all values of all samples are 0 or 1."""
    return all(bool(np.isin(sample, (0.0, 1.0)).all()) for sample in samples)


def share_deviation(values: Vector, pseudo: tuple[float, ...]) -> float:
    """Return the standard deviation of values that are 0 or 1, or differences of such, with some made up.

    8 of 8 right is no certainty: before the spread is taken two successes and two failures are added to a single share
    (Agresti and Coull 1998), one of each to both of two (Agresti and Caffo 2000), a pair won and one lost to pairs
    (Agresti and Min 2005). The mean is left as it is.
    """
    return moments(np.concatenate([values, pseudo]))[1]


def over(numerator: float, denominator: float) -> float:
    """Divide with the limits that tests need: 0 / 0 is 0, x / 0 is infinite with x's sign."""
    if numerator == 0:
        return 0.0
    return numerator / denominator if denominator > 0 else math.copysign(math.inf, numerator)


def quantile(df: float, confidence: float = CONFIDENCE) -> float:
    """Return Student's quantile that an interval of this confidence reaches to, in standard errors; df may be
    infinite.
    """
    return float(stats.t.isf((1 - confidence) / 2, df))


def two_sided(statistic: float, df: float) -> float:
    return float(2 * stats.t.sf(abs(statistic), df))


def hedges(effect: float, df: float) -> float:
    """Return Cohen's d without its small-sample bias (Hedges 1981, "Distribution theory for Glass's estimator").

    With one degree of freedom the exact factor is 0: there is no unbiased estimate, so NaN.
    """
    if df < 2:
        return math.nan
    return effect * math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)
