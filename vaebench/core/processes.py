"""Processors and threads that this process may use, and whether it is one of several that ``torchrun`` started."""

import os
import sys

from vaebench.core.errors import UserError

# read by OpenMP (torch, scikit-learn), OpenBLAS (numpy, scipy), MKL (torch) and OpenCV when they are loaded
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_MOST_THREADS = 1_024
_SEVERAL = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def check_threads(count: int) -> None:
    """Raise :class:`UserError` unless it is 1 or more."""
    if count < 1:
        raise UserError(f"threads={count} is no number of threads: give 1 or more")


def use_threads(count: int) -> None:
    """Bound the CPU threads of torch and of the numerical libraries that are loaded after this call.

    Raises:
        UserError: ``count`` is below 1, or so many that starting them could end the process.
    """
    check_threads(count)
    most = max(_MOST_THREADS, cores())
    if count > most:
        raise UserError(f"threads={count} is too many: give {most} or less; this machine has {cores()} cores")
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    import torch  # noqa: PLC0415  (after the environment is set, and only where something will be computed)

    torch.set_num_threads(count)


def processes() -> int:
    """How many processes are at this job."""
    return int(os.environ["WORLD_SIZE"]) if set(os.environ) >= _SEVERAL else 1


def processes_here() -> int:
    """How many of them share this machine's processors."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes() > 1 else 1


def leads() -> bool:
    """Tell whether this process is rank 0, which writes files and prints."""
    return processes() == 1 or os.environ["RANK"] == "0"
