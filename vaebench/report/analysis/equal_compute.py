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
from vaebench.runs.record import RunRecord
from vaebench.statistics.base import quantile

FEWEST_SEEDS = 3  # for an interval over seeds
Spent = Literal["flops", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of ``compute.csv``: a model after a part of its training, by one metric over all images.

    ``flops`` and ``seconds`` are means over the training seeds; ``None`` where they were not counted. ``flops_front``
    and ``seconds_front`` say whether no model, at any point of its training, has a mean at least as good for no more.
    They are ``None`` where that cannot be told: operations were not counted, or trainings ran on several machines.
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
    setting: str
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


def rows(measured: Measured, ranked: Sequence[leaderboard.Row]) -> list[Row]:
    """Make one part's rows, of the metrics that were measured at a snapshot; none where nothing was.

    Args:
        measured: one split and fingerprint.
        ranked: its leaderboard, which the values and intervals at the end of each training are taken from.
    """
    ends = {(row.recipe, row.metric, row.protocol): row for row in ranked if row.stratum == "all"}
    found: list[Row] = []
    key = attrgetter("line.metric", "line.protocol")
    for (metric, protocol), points in groupby(sorted(_points(measured), key=key), key=key):
        kept = list(points)
        if all(point.record.steps == point.whole for point in kept):
            continue
        target = ends.get((REAL, metric, protocol))
        cells = _cells(kept, ends)
        if kept[0].line.direction == "target" and (target is None or target.value is None):
            continue
        found += _with_fronts(cells, 0.0 if target is None or target.value is None else target.value)
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


def _cells(points: Sequence[_Point], ends: Mapping[tuple[str, str, str], leaderboard.Row]) -> list[Row]:
    """Average the seeds of each recipe at each length."""

    def key(point: _Point) -> tuple[object, ...]:
        return order_of(point.line.recipe), point.line.recipe, point.record.steps

    found = []
    for (_, recipe, steps), group in groupby(sorted(points, key=key), key=key):
        runs = sorted(group, key=lambda point: point.line.seed or 0)
        first = runs[0]
        end = ends.get((str(recipe), first.line.metric, first.line.protocol)) if steps == first.whole else None
        value, low, high = _interval(runs) if end is None else (end.value, end.ci_low, end.ci_high)
        facts = [point.record.training_facts() for point in runs]
        counted = [each.flops for each in facts if each.flops]
        assert value is not None
        found.append(
            Row(
                dataset=first.line.dataset,
                split=first.line.split,
                recipe=str(recipe),
                metric=first.line.metric,
                protocol=first.line.protocol,
                unit=first.line.unit,
                direction=first.line.direction,
                share=first.record.steps / first.whole,
                steps=first.record.steps,
                images=facts[0].images,
                flops=sum(counted) / len(counted) if len(counted) == len(facts) else None,
                seconds=sum(each.seconds for each in facts) / len(facts),
                setting="; ".join(sorted({_setting(point.record) for point in runs})),
                value=value,
                ci_low=low,
                ci_high=high,
                seeds=len(runs),
                by_seed=" ".join(f"{point.line.seed}={point.line.value:.10g}" for point in runs),
                facts=first.facts,
            )
        )
    return found


def _setting(record: RunRecord) -> str:
    """Say on what, and how, a training ran: seconds of different ones do not compare."""
    compute = record.compute
    return f"{compute.get('machine') or compute['device']}, {compute['precision']}, threads={compute['threads']}"


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
    alike = len({row.setting for row in cells}) == 1
    return [
        replace(
            row,
            flops_front=_is_unbeaten(row, cells, "flops", badness) if counted else None,
            seconds_front=_is_unbeaten(row, cells, "seconds", badness) if alike else None,
        )
        for row in cells
    ]


def _is_unbeaten(row: Row, cells: Sequence[Row], kind: Spent, badness: Callable[[Row], float]) -> bool:
    own = (row.spent(kind) or 0.0, badness(row))
    others = [(other.spent(kind) or 0.0, badness(other)) for other in cells if other is not row]
    return not any(cost <= own[0] and bad <= own[1] and (cost, bad) != own for cost, bad in others)


def front(cells: Sequence[Row], kind: Spent) -> list[tuple[str, float, float]]:
    """List the models that none beats on both cost and quality in one metric, each with the least and the greatest
    cost at which that holds, the cheapest first.
    """
    costs: dict[str, list[float]] = {}
    for row in cells:
        if row.on_front(kind):
            costs.setdefault(row.recipe, []).append(row.spent(kind) or 0.0)
    return sorted(((name, min(each), max(each)) for name, each in costs.items()), key=lambda one: one[1:])


def by_metric(table: Sequence[Row]) -> list[list[Row]]:
    """Split the rows by metric and protocol, in their order."""
    return [list(group) for _, group in groupby(table, key=lambda row: (row.metric, row.protocol))]
