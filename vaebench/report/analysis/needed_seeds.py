"""Find how many training seeds would decide what is open, from the variance of the values at hand."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from vaebench import statistics
from vaebench.core.results import PARTS
from vaebench.core.subjects import REAL
from vaebench.report.analysis.comparisons import ALPHA, Row, decisive
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.pair_tests import same_images
from vaebench.report.analysis.samples import Sample, direction_of, samples_of, whole_values
from vaebench.runs.per_image import Series
from vaebench.statistics import VarianceParts
from vaebench.statistics.decisions import POWER

MOST = 200  # seeds: more than that is no advice


def series_of(measured: Measured, metric: str, protocol: str, split: str, stratum: str, recipe: str) -> Series:
    """Return the series that a recipe's values of a stratum come from: the whole split's, unless it is a part."""
    fingerprint = next(
        line.provenance.data_fingerprint
        for line in measured.results
        if (line.recipe, line.metric, line.protocol, line.split) == (recipe, metric, protocol, split)
    )
    own = stratum if stratum.startswith(PARTS) else "all"
    return Series(measured.dataset, split, fingerprint, metric, protocol, own)


def values_on(measured: Measured, series: Series, stratum: str, names: Sequence[str]) -> list[Sample]:
    """Return the values of the named, image by image where all have them, else one a run; empty where one has none."""
    detailed = {sample.name: sample for sample in samples_of(measured, series)}
    if stratum in ("all", series.stratum):
        whole = {sample.name: sample for sample in whole_values(measured, series)}
        found = detailed if set(names) <= detailed.keys() else whole
        return [found[name] for name in names] if set(names) <= found.keys() else []
    mask = measured.strata.get(series.data_fingerprint, {}).get(stratum)
    if mask is None or any(name not in detailed or len(detailed[name].ids) != len(mask) for name in names):
        return []
    return [detailed[name].on(mask) for name in names]


def pair_of(measured: Measured, row: Row) -> list[Sample]:
    """Return the values of a row's two sides, ``a`` first; empty where they are not at hand."""
    series = series_of(measured, row.metric, row.protocol, row.split, row.stratum, row.a)
    return values_on(measured, series, row.stratum, (row.a, row.b))


def family_size(row: Row, rows: Iterable[Row]) -> int:
    """Count the deciding tests that share Holm's correction with this one."""
    return sum(_family(other) == _family(row) for other in decisive(rows))


def _family(row: Row) -> tuple[str, ...]:
    stratum = "parts" if row.stratum.startswith(PARTS) else row.stratum
    return row.split, row.metric, row.protocol, stratum


def parts_of(pair: Sequence[Sample]) -> VarianceParts:
    """Estimate where the variance of a pair's difference comes from; :class:`ValueError` where neither has seeds."""
    shared, fixed = same_images(*pair), [sample.fixed for sample in pair]
    return statistics.variance_parts([sample.values for sample in pair], shared=shared, fixed=fixed)


def seeds_for_pair(measured: Measured, row: Row, rows: Iterable[Row], *, nearer: bool = False) -> int | None:
    """Return the seeds a side with which a difference as large as the one at hand would be shown 4 times in 5; more
    than :data:`MOST` where these are too few.

    ``nearer``: to the real images, which the difference from the other's mirror image must show as well. None where
    nobody has several seeds, which would say how much seeds differ.
    """
    pair = pair_of(measured, row)
    if max((len(sample.values) for sample in pair), default=0) < 2:
        return None
    alpha = ALPHA / family_size(row, rows)
    needed = _needed(pair, alpha)
    series = series_of(measured, row.metric, row.protocol, row.split, row.stratum, row.a)
    real = values_on(measured, series, row.stratum, (REAL,)) if nearer else []
    if not real or direction_of(measured, series) != "target":
        return needed
    mirrored = _mirrored(pair, real[0])
    return max(needed, _needed(mirrored, alpha)) if mirrored else None


def _needed(pair: Sequence[Sample], alpha: float) -> int:
    a, b = pair
    difference = abs(float(a.values.mean() - b.values.mean()))
    return _planned(parts_of(pair), min(a.values.shape[1], b.values.shape[1]), difference, alpha)


def _planned(parts: VarianceParts, images: int, difference: float, alpha: float) -> int:
    if statistics.planned_power(parts, MOST, images, difference, alpha) < POWER:
        return MOST + 1  # said at once: to try all numbers takes half a second
    found = statistics.seeds_needed(parts, images, difference, POWER, alpha, MOST)
    return MOST + 1 if found is None else found


def _mirrored(pair: Sequence[Sample], real: Sample) -> list[Sample]:
    """Return the pair with its second side mirrored about the real images; empty where the images are others."""
    a, b = pair
    if b.ids == real.ids:
        return [a, replace(b, values=2 * real.values.mean(axis=0) - b.values)]
    return [] if same_images(a, b) else [a, replace(b, values=2 * real.values.mean() - b.values)]


def seeds_for_number(sample: Sample, number: float) -> int | None:
    """Return the seeds with which a mean's interval would exclude a number 4 times in 5, were it where it is now; more
    than :data:`MOST` where these are too few.

    None where one seed says nothing of how much seeds differ.
    """
    seeds, images = sample.values.shape
    if seeds < 2:
        return None
    still = np.zeros((1, images))
    parts = statistics.variance_parts([sample.values, still], shared=True, fixed=(False, True))
    return _planned(parts, images, abs(float(sample.values.mean()) - number), ALPHA)
