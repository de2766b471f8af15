"""Tests of whether two runs differ: pure functions on numbers, all computed in float64.

Inputs are one-dimensional, finite and long enough, or ``ValueError`` is raised with what is wrong.
Differences are always ``a - b``. Samples without any spread are answered, not refused: no difference has
p 1, a constant difference has an infinite statistic and p 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one test says of the difference between ``a`` and ``b``; NaN where the test has no such number.

    Attributes:
        test: ``paired-t``, ``wilcoxon``, ``welch-t-seeds``, ``one-sample-t-seeds`` or ``welch-contrast``; who
            gives :func:`welch_t` other samples than seeds names it otherwise (``welch-t-images``).
        n: pairs; for tests over seeds the number of seed values, both sides together.
        mean_difference: mean of ``a - b``, in the metric's unit.
        ci_low, ci_high: 95 % interval of the mean difference; NaN for Wilcoxon.
        effect_size: Cohen's d_z (paired-t), matched-pairs rank-biserial correlation (wilcoxon),
            Hedges' g (both tests over seeds).
        statistic, df: as the test defines them; ``df`` is NaN for Wilcoxon and for Welch without spread.
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


def _vector(values: ArrayLike, name: str, least: int) -> Vector:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, its shape is {array.shape}")
    if len(array) < least:
        raise ValueError(f"{name} needs at least {least} values, it has {len(array)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[Vector, Vector]:
    first, second = _vector(a, "a", 2), _vector(b, "b", 2)
    if len(first) != len(second):
        raise ValueError(f"pairs need equal lengths, not {len(first)} and {len(second)}")
    return first, second


def _moments(values: Vector) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1; 0 for one value).

    The first value is taken off before summing: a constant sample has its own value as mean and exactly no
    spread, and a large common offset costs no digits.
    """
    shifted = values - values[0]
    mean = shifted.mean()
    deviation = math.sqrt(np.square(shifted - mean).sum() / (len(values) - 1)) if len(values) > 1 else 0.0
    return float(values[0] + mean), deviation


def _over(numerator: float, denominator: float) -> float:
    """Quotient with the limits that tests need: 0 / 0 is 0, x / 0 is infinite with x's sign."""
    if numerator == 0:
        return 0.0
    return numerator / denominator if denominator > 0 else math.copysign(math.inf, numerator)


def _half_width(error: float, df: float, confidence: float) -> float:
    return float(stats.t.isf((1 - confidence) / 2, df)) * error


def _two_sided(statistic: float, df: float) -> float:
    return float(2 * stats.t.sf(abs(statistic), df))


def _hedges(effect: float, df: float) -> float:
    """Cohen's d without its small-sample bias (Hedges 1981, "Distribution theory for Glass's estimator").

    With one degree of freedom the exact factor is 0: there is no unbiased estimate, so NaN.
    """
    if df < 2:
        return math.nan
    return effect * math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def _one_sample(test: str, differences: Vector, *, unbiased: bool) -> Comparison:
    n = len(differences)
    mean, deviation = _moments(differences)
    error = deviation / math.sqrt(n)
    statistic, effect = _over(mean, error), _over(mean, deviation)
    half = _half_width(error, n - 1, 0.95)
    return Comparison(
        test=test,
        n=n,
        mean_difference=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        effect_size=_hedges(effect, n - 1) if unbiased else effect,
        statistic=statistic,
        df=float(n - 1),
        p_value=_two_sided(statistic, n - 1),
    )


def paired_t(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Student's paired t-test over images; effect size is Cohen's d_z, mean over deviation of ``a - b``.

    ``a``, ``b``: (n,), n of at least 2, row i of both belonging to image i. Equals ``scipy.stats.ttest_rel``.
    """
    first, second = _pairs(a, b)
    return _one_sample("paired-t", first - second, unbiased=False)


def one_sample_t(a: ArrayLike, reference: float) -> Comparison:
    """Student's t-test of training seeds ``a`` (n,), n of at least 2, against a fixed, finite value.

    Effect size is Cohen's d with Hedges's correction (NaN for two seeds). Equals ``scipy.stats.ttest_1samp``.
    """
    fixed = _vector([reference], "reference", 1)
    return _one_sample("one-sample-t-seeds", _vector(a, "a", 2) - fixed[0], unbiased=True)


def wilcoxon(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Wilcoxon's signed-rank test over images: (n,) and (n,), n of at least 2; by ``scipy.stats.wilcoxon``.

    Zero differences are dropped (``n`` still counts them). The p-value is exact for up to 50 pairs without
    ties or zeros and, by enumeration, up to 13 with; beyond, the normal approximation. Effect size is the
    matched-pairs rank-biserial correlation (Kerby 2014): (W+ - W-) / (W+ + W-), in [-1, 1].
    """
    first, second = _pairs(a, b)
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
        mean_difference=_moments(differences)[0],
        ci_low=math.nan,
        ci_high=math.nan,
        effect_size=effect,
        statistic=statistic,
        df=math.nan,
        p_value=p_value,
    )


def welch_t(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Welch's t-test of two independent samples, training seeds or unpaired images: (n,) and (m,), each of at least 2.

    Equals ``scipy.stats.ttest_ind(equal_var=False)``; effect size is Hedges' g, by the pooled deviation.
    """
    first, second = _vector(a, "a", 2), _vector(b, "b", 2)
    (mean_a, s_a), (mean_b, s_b) = _moments(first), _moments(second)
    n_a, n_b = len(first), len(second)
    difference = mean_a - mean_b
    error_a, error_b = s_a / math.sqrt(n_a), s_b / math.sqrt(n_b)
    error = math.hypot(error_a, error_b)
    df, half = math.nan, 0.0
    if error > 0:
        # Welch-Satterthwaite in shares of the variance: fourth powers of small errors would underflow.
        share_a, share_b = (error_a / error) ** 2, (error_b / error) ** 2
        df = 1 / (share_a**2 / (n_a - 1) + share_b**2 / (n_b - 1))
        half = _half_width(error, df, 0.95)
    pooled = math.sqrt(((n_a - 1) * s_a**2 + (n_b - 1) * s_b**2) / (n_a + n_b - 2))
    statistic = _over(difference, error)
    return Comparison(
        test="welch-t-seeds",
        n=n_a + n_b,
        mean_difference=difference,
        ci_low=difference - half,
        ci_high=difference + half,
        effect_size=_hedges(_over(difference, pooled), n_a + n_b - 2),
        statistic=statistic,
        df=df,
        p_value=_two_sided(statistic, df) if error > 0 else float(difference == 0),
    )


def contrast(samples: Sequence[ArrayLike], weights: Sequence[float]) -> Comparison:
    """Whether a weighted sum of the means of independent samples is 0: Welch's t-test of more than two samples.

    Each sample (n_i,) of at least 2. The variance of the sum is that of its parts, sum of w_i^2 s_i^2 / n_i, and df
    is Welch and Satterthwaite's; with weights 1 and -1 it is :func:`welch_t`, but for the effect size, which is NaN.
    """
    vectors = [_vector(sample, "a sample", 2) for sample in samples]
    moments = [_moments(vector) for vector in vectors]
    value = math.fsum(weight * mean for weight, (mean, _) in zip(weights, moments, strict=True))
    errors = [
        abs(weight) * deviation / math.sqrt(len(vector))
        for weight, (_, deviation), vector in zip(weights, moments, vectors, strict=True)
    ]
    error = math.hypot(*errors)
    df, half = math.nan, 0.0
    if error > 0:
        df = 1 / math.fsum(
            (part / error) ** 4 / (len(vector) - 1) for part, vector in zip(errors, vectors, strict=True)
        )
        half = _half_width(error, df, 0.95)
    statistic = _over(value, error)
    return Comparison(
        test="welch-contrast",
        n=sum(map(len, vectors)),
        mean_difference=value,
        ci_low=value - half,
        ci_high=value + half,
        effect_size=math.nan,
        statistic=statistic,
        df=df,
        p_value=_two_sided(statistic, df) if error > 0 else float(value == 0),
    )


def holm(p_values: ArrayLike) -> Vector:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given: (m,) in [0, 1] -> (m,)."""
    p = _vector(p_values, "p_values", 0)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p_values must lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float, float]:
    """Mean, its standard error s / sqrt(n), and Student's t interval: (n,) -> (mean, std_error, low, high).

    One value has a mean only: the rest are NaN. ``confidence`` lies between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    sample = _vector(values, "values", 1)
    mean, deviation = _moments(sample)
    if len(sample) == 1:
        return mean, math.nan, math.nan, math.nan
    error = deviation / math.sqrt(len(sample))
    half = _half_width(error, len(sample) - 1, confidence)
    return mean, error, mean - half, mean + half


def negated(comparison: Comparison) -> Comparison:
    """The same test with ``a`` and ``b`` exchanged, for tests that are antisymmetric in them (all t-tests)."""
    return replace(
        comparison,
        mean_difference=-comparison.mean_difference,
        ci_low=-comparison.ci_high,
        ci_high=-comparison.ci_low,
        effect_size=-comparison.effect_size,
        statistic=-comparison.statistic,
    )
