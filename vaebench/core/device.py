"""The device on which arithmetic runs: found, or checked where the user names one; and whether it may use TF32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vaebench.core.errors import UserError


def pick_device(name: str) -> str:
    """``auto`` is a CUDA device where there is one, else the CPU; others are checked and passed on."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{name}' is not here: use --device auto; 'vaebench doctor' lists devices") from error
    return name


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Context manager in which a GPU's products and convolutions of float32 may, or may not, be rounded to TF32.

    It keeps 10 of the 23 bits behind the point. torch allows it for convolutions by default.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
