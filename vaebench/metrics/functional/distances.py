"""Compute distances between rows of features, a block of pairs at a time: no matrix of all pairs is ever held."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vaebench.core.errors import UserError

BLOCK = 2048  # rows and columns of a block of distances: 32 MiB in float64
_NUMBERS = 2**23  # in a block of features: 64 MiB in float64


def doubles(features: Tensor) -> Tensor:
    """Convert to float64 on their device, or on the CPU if the device has none (MPS)."""
    return (features.cpu() if features.device.type == "mps" else features).double()


def squared(rows: Tensor, columns: Tensor, slack: float = 0.0) -> Tensor:
    """Compute squared distances (n, m) float64, less ``slack`` times the sum of squared lengths; rounding may make one
    < 0.
    """
    lengths = columns.square().sum(dim=1) * (1 - slack)
    return torch.addmm(lengths, rows, columns.T, alpha=-2).add_(rows.square().sum(dim=1, keepdim=True) * (1 - slack))


def blocks(features: Tensor, origin: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the number of a block's first row, and its rows in float64 relative to ``origin`` (d,)."""
    size = max(1, min(BLOCK, _NUMBERS // max(1, features.shape[1])))
    for start in range(0, len(features), size):
        yield start, features[start : start + size].double() - origin


def mean_row(features: Tensor) -> Tensor:
    """Mean row in float64. Seen from there lengths are short, and |a|^2 + |b|^2 - 2ab cancels least."""
    return features.mean(dim=0, dtype=torch.float64)


def check(*sets: Tensor) -> None:
    """Raise :class:`UserError` unless all are finite (n, d) with the same d."""
    for features in sets:
        if features.ndim != 2 or features.shape[1] != sets[0].shape[1]:
            shapes = " and ".join(str(tuple(each.shape)) for each in sets)
            raise UserError(f"features {shapes} do not go together: give (n, d) each, with the same d")
        if not features.isfinite().all():
            raise UserError("features are not finite: the images, or the network that read them, are broken")


@contextmanager
def plain_float32(device: torch.device) -> Iterator[None]:
    """Compute products in float32 and nothing shorter: neither TF32 nor bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
