"""One row a recipe, metric, protocol and stratum: the rows of ``leaderboard.csv``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from scipy import stats

from vaebench import statistics
from vaebench.core.results import Result
from vaebench.report import comparisons
from vaebench.report.collect import BASELINE, REAL, Measured

# tests over training seeds speak of the recipe, tests over images of these checkpoints: the former decide
_RANKING_TESTS = ("welch-t-seeds", "one-sample-t-seeds", "paired-t", "welch-t-images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Columns as INTERFACE.md fixes them; ``None`` is an empty cell."""

    dataset: str
    split: str
    stratum: str
    recipe: str
    metric: str
    protocol: str
    unit: str
    direction: str
    value: float | None
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    seeds: int
    n: int
    rank_low: int | None
    rank_high: int | None
    data_fingerprint: str
    extractor_sha256: str
    vaebench_version: str
    device: str
    note: str


def leaderboard(measured: Measured, tested: Sequence[comparisons.Row]) -> list[Row]:
    """All rows, with ranks that the comparisons support."""
    ordered = sorted(measured.results, key=lambda line: (*_cell(line), line.recipe != REAL, line.recipe))
    rows = []
    for _, lines in groupby(ordered, key=lambda line: (*_cell(line), line.recipe)):
        rows.append(_row(sorted(lines, key=lambda line: line.seed if line.seed is not None else -1)))
    return [_ranked(row, rows, tested) for row in rows]


def _cell(line: Result) -> tuple[str, ...]:
    """What one comparison is about; recipes differ within it."""
    source = line.provenance
    first = "" if line.stratum == "all" else line.stratum
    return (line.split, line.metric, line.protocol, first, source.data_fingerprint, source.extractor_sha256)


def _row(lines: Sequence[Result]) -> Row:
    """One recipe's seeds as one row."""
    head, source = lines[0], lines[0].provenance
    usable = [line.value for line in lines if line.value is not None]
    value, error, low, high = _interval(lines, usable)
    seeds = sum(line.seed is not None and (line.value is not None or not usable) for line in lines)
    notes = sorted({line.note for line in lines if line.note})
    if len({line.n for line in lines if line.value is not None}) > 1:
        notes.append("seeds were measured on different numbers of images: only those alike are tested together")
    if error and seeds == 1:
        notes.append("one training seed: the interval is over images, of this checkpoint only")
    return Row(
        dataset=head.dataset,
        split=head.split,
        stratum=head.stratum,
        recipe=head.recipe,
        metric=head.metric,
        protocol=head.protocol,
        unit=head.unit,
        direction=head.direction,
        value=value,
        std_error=error,
        ci_low=low,
        ci_high=high,
        seeds=seeds,
        n=max(line.n for line in lines),
        rank_low=None,
        rank_high=None,
        data_fingerprint=source.data_fingerprint,
        extractor_sha256=source.extractor_sha256,
        vaebench_version=source.vaebench_version,
        device=source.device,
        note="; ".join(notes),
    )


def _interval(
    lines: Sequence[Result], usable: Sequence[float]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Value, standard error and 95 % interval: over training seeds where there are several, else over images."""
    if not usable:
        return None, None, None, None
    exact = all(line.std_error == 0 for line in lines)
    if len(set(usable)) == 1 and len(usable) > 1 and not exact:
        return usable[0], None, None, None  # seeds that agree do not make a measurement exact
    if len(usable) > 1:
        return statistics.mean_interval(usable)
    error = next(line.std_error for line in lines if line.value is not None)
    if error is None:
        return usable[0], None, None, None
    n = next(line.n for line in lines if line.value is not None)
    half = float(stats.t.isf(0.025, n - 1)) * error if error else 0.0  # an exact value has no degrees of freedom
    return usable[0], error, usable[0] - half, usable[0] + half


def _ranked(row: Row, rows: Sequence[Row], tested: Sequence[comparisons.Row]) -> Row:
    """Best and worst rank that the tests leave open among trained and external recipes; the real images have none.

    An exact value (a count of parameters) ranks by itself. Where no test speaks, no rank is given.
    """
    rivals = [other for other in rows if _same_cell(row, other) and _ranks(other)]
    if not _ranks(row):
        return row
    better = worse = 0
    for rival in rivals:
        if rival.recipe == row.recipe:
            continue
        outcome = _outcome(row, rival, tested)
        if outcome is None:
            return row
        better += outcome > 0
        worse += outcome < 0
    return replace(row, rank_low=1 + worse, rank_high=len(rivals) - better)


def _ranks(row: Row) -> bool:
    return row.value is not None and row.recipe != REAL and not row.recipe.startswith(BASELINE)


def _same_cell(row: Row, other: Row) -> bool:
    names = ("split", "stratum", "metric", "protocol", "data_fingerprint", "extractor_sha256")
    return all(getattr(row, name) == getattr(other, name) for name in names)


def _outcome(row: Row, rival: Row, tested: Sequence[comparisons.Row]) -> int | None:
    """1 where ``row`` is significantly better than ``rival``, -1 where worse, 0 unresolved, None untested."""
    cell = (row.split, row.stratum, row.metric, row.protocol)
    found = {
        test.test: test
        for test in tested
        if (test.split, test.stratum, test.metric, test.protocol) == cell
        and {test.a, test.b} == {row.recipe, rival.recipe}
    }
    decisive = next((found[name] for name in _RANKING_TESTS if name in found), None)
    if decisive is not None:
        if decisive.verdict == "unresolved":
            return 0
        winner = decisive.a if decisive.verdict == "a" else decisive.b
        return 1 if winner == row.recipe else -1
    exact = [part for part in (row, rival) if part.std_error == 0]
    if len(exact) < 2 or row.direction == "target" or row.value is None or rival.value is None:
        return None
    sign = int(np.sign(row.value - rival.value))
    return sign if row.direction == "higher" else -sign
