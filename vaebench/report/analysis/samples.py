"""Collect one recipe's values of one metric, seeds stacked, as comparisons need them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaebench.core.margin import Margin, read_margin
from vaebench.core.results import PARTS, Result
from vaebench.report.analysis.measured import Mask, Measured
from vaebench.runs.per_image import PerImageValues, Series

Direction = Literal["higher", "lower", "target"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One recipe's values of one metric: (seeds, images) on the images that ``ids`` names, or (seeds, 1) and no ids."""

    name: str
    ids: tuple[str, ...]
    values: NDArray[np.float64]
    fixed: bool  # the real images, or images made elsewhere: no training seed stands behind them
    influence: bool = False  # what images contribute to a value of all together
    clusters: NDArray[np.int64] | None = None  # (images,): who is on each, where that is known
    extractor: str = ""  # hash of the weights that the metric's features come from

    def on(self, mask: Mask | None) -> "Sample":
        """Return the same on a stratum."""
        if mask is None:
            return self
        ids = tuple(itertools.compress(self.ids, mask))
        clusters = None if self.clusters is None else self.clusters[mask]
        return replace(self, ids=ids, values=self.values[:, mask], clusters=clusters)


def samples_of(measured: Measured, series: Series) -> list[Sample]:
    """Return the recipes that have per-image values of this series, every seed on the same images."""
    groups = []
    for name in measured.recipes():
        found: list[PerImageValues] = [
            known[series] for subject, known in _by_seed(measured) if subject == name and series in known
        ]
        lines = _lines(measured, series, name)
        if not found or len(found) < len(lines) or any(content.ids != found[0].ids for content in found):
            continue  # some seeds were measured on other images, or without values of each
        people = measured.people.get(series.data_fingerprint, {})
        clusters = np.array([people[image] for image in found[0].ids]) if people.keys() >= {*found[0].ids} else None
        groups.append(
            Sample(
                name=name,
                ids=found[0].ids,
                values=np.stack([content.values for content in found]),
                fixed=_fixed(measured, name),
                influence=found[0].influence,
                clusters=clusters,
                extractor=_extractor(lines),
            )
        )
    return groups


def whole_values(measured: Measured, series: Series) -> list[Sample]:
    """Return every recipe's values of this series from the results, one a run."""
    groups = []
    for name in measured.recipes():
        lines = _lines(measured, series, name)
        if lines:
            values = np.array([[line.value] for line in lines], dtype=np.float64)
            groups.append(Sample(name, (), values, _fixed(measured, name), extractor=_extractor(lines)))
    return groups


def every_series(measured: Measured) -> list[Series]:
    """List all series that have a value, parts (attributes) included."""
    return sorted(
        {
            Series(line.dataset, line.split, line.provenance.data_fingerprint, line.metric, line.protocol, line.stratum)
            for line in measured.results
            if line.value is not None and (line.stratum == "all" or line.stratum.startswith(PARTS))
        }
    )


def _lines(measured: Measured, series: Series, name: str) -> list[Result]:
    """Return one recipe's results that have a value, by seed."""
    wanted = (name, series.metric, series.protocol, series.stratum, series.data_fingerprint)
    found = [
        line
        for line in measured.results
        if line.value is not None
        and (line.recipe, line.metric, line.protocol, line.stratum, line.provenance.data_fingerprint) == wanted
    ]
    return sorted(found, key=lambda line: -1 if line.seed is None else line.seed)


def _extractor(lines: Sequence[Result]) -> str:
    """Hash of the features' weights; if seeds differ in it, all their hashes."""
    return "+".join(sorted({line.provenance.extractor_sha256 for line in lines}))


def direction_of(measured: Measured, series: Series) -> Direction:
    """Return the direction that the metric declared when it was measured."""
    directions: dict[str, Direction] = {"higher": "higher", "lower": "lower", "target": "target"}
    return directions[_declared(measured, series).direction]


def margin_of(measured: Measured, series: Series) -> Margin | None:
    """Return the margin that the metric declared when it was measured."""
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
