"""Evaluate the objective of many linear support vector machines on the same rows: values, gradients, curvature, by
blocks.

Squared hinge loss and squared weights, the bias's included, in standardised coordinates: see ``linear``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaebench.core.errors import UserError

BLOCK = 8192  # rows at a time: what is in hand of them stays in the processor's cache
_PRODUCTS = 2**22  # numbers in hand for Hessians
_SAMPLE = 2048  # rows of the smallest sample, and 20 a feature at least
_GROWTH = 8  # one sample to the next


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of all problems, in standardised coordinates with a last feature that is 1.

    A point p (d + 1,) of these coordinates is w = p[:d] / scale, b = p[d] - mean . w, so that p's own penalty is
    0.5 * |back @ p|^2: the same objective, better conditioned by as much as the features' scales and means differ.
    """

    features: Tensor  # (n, d) as given
    signs: Tensor  # (n, k) float32, 1 for yes and -1 for no
    single: Tensor  # (n, d + 1) float32, standardised
    mean: Tensor  # (d,) float64
    scale: Tensor  # (d,) float64, positive
    back: Tensor  # (d + 1, d + 1) float64: (w, b) = back @ p
    c: float

    def blocks(self, dtype: torch.dtype, size: int = BLOCK) -> Iterator[tuple[Tensor, Tensor]]:
        """Standardised features (m, d + 1) and signs (m, k), block by block."""
        for first in range(0, len(self.signs), size):
            part = slice(first, first + size)
            if dtype == torch.float32:
                yield self.single[part], self.signs[part]
            else:
                features = (self.features[part].to(dtype) - self.mean) / self.scale
                yield torch.cat([features, features.new_ones(len(features), 1)], dim=1), self.signs[part].to(dtype)

    def sample(self, chosen: Tensor) -> "Rows":
        """Some of the rows, each with the weight of those that it stands for."""
        weight = self.c * len(self.signs) / len(chosen)
        return replace(
            self, features=self.features[chosen], signs=self.signs[chosen], single=self.single[chosen], c=weight
        )

    def only(self, problems: Tensor) -> "Rows":
        """Some of the problems."""
        whole = problems.numel() == self.signs.shape[1]
        return self if whole else replace(self, signs=self.signs[:, problems])


Rung = tuple[Rows, torch.dtype]  # where a Hessian is taken from, and in which precision


def standardised(features: Tensor, targets: Tensor, c: float) -> Rows:
    n, d = features.shape
    blocks = features.split(BLOCK)
    mean = torch.stack([block.sum(dim=0, dtype=torch.float64) for block in blocks]).sum(dim=0) / n
    if not mean.isfinite().all():
        raise UserError("features are not all finite: leave such rows out, or mend what made them")
    squares = torch.stack([(block.double() - mean).square_().sum(dim=0) for block in blocks]).sum(dim=0)
    deviation = (squares / n).sqrt()
    if not deviation.isfinite().all():
        raise UserError("features are too large to be squared: scale them down")
    # Rounding gives a constant column some spread: divided by it, the column would be noise of size 1.
    scale = torch.where(deviation > 1e-12 * mean.abs(), deviation, 1.0)
    single = features.new_ones(n, d + 1, dtype=torch.float32)
    for block, into in zip(blocks, single.split(BLOCK), strict=True):
        into[:, :-1] = (block.double() - mean).div_(scale)
    back = torch.eye(d + 1, dtype=torch.float64, device=features.device)
    back[:-1, :-1] = torch.diag(1 / scale)
    back[-1, :-1] = -mean / scale
    signs = targets.float().mul_(2).sub_(1)
    return Rows(features, signs, single, mean, scale, back, float(c))


def samples(rows: Rows) -> list[Rows]:
    """Draw nested samples of the rows, each several times the one before; none if all rows are few."""
    n, dimensions = rows.single.shape
    size, sizes = max(_SAMPLE, 20 * dimensions), list[int]()
    while 4 * size <= n:
        sizes.append(size)
        size *= _GROWTH
    if not sizes:
        return []
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(rows.single.device)
    return [rows.sample(order[:size]) for size in sizes]


def evaluate(rows: Rows, points: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Compute objective (k,) and gradient (d + 1, k), summed over blocks in float64."""
    loss, pull = torch.zeros_like(points[0]), torch.zeros_like(points)
    rounded = points.to(dtype)
    for features, signs in rows.blocks(dtype):
        slack = (features @ rounded).mul_(signs).neg_().add_(1).clamp_(min=0)
        loss += slack.square().sum(dim=0)
        pull += features.T @ slack.mul_(signs)
    own = rows.back @ points  # not by the ridge, in which large means cancel
    return 0.5 * own.square().sum(dim=0) + rows.c * loss, rows.back.T @ own - 2 * rows.c * pull


def factors_of(rung: Rung, points: Tensor, problems: Tensor) -> tuple[Tensor, Tensor]:
    """Factor the Hessians at ``points`` (d + 1, k) by Cholesky -> (k, d + 1, d + 1), and tell which of them failed."""
    rows, dtype = rung
    rows = rows.only(problems)
    (dimensions, count), rounded = points.shape, points.to(dtype)
    curvature = points.new_zeros(dimensions, count * dimensions)
    # One large product for all problems: parts of some megabytes, so that memory does not grow with either.
    for features, signs in rows.blocks(dtype, min(max(_PRODUCTS // (count * dimensions), 16), 1024)):
        active = ((features @ rounded).mul_(signs) < 1).to(dtype)
        curvature += features.T @ (active[:, :, None] * features[:, None, :]).flatten(1)
    curvature = curvature.view(dimensions, count, dimensions).transpose(0, 1)
    factors, failed = torch.linalg.cholesky_ex(rows.back.T @ rows.back + 2 * rows.c * curvature)
    return factors, failed > 0
