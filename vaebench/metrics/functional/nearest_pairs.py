"""Find the nearest rows of each row, and pairs within balls: screened by float32 products, decided in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.metrics.functional.distances import squared
from vaebench.metrics.functional.screening import SLACK, Rows, Screen, by_column, by_row, close

WAITING = 2**21  # pairs that wait for their distances: 40 MiB
FEW = 32  # a block of which less than one pair in so many is left open has those alone decided, else all


def nearest(queries: Tensor, keys: Tensor, k: int, *, same: bool) -> tuple[Tensor, Tensor]:
    """Find the k nearest keys of each query, near to far: distances float64 and numbers int64 (n, k).

    With ``same``, the queries are the keys, and each row's own number is left out. There must be k keys besides.
    """
    screen = Screen(queries, keys, same=same)
    search = _Search(screen, k)
    for rows, columns, upper in screen.blocks():
        itself = same and rows.first == columns.first
        if itself:
            upper.fill_diagonal_(-torch.inf)
        search.look(*by_row(upper), rows, columns, itself=itself)
        if same and not itself:
            search.look(*by_column(upper), columns, rows, itself=False)
    search.settle()
    return search.distances, search.numbers


class _Search:
    """Search of the k nearest: candidate pairs wait in lists; their distances are computed when many wait, and at the
    end.
    """

    def __init__(self, screen: Screen, k: int) -> None:
        shape, device = (len(screen.rows), k), screen.rows.device
        self.distances = torch.full(shape, torch.inf, dtype=torch.float64, device=device)
        self.numbers = torch.zeros(shape, dtype=torch.int64, device=device)
        self._lowest = torch.full(shape, -torch.inf, device=device)  # bounds of the closeness to k different keys
        self._screen, self._k = screen, k
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._waiting = 0

    def look(self, cells: Tensor, largest: Tensor, rows: Rows, columns: Rows, *, itself: bool) -> None:
        """Note the pairs of a block that may be among the nearest."""
        cells, largest = cells[: rows.count], largest[: rows.count]
        different = largest.topk(min(self._k, largest.shape[1])).values  # each of another group, so of another key
        different -= rows.error[: rows.count, None] + columns.error.max()
        lowest = torch.cat([self._lowest[rows.here], different], dim=1).topk(self._k).values
        self._lowest[rows.here] = lowest
        row, column, upper = close(cells, largest, lowest[:, -1])
        if len(row) > (2 * self._k + 8) * rows.count:
            row, column = self._by_products(rows, columns, itself=itself)
            upper = torch.full(row.shape, torch.inf, device=row.device)
        self._pending.append((row + rows.first, column + columns.first, upper))
        self._waiting += len(row)
        if self._waiting > WAITING:
            self.settle()

    def _by_products(self, rows: Rows, columns: Rows, *, itself: bool) -> tuple[Tensor, Tensor]:
        """Find each row's nearest by products in float64, for rows so much alike that float32 leaves too many open."""
        screen = self._screen
        block = squared(screen.double(screen.rows, rows), screen.double(screen.columns, columns))
        if itself:
            block.fill_diagonal_(torch.inf)
        column = block.topk(min(self._k, columns.count - itself), dim=1, largest=False).indices
        row = torch.arange(rows.count, device=column.device)[:, None].expand_as(column)
        return row.flatten(), column.flatten()

    def settle(self) -> None:
        """Take the distances of all pairs that wait, and keep each row's k nearest; of equal ones the first."""
        if not self._pending:
            return
        row, column, upper = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        self._pending, self._waiting = [], 0
        kept = upper >= self._lowest[row, -1]
        row, column = row[kept], column[kept]
        distance = self._screen.distances(row, column)
        known, place = self.distances.isfinite().nonzero(as_tuple=True)
        row = torch.cat([known, row])
        column = torch.cat([self.numbers[known, place], column])
        distance = torch.cat([self.distances[known, place], distance])
        for key in (1, 2, 0):  # by row, then by distance, then by the key's number
            order = (row, column, distance)[key].argsort(stable=True)
            row, column, distance = row[order], column[order], distance[order]
        begins = torch.searchsorted(row, torch.arange(len(self.distances), device=row.device))
        rank = torch.arange(len(row), device=row.device) - begins[row]
        kept = rank < self._k
        self.distances[row[kept], rank[kept]] = distance[kept]
        self.numbers[row[kept], rank[kept]] = column[kept]


@dataclass(frozen=True, slots=True)
class Inside:
    """Pairs by numbers: point ``point[i]`` lies in the largest ball of centre ``centre[i]``, and in which others.

    int64 (p,), int64 (p,), bool (p, r).
    """

    centre: Tensor
    point: Tensor
    within: Tensor


def inside_balls(
    rows: Tensor, columns: Tensor, *, row_radii: Tensor | None = None, column_radii: Tensor | None = None
) -> Iterator[tuple[Inside | None, Inside | None]]:
    """Find all pairs inside closed balls round the rows (n, d), and round the columns (m, d), a block at a time.

    Radii are (n, r) and (m, r), small to large; where there are none, so is what is found in them.
    """
    screen = Screen(rows, columns)
    for some, others, upper in screen.blocks():
        of_rows = of_columns = None
        if row_radii is not None:
            of_rows = _inside(screen, by_row(upper), some, others, row_radii, turned=False)
        if column_radii is not None:
            of_columns = _inside(screen, by_column(upper), others, some, column_radii, turned=True)
        yield of_rows, of_columns


def _inside(
    screen: Screen, block: tuple[Tensor, Tensor], centres: Rows, points: Rows, radii: Tensor, *, turned: bool
) -> Inside:
    cells, largest = (part[: centres.count] for part in block)
    least = screen.least_closeness(radii[centres.here])
    centre, point, upper = close(cells, largest, least[:, -1])
    lower = upper - centres.error[centre] - points.error[point]
    within, maybe = lower[:, None] > least[centre], upper[:, None] >= least[centre]
    centre, point = centre + centres.first, point + points.first
    open_ = (maybe & ~within).any(dim=1).nonzero().squeeze(1)
    if len(open_):
        some, others = (points, centres) if turned else (centres, points)
        row, column = (point[open_], centre[open_]) if turned else (centre[open_], point[open_])
        squares = _squares(screen, row, column, some, others)
        within[open_] = squares[:, None] <= radii[centre[open_]].double().square()
    kept = within[:, -1]
    return Inside(centre[kept], point[kept], within[kept])


def _squares(screen: Screen, row: Tensor, column: Tensor, rows: Rows, columns: Rows) -> Tensor:
    """Compute squared distances (p,) of pairs in a block, less what a ball is wider by."""
    if len(row) * FEW > rows.count * columns.count:
        block = squared(screen.double(screen.rows, rows), screen.double(screen.columns, columns), slack=SLACK)
        return block[row - rows.first, column - columns.first]
    lengths = screen.lengths(screen.rows, row) + screen.lengths(screen.columns, column)
    return screen.distances(row, column).square() - SLACK * lengths
