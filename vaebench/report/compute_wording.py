"""Say in words what trainings cost, and which models none beats at what cost, for every page alike."""

from collections.abc import Callable, Collection, Sequence

from vaebench.core.setting_names import order_of
from vaebench.report.analysis.equal_compute import Row, by_metric, front
from vaebench.report.analysis.formatting import DIRECTIONS, short

READING = (
    "Each model at parts of its training: the model that this training had reached by then, measured as at its end. "
    "Operations are counted: a multiplication and an addition of matrix products and convolutions as two, forward and "
    "backward, frozen networks included. ● marks a mean that no model reached for as few operations or fewer. Means "
    "over training seeds, the same ones at all points of a model: seeds that were measured at their end alone are in "
    "the leaderboard, and not here; intervals over three seeds or more, without images (the leaderboard's count both), "
    "of a single one over images: they speak of that checkpoint only."
)
COSTS = ["model", "trained with", "steps", "images seen", "operations", "time", "on"]
_POWERS = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6))
_NAMES = ((1.0, "whole"), (0.125, "1/8"), (0.25, "1/4"), (0.5, "1/2"), (0.75, "3/4"))
_NEAR = 0.005


def operations(flops: float | None) -> str:
    """Write a number of operations: ``1.51 PFLOP``; words where they were not counted."""
    if flops is None:
        return "not counted"
    rounded = float(f"{flops:.3g}")
    prefix, power = next(((prefix, power) for prefix, power in _POWERS if rounded >= power), ("", 1.0))
    return f"{rounded / power:.3g} {prefix}FLOP"


def duration(seconds: float) -> str:
    """Write a time as one would say it: ``1.3 s``, ``45 s``, ``12 min``, ``1.3 h``."""
    if seconds < 119.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 119.5 * 60 else f"{seconds / 3600:.1f} h"


def share_names(shares: Collection[float]) -> dict[float, str]:
    """Name parts of trainings: ``1/8``, ``whole``, or percentages with as many digits as tell them apart.

    Rounding to whole steps moves a part a little: parts that nothing else is near to are called by the fraction.
    """
    names = {share: next((name for part, name in _NAMES if abs(part - share) < _NEAR), "") for share in shares}
    for digits in range(8):
        written = {share: name or f"{100 * share:.{digits}f} %" for share, name in names.items()}
        if len(set(written.values())) == len(written):
            return written
        twice = {name for name in written.values() if list(written.values()).count(name) > 1}
        names = {share: "" if written[share] in twice and share < 1 else name for share, name in names.items()}
    return {share: f"{100 * share!r} %" for share in shares}


def what(row: Row) -> str:
    """Name a metric as the tables do."""
    return f"{row.metric} ({row.protocol}), {DIRECTIONS[row.direction]}"


def costs(table: Sequence[Row]) -> list[list[str]]:
    """List what each model's whole training cost; columns are :data:`COSTS`."""
    whole = {row.recipe: row for row in table if row.share == 1}
    return [
        [
            name,
            seeds(row),
            f"{row.steps:,}",
            f"{row.images:,}",
            operations(row.flops),
            duration(row.seconds),
            row.setting,
        ]
        for name, row in sorted(whole.items(), key=lambda item: order_of(item[0]))
    ]


def seeds(row: Row) -> str:
    """Name the training seeds that a row is of: ``seed 0``, ``seeds 0, 1, 2``; nothing where they have no number."""
    found = [seed for each in row.by_seed.split() if (seed := each.partition("=")[0]).isdigit()]
    return f"seed{'s' * (len(found) > 1)} {', '.join(found)}" if found else ""


def values(cells: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Lay out one metric: models as rows, parts of their trainings as columns."""
    names: dict[str, dict[float, str]] = {}
    for recipe in sorted({row.recipe for row in cells}, key=order_of):
        names[recipe] = share_names([row.share for row in cells if row.recipe == recipe])
    columns = {name: share for own in names.values() for share, name in own.items()}
    heads = sorted(columns, key=columns.__getitem__)
    found = {(row.recipe, names[row.recipe][row.share]): _cell(row) for row in cells}
    return ["model", *heads], [[recipe, *(found.get((recipe, head), "") for head in heads)] for recipe in names]


def _cell(row: Row) -> str:
    half = f" ± {short(row.ci_high - row.value)}" if row.ci_high is not None and row.ci_high > row.value else ""
    return f"{short(row.value)}{half}{' ●' if row.flops_front else ''}"


def unbeaten(table: Sequence[Row]) -> list[str]:
    """Say a sentence a metric: which models none beats on both quality and operations, or time, and at which cost."""
    said = []
    for cells in by_metric(table):
        kinds = (
            ("operations", _ranges(front(cells, "flops"), operations)),
            ("time", _ranges(front(cells, "seconds"), duration)),
        )
        parts = [f"for {name} {models}" for name, models in kinds if models]
        said += [f"{what(cells[0])}: unbeaten {'; '.join(parts)}"] if parts else []
    return said


def _ranges(found: Sequence[tuple[str, float, float]], written: Callable[[float], str]) -> str:
    each: dict[str, list[str]] = {}
    for name, low, high in found:
        ends = written(low), written(high)
        each.setdefault(name, []).append(ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}")
    return ", ".join(f"{name} ({', '.join(parts)})" for name, parts in each.items())
