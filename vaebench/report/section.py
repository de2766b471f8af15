"""Gather what the pages are made of: one part of a dataset's results, and all that is computed from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vaebench import __version__
from vaebench.core.setting_names import order_of
from vaebench.metrics import declared_today
from vaebench.report.analysis import attributes, comparisons, equal_compute, latent_space, leaderboard, variance
from vaebench.report.analysis.judging import Judged
from vaebench.report.analysis.mean_ranks import MeanRanks
from vaebench.report.analysis.measured import Measured
from vaebench.report.answer import Answer
from vaebench.report.remarks import Remarks

WARNINGS_SHOWN = 6  # of a run; its file has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteReport:
    """A report of a suite: its name, which is its folder's; its title and source; its models and their seeds."""

    name: str
    title: str
    source: str
    models: frozenset[str]
    seeds: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One split and data fingerprint of a dataset, with all that is computed from it."""

    measured: Measured
    ranked: Sequence[leaderboard.Row]
    tested: Sequence[comparisons.Row]
    probed: Sequence[attributes.Row]
    held: Sequence[Judged]
    captions: Mapping[str, str]  # a figure's path within ``folder`` -> caption
    remarks: Remarks
    folder: Path
    mean_ranks: MeanRanks = field(default_factory=MeanRanks)
    spread: Sequence[variance.Row] = ()
    studied: Sequence[latent_space.Row] = ()
    computed: Sequence[equal_compute.Row] = ()  # quality against the compute of training
    alternatives: Mapping[str, str] = field(default_factory=dict)  # a figure's path -> what it shows, in words
    suite: SuiteReport | None = None  # whose report it is; None: of all that was measured on the dataset
    answer: Answer | None = None  # what it found, computed from the rest; pages open with it

    @property
    def heading(self) -> str:
        """The suite's title, or the dataset's name."""
        return self.suite.title if self.suite else self.measured.dataset

    @property
    def images(self) -> str:
        """The split, and the size of its images where a training's record says it: ``test, 64 x 64 pixels``."""
        sizes = {tuple(record.image_shape[1:]) for record in self.measured.records.values()}
        split = self.measured.results[0].split
        return f"{split}, {' x '.join(map(str, *sizes))} pixels" if len(sizes) == 1 else split


def declared_otherwise(measured: Measured) -> list[str]:
    """List metrics of other versions' measurements whose direction or margin this version declares otherwise.

    Margins of refused or undeclared metrics do not count. Imports torch if there are such measurements.
    """
    found = set()
    for line in measured.results:
        if line.provenance.vaebench_version == __version__ or line.value is None:
            continue
        spec = declared_today(line.metric, line.protocol)
        if spec and spec.margin and line.margin and (line.direction, line.margin) != (spec.direction, spec.margin):
            found.add(line.metric)
    return sorted(found)


def mixed_seeds(measured: Measured) -> list[str]:
    """Warn of each recipe whose seeds were not trained alike: its values then mix different models."""
    return [
        f"{name}: its seeds differ in {', '.join(fields)}, so its column mixes different models."
        for name, fields in measured.mixed().items()
    ]


def training_warnings(measured: Measured) -> list[str]:
    """List warnings of adversarial trainings."""
    found = []
    for (recipe, seed), lines in sorted(measured.warnings.items(), key=lambda item: (order_of(item[0][0]), str(item))):
        more = [f"and {len(lines) - WARNINGS_SHOWN} more"] if len(lines) > WARNINGS_SHOWN else []
        found += [f"{recipe}/seed-{seed}, {line}" for line in (*lines[:WARNINGS_SHOWN], *more)]
    return found
