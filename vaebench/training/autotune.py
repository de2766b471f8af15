"""Measure how fast this machine trains in each precision, thread count and memory layout, and keep the rates.

A measurement that something else on the machine disturbed is used and not kept: by its own spread, and by the share of
a processor that it got.
"""

import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from msgspec import Meta

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import exclusive, make_dir, write_text
from vaebench.core.machine import machine
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores
from vaebench.models.layers import digit_encoder

Rates = dict[str, Annotated[dict[str, Annotated[float, Meta(gt=0)]], Meta(min_length=1)]]


BATCH, STEPS, UNCOUNTED = 32, 7, 2


HOPELESS = 4  # times the best setting's seconds
STEADY = 0.5  # the median step's seconds over the fastest's, less 1, where nothing disturbs it, at most
WHOLE = 0.9  # of a processor that one thread gets where nothing else wants it, at the least
ATTEMPTS = 2

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class Measured:
    """Images per second by :class:`Trial`, and what disturbed the measurement, in words; empty if nothing did."""

    rates: Mapping[str, float]
    disturbed: str = ""


def measured(device: str) -> dict[str, float]:
    """Return images per second by trial of a small network of this package: kept, or measured now (some seconds)."""
    return kept(machine(device), lambda: measure(device)) or {f"fp32/{cores()}": 1.0}


def kept(key: str, take: Callable[[], Measured]) -> dict[str, float]:
    """Return the rates that are kept under a key, or those that ``take`` measures now.

    What was disturbed is measured once more, and used though not kept if it was disturbed again. Empty where the cache
    cannot be written to: what cannot be kept would differ from start to start.
    """
    known = known_rates()
    if key not in known:
        try:
            # processes that start at once measure one after the other, and all but the first find what it wrote
            with exclusive(make_dir(cache_dir()), wait=True):
                known = known_rates()
                if key not in known:
                    found = _undisturbed(take)
                    if found.disturbed:
                        log.info(
                            "this machine is busy (%s): the settings that were fastest now are used for this start and "
                            "not kept; 'vaebench doctor' measures anew when it is quiet",
                            found.disturbed,
                        )
                        return dict(found.rates)
                    _write({**known, key: dict(found.rates)})
                    known = known_rates()
        except UserError:
            pass
    return known.get(key, {})


def keep_best(key: str, trial: Trial, rate: float) -> None:
    """Keep a training's own rate under a key if it is the best of that setting so far."""
    try:
        with exclusive(make_dir(cache_dir()), wait=True):
            known = known_rates()
            of = known.get(key, {})
            if rate > of.get(str(trial), 0.0):
                _write({**known, key: {**of, str(trial): round(rate, 1)}})
    except UserError:  # the cache cannot be written to
        pass


def known_rates() -> dict[str, dict[str, float]]:
    """Read key -> trial -> images per second; empty if the file is missing or damaged."""
    path = cache_dir() / "compute.json"
    try:
        content = input_files.read_bytes(path, most=input_files.SMALL, remedy="delete it")
        rates = validation.from_json(content, Rates, str(path), "delete it")
        for trials in rates.values():
            for name in trials:
                Trial.parse(name)
        # versions before 0.2 measured several trainings at once, too
        return {key: {name: rate for name, rate in of.items() if "/x" not in name} for key, of in rates.items()}
    except (FileNotFoundError, UserError, ValueError):
        return {}


def _write(rates: Mapping[str, Mapping[str, float]]) -> None:
    write_text(cache_dir() / "compute.json", json.dumps(rates, indent=2, sort_keys=True) + "\n")


def _undisturbed(take: Callable[[], Measured]) -> Measured:
    found = take()
    for _ in range(ATTEMPTS - 1):
        found = take() if found.disturbed else found
    return found


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


def spread(seconds: list[float]) -> float:
    """Return by how much the median of these exceeds the least, as a share of it."""
    return statistics.median(seconds) / min(seconds) - 1


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
    share = (time.process_time() - worked) / (time.perf_counter() - began)
    counted = seconds[UNCOUNTED:]
    disturbed = ""
    if torch.device(device).type == "cpu" and trial.threads == 1 and share < WHOLE:
        disturbed = f"one thread got {share:.0%} of a processor"
    elif spread(counted) > STEADY:
        disturbed = f"a step took {1 + spread(counted):.1f} times as long as another"
    return BATCH / min(counted), disturbed


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
