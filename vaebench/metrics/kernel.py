"""Kernel distance between two sets of features: an unbiased estimate of a squared maximum mean discrepancy."""

import numpy as np
import torch
from torch import Tensor

from vaebench.core.context import Context, FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.metric import Score
from vaebench.metrics.collected import OfAllFeatures, checked

BLOCK = 2048  # rows of a block of kernel values
SEED = 2020  # torch-fidelity's; its subsets are drawn here number for number, so that values agree with its


def polynomial_mmd(first: Tensor, second: Tensor) -> float:
    """Unbiased squared MMD of rows (n, d) and (m, d) under the kernel (x.y / d + 1)^3, in float64.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4 and equation 4. May be slightly below 0.
    ``ValueError`` for fewer than 2 rows.
    """
    n, m = len(first), len(second)
    if min(n, m) < 2:
        raise ValueError(f"an unbiased estimate needs 2 rows or more, not {min(n, m)}")
    x, y = first.double(), second.double()
    within_x, within_y, between = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    value = (within_x.sum() - within_x.trace()) / (n * (n - 1)) + (within_y.sum() - within_y.trace()) / (m * (m - 1))
    return float(value - 2 * between.mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def mmd_derivatives(generated: Tensor, real: Tensor) -> Tensor:
    """Derivative of :func:`polynomial_mmd` by the weight of each generated row (n, d): (n,) float64, up to a constant.

    Twice a row's mean kernel value with the other generated rows, less that with the real ones (Hoeffding 1948). In
    float32, since it is for the value's error only.
    """
    x, y = generated.float(), real.float()
    parts = []
    for rows in x.split(BLOCK):
        within = _kernel(rows, x).double().sum(dim=1) - ((rows.square().sum(dim=1) / x.shape[1] + 1) ** 3).double()
        parts.append(2 * (within / (len(x) - 1) - _kernel(rows, y).double().mean(dim=1)))
    return torch.cat(parts)


def kernel_distance(generated: Tensor, real: Tensor, subsets: int, size: int) -> float:
    """Mean of :func:`polynomial_mmd` over ``subsets`` pairs of subsets of ``size`` rows, drawn without replacement."""
    return float(np.mean(_of_subsets(generated, real, subsets, size)))


def _of_subsets(generated: Tensor, real: Tensor, subsets: int, size: int) -> list[float]:
    draw = np.random.RandomState(SEED)  # torch-fidelity's generator, for its very subsets
    values = []
    for _ in range(subsets):
        x = generated[torch.from_numpy(draw.choice(len(generated), size, replace=False))]
        y = real[torch.from_numpy(draw.choice(len(real), size, replace=False))]
        values.append(polynomial_mmd(x, y))
    return values


class KernelDistance(OfAllFeatures):
    """Final: kernel distance (KID) over random subsets; keeps features."""

    unit, direction, margin = "squared MMD", "lower", "0.001"  # unbiased, so near 0 no share of it would do

    def __init__(self, space: FeatureSpace, kind: str, subsets: int, size: int, prepared: str) -> None:
        if subsets < 1 or size < 2:
            raise UserError(f"kid.subsets={subsets}, kid.size={size}: give 1 or more subsets of 2 or more images")
        self.name, self.space, self._kind = "kid", space, kind
        self._subsets, self._size, self._stem = subsets, size, f"{space}/{prepared}"
        self.protocol = f"{self._stem}/poly3/{subsets}x{size}/{kind}"
        super().__init__(kind)

    def score(self, context: Context) -> Score:
        assert self.space is not None
        made = self._collected.rows()
        reference = context.reference(self.space, context.split)
        real = checked(made, reference, 2)
        size = min(self._size, len(made), len(real))
        values = _of_subsets(made, real.to(made.device), self._subsets, size)
        protocol = f"{self._stem}/poly3/{self._subsets}x{size}/n={len(made)}/{self._kind}"
        derivatives = mmd_derivatives(made, real.to(made.device))
        return Score.influenced(float(np.mean(values)), derivatives * _stretch(derivatives, values, size), protocol)


def _stretch(derivatives: Tensor, values: list[float], size: int) -> float:
    """The subsets are drawn at random, too: what images contribute is stretched to the error that this adds."""
    n, subsets = len(derivatives), len(values)
    from_images = float(derivatives.var()) / n
    if subsets < 2 or size == n or from_images == 0:
        return 1.0
    drawn = float(np.var(values, ddof=1)) / subsets * (1 - size / n)
    return float((1 + drawn / from_images) ** 0.5)
