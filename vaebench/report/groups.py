"""One recipe's values of one metric, seeds stacked: what two recipes are compared by."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaebench.core.margin import Margin, read_margin
from vaebench.core.results import Result
from vaebench.per_image import PerImageValues, Series
from vaebench.report.collect import REAL, Mask, Measured

Direction = Literal["higher", "lower", "target"]


@dataclass(frozen=True, slots=True)
class Group:
    """One recipe's values of one metric: (seeds, images) on the images that ``ids`` names, or (seeds, 1) and no ids."""

    name: str
    ids: tuple[str, ...]
    values: NDArray[np.float64]
    fixed: bool  # the real images, or images made elsewhere: no training seed stands behind them
    influence: bool = False  # what images contribute to a value of all together
    clusters: NDArray[np.int64] | None = None  # (images,): who is on each, where that is known

    def on(self, mask: Mask | None) -> "Group":
        """The same on a stratum."""
        if mask is None:
            return self
        ids = tuple(itertools.compress(self.ids, mask))
        clusters = None if self.clusters is None else self.clusters[mask]
        return replace(self, ids=ids, values=self.values[:, mask], clusters=clusters)


def groups_of(measured: Measured, series: Series) -> list[Group]:
    """The recipes with per-image values of this series; seeds on other images than the first are left out."""
    groups = []
    for name in measured.recipes():
        found: list[PerImageValues] = [
            known[series] for subject, known in _by_seed(measured) if subject == name and series in known
        ]
        if found:
            same = [content.values for content in found if content.ids == found[0].ids]
            people = measured.people.get(series.data_fingerprint, {})
            clusters = np.array([people[image] for image in found[0].ids]) if people.keys() >= {*found[0].ids} else None
            fixed, influence = _fixed(measured, name), found[0].influence
            groups.append(Group(name, found[0].ids, np.stack(same), fixed, influence, clusters))
    return groups


def set_level(measured: Measured) -> Iterator[tuple[Series, list[Group]]]:
    """Metrics that have one value a run and none an image, as they stand in the results, stratum ``all``."""
    known = {series for values in measured.values.values() for series in values}
    found: dict[Series, dict[str, list[float]]] = {}
    for line in measured.results:
        fingerprint = line.provenance.data_fingerprint
        series = Series(line.dataset, line.split, fingerprint, line.metric, line.protocol)
        if series not in known and line.stratum == "all" and line.value is not None:
            found.setdefault(series, {}).setdefault(line.recipe, []).append(line.value)
    for series, recipes in sorted(found.items()):
        names = sorted(recipes, key=lambda name: (name != REAL, name))
        yield series, [Group(name, (), np.array(recipes[name])[:, None], _fixed(measured, name)) for name in names]


def direction_of(measured: Measured, series: Series) -> Direction:
    """As the metric declared it when it was measured."""
    directions: dict[str, Direction] = {"higher": "higher", "lower": "lower", "target": "target"}
    return directions[_declared(measured, series).direction]


def margin_of(measured: Measured, series: Series) -> Margin | None:
    """As the metric declared it when it was measured."""
    return read_margin(_declared(measured, series).margin, f"{series.metric} ({series.protocol})")


def _declared(measured: Measured, series: Series) -> Result:
    wanted = (series.metric, series.protocol)
    return max(
        (line for line in measured.results if (line.metric, line.protocol) == wanted),
        key=lambda line: line.provenance.created,
    )


def _by_seed(measured: Measured) -> "list[tuple[str, dict[Series, PerImageValues]]]":
    ordered = sorted(measured.values.items(), key=lambda item: (item[0][0], -1 if item[0][1] is None else item[0][1]))
    return [(recipe, dict(known)) for (recipe, _), known in ordered]


def _fixed(measured: Measured, name: str) -> bool:
    return all(line.seed is None for line in measured.results if line.recipe == name)
