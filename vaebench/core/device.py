"""Where and how arithmetic runs: device, precision, layout, threads; defaults are measured, once a machine.

The choice decides the last bits of every weight, so it must not depend on how busy the machine is today:
the measurement is kept in ``VAEBENCH_CACHE/compute.json`` and used from then on. ``vaebench doctor`` shows
it; deleting the file measures anew.
"""

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
