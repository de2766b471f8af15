"""Plan measurements: the power of a test over seeds and images that have not been trained or measured yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from vaebench.statistics.base import quantile
from vaebench.statistics.nested import training_deviation

_QUANTILES = _DRAWS = 4_000
Draws = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceParts:
    """Where the variance of a difference of two recipes' means comes from.

    Attributes:
        training: variance between training seeds of one recipe, a number a side; 0 for images without training.
        images: variance between images of the difference (shared images), or of each side's values, summed.
        rest: variance of a value that neither seed nor image explains, a number a side.
    """

    training: tuple[float, ...]
    images: float
    rest: tuple[float, ...]


def variance_parts(
    samples: Sequence[ArrayLike], *, shared: bool, fixed: Sequence[bool] = (False, False)
) -> VarianceParts:
    """Estimate the parts from values (seeds, images) of two recipes; one with a single seed takes the other's.

    Args:
        samples: two arrays (seeds, images), finite, at least one with several seeds.
        shared: column i of both is of the same image.
        fixed: whether no training varies a sample (images made elsewhere).

    Raises:
        ValueError: no sample has several seeds.
    """
    tables = [np.asarray(sample, dtype=np.float64) for sample in samples]
    known = [(training_deviation(table) ** 2, _residual(table)) for table in tables if len(table) > 1]
    if not known:
        raise ValueError("training variance needs several seeds of one recipe")
    mean = tuple(float(np.mean(part)) for part in zip(*known, strict=True))
    each = [
        (training_deviation(table) ** 2, _residual(table)) if len(table) > 1 else (0.0, 0.0) if still else mean
        for table, still in zip(tables, fixed, strict=True)
    ]
    columns = [table.mean(axis=0) for table in tables]
    left = [rest / len(table) for table, (_, rest) in zip(tables, each, strict=True)]
    if shared:
        images = _variance(columns[0] - columns[1]) - sum(left)
    else:
        images = sum(_variance(column) - part for column, part in zip(columns, left, strict=True))
    return VarianceParts(
        training=tuple(training for training, _ in each), images=max(0.0, images), rest=tuple(rest for _, rest in each)
    )


def _variance(values: Draws) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _residual(table: Draws) -> float:
    """Mean square of what neither seed nor image explains."""
    seeds, images = table.shape
    if images < 2:
        return 0.0
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    return float(np.square(residual).sum() / ((seeds - 1) * (images - 1)))


def planned_power(parts: VarianceParts, seeds: int, images: int, difference: float, alpha: float = 0.05) -> float:
    """Return the probability that the nested t-test shows a true difference, with so many seeds a side and images.

    Averaged over seeded draws of the mean squares that the test would estimate, since with few seeds its degrees of
    freedom are themselves estimates, and power is well below that of the expected variances.
    """
    draw = np.random.default_rng(0)
    terms: list[tuple[Draws, float]] = []
    true = 0.0
    for training, rest in zip(parts.training, parts.rest, strict=True):
        if training + rest > 0:
            expected = (training + rest / images) / seeds
            terms.append((expected * _mean_squares(draw, seeds - 1), seeds - 1.0))
            true += expected
    left = sum(parts.rest) / seeds / images
    whole = (parts.images / images + left) * _mean_squares(draw, images - 1) if images > 1 else np.zeros(_DRAWS)
    if parts.images > 0 or left > 0:
        terms.append((np.maximum(0.0, whole - left), images - 1.0))
    true += parts.images / images
    if true == 0:
        return float(difference != 0)
    variance = np.sum([part for part, _ in terms], axis=0)
    df = 1 / np.sum([(part / variance) ** 2 / freedom for part, freedom in terms if freedom > 0], axis=0)
    reach = stats.t.isf(alpha / 2, df) * np.sqrt(variance)
    shown = special.ndtr((difference - reach) / true**0.5) + special.ndtr((-difference - reach) / true**0.5)
    return float(shown.mean())


def _mean_squares(draw: np.random.Generator, df: int) -> Draws:
    """Draw mean squares of expectation 1."""
    return draw.chisquare(df, _DRAWS) / df


def t_power(shift: float, df: float, alpha: float = 0.05) -> float:
    """Return the probability that a two-sided t-test rejects, its statistic's noncentrality being ``shift``.

    Averaged over the standard error's chi-squared distribution at evenly spaced quantiles: within 1e-4 of the
    noncentral t distribution, which scipy answers with NaN for large shifts.
    """
    places = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    errors = quantile(df, 1 - alpha) * np.sqrt(stats.chi2.ppf(places, df) / df)
    return float((special.ndtr(shift - errors) + special.ndtr(-shift - errors)).mean())


def seeds_needed(
    parts: VarianceParts, images: int, difference: float, power: float = 0.8, alpha: float = 0.05, most: int = 200
) -> int | None:
    """Return the fewest seeds a side, from 2, with which the power is reached; None if ``most`` are too few."""
    return next(
        (seeds for seeds in range(2, most + 1) if planned_power(parts, seeds, images, difference, alpha) >= power), None
    )
