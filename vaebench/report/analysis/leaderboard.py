"""Rank recipes on each metric by intervals of ranks: one row per recipe, metric, protocol and stratum."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from vaebench import statistics
from vaebench.core.margin import MIXED
from vaebench.core.results import Facts, Result
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import TRAINING_IMAGES, is_model, is_real
from vaebench.metrics import facts_of
from vaebench.report.analysis import comparisons
from vaebench.report.analysis.formatting import HIDDEN, or_none
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.report.analysis.samples import Sample, samples_of
from vaebench.runs.per_image import Series
from vaebench.statistics import Estimate
from vaebench.statistics.base import quantile

BELOW_THE_FLOOR = "below the floor of real images"
ABOVE_THE_CEILING = "above the ceiling of real images"
Decided = Mapping[tuple[str, str, str, str, frozenset[str]], comparisons.Row]  # what is tested, and the pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of ``leaderboard.csv``, whose columns scripts rely on; ``None`` is an empty cell."""

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
    margin: str  # what difference matters, as the metric declares it: absolute, or a share such as 5%
    df: float | None  # degrees of freedom of the interval; None where it is exact or unknown
    by_seed: str = ""  # the value of each training seed, such as ``0=0.0312 1=0.0298``
    lowest: float | None = None  # the least value that the metric can have
    highest: float | None = None  # the greatest
    facts: Facts = field(default_factory=Facts, metadata=HIDDEN)  # how the metric is shown
    beyond_real: str = field(default="", metadata=HIDDEN)  # that it reads better than real images do; in the note, too


def leaderboard(measured: Measured, tested: Sequence[comparisons.Row]) -> list[Row]:
    """Make all rows, with the rank intervals that the tests support."""
    matrices = _matrices(measured)
    ordered = sorted(measured.results, key=lambda line: (*_cell(line), not is_real(line.recipe), order_of(line.recipe)))
    rows = []
    for _, lines in groupby(ordered, key=lambda line: (*_cell(line), line.recipe)):
        seeds = sorted(lines, key=lambda line: line.seed if line.seed is not None else -1)
        rows.append(_row(seeds, _on_stratum(seeds[0], matrices, measured)))
    rivals: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if _can_be_ranked(row):
            rivals.setdefault(_place(row), []).append(row)
    decisive = comparisons.decisive(tested)
    decided = {(*_subject(test), frozenset((test.a, test.b))): test for test in decisive}
    borrowed: dict[tuple[str, ...], list[str]] = {}
    for test in decisive:
        if test.note and test.note not in CHECKPOINTS:
            for name in (test.a, test.b):
                borrowed.setdefault((*_subject(test), name), []).append(test.note)
    mixed = {name: f"{MIXED}: its seeds differ in {', '.join(fields)}" for name, fields in measured.mixed().items()}
    for row in rows:
        if row.recipe in mixed:
            borrowed.setdefault((*_subject(row), row.recipe), []).append(mixed[row.recipe])
    floors = {_place(row): row.value for row in rows if row.recipe == TRAINING_IMAGES and row.value is not None}
    rows = [replace(row, beyond_real=_beyond_real(row, floors.get(_place(row)))) for row in rows]
    for row in rows:
        if row.beyond_real:
            borrowed.setdefault((*_subject(row), row.recipe), []).append(row.beyond_real)
    rows = [_noted(row, borrowed.get((*_subject(row), row.recipe), ())) for row in rows]
    return [_ranked(row, rivals[_place(row)], decided) if _can_be_ranked(row) else row for row in rows]


def _noted(row: Row, notes: Sequence[str]) -> Row:
    """Add what tests of unequal numbers of seeds, records that differ, and real images say of the row."""
    return replace(row, note="; ".join([*([row.note] if row.note else []), *notes])) if notes else row


def _beyond_real(row: Row, floor: float | None) -> str:
    """Say where a model reads better than as many real training images do: that is no sign of a better model."""
    if floor is None or row.value is None or not is_model(row.recipe):
        return ""
    if row.direction == "lower" and row.value < floor:
        return f"{BELOW_THE_FLOOR}: {row.n:,} training images read {floor:.4g}"
    if row.direction == "higher" and row.value > floor:
        return f"{ABOVE_THE_CEILING}: {row.n:,} training images read {floor:.4g}"
    return ""


def protocol_ends(metric: str, protocol: str) -> tuple[str, str, str]:
    """Return metric and first and last part of a protocol, leaving out what only a measurement knows, such as n."""
    parts = protocol.split("/")
    return metric, parts[0], parts[-1]


def _cell(line: Result) -> tuple[str, ...]:
    """Return the key of one comparison; recipes differ within it."""
    source = line.provenance
    first = "" if line.stratum == "all" else line.stratum
    return (line.split, line.metric, line.protocol, first, source.data_fingerprint, source.extractor_sha256)


def _matrices(measured: Measured) -> dict[tuple[Series, str], Sample]:
    """Return (series, recipe) -> its values (seeds, images)."""
    every = {series for known in measured.values.values() for series in known}
    return {(series, group.name): group for series in every for group in samples_of(measured, series)}


def _on_stratum(line: Result, matrices: Mapping[tuple[Series, str], Sample], measured: Measured) -> Sample | None:
    """Find the per-image values behind a row: those of its stratum if they are stored, else that part of all images."""
    fingerprint = line.provenance.data_fingerprint
    series = Series(line.dataset, line.split, fingerprint, line.metric, line.protocol)
    own = matrices.get((replace(series, stratum=line.stratum), line.recipe))
    if own is not None or line.stratum == "all":
        return own
    whole = matrices.get((series, line.recipe))
    mask = measured.strata.get(fingerprint, {}).get(line.stratum)
    if whole is None or mask is None or len(mask) != len(whole.ids):
        return None
    return whole.on(mask)


def _row(lines: Sequence[Result], group: Sample | None) -> Row:
    """Combine one recipe's seeds into one row."""
    head, source = lines[0], lines[0].provenance
    usable = [line.value for line in lines if line.value is not None]
    found = _estimate(lines, usable, group)
    seeds = sum(line.seed is not None and (line.value is not None or not usable) for line in lines)
    notes, facts = sorted({line.note for line in lines if line.note}), facts_of(head)
    if len({line.n for line in lines if line.value is not None}) > 1:
        notes.append("seeds were measured on different numbers of images: only those alike are tested together")
    if found.std_error > 0 and seeds == 1:
        notes.append("one training seed: the interval is over images, of this checkpoint only")
    if found.std_error > 0 and seeds == 2:
        found = replace(found, ci_low=math.nan, ci_high=math.nan)
        both = " and ".join(f"{value:.4g}" for value in usable)
        notes.append(f"two training seeds ({both}) are too few for an interval: train one more")
    return Row(
        dataset=head.dataset,
        split=head.split,
        stratum=head.stratum,
        recipe=head.recipe,
        metric=head.metric,
        protocol=head.protocol,
        unit=head.unit,
        direction=head.direction,
        value=or_none(found.value),
        std_error=or_none(found.std_error),
        ci_low=_within(found.ci_low, facts),
        ci_high=_within(found.ci_high, facts),
        seeds=seeds,
        n=max(line.n for line in lines),
        rank_low=None,
        rank_high=None,
        data_fingerprint=source.data_fingerprint,
        extractor_sha256=source.extractor_sha256,
        vaebench_version=source.vaebench_version,
        device=source.device,
        note="; ".join(notes),
        margin=head.margin,
        df=or_none(found.df),
        by_seed=" ".join(f"{line.seed}={line.value:.10g}" for line in lines if None not in (line.seed, line.value)),
        lowest=facts.lowest,
        highest=facts.highest,
        facts=facts,
    )


def _within(end: float, facts: Facts) -> float | None:
    """Return an interval's end within the bounds that the metric declares; None for NaN."""
    if math.isnan(end):
        return None
    least = end if facts.lowest is None else max(end, facts.lowest)
    return least if facts.highest is None else min(least, facts.highest)


def _estimate(lines: Sequence[Result], usable: Sequence[float], group: Sample | None) -> Estimate:
    """Compute value and 95 % interval: over training seeds and images if there are several seeds, else over images.

    Without values image by image: over seeds alone, or as the metric says of the one. Seeds that agree to the last
    digit do not make a measurement exact, unless it is a count.
    """
    if not usable:
        return _bare(math.nan)
    exact = all(line.std_error == 0 for line in lines)
    value = statistics.nested_mean([[each] for each in usable]).value
    if group is not None and group.values.shape[1] > 1 and len(group.values) == len(usable):
        # what the metric said counts: the values beside it are kept with fewer digits
        return _moved(statistics.nested_mean(group.values, group.clusters), value)
    if len(usable) > 1 and (exact or len(set(usable)) > 1):
        return statistics.nested_mean([[each] for each in usable])
    error = next((line.std_error for line in lines if line.value is not None), None)
    if len(usable) > 1 or error is None:
        return _bare(value)
    n = next(line.n for line in lines if line.value is not None)
    half = quantile(n - 1) * error if error else 0.0  # an exact value has no degrees of freedom
    return Estimate(value, error, n - 1.0 if error else math.nan, value - half, value + half, math.nan)


def _bare(value: float) -> Estimate:
    """Return a value without an interval."""
    return Estimate(value, math.nan, math.nan, math.nan, math.nan, math.nan)


def _moved(estimate: Estimate, value: float) -> Estimate:
    shift = value - estimate.value
    return replace(estimate, value=value, ci_low=estimate.ci_low + shift, ci_high=estimate.ci_high + shift)


def _ranked(row: Row, rivals: Sequence[Row], decided: Decided) -> Row:
    """Add the best and worst rank that the tests leave open among trained and external recipes.

    An exact value (a count of parameters) ranks by itself. A row gets no rank if a comparison with a rival is missing,
    if it has no rival, or if every comparison is between single checkpoints.
    """
    others = [rival for rival in rivals if rival.recipe != row.recipe]
    tests = [decided.get((*_subject(row), frozenset((row.recipe, rival.recipe)))) for rival in others]
    if all(test is not None and test.note in CHECKPOINTS for test in tests):
        return row
    outcomes = [_outcome(row, rival, test) for rival, test in zip(others, tests, strict=True)]
    known = [outcome for outcome in outcomes if outcome is not None]
    if len(known) < len(outcomes):
        return row
    return replace(
        row,
        rank_low=1 + sum(outcome < 0 for outcome in known),
        rank_high=len(rivals) - sum(outcome > 0 for outcome in known),
    )


def _can_be_ranked(row: Row) -> bool:
    return row.facts.ranked and row.value is not None and is_model(row.recipe)


def _subject(row: Row | comparisons.Row) -> tuple[str, str, str, str]:
    return row.split, row.stratum, row.metric, row.protocol


def _place(row: Row) -> tuple[str, ...]:
    """Return the key of the rows that are ranked among each other."""
    return (*_subject(row), row.data_fingerprint, row.extractor_sha256)


def _outcome(row: Row, rival: Row, decisive: comparisons.Row | None) -> int | None:
    """Return 1 if ``row`` is significantly better than ``rival``, -1 if worse, 0 if unresolved, None if untested.

    A comparison of two single checkpoints does not show which recipe is better: it counts as unresolved.
    """
    if decisive is not None:
        if decisive.verdict not in ("a", "b") or decisive.note in CHECKPOINTS:
            return 0
        winner = decisive.a if decisive.verdict == "a" else decisive.b
        return 1 if winner == row.recipe else -1
    exact = [part for part in (row, rival) if part.std_error == 0]
    if len(exact) < 2 or row.direction == "target" or row.value is None or rival.value is None:
        return None
    sign = int(np.sign(row.value - rival.value))
    return sign if row.direction == "higher" else -sign
