"""Every pair of recipes, tested on the same images: the rows of ``comparisons.csv``."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaebench import statistics
from vaebench.core.errors import UserError
from vaebench.core.metric import Direction
from vaebench.per_image import PerImageValues, Series
from vaebench.report.collect import REAL, Mask, Measured

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
    p_holm: float = math.nan
    verdict: str = "unresolved"


@dataclass(frozen=True, slots=True)
class Group:
    """One recipe's per-image values of one metric: (seeds, images), on images named by ``ids``."""

    name: str
    ids: tuple[str, ...]
    values: NDArray[np.float64]
    fixed: bool  # the real images, or images made elsewhere: no training seed stands behind them

    def on(self, mask: Mask | None) -> "Group":
        """The same on a stratum."""
        if mask is None:
            return self
        ids = tuple(itertools.compress(self.ids, mask))
        return replace(self, ids=ids, values=self.values[:, mask])


def all_pairs(measured: Measured) -> list[Row]:
    """Every pair, metric, protocol and stratum of one dataset.

    p-values are Holm's, within each metric, protocol, stratum and test. Pairs whose image ids differ are
    not paired: they are left out where ids name real images, and tested as independent where they name samples.
    """
    rows: list[Row] = []
    for series in sorted({series for known in measured.values.values() for series in known}):
        groups = groups_of(measured, series)
        direction = _direction(measured, series)
        for stratum, mask, cut in _strata(measured, series):
            present = [group.on(mask) for group in groups if mask is None or group.name in cut]
            rows.extend(_family(present, series, stratum, direction))
    return rows


def compare(measured: Measured, a: str, b: str) -> list[Row]:
    """The rows of one pair, with the p-values and verdicts they have in :func:`all_pairs`.

    Raises :class:`UserError` where the two were never measured on the same images.
    """
    rows = [row for row in all_pairs(measured) if {row.a, row.b} == {a, b}]
    if not rows:
        raise UserError(f"{a} and {b} share no metric on the same image ids: evaluate both on the same split")
    return rows


def groups_of(measured: Measured, series: Series) -> list[Group]:
    """The recipes that have this series, seeds stacked; seeds on other images than the first are left out."""
    groups = []
    for name in measured.recipes():
        found: list[PerImageValues] = [
            known[series]
            for (recipe, _), known in sorted(measured.values.items(), key=lambda item: str(item[0]))
            if recipe == name and series in known
        ]
        same = [content.values for content in found if len(content.ids) == len(found[0].ids)]
        if found:
            fixed = all(seed is None for recipe, seed in measured.values if recipe == name)
            groups.append(Group(name, found[0].ids, np.stack(same), fixed))
    return groups


def _direction(measured: Measured, series: Series) -> Direction:
    wanted = (series.metric, series.protocol)
    found = next(line.direction for line in measured.results if (line.metric, line.protocol) == wanted)
    directions: dict[str, Direction] = {"higher": "higher", "lower": "lower", "target": "target"}
    return directions[found]


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


def _family(groups: Sequence[Group], series: Series, stratum: str, direction: Direction) -> list[Row]:
    """All pairs of one metric and stratum, with Holm's correction within each test."""
    rows: list[Row] = []
    for first, second in itertools.combinations(groups, 2):
        for test, seeds in _tests(first, second):
            cells = {name: getattr(test, name) for name in statistics.Comparison.__slots__}
            rows.append(
                Row(
                    dataset=series.dataset,
                    split=series.split,
                    stratum=stratum,
                    metric=series.metric,
                    protocol=series.protocol,
                    a=first.name,
                    b=second.name,
                    seeds=seeds,
                    **cells,
                )
            )
    means = {group.name: float(group.values.mean()) for group in groups if group.values.size}
    corrected = []
    for row in rows:
        family = [other.p_value for other in rows if other.test == row.test]
        position = [other for other in rows if other.test == row.test].index(row)
        p_holm = float(statistics.holm(family)[position])
        corrected.append(replace(row, p_holm=p_holm, verdict=_verdict(row, p_holm, means, direction)))
    return corrected


def _tests(a: Group, b: Group) -> Iterator[tuple[statistics.Comparison, int]]:
    """Over images (values averaged over seeds), then over training seeds where there are enough."""
    seeds = min((len(group.values) for group in (a, b) if not group.fixed), default=0)
    if a.ids == b.ids and len(a.ids) > 1:
        mean_a, mean_b = a.values.mean(axis=0), b.values.mean(axis=0)
        yield statistics.paired_t(mean_a, mean_b), seeds
        yield statistics.wilcoxon(mean_a, mean_b), seeds
    elif not set(a.ids) & set(b.ids) and min(len(a.ids), len(b.ids)) > 1:
        independent = statistics.welch_t(a.values.mean(axis=0), b.values.mean(axis=0))
        yield replace(independent, test="welch-t-images"), seeds
    else:
        return
    seed_means = {group.name: group.values.mean(axis=1) for group in (a, b)}
    if seeds >= 2 and not a.fixed and not b.fixed:
        yield statistics.welch_t(seed_means[a.name], seed_means[b.name]), seeds
    elif seeds >= 2 and b.fixed:
        yield statistics.one_sample_t(seed_means[a.name], float(b.values.mean())), seeds
    elif seeds >= 2:
        yield statistics.negated(statistics.one_sample_t(seed_means[b.name], float(a.values.mean()))), seeds


def _verdict(row: Row, p_holm: float, means: Mapping[str, float], direction: Direction) -> str:
    """``a`` or ``b``, whichever is significantly better, else ``unresolved``.

    For a ``target`` metric the better one is nearer to the real images' mean. Where the two lie on either
    side of it, a test of their difference says nothing about which is nearer: unresolved. So it is, too, where
    Wilcoxon's ranks point the other way than the means.
    """
    if p_holm >= ALPHA or row.mean_difference == 0 or row.effect_size * row.mean_difference < 0:
        return "unresolved"
    if direction != "target":
        a_wins = (row.mean_difference > 0) == (direction == "higher")
        return "a" if a_wins else "b"
    if REAL not in means:
        return "unresolved"
    off_a, off_b = means[row.a] - means[REAL], means[row.b] - means[REAL]
    if off_a * off_b < 0:
        return "unresolved"
    return "a" if abs(off_a) < abs(off_b) else "b"
