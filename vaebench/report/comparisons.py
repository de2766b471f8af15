"""Every pair of recipes, tested on the same images: the rows of ``comparisons.csv``."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vaebench import statistics
from vaebench.core.errors import UserError
from vaebench.core.metric import Direction
from vaebench.per_image import Series
from vaebench.report.collect import REAL, Mask, Measured
from vaebench.report.groups import Group, direction_of, groups_of, set_level
from vaebench.statistics import Comparison

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One test of one pair; columns as INTERFACE.md fixes them."""

    dataset: str
    split: str
    stratum: str
    metric: str
    protocol: str
    a: str
    b: str
    test: str
    n: int
    seeds: int
    mean_difference: float
    ci_low: float
    ci_high: float
    effect_size: float
    statistic: float
    df: float
    p_value: float
    p_holm: float
    verdict: str


def all_pairs(measured: Measured) -> list[Row]:
    """Every pair, metric, protocol and stratum of one dataset.

    p-values are Holm's, within each metric, protocol, stratum and test. Pairs whose image ids differ are
    not paired: they are left out where ids name real images, and tested as independent where they name samples.
    Metrics with one value a run are tested over training seeds alone.
    """
    return [row for part in measured.parts() for row in _pairs_of(part)]


def _pairs_of(measured: Measured) -> list[Row]:
    rows: list[Row] = []
    for series in sorted({series for known in measured.values.values() for series in known}):
        groups = groups_of(measured, series)
        for stratum, mask, cut in _strata(measured, series):
            present = [group.on(mask) for group in groups if mask is None or group.name in cut]
            rows.extend(_family(present, series, stratum, direction_of(measured, series)))
    for series, groups in set_level(measured):
        rows.extend(_family(groups, series, "all", direction_of(measured, series)))
    return sorted(rows, key=lambda row: (row.split, row.metric, row.protocol))


def compare(measured: Measured, a: str, b: str) -> list[Row]:
    """The rows of one pair, with the p-values and verdicts they have in :func:`all_pairs`.

    Raises :class:`UserError` where the two were never measured on the same images.
    """
    rows = [row for row in all_pairs(measured) if {row.a, row.b} == {a, b}]
    if not rows:
        raise UserError(f"{a} and {b} share no metric on the same image ids: evaluate both on the same split")
    return rows


def _strata(measured: Measured, series: Series) -> Iterator[tuple[str, Mask | None, set[str]]]:
    """``all``, and the strata in which this metric was reported, with the recipes that reported it.

    Images that belong to no real image have no strata, however many of them there are.
    """
    yield "all", None, set()
    reported: dict[str, set[str]] = {}
    for line in measured.results:
        if (line.metric, line.protocol, line.split) == (series.metric, series.protocol, series.split):
            reported.setdefault(line.stratum, set()).add(line.recipe)
    for name, mask in measured.strata.get(series.data_fingerprint, {}).items():
        if name in reported:
            yield name, mask, reported[name]


@dataclass(frozen=True, slots=True)
class _Tested:
    """A test of ``a - b``, and for target metrics the same test of ``a + b - 2 * real``."""

    a: str
    b: str
    seeds: int
    difference: Comparison
    mirror: Comparison | None


def _family(groups: Sequence[Group], series: Series, stratum: str, direction: Direction) -> list[Row]:
    """All pairs of one metric and stratum, with Holm's correction within each test."""
    groups = [group for group in groups if group.values.size]  # a stratum may hold no image
    real = next((group for group in groups if group.name == REAL), None)
    tested: list[_Tested] = []
    for a, b in itertools.combinations(groups, 2):
        nearness = direction == "target" and real is not None and a is not real
        mirrors = [*_image_mirrors(a, b, real), *_seed_mirrors(a, b, real)] if nearness and real is not None else []
        for position, (test, seeds) in enumerate(_tests(a, b)):
            tested.append(_Tested(a.name, b.name, seeds, test, mirrors[position] if mirrors else None))
    rows = []
    for pair in tested:
        alike = [other for other in tested if other.difference.test == pair.difference.test]
        p_holm = _holm([other.difference for other in alike], pair.difference)
        p_mirror = _holm([other.mirror for other in alike if other.mirror], pair.mirror) if pair.mirror else 1.0
        cells = {name: getattr(pair.difference, name) for name in Comparison.__slots__}
        rows.append(
            Row(
                dataset=series.dataset,
                split=series.split,
                stratum=stratum,
                metric=series.metric,
                protocol=series.protocol,
                a=pair.a,
                b=pair.b,
                seeds=pair.seeds,
                p_holm=p_holm,
                verdict=_verdict(pair, p_holm, p_mirror, direction),
                **cells,
            )
        )
    return rows


def _holm(family: Sequence[Comparison], one: Comparison) -> float:
    position = next(index for index, test in enumerate(family) if test is one)
    return float(statistics.holm([test.p_value for test in family])[position])


def _tests(a: Group, b: Group) -> Iterator[tuple[Comparison, int]]:
    """Over images (values averaged over seeds), then over training seeds where there are enough."""
    seeds = min((len(group.values) for group in (a, b) if not group.fixed), default=0)
    yield from ((test, seeds) for test in _image_tests(a, b))
    yield from ((test, seeds) for test in _seed_tests(a, b))


def _image_tests(a: Group, b: Group) -> Iterator[Comparison]:
    mean_a, mean_b = a.values.mean(axis=0), b.values.mean(axis=0)
    if _same_images(a, b):
        yield statistics.paired_t(mean_a, mean_b)
        yield statistics.wilcoxon(mean_a, mean_b)
    elif _independent(a, b):
        yield replace(statistics.welch_t(mean_a, mean_b), test="welch-t-images")


def _image_mirrors(a: Group, b: Group, real: Group) -> Iterator[Comparison | None]:
    """The same tests of ``a + b - 2 * real``; where the real images are others, their own spread counts too."""
    means = [group.values.mean(axis=0) for group in (a, b, real)]
    if _same_images(a, b) and a.ids == real.ids:
        yield from _image_tests(a, b.mirrored(means[2]))
    elif _same_images(a, b):
        yield from (None, None)
    elif _independent(a, b):
        yield statistics.contrast(means, (1, 1, -2)) if len(real.ids) > 1 else None


def _seed_tests(a: Group, b: Group) -> Iterator[Comparison]:
    """None where the images partly agree (refused), or where values that are one a run do not vary at all."""
    if (a.ids or b.ids) and not (_same_images(a, b) or _independent(a, b)):
        return
    seeds_a, seeds_b = a.values.mean(axis=1), b.values.mean(axis=1)
    least = min((len(group.values) for group in (a, b) if not group.fixed), default=0)
    spread = any(np.ptp(values) > 0 for values in (seeds_a, seeds_b))
    if least < 2 or not spread:
        return
    if not a.fixed and not b.fixed:
        yield statistics.welch_t(seeds_a, seeds_b)
    elif b.fixed:
        yield statistics.one_sample_t(seeds_a, float(b.values.mean()))
    else:
        yield statistics.negated(statistics.one_sample_t(seeds_b, float(a.values.mean())))


def _seed_mirrors(a: Group, b: Group, real: Group) -> Iterator[Comparison]:
    """Over seeds the real images are a fixed value: all runs are measured on the same ones."""
    yield from _seed_tests(a, b.mirrored(float(real.values.mean())))


def _same_images(a: Group, b: Group) -> bool:
    return a.ids == b.ids and len(a.ids) > 1


def _independent(a: Group, b: Group) -> bool:
    return not set(a.ids) & set(b.ids) and min(len(a.ids), len(b.ids)) > 1


def _verdict(pair: _Tested, p_holm: float, p_mirror: float, direction: Direction) -> str:
    """``a`` or ``b``, whichever is significantly better, else ``unresolved``.

    For a ``target`` metric the better one is nearer to the real images' value t. Since
    (a - t)^2 - (b - t)^2 = (a - b)(a + b - 2t), that is resolved where both factors' signs are: the test of the
    difference and the same test of a against b mirrored about t must be significant.
    """
    test, mirror = pair.difference, pair.mirror
    if p_holm >= ALPHA or not _agrees(test):
        return "unresolved"
    if direction != "target":
        a_wins = (test.mean_difference > 0) == (direction == "higher")
    elif REAL in (pair.a, pair.b):
        a_wins = pair.a == REAL
    elif mirror is None or p_mirror >= ALPHA or not _agrees(mirror):
        return "unresolved"
    else:
        a_wins = test.mean_difference * mirror.mean_difference < 0
    return "a" if a_wins else "b"


def _agrees(test: Comparison) -> bool:
    """Whether there is a difference, and Wilcoxon's ranks point the same way as the means."""
    return test.mean_difference != 0 and not test.effect_size * test.mean_difference < 0
