"""Memory: the peak, keeping freed pages for the next step, and returning them to the system."""

import ctypes
import platform
import sys
from contextlib import suppress
from pathlib import Path

import torch


def forget_peak_memory(device: torch.device | str) -> None:
    """Start :func:`peak_memory` anew, where the system can: a process trains several runs."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux only; elsewhere the peak is the process's
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device | str) -> int:
    """Return the peak in bytes since :func:`forget_peak_memory`: on a GPU of tensors, on a CPU of the whole process.

    The process is the interpreter and its libraries too (about 0.4 GB), and the images, which lie in its memory.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in status if line.startswith("VmHWM:")).split()[1])
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory for the next step instead of returning it to the system.

    A training step frees and asks for the same megabytes again; glibc hands blocks of that size back at once and
    the system must clear each page anew, which cost a fifth of a CPU training step when this was measured
    (benchmarks/speed/train.py). Changes no number. ``False`` where there is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # mallopt's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, which may be 32 MiB at most
    return all(library.mallopt(option, size) for option, size in ((-1, 1 << 30), (-2, 1 << 26), (-3, 1 << 25)))


def give_back_freed_memory() -> None:
    """Return freed pages to the system, with glibc; changes no number.

    What an evaluation keeps of each batch, a few hundred bytes, lies between megabytes that were freed, and
    glibc (2.36 was seen to) asks for new ones instead of using these: 7 MB a batch of 64 colour images of 64 x 64. Its
    bug 14581 is such a case, of aligned blocks.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
