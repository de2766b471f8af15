"""The machine's name, as measurements and records keep it: processor or GPU, cores, torch version."""

import platform
from pathlib import Path

import torch

from vaebench.core.processes import cores


def machine(device: str) -> str:
    """Name the machine that a measurement holds for: processor or GPU, cores, torch version."""
    if device != "cpu":
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    else:
        name = processor()
    return f"{name}, {cores()} cores, torch {torch.__version__}"


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "CPU")
