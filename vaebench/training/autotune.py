"""Trial trainings: how fast this machine trains in each precision, thread count and layout, measured once and kept."""

import json
import math
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
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
    """One way to train; ``at_once`` trainings side by side count together."""

    precision: str
    threads: int
    channels_last: bool = True
    at_once: int = 1

    def __str__(self) -> str:
        """``bf16/2``, ``bf16/2/contiguous``, ``bf16/1/x2``: as the cache and ``vaebench doctor`` name it."""
        layout = "" if self.channels_last else "/contiguous"
        return f"{self.precision}/{self.threads}{layout}" + (f"/x{self.at_once}" if self.at_once > 1 else "")

    @classmethod
    def parse(cls, name: str) -> "Trial":
        """The inverse of ``str``."""
        precision, threads, *rest = name.split("/")
        beside = [int(part[1:]) for part in rest if part.startswith("x")]
        return cls(precision, int(threads), "contiguous" not in rest, *beside)


def measured(device: str) -> dict[str, float]:
    """Training images per second by :class:`Trial`, from the cache or measured now (some seconds)."""
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
    """Machine -> trial -> images per second; nothing where the file is missing or is not what was written."""
    try:
        content = input_files.read_bytes(path, most=input_files.SMALL, remedy="delete it")
        rates = validation.from_json(content, Rates, str(path), "delete it")
        for trials in rates.values():
            for name in trials:
                Trial.parse(name)
    except (FileNotFoundError, UserError, ValueError):
        return {}
    return rates


def measure(device: str) -> dict[str, float]:
    """Rates of a small convolutional training step, batch 32.

    At each precision and thread count worth trying; then the best of them in the other layout; then, on a CPU, as many
    trainings at once as there are processors, a thread each.
    """
    before = torch.get_num_threads()
    on_cpu = torch.device(device).type == "cpu"
    counts = sorted({1, cores()}) if on_cpu else [cores()]
    rates: dict[Trial, float] = {}

    def take(trial: Trial) -> None:
        rates[trial] = round(_rate(device, trial, max(rates.values(), default=0.0)), 1)

    for precision in ("fp32", "bf16"):
        for threads in counts:
            take(Trial(precision, threads))
    best = max(rates, key=rates.__getitem__)
    take(replace(best, channels_last=False))
    if on_cpu and cores() > 1:
        take(replace(best, threads=1, at_once=cores()))
    torch.set_num_threads(before)
    return {str(trial): rate for trial, rate in rates.items()}


def _rate(device: str, trial: Trial, best: float) -> float:
    torch.set_num_threads(trial.threads)
    hopeless = HOPELESS * BATCH * trial.at_once / best if best else math.inf
    with ThreadPoolExecutor(trial.at_once) as trainings:
        return sum(trainings.map(lambda number: _alone(device, trial, number, hopeless), range(trial.at_once)))


def _alone(device: str, trial: Trial, number: int, hopeless: float) -> float:
    """Images a second of one training; its weights and images are drawn from generators of their own.

    A second step that takes more than ``hopeless`` seconds is the last: on a CPU that only emulates bf16, all of them
    would take longer than everything else.
    """
    layout = torch.channels_last if trial.channels_last else torch.contiguous_format
    draw = torch.Generator().manual_seed(number)
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
