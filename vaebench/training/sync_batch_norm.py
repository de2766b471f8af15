"""Batch normalisation over the batches of all processes; torch's own runs on GPUs only.

A run with one process is the same code: a group of one is told what it says itself.
"""

from functools import partial

import torch
from torch import Tensor, nn

from vaebench.core.distributed import Group


def has_batch_norm(module: nn.Module) -> bool:
    """Tell whether any batch normalisation is inside."""
    return any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in module.modules())


def synchronise_batch_norm(module: nn.Module, group: Group) -> None:
    """Replace, in place, every batch normalisation inside by one that takes its statistics over all processes' batches.

    As if the batch were whole (Ioffe and Szegedy 2015); parameters, buffers and their names stay what they are.
    """
    if group.size > 1:
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(part, "forward", partial(_normalised_together, part, group))  # noqa: B010


def _normalised_together(norm: nn.BatchNorm1d | nn.BatchNorm2d, group: Group, x: Tensor) -> Tensor:
    if not norm.training:
        evaluated: Tensor = type(norm).forward(norm, x)
        return evaluated
    over = [0, *range(2, x.ndim)]
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    wide, count = x.float(), x.numel() // x.shape[1] * group.size
    mean = group.sum(wide.sum(over)) / count
    centred = wide - mean.view(per_channel)
    variance = group.sum(centred.square().sum(over)) / count
    if norm.track_running_stats:
        _track(norm, mean.detach(), variance.detach() * (count / max(count - 1, 1)))
    scale = torch.rsqrt(variance + norm.eps)
    scale = scale * norm.weight if norm.affine else scale
    made = centred * scale.view(per_channel)
    return (made + norm.bias.view(per_channel) if norm.affine else made).to(x.dtype)


@torch.no_grad()
def _track(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
