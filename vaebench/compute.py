"""Where and how arithmetic runs: device, precision, layout, threads; defaults are measured, once a machine.

The choice decides the last bits of every weight, so it must not depend on how busy the machine is today:
the measurement is kept in ``VAEBENCH_CACHE/compute.json`` and used from then on. ``vaebench doctor`` shows
it; deleting the file measures anew.
"""

import ctypes
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vaebench.blocks import digit_encoder
from vaebench.core.errors import UserError
from vaebench.core.places import cache_dir, write_text
from vaebench.core.processors import cores

MARGIN = 1.15  # how much faster bf16 must be before it is the default

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How a training runs. Recorded with the run, and used again when it is resumed.

    Attributes:
        device: as ``torch.device`` takes it.
        precision: ``bf16`` runs losses under autocast; weights, optimiser and reductions stay float32.
        channels_last: memory layout of images and convolution weights.
        compile: ``torch.compile`` on the trained modules. Off by default: on a CPU it needs a C++ compiler
            and minutes of start-up that short trainings do not earn back.
        threads: of torch on the CPU. Kept, because sums are split by thread and so round by thread count.
    """

    device: str
    precision: Precision
    channels_last: bool
    compile: bool
    threads: int

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The precision's context for the forward pass."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    @property
    def memory_format(self) -> torch.memory_format:
        """As ``Tensor.to`` takes it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def pick_device(name: str) -> str:
    """``auto`` is a CUDA device where there is one, else the CPU; others are checked and passed on."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{name}' is not here: use --device auto; 'vaebench doctor' lists devices") from error
    return name


def choose(
    *,
    device: str = "auto",
    precision: str = "auto",
    channels_last: bool = True,
    compile: bool = False,
    threads: int | None = None,
) -> Compute:
    """The given flags, with measured defaults where they are left open."""
    if precision not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision '{precision}' is unknown: choose auto, fp32 or bf16")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads} is no number of threads: give 1 or more")
    picked = pick_device(device)
    fitting = [
        (rate, known_precision, known_threads)
        for (known_precision, known_threads), rate in _rates(picked, precision, threads).items()
        if precision in ("auto", known_precision) and threads in (None, known_threads)
    ]
    # the full precision, unless half of it is clearly faster
    weighed = [(rate * (MARGIN if kind == "fp32" else 1), kind, count) for rate, kind, count in fitting]
    _, best_precision, best_threads = max(weighed, default=(0.0, "fp32", cores()))
    chosen = best_precision if precision == "auto" else precision
    return Compute(
        device=picked,
        precision="bf16" if chosen == "bf16" else "fp32",
        channels_last=channels_last,
        compile=compile,
        threads=best_threads if threads is None else threads,
    )


def _rates(device: str, precision: str, threads: int | None) -> dict[tuple[str, int], float]:
    """What was measured, by precision and threads; nothing where both are given and no measuring is due."""
    if precision != "auto" and threads is not None:
        return {}
    return {(name.partition("/")[0], int(name.partition("/")[2])): rate for name, rate in measured(device).items()}


def forget_peak_memory(device: torch.device | str) -> None:
    """Start :func:`peak_memory` anew, where the system can: a process trains several runs."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux only; elsewhere the peak is the process's
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device | str) -> int:
    """Bytes held at most since :func:`forget_peak_memory`: on a GPU by tensors, on a CPU by the whole process.

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
    (benchmarks/speed/train_mnist.py). Changes no number. ``False`` where there is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # mallopt's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, which may be 32 MiB at most
    return all(library.mallopt(option, size) for option, size in ((-1, 1 << 30), (-2, 1 << 26), (-3, 1 << 25)))


def machine(device: str) -> str:
    """What the measurement holds for: processor or GPU, cores, torch version."""
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


def measured(device: str) -> dict[str, float]:
    """Training images per second by ``precision/threads``, from the cache or measured now (about a second)."""
    path, key = cache_dir() / "compute.json", machine(device)
    try:
        known: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = _measure(device)
        try:
            write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")
        except UserError:
            return {f"fp32/{cores()}": 1.0}  # what cannot be kept would differ from start to start
    return known[key]


def _measure(device: str) -> dict[str, float]:
    """Rates of a small convolutional training step, batch 32, at each precision and thread count worth trying."""
    before = torch.get_num_threads()
    rates = {}
    for precision in ("fp32", "bf16"):
        for threads in sorted({1, cores()}) if device == "cpu" else [cores()]:
            compute = Compute(device=device, precision=precision, channels_last=True, compile=False, threads=threads)
            rates[f"{precision}/{threads}"] = round(_rate(compute), 1)
    torch.set_num_threads(before)
    return rates


def _rate(compute: Compute, batch: int = 32, steps: int = 7) -> float:
    torch.set_num_threads(compute.threads)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        network = digit_encoder(5).to(compute.device)
        network.to(memory_format=compute.memory_format)
        images = torch.rand(batch, 1, 28, 28, device=compute.device)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        with compute.autocast():
            mean, log_variance = network(images)
        (mean.float().square().sum() + log_variance.float().square().sum()).backward()
        if compute.device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds[2:])


def describe(compute: Compute) -> dict[str, Any]:
    """As a run's record keeps it, with the machine's name."""
    return {**asdict(compute), "machine": machine(compute.device)}
