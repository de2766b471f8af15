"""Lay quality against the compute of training: every model at its snapshots and at its end (``compute.csv``)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import Literal

from vaebench import statistics
from vaebench.core.results import Facts, Result
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import REAL
from vaebench.metrics import facts_of
from vaebench.report.analysis import leaderboard
from vaebench.report.analysis.formatting import HIDDEN
from vaebench.report.analysis.measured import Measured
from vaebench.runs.record import ELSEWHERE, RunRecord
from vaebench.statistics.base import quantile

BETWEEN = "; "  # settings of one row
FEWEST_SEEDS = 3  # for an interval over seeds
Spent = Literal["flops", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of ``compute.csv``: a model after a part of its training, by one metric over all images.

    Means are over training seeds, the same at all points of a recipe. ``flops`` is ``None`` where they were not
    counted. ``flops_front`` and ``seconds_front`` say whether no model, at any point of its training, has a mean at
    least as good for no more. They are ``None`` where that cannot be told: operations were not counted, or a training
    ran on another machine, or in another way, than most models' did, whose seconds are compared among themselves.
    """

    dataset: str
    split: str
    recipe: str
    metric: str
    protocol: str
    unit: str
    direction: str
    share: float
    steps: int
    images: int
    flops: float | None
    seconds: float
    setting: str  # of several, "; " between them
    value: float
    ci_low: float | None
    ci_high: float | None
    seeds: int
    by_seed: str
    flops_front: bool | None = None
    seconds_front: bool | None = None
    facts: Facts = field(default_factory=Facts, metadata=HIDDEN)

    def spent(self, kind: Spent) -> float | None:
        """Return what the training had cost by then."""
        return self.flops if kind == "flops" else self.seconds

    def on_front(self, kind: Spent) -> bool | None:
        """Tell whether no model is as good for no more."""
        return self.flops_front if kind == "flops" else self.seconds_front


@dataclass(frozen=True, slots=True)
class _Point:
    """One run after so many steps, by one metric."""

    record: RunRecord
    whole: int  # steps of the training
    line: Result
    facts: Facts

    @property
    def is_whole(self) -> bool:
        """Whether it is the end of the training."""
        return self.record.steps == self.whole


def rows(measured: Measured, ranked: Sequence[leaderboard.Row]) -> list[Row]:
    """Make one part's rows, of the metrics that were measured at a snapshot; none where nothing was.

    Args:
        measured: one split and fingerprint.
        ranked: its leaderboard, which has the originals' values.
    """
    targets = {(row.metric, row.protocol): row.value for row in ranked if (row.recipe, row.stratum) == (REAL, "all")}
    each_step = _operations(measured)
    found: list[Row] = []
    key = attrgetter("line.metric", "line.protocol")
    for place, points in groupby(sorted(_points(measured), key=key), key=key):
        kept = list(points)
        if all(point.is_whole for point in kept):
            continue
        target = targets.get(place)
        if kept[0].line.direction != "target" or target is not None:
            found += _with_fronts(_cells(kept, each_step), target or 0.0)
    return sorted(found, key=lambda row: (row.facts.headline or math.inf, row.metric, row.protocol))


def _points(measured: Measured) -> Iterable[_Point]:
    """Yield every ranked value over all images, of every run at every point of its training."""
    whole = {key: record.steps for key, record in measured.records.items()}
    stages = [(record, measured.results, key) for key, record in measured.records.items()]
    stages += [(one.record, one.results, key) for key, found in measured.snapshots.items() for one in found]
    for record, lines, (recipe, seed) in stages:
        for line in lines:
            if (line.recipe, line.seed, line.stratum) == (recipe, seed, "all") and line.value is not None:
                facts = facts_of(line)
                if facts.ranked:
                    yield _Point(record, whole[recipe, seed], line, facts)


def _operations(measured: Measured) -> dict[str, float]:
    """Return the operations of one step of each recipe of which a training counted them."""
    known = [*measured.records.values(), *(one.record for found in measured.snapshots.values() for one in found)]
    facts = [(record.recipe, record.training_facts()) for record in known]
    return {name: each.flops / each.steps for name, each in facts if each.steps and 0 < each.flops < math.inf}


def _cells(points: Sequence[_Point], each_step: Mapping[str, float]) -> list[Row]:
    """Average the seeds of each recipe at each length: the same seeds at all of them."""

    def key(point: _Point) -> tuple[object, ...]:
        return order_of(point.line.recipe), point.line.recipe

    recipes = [list(group) for _, group in groupby(sorted(points, key=key), key=key)]
    return [_row(runs, each_step) for own in recipes for runs in _stages(own)]


def _stages(points: Sequence[_Point]) -> list[list[_Point]]:
    """Choose the points of one recipe at which the same seeds were measured, and sort them by length.

    Seeds that were trained for less than the longest, and seeds without snapshots beside seeds that have some, are left
    out: a mean over other seeds would stand beside the others as if it were their like.
    """
    longest = max(point.whole for point in points)
    usable = [point for point in points if point.whole == longest]
    followed = {point.line.seed for point in usable if not point.is_whole}
    usable = [point for point in usable if point.line.seed in followed or not followed]
    seeds = {point.line.seed for point in usable}
    lengths = sorted({point.record.steps for point in usable})
    stages = [[point for point in usable if point.record.steps == steps] for steps in lengths]
    whole = [stage for stage in stages if {point.line.seed for point in stage} == seeds]
    return [sorted(stage, key=lambda point: point.line.seed or 0) for stage in whole]


def _row(runs: Sequence[_Point], each_step: Mapping[str, float]) -> Row:
    first, each = runs[0], each_step.get(runs[0].line.recipe)
    value, low, high = _interval(runs)
    facts = [point.record.training_facts() for point in runs]
    return Row(
        dataset=first.line.dataset,
        split=first.line.split,
        recipe=first.line.recipe,
        metric=first.line.metric,
        protocol=first.line.protocol,
        unit=first.line.unit,
        direction=first.line.direction,
        share=first.record.steps / first.whole,
        steps=first.record.steps,
        images=facts[0].images,
        flops=None if each is None else each * first.record.steps,
        seconds=sum(one.seconds for one in facts) / len(facts),
        setting=BETWEEN.join(sorted({_setting(point.record) for point in runs})),
        value=value,
        ci_low=low,
        ci_high=high,
        seeds=len(runs),
        by_seed=" ".join(f"{point.line.seed}={point.line.value:.10g}" for point in runs),
        facts=first.facts,
    )


def _setting(record: RunRecord) -> str:
    """Say on what, and how, a training ran: seconds of different ones do not compare."""
    return f"{record.compute.get('machine', '')}, {record.training_facts().setting}".removeprefix(", ")


def _interval(runs: Sequence[_Point]) -> tuple[float, float | None, float | None]:
    """Return mean and 95 % interval: over seeds, of a single one over images; two seeds are too few for one."""
    values = [point.line.value for point in runs if point.line.value is not None]
    if len(values) >= FEWEST_SEEDS and len(set(values)) > 1:
        found = statistics.nested_mean([[value] for value in values])
        return found.value, found.ci_low, found.ci_high
    mean, error = sum(values) / len(values), runs[0].line.std_error
    if len(values) > 1 or error is None:
        return mean, None, None
    half = quantile(runs[0].line.n - 1) * error if error else 0.0
    return mean, mean - half, mean + half


def _with_fronts(cells: Sequence[Row], target: float) -> list[Row]:
    """Mark the rows of one metric that no other beats on cost and quality."""

    def badness(row: Row) -> float:
        return {"lower": row.value, "higher": -row.value, "target": abs(row.value - target)}[row.direction]

    counted = all(row.flops is not None for row in cells)
    shared = _shared_setting(cells)
    alike = [row for row in cells if row.setting == shared]
    return [
        replace(
            row,
            flops_front=_is_unbeaten(row, cells, "flops", badness) if counted else None,
            seconds_front=_is_unbeaten(row, alike, "seconds", badness) if row.setting == shared else None,
        )
        for row in cells
    ]


def _shared_setting(cells: Sequence[Row]) -> str | None:
    """Return the setting that most models were trained in, of several two or more; None where there is none, or as
    many were trained in another. What averages over settings was trained in none of them.
    """
    models: dict[str, set[str]] = {}
    for row in cells:
        models.setdefault(row.setting, set()).add(row.recipe)
    ordered = sorted(models, key=lambda setting: -len(models[setting]))
    first, *others = [len(models[setting]) for setting in ordered]
    most = not others or (first > 1 and first > others[0])
    known = not any(part in ordered[0] for part in (ELSEWHERE, BETWEEN))
    return ordered[0] if most and known else None


def _is_unbeaten(row: Row, cells: Sequence[Row], kind: Spent, badness: Callable[[Row], float]) -> bool:
    own = (row.spent(kind) or 0.0, badness(row))
    others = [(other.spent(kind) or 0.0, badness(other)) for other in cells if other is not row]
    return not any(cost <= own[0] and bad <= own[1] and (cost, bad) != own for cost, bad in others)


def front(cells: Sequence[Row], kind: Spent) -> list[tuple[str, float, float]]:
    """List the models that none beats on both cost and quality in one metric, the cheapest first; each with the least
    and the greatest cost of neighbouring points at which that holds.
    """
    found: list[tuple[str, float, float]] = []
    for recipe in dict.fromkeys(row.recipe for row in cells):
        own = sorted((row for row in cells if row.recipe == recipe), key=lambda row: row.steps)
        for unbeaten, group in groupby(own, key=lambda row: bool(row.on_front(kind))):
            costs = [row.spent(kind) or 0.0 for row in group]
            found += [(recipe, min(costs), max(costs))] if unbeaten else []
    return sorted(found, key=lambda one: one[1:])


def by_metric(table: Sequence[Row]) -> list[list[Row]]:
    """Split the rows by metric and protocol, in their order."""
    return [list(group) for _, group in groupby(table, key=lambda row: (row.metric, row.protocol))]
