"""Test the means of two samples by Student and Welch, and compute the interval of one mean."""

import math

from numpy.typing import ArrayLike

from vaebench.statistics.base import (
    Comparison,
    hedges,
    is_binary,
    moments,
    over,
    pairs,
    quantile,
    share_deviation,
    two_sided,
    vector,
)


def paired_t(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Test by Student's paired t over images; effect size is Cohen's d_z, mean over deviation of ``a - b``.

    ``a``, ``b``: (n,), n of at least 2, row i of both belonging to image i. Equals ``scipy.stats.ttest_rel``, but for
    values that are 0 or 1, whose spread is :func:`vaebench.statistics.base.share_deviation`.
    """
    first, second = pairs(a, b)
    n = len(first)
    mean, deviation = moments(first - second)
    if is_binary(first, second):
        deviation = share_deviation(first - second, (1.0, -1.0))
    error = deviation / math.sqrt(n)
    statistic = over(mean, error)
    half = quantile(n - 1) * error
    return Comparison(
        test="paired-t",
        n=n,
        mean_difference=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        effect_size=over(mean, deviation),
        statistic=statistic,
        df=float(n - 1),
        p_value=two_sided(statistic, n - 1),
    )


def welch_t(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Test two independent samples by Welch's t: (n,) and (m,), each of at least 2.

    Equals ``scipy.stats.ttest_ind(equal_var=False)``, but for values that are 0 or 1, as :func:`paired_t` has them;
    effect size is Hedges' g, by the pooled deviation.
    """
    first, second = vector(a, "a", 2), vector(b, "b", 2)
    (mean_a, s_a), (mean_b, s_b) = moments(first), moments(second)
    if is_binary(first, second):
        s_a, s_b = (share_deviation(values, (0.0, 1.0)) for values in (first, second))
    n_a, n_b = len(first), len(second)
    difference = mean_a - mean_b
    error_a, error_b = s_a / math.sqrt(n_a), s_b / math.sqrt(n_b)
    error = math.hypot(error_a, error_b)
    df, half = math.nan, 0.0
    if error > 0:
        # Welch-Satterthwaite in shares of the variance: fourth powers of small errors would underflow.
        share_a, share_b = (error_a / error) ** 2, (error_b / error) ** 2
        df = 1 / (share_a**2 / (n_a - 1) + share_b**2 / (n_b - 1))
        half = quantile(df) * error
    pooled = math.sqrt(((n_a - 1) * s_a**2 + (n_b - 1) * s_b**2) / (n_a + n_b - 2))
    statistic = over(difference, error)
    return Comparison(
        test="welch-t",
        n=n_a + n_b,
        mean_difference=difference,
        ci_low=difference - half,
        ci_high=difference + half,
        effect_size=hedges(over(difference, pooled), n_a + n_b - 2),
        statistic=statistic,
        df=df,
        p_value=two_sided(statistic, df) if error > 0 else float(difference == 0),
    )


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float, float]:
    """Mean, its standard error s / sqrt(n), and Student's t interval: (n,) -> (mean, std_error, low, high).

    One value has a mean only: the rest are NaN. ``confidence`` lies between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    sample = vector(values, "values", 1)
    mean, deviation = moments(sample)
    if len(sample) == 1:
        return mean, math.nan, math.nan, math.nan
    error = deviation / math.sqrt(len(sample))
    half = quantile(len(sample) - 1, confidence) * error
    return mean, error, mean - half, mean + half
