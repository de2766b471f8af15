"""Measure once how fast this machine trains in each precision, thread count and memory layout, and keep the rates."""

import json
import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
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


@dataclass(frozen=True, slots=True)
class Trial:
    """A training setting to measure: precision, threads, memory layout."""

    precision: str
    threads: int
    channels_last: bool = True

    def __str__(self) -> str:
        """The trial's name in the cache and in ``vaebench doctor``: ``bf16/2``, ``bf16/2/contiguous``."""
        return f"{self.precision}/{self.threads}" + ("" if self.channels_last else "/contiguous")

    @classmethod
    def parse(cls, name: str) -> "Trial":
        """Read a name as ``str`` writes it."""
        precision, threads, *rest = name.split("/")
        return cls(precision, int(threads), "contiguous" not in rest)


def measured(device: str) -> dict[str, float]:
    """Return training images per second by :class:`Trial`, from the cache or measured now (some seconds)."""
    path, key = cache_dir() / "compute.json", machine(device)
    known = _known(path)
    if key not in known:
        try:
            # processes that start at once measure one after the other, and all but the first find what it wrote
            with exclusive(make_dir(cache_dir()), wait=True):
                known = _known(path)
                if key not in known:
                    fresh = {**known, key: measure(device)}
                    write_text(path, json.dumps(fresh, indent=2, sort_keys=True) + "\n")
                    known = _known(path)
        except UserError:
            pass
    return known.get(key) or {f"fp32/{cores()}": 1.0}  # what cannot be kept would differ from start to start


def _known(path: Path) -> dict[str, dict[str, float]]:
    """Read machine -> trial -> images per second; empty if the file is missing or damaged."""
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


def measure(device: str) -> dict[str, float]:
    """Measure images per second of a small convolutional training step with batch size 32.

    At each precision and thread count worth trying; then the best of them in the other layout.
    """
    before = torch.get_num_threads()
    counts = sorted({1, cores()}) if torch.device(device).type == "cpu" else [cores()]
    rates: dict[Trial, float] = {}

    def take(trial: Trial) -> None:
        rates[trial] = round(_rate(device, trial, max(rates.values(), default=0.0)), 1)

    for precision in ("fp32", "bf16"):
        for threads in counts:
            take(Trial(precision, threads))
    best = max(rates, key=rates.__getitem__)
    take(replace(best, channels_last=False))
    torch.set_num_threads(before)
    return {str(trial): rate for trial, rate in rates.items()}


def _rate(device: str, trial: Trial, best: float) -> float:
    """Measure images per second of one trial; weights and images are drawn from a generator of their own.

    A second step that takes :data:`HOPELESS` times as long as at the ``best`` rate is the last: on a CPU that only
    emulates bf16, all of them would take longer than everything else.
    """
    torch.set_num_threads(trial.threads)
    hopeless = HOPELESS * BATCH / best if best else math.inf
    layout = torch.channels_last if trial.channels_last else torch.contiguous_format
    draw = torch.Generator().manual_seed(0)
    with torch.device("meta"):  # real ones would be drawn from the global generator
        network = digit_encoder(5)
    network.to_empty(device=device)
    for parameter in network.parameters():
        parameter.data.copy_(0.05 * torch.randn(parameter.shape, generator=draw))
    network.to(memory_format=layout)
    images = torch.rand(BATCH, 1, 28, 28, generator=draw).to(device).contiguous(memory_format=layout)
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=trial.precision == "bf16"):
            mean, log_variance = network(images)
        (mean.float().square().sum() + log_variance.float().square().sum()).backward()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if len(seconds) == UNCOUNTED and seconds[-1] > hopeless:
            return BATCH / seconds[-1]
    return BATCH / statistics.median(seconds[UNCOUNTED:])
