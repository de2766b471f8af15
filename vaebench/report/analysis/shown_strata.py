"""Choose the strata that a report shows: all where they are few, else those that a claim names."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from vaebench.core.results import PARTS, Result
from vaebench.report.analysis.measured import Measured

MANY = 20  # strata of one kind; ten classes, and all images but those of one class, are fewer

Cell = tuple[str, str, str, str]  # split, metric, protocol, stratum


class _OfCell(Protocol):
    @property
    def split(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def stratum(self) -> str: ...


Line = TypeVar("Line", bound=_OfCell)


def many_strata(results: Iterable[Result], named: Collection[str]) -> set[Cell]:
    """Find the strata of which a metric has more than :data:`MANY` of a kind, except those in ``named``.

    The kinds are subsets of the images (``label=7``, ``Smiling=1``), and the parts of a value: attributes
    (``attribute=Smiling``, the classifier of one attribute) and conditions. Without what is left out nothing more is
    left out, so that a report can be made again of what a report has kept.
    """
    kinds: dict[tuple[str, ...], set[Cell]] = {}
    for cell in map(_cell, results):
        split, metric, protocol, stratum = cell
        kind = next((part for part in PARTS if stratum.startswith(part)), "")
        if stratum != "all":
            kinds.setdefault((split, metric, protocol, kind), set()).add(cell)
    return {cell for cells in kinds.values() if len(cells) > MANY for cell in cells if cell[-1] not in named}


def without(lines: Iterable[Line], left_out: Collection[Cell]) -> list[Line]:
    """Return the rows of a table but those of strata that are left out."""
    return [line for line in lines if _cell(line) not in left_out]


def without_subsets(measured: Measured, left_out: Collection[Cell]) -> Measured:
    """Return a copy without results on the subsets of the images that are left out.

    Parts of a value stay, for sections of their own: CelebA's 40 attributes are a table of classifiers, but images with
    and without each of them would make every other table ten times as long.
    """
    parts = [line for line in measured.results if line.stratum.startswith(PARTS)]
    return replace(measured, results=without(measured.results, {*left_out} - {*map(_cell, parts)}))


def _cell(line: _OfCell) -> Cell:
    return line.split, line.metric, line.protocol, line.stratum
