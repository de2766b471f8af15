"""Processors that this process may use, and whether it is one of several that ``torchrun`` started."""

import os
import sys

_SEVERAL = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def processes() -> int:
    """How many processes are at this job."""
    return int(os.environ["WORLD_SIZE"]) if set(os.environ) >= _SEVERAL else 1


def processes_here() -> int:
    """How many of them share this machine's processors."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes() > 1 else 1


def leads() -> bool:
    """Tell whether this process is rank 0, which writes files and prints."""
    return processes() == 1 or os.environ["RANK"] == "0"
