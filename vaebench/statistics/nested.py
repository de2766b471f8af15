"""Estimate and test means of values that vary with the training seed and with the image, each with its own degrees of
freedom.

The unit of inference for a recipe is the training seed. Values (seeds, images) of one recipe are taken as

    value = recipe's mean + seed + image + rest,

seeds and images drawn at random, images the same for all seeds. The variance of their mean is then

    training / seeds + image / images + rest / (seeds * images).

The first term plus the last is the variance of the seeds' means over their number; the second plus the last that of
the images' means over theirs; the last is taken off once (Snedecor and Cochran 1989, "Statistical methods", section
16.14). This is what a bootstrap over seeds and then over images tends to, but for the factor S / (S - 1) that it lacks
and Student's quantile with Satterthwaite's degrees of freedom, without which three seeds give intervals far too
narrow (``reports/calibration.md`` has both). Where each seed has images of its own (samples), the image term comes out
near 0, and its variance stands in the seeds'.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaebench.statistics.base import (
    Comparison,
    Vector,
    hedges,
    is_binary,
    moments,
    over,
    quantile,
    share_deviation,
    two_sided,
)

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, or a weighted sum of means, and where its variance comes from.

    Attributes:
        value, std_error, ci_low, ci_high: 95 % interval; NaN but for the value where one image and one seed are all,
            or all images are of one cluster.
        df: Satterthwaite's; NaN where nothing varies.
        training: share of the squared standard error that comes from training seeds; NaN with one seed.
    """

    value: float
    std_error: float
    df: float
    ci_low: float
    ci_high: float
    training: float


def combination(
    samples: Sequence[ArrayLike],
    weights: Sequence[float],
    *,
    shared: bool,
    clusters: ArrayLike | None = None,
    fixed: Sequence[bool] | None = None,
) -> Estimate:
    """Estimate a weighted sum of the means of samples (seeds, images), finite, each with one seed or several.

    Args:
        samples: values (seeds, images) each.
        weights: of the samples' means in the sum.
        shared: column i of every sample is of the same image.
        clusters: (images,) numbers of what images have in common (the person): the images' part is then of independent
            clusters (Liang and Zeger 1986), which needs ``shared`` if there are several samples.
        fixed: for each sample, whether no training varies it (real images). A sample with one seed that is not fixed
            takes the training variance of those with several, pooled by degrees of freedom; if none has several, the
            sum is about that checkpoint. By default every sample with one seed is fixed.

    Raises:
        ValueError: shapes do not fit.
    """
    matrices = [_matrix(sample) for sample in samples]
    if shared and len({matrix.shape[1] for matrix in matrices}) > 1:
        raise ValueError("samples on shared images need as many columns each")
    groups = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    pairs = list(zip(matrices, weights, strict=True))
    value = math.fsum(weight * _mean(matrix) for matrix, weight in pairs)
    several = [(matrix, weight) for matrix, weight in pairs if len(matrix) > 1]
    single = [
        weight
        for (matrix, weight), known in zip(pairs, fixed or [True] * len(pairs), strict=True)
        if len(matrix) == 1 and not known
    ]
    freedom, borrowed = sum(len(matrix) - 1 for matrix, _ in several), math.fsum(weight**2 for weight in single)
    # what the variance of one seed's mean counts for: of its own sample's mean, and of those that borrow it
    counts = [weight**2 / len(matrix) + borrowed * (len(matrix) - 1) / freedom for matrix, weight in several]
    training = [
        (count * moments(matrix.mean(axis=1))[1] ** 2, len(matrix) - 1.0)
        for (matrix, _), count in zip(several, counts, strict=True)
    ]
    rest = math.fsum(
        count * len(matrix) * _rest(matrix, groups) for (matrix, _), count in zip(several, counts, strict=True)
    )
    images = _images(pairs, shared, groups)
    whole = math.fsum(variance for variance, _ in images)
    kept = max(0.0, whole - rest) / whole if whole > 0 else 0.0
    # two seeds that speak for a third: Satterthwaite's formula would trust a training variance that is small by chance
    most = 1.0 if borrowed and freedom == 1 else math.inf
    parts = [*training, *((variance * kept, df) for variance, df in images)]
    # what images and draws leave in the seeds' means is not the training's
    trained = max(0.0, math.fsum(variance for variance, _ in training) - rest) if training else math.nan
    return _estimate(value, parts, trained, most)


def images_error(
    samples: Sequence[ArrayLike], weights: Sequence[float], *, shared: bool, clusters: ArrayLike | None = None
) -> tuple[float, float]:
    """Return the standard error of a weighted sum of means that comes from images which all seeds have in common, and
    its degrees of freedom: what no further seed takes away.

    0 with infinite degrees of freedom where there are no images; arguments and errors as in :func:`combination`.
    """
    matrices = [_matrix(sample) for sample in samples]
    groups = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    parts = _images(list(zip(matrices, weights, strict=True)), shared, groups)
    rest = math.fsum(weight**2 * _rest(matrix, groups) for matrix, weight in zip(matrices, weights, strict=True))
    whole = math.fsum(variance for variance, _ in parts)
    if not whole > 0:
        return (math.nan if math.isnan(whole) else 0.0), math.inf
    df = 1 / math.fsum((variance / whole) ** 2 / freedom for variance, freedom in parts)
    return math.sqrt(max(0.0, whole - rest)), df


def _matrix(values: ArrayLike) -> Matrix:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"a sample must be (seeds, images), its shape is {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("a sample holds values that are not finite")
    return matrix


def _mean(matrix: Matrix) -> float:
    first = float(matrix[0, 0])  # taken off before summing: a constant sample has exactly its own value
    return float(first + (matrix - first).mean())


def _images(
    pairs: Sequence[tuple[Matrix, float]], shared: bool, groups: NDArray[np.intp] | None
) -> list[tuple[float, float]]:
    """Return the images' variances, with their degrees of freedom: one for shared images, else one a sample."""
    columns = [weight * (matrix - matrix[0, 0]).mean(axis=0) for matrix, weight in pairs]
    if groups is None and is_binary(*(matrix.mean(axis=0) for matrix, _ in pairs)):
        columns = [weight * matrix.mean(axis=0) for matrix, weight in pairs]
        if shared:  # of a pair, one that is won and one that is lost
            weights = [weight for _, weight in pairs]
            alone = (0.0, 0.0, weights[0], weights[0])
            made_up = [(np.sum(columns, axis=0), alone if len(weights) == 1 else tuple(weights))]
        else:
            made_up = [(column, (0.0, weight)) for column, (_, weight) in zip(columns, pairs, strict=True)]
        return [(share_deviation(x, pseudo) ** 2 / len(x), len(x) - 1.0) for x, pseudo in made_up if len(x) > 1]
    if shared:
        columns = [np.sum(columns, axis=0)]
    return [_variance_of_mean(column, groups) for column in columns if len(column) > 1]


def _variance_of_mean(values: Vector, groups: NDArray[np.intp] | None) -> tuple[float, float]:
    n = len(values)
    if groups is None:
        return moments(values)[1] ** 2 / n, n - 1.0
    sums = np.bincount(groups, weights=values - values.mean())
    count = len(sums)
    if count < 2:
        return math.nan, math.nan
    return float(np.square(sums).sum() / n**2 * count / (count - 1)), count - 1.0


def _rest(matrix: Matrix, groups: NDArray[np.intp] | None) -> float:
    """Return what neither seed nor image explains, as a variance of the mean; 0 with one seed."""
    seeds, images = matrix.shape
    if seeds < 2 or images < 2:
        return 0.0
    centred = matrix - matrix[0, 0]
    residual = centred - centred.mean(axis=1, keepdims=True) - centred.mean(axis=0) + centred.mean()
    each = [_variance_of_mean(row, groups)[0] for row in residual]
    return float(math.fsum(each) / (seeds * (seeds - 1)))


def _estimate(value: float, parts: Sequence[tuple[float, float]], training: float, most: float = math.inf) -> Estimate:
    variance = math.fsum(part for part, _ in parts)
    error = math.sqrt(variance)
    df, half = math.nan, 0.0 if parts and not math.isnan(error) else math.nan
    if error > 0:
        df = min(most, 1 / math.fsum((part / variance) ** 2 / freedom for part, freedom in parts))
        half = quantile(df) * error
    return Estimate(
        value=value,
        std_error=error if parts else math.nan,
        df=df,
        ci_low=value - half,
        ci_high=value + half,
        training=training / variance if variance > 0 else math.nan,
    )


def nested_mean(values: ArrayLike, clusters: ArrayLike | None = None) -> Estimate:
    """Estimate the mean of (seeds, images), its error and interval over both; with one seed over images alone.

    The error is never less than what images and draws alone leave in the seeds' means: by chance, few seeds may agree
    better than that.
    """
    found = combination([values], [1.0], shared=True, clusters=clusters)
    matrix = _matrix(values)
    groups = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    least = _rest(matrix, groups)
    seeds, images = matrix.shape
    if not 0 < moments(matrix.mean(axis=1))[1] ** 2 / seeds < least:
        return found
    whole, freedom = _images([(matrix, 1.0)], True, groups)[0]
    parts = [(least, (seeds - 1.0) * (images - 1.0)), (max(0.0, whole - least), freedom)]
    return _estimate(found.value, parts, 0.0)


def training_deviation(values: ArrayLike) -> float:
    """Estimate the deviation between seeds of the mean of (seeds, images), beyond what images explain; NaN with one
    seed.

    The variance of the seeds' means less what is left of images and rest in it; 0 where that is more.
    """
    matrix = _matrix(values)
    if len(matrix) < 2:
        return math.nan
    between = moments(matrix.mean(axis=1))[1] ** 2
    return math.sqrt(max(0.0, between - len(matrix) * _rest(matrix, None)))


def nested_t(
    a: ArrayLike,
    b: ArrayLike,
    *,
    shared: bool,
    clusters: ArrayLike | None = None,
    fixed: tuple[bool, bool] = (True, True),
) -> Comparison:
    """Test whether the means of (seeds, images) differ, over training seeds and images: Welch's way with all their
    parts.

    A side with one row is ``fixed`` (the real images: no training varies it), or takes the training variance of the
    other side. Effect size is Hedges' g over seeds, by their pooled deviation. ``shared``, ``clusters`` and ``fixed``
    as in :func:`combination`.
    """
    first, second = _matrix(a), _matrix(b)
    found = combination([first, second], [1.0, -1.0], shared=shared, clusters=clusters, fixed=fixed)
    sides = [matrix.mean(axis=1) for matrix in (first, second) if len(matrix) > 1]
    freedom = sum(len(side) - 1 for side in sides)
    pooled = math.sqrt(math.fsum((len(side) - 1) * moments(side)[1] ** 2 for side in sides) / max(1, freedom))
    effect = hedges(over(found.value, pooled), freedom) if freedom else math.nan
    images = first.shape[1] if shared else first.shape[1] + second.shape[1]
    n = images if max(first.shape[1], second.shape[1]) > 1 else sum(map(len, sides))
    return comparison_of("nested-t", found, n=n, effect_size=effect)


def comparison_of(test: str, found: Estimate, *, n: int, effect_size: float = math.nan) -> Comparison:
    """Test whether an estimate is 0."""
    statistic = math.nan if math.isnan(found.std_error) else over(found.value, found.std_error)
    return Comparison(
        test=test,
        n=n,
        mean_difference=found.value,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        effect_size=effect_size,
        statistic=statistic,
        df=found.df,
        p_value=_p(statistic, found),
    )


def _p(statistic: float, found: Estimate) -> float:
    if math.isnan(found.std_error):
        return math.nan
    return two_sided(statistic, found.df) if found.std_error > 0 else float(found.value == 0)
