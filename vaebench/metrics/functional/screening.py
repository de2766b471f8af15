"""Find which rows of features lie near which: float32 products screen all pairs, float64 decides where they cannot.

The closeness of rows a and b is -|a - b|^2 / 2 = ab - |a|^2 / 2 - |b|^2 / 2, of rows centred and rounded to float32. A
sum of d products errs by at most g |a||b|, g = (d + 3)u / (1 - (d + 3)u) with u = 2^-24, in whatever order it is taken
(Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1), and |a||b| by at most (|a|^2 + |b|^2) / 2.
So a product that is given g (|a|^2 + |b|^2) on top is no less than the closeness, and by twice that no more. What this
leaves open, a pair in some thousands, is taken from differences in float64: all answers are float64's.

In memory at a time: two shelves of :data:`SHELF` numbers, made ready once for many blocks, and one block of
:data:`BLOCK` x :data:`BLOCK` pairs, float32 (64 MiB, 64 MiB and 4 MiB).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.metrics.functional.distances import mean_row, plain_float32

BLOCK = 1024  # rows and columns of a block of pairs on the CPU: with the rows' parts that are read, it fits its caches
BLOCK_ON_GPU = 8192
SHELF = 2**24
GROUP = 32  # neighbouring pairs of which the closest one is looked at first
SLACK = 1e-12  # |a - b|^2 in float64 errs by at most some d * 2.2e-16 of |a|^2 + |b|^2; balls are wider by this much,
# so that a point on the sphere (a copy of the neighbour that gave the radius, or of a centre of radius 0) is inside
_AT_ONCE = 2**19  # numbers that are worked on at a time outside of products
_UNDERFLOW = 1e-30  # more than products too small for float32 come to, of numbers of at most 1


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows ready for products: padded to whole groups by rows that are close to nothing.

    ``values`` float32 (padded, d); ``less`` float32 (padded,), what is taken from products; ``error`` float32
    (padded,): the closeness of two rows is less than what comes out by at most the sum of theirs.
    """

    first: int
    count: int
    values: Tensor
    less: Tensor
    error: Tensor

    @property
    def here(self) -> slice:
        """Where they stand among all."""
        return slice(self.first, self.first + self.count)

    def blocks(self) -> Iterator["Rows"]:
        """Block by block."""
        size = _side(self.values.device)
        for start in range(0, self.count, size):
            cut = slice(start, min(start + size, len(self.values)))
            parts = (part[cut] for part in (self.values, self.less, self.error))
            yield Rows(self.first + start, min(size, self.count - start), *parts)


def _side(device: torch.device) -> int:
    size = BLOCK if device.type == "cpu" else BLOCK_ON_GPU
    return size + -size % GROUP


class Screen:
    """Final: rows (n, d) and columns (m, d), or with ``same`` one set as both, seen from one origin at one scale."""

    def __init__(self, rows: Tensor, columns: Tensor, *, same: bool = False) -> None:
        self.rows, self.columns, self.same = rows, columns, same
        self._origin = mean_row(columns).to(torch.promote_types(columns.dtype, torch.float32))
        extent = max(_extent(part, self._origin) for part in (rows, columns))
        # a power of two rounds nothing; numbers of about 1 neither overflow in float32 nor underflow
        self._scale = math.ldexp(1.0, -math.frexp(extent)[1]) if 0 < extent < math.inf else 1.0

    def blocks(self) -> Iterator[tuple[Rows, Rows, Tensor]]:
        """Rows, columns, and upper bounds of their closeness, float32 (padded, padded); with ``same`` half of all."""
        with plain_float32(self.rows.device):
            for rows, columns in self._shelves():
                for some in rows.blocks():
                    for others in columns.blocks():
                        if not self.same or others.first >= some.first:
                            upper = torch.addmm(-others.less, some.values, others.values.T)
                            yield some, others, upper.sub_(some.less[:, None])

    def _shelves(self) -> Iterator[tuple[Rows, Rows]]:
        """All pairs of shelves; of one set those on or above the diagonal."""
        dimensions, side = max(1, self.rows.shape[1]), _side(self.rows.device)
        size = max(side, SHELF // dimensions // side * side)
        for start in range(0, len(self.rows), size):
            rows = self._ready(self.rows, start, size)
            if self.same:
                yield rows, rows
            for other in range(start + size if self.same else 0, len(self.columns), size):
                yield rows, self._ready(self.columns, other, size)

    def _ready(self, features: Tensor, first: int, size: int) -> Rows:
        count, dimensions = min(size, len(features) - first), features.shape[1]
        values = torch.zeros(count + -count % GROUP, dimensions, device=features.device)
        lengths = values.new_zeros(len(values), dtype=torch.float64)
        at_once = max(1, _AT_ONCE // max(1, dimensions))
        for start in range(0, count, at_once):
            cut = slice(start, min(start + at_once, count))
            source = features[first + cut.start : first + cut.stop]
            values[cut] = (source - self._origin).mul_(self._scale)
            lengths[cut] = values[cut].square().sum(dim=1, dtype=torch.float64)
        terms = (dimensions + 10) * 2.0**-24  # 7 more than above: lengths, less, sums and thresholds are rounded, too
        share = terms / (1 - terms) + SLACK
        less, error = (0.5 - share) * lengths - _UNDERFLOW, 2 * (share * lengths + _UNDERFLOW)
        less[count:] = math.inf
        return Rows(first, count, values, less.float(), error.float())

    def least_closeness(self, distances: Tensor) -> Tensor:
        """Of rows at these distances (...), as blocks have it: float32, not rounded up."""
        exact = (distances.double() * self._scale).square() * -0.5
        return torch.nextafter(exact.float(), exact.new_full((), -math.inf, dtype=torch.float32))

    def distances(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Of pairs by their numbers (p,): float64, from differences, so that duplicates are at exactly 0."""
        found = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
        size = max(1, _AT_ONCE // max(1, self.rows.shape[1]))
        for start in range(0, len(rows), size):
            cut = slice(start, start + size)
            differences = self.rows[rows[cut]].double() - self.columns[columns[cut]].double()
            torch.linalg.vector_norm(differences, dim=1, out=found[cut])
        return found

    def lengths(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Squared, of rows by their numbers (p,), as seen from the origin: float64."""
        size = max(1, _AT_ONCE // max(1, features.shape[1]))
        parts = [(features[part].double() - self._origin).square().sum(dim=1) for part in numbers.split(size)]
        return torch.cat(parts)

    def double(self, features: Tensor, rows: Rows) -> Tensor:
        """Rows as seen from the origin, in float64."""
        return features[rows.first : rows.first + rows.count].double() - self._origin


def _extent(features: Tensor, origin: Tensor) -> float:
    if features.numel() == 0:
        return 0.0
    return float(torch.maximum(features.amax(dim=0) - origin, origin - features.amin(dim=0)).max())


def by_row(upper: Tensor) -> tuple[Tensor, Tensor]:
    """A block as (rows, groups, members), and the groups' largest (rows, groups)."""
    cells = upper.unflatten(1, (-1, GROUP))
    return cells, cells.amax(dim=2)


def by_column(upper: Tensor) -> tuple[Tensor, Tensor]:
    """The same of its columns: (columns, groups, members), members being rows."""
    cells = upper.unflatten(0, (-1, GROUP))
    return cells.permute(2, 0, 1), cells.amax(dim=1).T


def close(cells: Tensor, largest: Tensor, least: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of a bound of ``least`` (r,) or more: rows, partners and bounds, of cells (r, groups, members).

    What is -inf (padding, and a row with itself) is no pair.
    """
    least = least.clamp(min=torch.finfo(least.dtype).min)
    row, group = (largest >= least[:, None]).nonzero(as_tuple=True)
    members = cells[row, group]
    which, place = (members >= least[row, None]).nonzero(as_tuple=True)
    return row[which], group[which] * GROUP + place, members[which, place]
