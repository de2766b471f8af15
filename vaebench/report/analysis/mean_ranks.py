"""Mean ranks of models over several metrics, and how far they depend on the training seed."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from vaebench.core.results import Facts, Result
from vaebench.core.subjects import REAL, is_model
from vaebench.report.analysis import leaderboard
from vaebench.report.analysis.measured import Measured

Cell = tuple[str, str]  # metric and protocol
DRAWS = 100_000  # of seeds: more than that are not counted out


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRanks:
    """Mean ranks over one metric a question, best first, and shares of seed draws in which each model is best.

    Mean ranks describe the table: they come without a p-value, since metrics overlap in what they measure, and tests
    that take them for independent call equal models different in half of all tables. Without two models and two
    questions in common ``names`` is empty.
    """

    names: tuple[str, ...] = ()
    average_ranks: tuple[float, ...] = ()
    metrics: tuple[str, ...] = ()
    stability: Mapping[Cell, Mapping[str, float]] = field(default_factory=dict)


def mean_ranks(measured: Measured, ranked: Sequence[leaderboard.Row]) -> MeanRanks:
    """Compute the mean ranks of one part.

    Of the metrics that answer one question the first headline counts, or else the first in reading order. Metrics
    without a margin (costs) and those that only describe are left out.
    """
    models = [name for name in measured.models() if is_model(name)]
    cells: dict[Cell, dict[str, float]] = {}
    facts: dict[Cell, Facts] = {}
    for row in ranked:
        score = _score(row, ranked)
        if score is not None and row.recipe in models and row.facts.ranked and row.facts.averaged:
            cells.setdefault((row.metric, row.protocol), {})[row.recipe] = score
            facts[row.metric, row.protocol] = row.facts
    stability = {cell: share for cell in cells if (share := _best(measured, cell, ranked))}
    chosen = _one_a_question([cell for cell, scores in cells.items() if len(scores) == len(models)], facts)
    if len(models) < 2 or len(chosen) < 2:
        return MeanRanks(stability=stability)
    scores = np.array([[cells[cell][name] for name in models] for cell in chosen])
    average = rankdata(-scores, axis=1).mean(axis=0)
    order = sorted(range(len(models)), key=lambda position: (average[position], models[position]))
    return MeanRanks(
        names=tuple(models[position] for position in order),
        average_ranks=tuple(float(average[position]) for position in order),
        metrics=tuple(f"{metric} ({protocol})" for metric, protocol in chosen),
        stability=stability,
    )


def _one_a_question(cells: Sequence[Cell], facts: Mapping[Cell, Facts]) -> list[Cell]:
    """Choose the cell that stands for each question: the first headline, or else the first in reading order."""
    chosen: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: (facts[cell].headline or 99, facts[cell].place, *cell)):
        chosen.setdefault(facts[cell].question, cell)
    return list(chosen.values())


def _score(row: leaderboard.Row, ranked: Sequence[leaderboard.Row]) -> float | None:
    """Return a score for which higher is better; ``None`` for what does not count."""
    if row.stratum != "all" or row.value is None or not row.margin:
        return None
    return _better(row.value, row.direction, _target(row.metric, row.protocol, ranked))


def _target(metric: str, protocol: str, ranked: Sequence[leaderboard.Row]) -> float | None:
    wanted = (metric, protocol, "all", REAL)
    return next((row.value for row in ranked if (row.metric, row.protocol, row.stratum, row.recipe) == wanted), None)


def _better(value: float, direction: str, target: float | None) -> float | None:
    if direction == "target":
        return None if target is None else -abs(value - target)
    return value if direction == "higher" else -value


def _best(measured: Measured, cell: Cell, ranked: Sequence[leaderboard.Row]) -> dict[str, float]:
    """Compute how often each recipe is best if one training seed of each is drawn; empty if none has several."""
    target = _target(*cell, ranked)
    seeds: dict[str, list[float]] = {}
    for line in measured.results:
        score = _of_seed(line, cell, target)
        if score is not None and is_model(line.recipe):
            seeds.setdefault(line.recipe, []).append(score)
    if len(seeds) < 2 or max(map(len, seeds.values())) < 2:
        return {}
    return _shares_best(seeds)


def _of_seed(line: Result, cell: Cell, target: float | None) -> float | None:
    if (line.metric, line.protocol) != cell or line.stratum != "all" or line.value is None:
        return None
    return _better(line.value, line.direction, target)


def _shares_best(seeds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Count over all ways of drawing one seed of each; a tie is shared."""
    if math.prod(map(len, seeds.values())) > DRAWS:
        return {}
    draws = np.array(list(itertools.product(*seeds.values())))
    best = draws == draws.max(axis=1, keepdims=True)
    shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(seeds, map(float, shares), strict=True))
