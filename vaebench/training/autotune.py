"""Measure how fast this machine trains in each precision, thread count and memory layout."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from vaebench.core import trials
from vaebench.core.machine import machine
from vaebench.core.processes import cores
from vaebench.core.trials import Measured, spread
from vaebench.models.layers import digit_encoder

BATCH, STEPS, UNCOUNTED = 32, 7, 2


HOPELESS = 4  # times the best setting's seconds
# of a processor that each thread gets at the least where nothing else wants it (measured: 0.97 and more; beside one
# busy neighbour of two processors 0.58 to 0.75, and two threads are then slower than one)
WHOLE = 0.9


@dataclass(frozen=True, slots=True)
class Trial:
    """A training setting to measure: precision, threads, memory layout, CUDA graphs."""

    precision: str
    threads: int
    channels_last: bool = True
    cuda_graphs: bool = False

    def __str__(self) -> str:
        """The trial's name in the cache: ``bf16/2``, ``bf16/2/contiguous``, ``bf16/16/graphs``."""
        layout = "" if self.channels_last else "/contiguous"
        return f"{self.precision}/{self.threads}{layout}" + ("/graphs" if self.cuda_graphs else "")

    @classmethod
    def parse(cls, name: str) -> "Trial":
        """Read a name as ``str`` writes it."""
        precision, threads, *rest = name.split("/")
        return cls(precision, int(threads), "contiguous" not in rest, "graphs" in rest)


def measured(device: str) -> dict[str, float]:
    """Return images per second by trial of a small network of this package: kept, or measured now (some seconds)."""
    rates = trials.kept(machine(device), lambda: measure(device))
    readable = {name: rate for name, rate in rates.items() if _is_trial(name)}
    return readable or {f"fp32/{cores()}": 1.0}


def _is_trial(name: str) -> bool:
    """Tell whether a name is a trial's: versions before 0.2 measured several trainings at once, too (``/x2``)."""
    try:
        return str(Trial.parse(name)) == name
    except ValueError:
        return False


def measure(device: str) -> Measured:
    """Measure images per second of a small convolutional training step with batch size 32.

    At each precision and thread count worth trying; then the best of them in the other layout.
    """
    before = torch.get_num_threads()
    counts = sorted({1, cores()}) if torch.device(device).type == "cpu" else [cores()]
    rates: dict[Trial, float] = {}
    disturbed = ""

    def take(trial: Trial) -> None:
        nonlocal disturbed
        rates[trial], why = _rate(device, trial, max(rates.values(), default=0.0))
        disturbed = disturbed or why

    for precision in ("fp32", "bf16"):
        for threads in counts:
            take(Trial(precision, threads))
    best = max(rates, key=rates.__getitem__)
    take(replace(best, channels_last=False))
    torch.set_num_threads(before)
    return Measured({str(trial): round(rate, 1) for trial, rate in rates.items()}, disturbed)


def _rate(device: str, trial: Trial, best: float) -> tuple[float, str]:
    """Measure images per second of one trial, by its fastest step, and what disturbed it.

    Weights and images are drawn from a generator of their own. A second step that takes :data:`HOPELESS` times as long
    as at the ``best`` rate is the last: on a CPU that only emulates bf16, all of them would take longer than everything
    else.
    """
    torch.set_num_threads(trial.threads)
    hopeless = HOPELESS * BATCH / best if best else math.inf
    step = _reference_step(device, trial)
    seconds = []
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if len(seconds) == UNCOUNTED and seconds[-1] > hopeless:
            return BATCH / seconds[-1], ""
    share = (time.process_time() - worked) / (time.perf_counter() - began) / trial.threads
    counted = seconds[UNCOUNTED:]
    if torch.device(device).type == "cpu" and share < WHOLE and not (trial.threads > 1 and _waits_passively()):
        return BATCH / min(counted), f"each of {trial.threads} threads got {share:.0%} of a processor"
    return BATCH / min(counted), trials.disturbance(spread(counted))


def _waits_passively() -> bool:
    """Tell whether threads sleep while they wait, so that the processor time they get says nothing of neighbours."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"


def _reference_step(device: str, trial: Trial) -> Callable[[], None]:
    """Build a small network's forward and backward pass."""
    layout = torch.channels_last if trial.channels_last else torch.contiguous_format
    draw = torch.Generator().manual_seed(0)
    with torch.device("meta"):  # real ones would be drawn from the global generator
        network = digit_encoder(5)
    network.to_empty(device=device)
    for parameter in network.parameters():
        parameter.data.copy_(0.05 * torch.randn(parameter.shape, generator=draw))
    network.to(memory_format=layout)
    images = torch.rand(BATCH, 1, 28, 28, generator=draw).to(device).contiguous(memory_format=layout)

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=trial.precision == "bf16"):
            mean, log_variance = network(images)
        (mean.float().square().sum() + log_variance.float().square().sum()).backward()

    return step
