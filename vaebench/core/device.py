"""The device on which arithmetic runs: found, or checked where the user names one."""

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
