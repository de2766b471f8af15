"""Say in words what trainings cost, and which models none beats at what cost, for every page alike."""

from collections.abc import Callable, Sequence

from vaebench.core.setting_names import order_of
from vaebench.report.analysis.equal_compute import Row, by_metric, front
from vaebench.report.analysis.formatting import DIRECTIONS, short

READING = (
    "Each model at parts of its training: the model that this training had reached by then, measured as at its end. "
    "Operations are counted: a multiplication and an addition of matrix products and convolutions as two, forward and "
    "backward, frozen networks included. ● marks a mean that no model reached for as few operations or fewer. Means "
    "over training seeds, intervals over three seeds or more, of a single one over images: they speak of that "
    "checkpoint only."
)
COSTS = ["model", "steps", "images seen", "operations", "time", "on"]
_POWERS = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6))
_NAMES = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2", 0.75: "3/4", 1.0: "whole"}


def operations(flops: float | None) -> str:
    """Write a number of operations: ``1.51 PFLOP``; a dash where they were not counted."""
    if flops is None:
        return "not counted"
    prefix, power = next(((prefix, power) for prefix, power in _POWERS if flops >= power), ("", 1.0))
    return f"{flops / power:.3g} {prefix}FLOP"


def duration(seconds: float) -> str:
    """Write a time as one would say it: ``45 s``, ``12 min``, ``1.3 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def share_name(share: float) -> str:
    """Write a part of a training: ``1/8``, ``whole``, or a percentage."""
    return next((name for value, name in _NAMES.items() if abs(value - share) < 0.01), f"{100 * share:.0f} %")


def what(row: Row) -> str:
    """Name a metric as the tables do."""
    return f"{row.metric} ({row.protocol}), {DIRECTIONS[row.direction]}"


def costs(table: Sequence[Row]) -> list[list[str]]:
    """List what each model's whole training cost; columns are :data:`COSTS`."""
    last: dict[str, Row] = {}
    for row in table:
        if row.recipe not in last or row.share > last[row.recipe].share:
            last[row.recipe] = row
    return [
        [name, f"{row.steps:,}", f"{row.images:,}", operations(row.flops), duration(row.seconds), row.setting]
        for name, row in sorted(last.items(), key=lambda item: order_of(item[0]))
    ]


def values(cells: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Lay out one metric: models as rows, parts of their trainings as columns."""
    names = sorted({share_name(row.share): row.share for row in cells}.items(), key=lambda item: item[1])
    found = {(row.recipe, share_name(row.share)): _cell(row) for row in cells}
    recipes = sorted({row.recipe for row in cells}, key=order_of)
    body = [[recipe, *(found.get((recipe, name), "") for name, _ in names)] for recipe in recipes]
    return ["model", *(name for name, _ in names)], body


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
    ends = [(name, written(low), written(high)) for name, low, high in found]
    return ", ".join(f"{name} ({low if low == high else f'{low} to {high}'})" for name, low, high in ends)
