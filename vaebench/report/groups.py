"""One recipe's values of one metric, seeds stacked: what two recipes are compared by."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaebench.core.metric import Direction
from vaebench.per_image import PerImageValues, Series
from vaebench.report.collect import REAL, Mask, Measured

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """One recipe's values of one metric: (seeds, images) on the images that ``ids`` names, or (seeds, 1) and no ids."""

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

    def mirrored(self, centre: "Vector | float") -> "Group":
        """``2 * centre - values``, about one value or image by image."""
        return replace(self, values=2 * centre - self.values)


def groups_of(measured: Measured, series: Series) -> list[Group]:
    """The recipes with per-image values of this series; seeds on other images than the first are left out."""
    groups = []
    for name in measured.recipes():
        found: list[PerImageValues] = [
            known[series] for subject, known in _by_seed(measured) if subject == name and series in known
        ]
        if found:
            same = [content.values for content in found if content.ids == found[0].ids]
            groups.append(Group(name, found[0].ids, np.stack(same), _fixed(measured, name)))
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
    wanted = (series.metric, series.protocol)
    found = next(line.direction for line in measured.results if (line.metric, line.protocol) == wanted)
    directions: dict[str, Direction] = {"higher": "higher", "lower": "lower", "target": "target"}
    return directions[found]


def _by_seed(measured: Measured) -> "list[tuple[str, dict[Series, PerImageValues]]]":
    ordered = sorted(measured.values.items(), key=lambda item: (item[0][0], -1 if item[0][1] is None else item[0][1]))
    return [(recipe, dict(known)) for (recipe, _), known in ordered]


def _fixed(measured: Measured, name: str) -> bool:
    return all(line.seed is None for line in measured.results if line.recipe == name)
