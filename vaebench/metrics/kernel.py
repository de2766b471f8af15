"""Estimate the kernel distance between two sets of features: an unbiased squared maximum mean discrepancy."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vaebench.core import questions
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.metric import MetricSpec, Score
from vaebench.metrics.functional.collected import KINDS, OfAllFeatures, checked
from vaebench.metrics.functional.copies import copies_counted_once
from vaebench.metrics.functional.distances import plain_float32

BLOCK = 256, 2048  # rows and columns of a block of kernel values on the CPU: 4 MiB in float64, which its caches hold
BLOCK_ON_GPU = 2048, 16384
# by Inception's layer: unbiased, so near 0 no share would do. Faces at half their resolution are at 0.0005 at 768,
# at 1.4 and 11 at 64 and 192, whose features are unscaled: there distances depend on the images, and a share serves
MARGINS = {"2048": "0.001", "768": "0.0001"}
SEED = 2020  # torch-fidelity's; its subsets are drawn here number for number, so that values agree with its
_MARKED = 2**25  # of rows and subsets at most, that all pairs at once be summed for all subsets: 256 MiB


def polynomial_mmd(first: Tensor, second: Tensor) -> float:
    """Estimate the squared MMD of rows (n, d) and (m, d) under the kernel (x.y / d + 1)^3, unbiased, in float64.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4 and equation 4. May be slightly below 0.
    ``ValueError`` for fewer than 2 rows.
    """
    n, m = len(first), len(second)
    if min(n, m) < 2:
        raise ValueError(f"an unbiased estimate needs 2 rows or more, not {min(n, m)}")
    pairs = [(first, first, n * (n - 1) / 2), (second, second, m * (m - 1) / 2), (first, second, -n * m / 2)]
    total = first.new_zeros((), dtype=torch.float64)
    for x, y, number in pairs:
        for _, _, block in _kernels(x, y, torch.float64, same=number > 0):
            total += block.sum() / number
    return float(total)


def _kernels(x: Tensor, y: Tensor, dtype: torch.dtype, *, same: bool) -> Iterator[tuple[slice, slice, Tensor]]:
    """Compute kernel values of pairs a block at a time; with ``same`` of one set's rows with those after them, else
    0.
    """
    tall, wide = BLOCK if x.device.type == "cpu" else BLOCK_ON_GPU
    one = torch.ones((), dtype=dtype, device=x.device)
    for start in range(0, len(y), wide):
        columns = y[start : start + wide].to(dtype)
        for first in range(0, min(len(x), start + wide) if same else len(x), tall):
            rows = x[first : first + tall].to(dtype)
            left = max(start, first) if same else start
            block = torch.addmm(one, rows, columns[left - start :].T, alpha=1 / x.shape[1]).pow_(3)
            if same and first >= start:
                block[:, : len(rows)].triu_(1)
            yield slice(first, first + len(rows)), slice(left, start + len(columns)), block


def _totals(
    x: Tensor, y: Tensor, dtype: torch.dtype, marks: tuple[Tensor, Tensor] | None = None, *, same: bool
) -> tuple[Tensor, Tensor]:
    """Sum kernel values in float64: over the pairs of each marked subset (s,), and over those of each row (n,).

    ``marks`` are (s, n) and (s, m), 1 for a subset's rows. With ``same`` no row is a pair with itself.
    """
    by_subset = torch.zeros(0 if marks is None else len(marks[0]), dtype=torch.float64, device=x.device)
    by_row = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for rows, columns, block in _kernels(x, y, dtype, same=same):
        by_row[rows] += block.sum(dim=1, dtype=torch.float64)
        if same:
            by_row[columns] += block.sum(dim=0, dtype=torch.float64)
        if marks is not None:
            by_subset += (marks[0][:, rows] @ block).mul_(marks[1][:, columns]).sum(dim=1)
    return by_subset * (1 + same), by_row


def mmd_derivatives(generated: Tensor, real: Tensor) -> Tensor:
    """Differentiate :func:`polynomial_mmd` by the weight of each generated row (n, d): (n,) float64, up to a constant.

    Twice a row's mean kernel value with the other generated rows, less that with the real ones (Hoeffding 1948). In
    float32, since it is for the value's error only.
    """
    with plain_float32(generated.device):
        _, within = _totals(generated, generated, torch.float32, same=True)
        _, between = _totals(generated, real, torch.float32, same=False)
    return 2 * (within / (len(generated) - 1) - between / len(real))


def kernel_distance(generated: Tensor, real: Tensor, subsets: int, size: int) -> float:
    """Average :func:`polynomial_mmd` over pairs of subsets: the kernel distance (KID, of Inception's features).

    Args:
        generated: features (n, d).
        real: features (m, d).
        subsets: how many pairs are drawn, without replacement within each; the same ones at every call.
        size: rows in a subset, n and m at most.

    Returns:
        The mean, which may be slightly below 0.
    """
    return float(np.mean(of_subsets(generated, real, subsets, size)[0]))


def of_subsets(generated: Tensor, real: Tensor, subsets: int, size: int) -> tuple[list[float], Tensor]:
    """Compute :func:`polynomial_mmd` of each pair of subsets, and :func:`mmd_derivatives` of all rows.

    Where subsets overlap so much that it is less work, each kernel value is computed once, for all of them and for
    the derivatives, and all in float64.
    """
    draw = np.random.RandomState(SEED)  # torch-fidelity's generator, for its very subsets
    n, m = len(generated), len(real)
    drawn = [[torch.from_numpy(draw.choice(count, size, replace=False)) for count in (n, m)] for _ in range(subsets)]
    at_once = (n * n / 2 + m * m / 2 + n * m) * (1 + subsets / generated.shape[1])
    apart = 2 * subsets * size**2 + (n * n / 2 + n * m) / 2  # of which the derivatives' float32 takes half the time
    if at_once > apart or subsets * max(n, m) > _MARKED:
        return [polynomial_mmd(generated[x], real[y]) for x, y in drawn], mmd_derivatives(generated, real)
    x, y = (
        _marked(rows, len(of), of.device) for rows, of in zip(zip(*drawn, strict=True), (generated, real), strict=True)
    )
    within_x, within = _totals(generated, generated, torch.float64, (x, x), same=True)
    within_y, _ = _totals(real, real, torch.float64, (y, y), same=True)
    both, between = _totals(generated, real, torch.float64, (x, y), same=False)
    values = (within_x + within_y) / (size * (size - 1)) - 2 * both / size**2
    return values.tolist(), 2 * (within / (n - 1) - between / m)


def _marked(subsets: Sequence[Tensor], count: int, device: torch.device) -> Tensor:
    """Mark each subset's rows by 1: float64 (s, count)."""
    marks = torch.zeros(len(subsets), count, dtype=torch.float64)
    return marks.scatter_(1, torch.stack(list(subsets)), 1).to(device)


class KernelDistance(OfAllFeatures):
    """Final: kernel distance (KID) over random subsets; keeps features."""

    def __init__(self, space: FeatureSpace, kind: str, subsets: int, size: int, prepared: str) -> None:
        if subsets < 1 or size < 2:
            raise UserError(f"kid.subsets={subsets}, kid.size={size}: give 1 or more subsets of 2 or more images")
        self._subsets, self._size, self._stem = subsets, size, f"{space}/{prepared}"
        spec = MetricSpec(
            name="kid",
            needs=KINDS[kind][1],
            unit="squared MMD",
            direction="lower",
            protocol=f"{self._stem}/poly3/{subsets}x{size}/{kind}",
            margin=MARGINS.get(space.layer, "5%"),
            space=space,
            question=questions.DISTRIBUTION,
            place=3,
            of_training_images=kind == "samples",
        )
        super().__init__(spec, space, kind)

    def score(self, context: Context) -> Score:
        made = self._collected.rows()
        reference = context.reference(self._space, context.split)
        real = checked(made, reference, 2)
        size = min(self._size, len(made), len(real))
        protocol = f"{self._stem}/poly3/{self._subsets}x{size}/n={len(made)}/{self._kind}"

        def distance(rows: Tensor) -> Score:
            largest = min(size, len(rows))
            values, derivatives = of_subsets(rows, real.to(rows.device), self._subsets, largest)
            stretched = derivatives * _stretch(derivatives, values, largest)
            return Score.influenced(float(np.mean(values)), stretched, protocol)

        return copies_counted_once(made, distance) if self._kind == "samples" else distance(made)


def _stretch(derivatives: Tensor, values: list[float], size: int) -> float:
    """Stretch what images contribute to the error that drawing subsets at random adds."""
    n, subsets = len(derivatives), len(values)
    from_images = float(derivatives.var()) / n
    if subsets < 2 or size == n or from_images == 0:
        return 1.0
    drawn = float(np.var(values, ddof=1)) / subsets * (1 - size / n)
    return float((1 + drawn / from_images) ** 0.5)
