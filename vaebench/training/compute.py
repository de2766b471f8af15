"""Device, precision, memory layout, threads and CUDA graphs of a training; defaults are measured once a machine.

The choice decides the last bits of every weight, so it must not depend on how busy the machine is today:
the measurement is kept in ``VAEBENCH_CACHE/compute.json`` and used from then on. ``vaebench doctor`` shows
it; deleting the file measures anew.

On a CPU a small network stands for all recipes. On a GPU it would measure how fast kernels are launched and little
else, so there each recipe's own first steps are tried in every way, and a way whose losses leave the plain one's is
refused.
"""

import logging
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch

from vaebench.core import trials
from vaebench.core.device import pick_device
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError, first_line
from vaebench.core.machine import machine
from vaebench.core.processes import check_threads, cores
from vaebench.core.trials import Measured
from vaebench.training import autotune
from vaebench.training.autotune import Trial

MARGIN = 1.15  # how much faster bf16 must be before it is the default


LAYOUT_MARGIN = 1.05  # and the contiguous layout
NATIVE_BF16 = 8  # major number of the CUDA capability from which GPUs compute in bfloat16 themselves
# difference of losses from the plain way's within a trial, as a share of what a phase's terms add up to
TOLERANCE = {"fp32": 0.05, "bf16": 0.1}
Losses = Sequence[Mapping[str, tuple[float, float]]]  # by step and phase: the terms' sum, and that of their magnitudes

log = logging.getLogger(__name__)


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
        cuda_graphs: phases that allow it are captured once and replayed; on a GPU only.
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


class Choose(Protocol):
    """:func:`choose` with flags."""

    def __call__(self, *, workload: "Workload | None" = None) -> Compute: ...


class Steps(Protocol):
    """What a trial of a workload found: images a second, their spread, the first steps' losses."""

    @property
    def rate(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def losses(self) -> "Losses": ...


@dataclass(frozen=True, slots=True)
class Workload:
    """What will be trained: its name, under which rates are kept, and a function that takes its first steps."""

    name: str
    take: "Callable[[Compute], Steps]"

    def key(self, device: str) -> str:
        """The name of its rates on this machine."""
        return f"{machine(device)}, {self.name}"


def choose(
    *,
    device: str = "auto",
    precision: str = "auto",
    channels_last: bool | None = None,
    threads: int | None = None,
    cuda_graphs: bool | None = None,
    sharing: int = 1,
    workload: Workload | None = None,
    **switches: Any,
) -> Compute:
    """Complete the given flags with measured defaults.

    Args:
        device: ``auto``, or as ``torch.device`` takes it.
        precision: ``auto``, ``fp32`` or ``bf16``.
        channels_last: memory layout; ``None``: the faster one.
        threads: of the CPU; ``None``: as many as are fastest.
        cuda_graphs: ``None``: where they are faster.
        sharing: processes that will compute on this machine at once.
        workload: what will be trained, which is tried on a GPU unless its rates are kept; ``None``: the way that is
            fastest there as a rule.
        switches: :class:`Compute`'s other fields.

    Raises:
        UserError: flags that cannot be, or not together.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision '{precision}' is unknown: choose auto, fp32 or bf16")
    if threads is not None:
        check_threads(threads)
    picked = pick_device(device)
    on_gpu = torch.device(picked).type == "cuda"
    if cuda_graphs and not on_gpu:
        raise UserError("--cuda-graphs needs a CUDA device: leave it away, or --device cuda")
    most = max(1, cores() // sharing) if torch.device(picked).type == "cpu" else cores()
    others = {"compile": False, "fused": True, **switches}
    if others["compile"] and cuda_graphs is None:
        cuda_graphs = False  # nobody measured that they help each other
    if on_gpu:
        rates = _gpu_rates(picked, workload, others)
    else:
        open_ones = "auto" in (precision, threads or "auto") or channels_last is None
        rates = autotune.measured(picked) if open_ones else {}
    tried = {Trial.parse(name): rate for name, rate in rates.items()}
    fitting = {
        trial: rate
        for trial, rate in tried.items()
        if precision in ("auto", trial.precision)
        and (channels_last is None or trial.channels_last in (True, channels_last))
        and cuda_graphs in (None, trial.cuda_graphs)
        and (on_gpu or (trial.threads <= most if threads is None else trial.threads == threads))
    }
    unmeasured = Trial(
        "fp32" if precision == "auto" else precision, most, channels_last is not False, cuda_graphs is True
    )
    known = max(fitting, key=lambda trial: _weighed(trial, fitting[trial]), default=unmeasured)
    return Compute(
        device=picked,
        precision="bf16" if known.precision == "bf16" else "fp32",
        channels_last=known.channels_last if channels_last is None else channels_last,
        threads=known.threads if threads is None else threads,
        cuda_graphs=known.cuda_graphs,
        **others,
    )


def _gpu_rates(device: str, workload: Workload | None, others: Mapping[str, Any]) -> Mapping[str, float]:
    """Return rates of the ways to train on a GPU: kept or tried, or without a workload the order that is usual."""
    plain = Trial("fp32", cores(), channels_last=False)
    if workload is None:
        graphs = replace(plain, cuda_graphs=True)
        ways = [plain, graphs]
        if torch.cuda.get_device_capability(device)[0] >= NATIVE_BF16:
            ways += [replace(graphs, precision="bf16", channels_last=True)]
        return {str(way): 2.0**place for place, way in enumerate(ways)}
    return trials.kept(workload.key(device), partial(try_ways, device, workload, plain, others))


def try_ways(device: str, workload: Workload, plain: Trial, others: Mapping[str, Any]) -> Measured:
    """Take a workload's first steps in every way that a GPU knows; keep those whose losses are the plain way's.

    A way that fails, or whose losses differ by more than :data:`TOLERANCE`, is refused, and a message says so.
    """
    graphs = replace(plain, cuda_graphs=True)
    half = replace(graphs, precision="bf16")
    last = [replace(way, channels_last=True) for way in (graphs, half)]
    ways = [plain, graphs, half, *last, replace(last[1], cuda_graphs=False)]
    alone = {**others, "processes": 1, "stream": False, "compile": False}
    found: dict[str, Steps] = {}
    for way in ways:
        settings = Compute(
            device=device,
            precision="bf16" if way.precision == "bf16" else "fp32",
            channels_last=way.channels_last,
            threads=way.threads,
            cuda_graphs=way.cuda_graphs,
            **alone,
        )
        try:
            steps = workload.take(settings)
        except RuntimeError as error:
            if way == plain:
                raise
            log.info("%s: the way %s fails and is not used (%s)", workload.name, way, first_line(error))
            continue
        apart = disagreement(steps.losses, found[str(plain)].losses) if found else 0.0
        if apart > TOLERANCE[way.precision]:
            log.warning(
                "%s: losses of the way %s differ by %.0f %% from the plain way's: it is not used",
                workload.name,
                way,
                100 * apart,
            )
            continue
        found[str(way)] = steps
    spread = max(steps.spread for steps in found.values())
    return Measured({way: round(steps.rate, 1) for way, steps in found.items()}, trials.disturbance(spread))


def disagreement(losses: "Losses", plain: "Losses") -> float:
    """Return the median over steps of the largest difference of a phase's loss, as a share of what its terms add up to.

    The median, since a step at which a loss jumps (the KL divergence at the third step of RMSprop, to twenty times the
    reconstruction) amplifies what little the ways round differently, while a wrong way is wrong at every step that it
    replays. Infinite where a loss is not a number, or the phases are not the same.
    """
    apart = []
    for ours, theirs in zip(losses, plain, strict=True):
        if ours.keys() != theirs.keys():
            return math.inf
        shares = [abs(total - theirs[phase][0]) / max(theirs[phase][1], 1e-12) for phase, (total, _) in ours.items()]
        if not all(map(math.isfinite, shares)):
            return math.inf
        apart.append(max(shares))
    return statistics.median(apart)


def agreed(group: Group, **flags: Any) -> Compute:
    """Run :func:`choose` on rank 0 and broadcast its result: precision must not depend on a disturbed measurement."""
    chosen = group.led(partial(choose, **flags))
    pick_device(chosen.device)
    return chosen


def _weighed(trial: Trial, rate: float) -> float:
    """Weigh a trial's rate: what is nearer to the plain way wins unless another is clearly faster.

    Of precisions full, of layouts channels_last.
    """
    full = MARGIN if trial.precision == "fp32" else 1.0
    return rate * full * (LAYOUT_MARGIN if trial.channels_last else 1.0)


def describe(compute: Compute) -> dict[str, Any]:
    """Return what a run's record keeps of the compute settings, with the machine's name."""
    return {**asdict(compute), "machine": machine(compute.device)}
