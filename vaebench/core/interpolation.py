"""Straight lines between latents."""

import torch
from torch import Tensor


def line(first: Tensor, second: Tensor, frames: int) -> Tensor:
    """Return points at equal distances on straight lines, ends included: two (n, d), frames >= 2 -> (n, frames, d).

    The MNIST article, section "Linear interpolation between images"; Hou et al. 2017, section 4.3.1.
    """
    shares = torch.linspace(0, 1, frames, dtype=first.dtype, device=first.device)
    return torch.lerp(first[:, None], second[:, None], shares[None, :, None])
