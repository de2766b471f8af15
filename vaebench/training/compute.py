"""Device, precision, memory layout and threads of a training; defaults are measured once a machine.

The choice decides the last bits of every weight, so it must not depend on how busy the machine is today:
the measurement is kept in ``VAEBENCH_CACHE/compute.json`` and used from then on. ``vaebench doctor`` shows
it; deleting the file measures anew.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from vaebench.core.device import pick_device
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.machine import machine
from vaebench.core.processes import cores
from vaebench.training import autotune
from vaebench.training.autotune import Trial

MARGIN = 1.15  # how much faster bf16 must be before it is the default


LAYOUT_MARGIN = 1.05  # and the contiguous layout


Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How a training runs. It is recorded with the run, and used again when the run is resumed.

    Attributes:
        device: as ``torch.device`` takes it.
        precision: ``bf16`` runs losses under autocast; weights, optimiser and reductions stay float32.
        channels_last: memory layout of images and convolution weights.
        compile: ``torch.compile`` on the trained modules. Off by default: on a CPU it needs a C++ compiler
            and minutes of start-up that short trainings do not earn back.
        threads: of torch on the CPU. Kept, because sums are split by thread and so round by thread count.
        fused: one kernel for an optimiser's whole step, where it has one.
        cuda_graphs: phases that allow it are captured once and replayed. Off by default; on a GPU only.
        stream: images come from main memory or a memory map as they are wanted. By itself on a GPU that they would
            fill; on a CPU it reads ahead.
        processes: that share each batch, as ``torchrun`` starts them.
        sync_batch_norm: whether batch normalisation takes its statistics over all processes' images.
    """

    device: str
    precision: Precision
    channels_last: bool
    compile: bool
    threads: int
    fused: bool = False
    cuda_graphs: bool = False
    stream: bool = False
    processes: int = 1
    sync_batch_norm: bool = True

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Context manager of the forward pass in this precision."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory layout, as ``Tensor.to`` takes it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def choose(
    *,
    device: str = "auto",
    precision: str = "auto",
    channels_last: bool | None = None,
    threads: int | None = None,
    sharing: int = 1,
    **switches: Any,
) -> Compute:
    """Complete the given flags with measured defaults.

    ``sharing`` processes will compute on this machine at once; ``switches`` are :class:`Compute`'s other fields.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision '{precision}' is unknown: choose auto, fp32 or bf16")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads} is no number of threads: give 1 or more")
    picked = pick_device(device)
    if switches.get("cuda_graphs") and torch.device(picked).type != "cuda":
        raise UserError("--cuda-graphs needs a CUDA device: leave it away, or --device cuda")
    if switches.get("cuda_graphs") and switches.get("processes", 1) > 1:
        raise UserError("--cuda-graphs replays the steps of one process: leave it away, or torchrun")
    most = max(1, cores() // sharing) if torch.device(picked).type == "cpu" else cores()
    open_ones = "auto" in (precision, threads or "auto") or channels_last is None
    rates = autotune.measured(picked) if open_ones else {}
    fitting = [
        (trial, rate)
        for trial, rate in ((Trial.parse(name), rate) for name, rate in rates.items())
        if trial.channels_last in (True, channels_last)
        and precision in ("auto", trial.precision)
        and (trial.threads <= most if threads is None else trial.threads == threads)
    ]
    known = max(fitting, key=_weighed, default=(Trial("fp32" if precision == "auto" else precision, most), 0.0))[0]
    return Compute(
        device=picked,
        precision="bf16" if known.precision == "bf16" else "fp32",
        channels_last=_faster_layout(known, rates) if channels_last is None else channels_last,
        threads=known.threads if threads is None else threads,
        **{"compile": False, "fused": True, **switches},
    )


def agreed(group: Group, **flags: Any) -> Compute:
    """Run :func:`choose` on rank 0 and broadcast its result: precision must not depend on a disturbed measurement."""
    chosen = group.led(partial(choose, **flags))
    pick_device(chosen.device)
    return chosen


def _weighed(found: "tuple[Trial, float]") -> float:
    """Weigh a trial's rate: full precision wins unless half precision is clearly faster."""
    trial, rate = found
    return rate * MARGIN if trial.precision == "fp32" else rate


def _faster_layout(known: "Trial", rates: Mapping[str, float]) -> bool:
    last, contiguous = (rates.get(str(replace(known, channels_last=last)), 0.0) for last in (True, False))
    return contiguous <= last * LAYOUT_MARGIN


def describe(compute: Compute) -> dict[str, Any]:
    """Return what a run's record keeps of the compute settings, with the machine's name."""
    return {**asdict(compute), "machine": machine(compute.device)}
