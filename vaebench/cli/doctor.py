"""Diagnose this machine: what there is, what is missing, what that disables, and the command that gets it."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from vaebench import __version__
from vaebench.cli.cache import cache_parts, readable
from vaebench.cli.listing import Line, listing
from vaebench.core import trials
from vaebench.core.errors import UserError
from vaebench.core.machine import machine, processor
from vaebench.core.paths import cache_dir, data_dir, runs_dir, weights_dir
from vaebench.core.processes import cores
from vaebench.runs.recipes import find_recipe
from vaebench.testing import random_images
from vaebench.trackers import TRACKERS
from vaebench.training import autotune
from vaebench.training.autotune import Trial
from vaebench.training.compute import Compute, choose
from vaebench.training.pace import TRAINED
from vaebench.training.trial import workload

PACKAGES = ("vaebench", "torch", "torchvision", "torch-fidelity", "numpy", "scipy", "scikit-learn", "pandas")

REFERENCE = "vae-toyfaces"  # is tried on a GPU on which nothing else was: it needs neither data nor weights

# how each faster way to train is switched, and what it changes
FLAGS = {
    "--precision fp32": "without bf16 autocast: slower, last digits nearer to the papers' arithmetic",
    "--no-channels-last": "images as rows of planes, where that was measured to be faster",
    "--no-fused": "optimisers a tensor at a time, as torch has them by default",
    "--compile": "torch.compile; a start-up of minutes, earned back by long trainings on a GPU",
    "--no-cuda-graphs": "each kernel of a phase is launched by itself, on a GPU",
    "--stream": "images read ahead from memory or disk; by itself where they would fill a GPU",
    "torchrun -m vaebench": "one run in several processes: the same batches, shared out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the diagnosis; ``mend`` is a command, empty where nothing is wrong."""

    topic: str
    what: str
    mend: str = ""


def diagnose() -> Iterator[Finding]:
    """Versions, devices, how training would run, places, data and weights."""
    yield Finding(topic="python", what=f"{platform.python_version()} on {platform.platform(terse=True)}")
    for package in PACKAGES:
        yield Finding(topic="package", what=f"{package} {_version(package)}")
    yield from _devices()
    for variable, place in (
        ("VAEBENCH_RUNS", runs_dir),
        ("VAEBENCH_DATA", data_dir),
        ("VAEBENCH_WEIGHTS", weights_dir),
        ("VAEBENCH_CACHE", cache_dir),
    ):
        yield _place(variable, place)
    lines = listing()
    for line in lines:
        if line.kind in ("datasets", "perceptual"):
            yield _stock(line, lines)


def _version(package: str) -> str:
    """Version of a package; vaebench may run from its source tree without being installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return __version__ if package == "vaebench" else "not installed"


def _devices() -> Iterator[Finding]:
    yield Finding(topic="device", what=f"cpu: {processor()}, {cores()} cores")
    for index in range(torch.cuda.device_count()):
        yield Finding(topic="device", what=f"cuda:{index}: {torch.cuda.get_device_name(index)}")
    if not torch.cuda.is_available():
        yield Finding(topic="device", what="no CUDA device: trainings run on the CPU")
    yield from _trainings()


def _trainings() -> Iterator[Finding]:
    """How trainings run by default, what they gain by it, and the switches."""
    recipe, _ = find_recipe(REFERENCE)
    picked = choose(workload=workload(recipe, random_images((3, 64, 64), 4 * recipe.batch_size)))
    yield Finding(topic="training", what=_described(picked))
    for flag, why in FLAGS.items():
        yield Finding(topic="training", what=f"{flag}: {why}")
    yield Finding(topic="training", what=_trackers())
    for trained, rates in _trials(picked.device).items():
        shown = ", ".join(f"{way} {rate:.0f}" for way, rate in rates.items())
        plain = rates.get(str(Trial("fp32", cores(), channels_last=False)))
        gain = f"; the fastest is {max(rates.values()) / plain:.1f} times as fast as the plain way" if plain else ""
        yield Finding(
            topic="training",
            what=f"images/s in trials of {trained}: {shown}{gain} (kept in {_probe_file()}; delete it to measure anew)",
        )


def _trackers() -> str:
    """Say which trackers a training's rows can be passed to."""
    ready = [name for name, kind in TRACKERS.items() if find_spec(kind.package)]
    missing = [kind.package for kind in TRACKERS.values() if not find_spec(kind.package)]
    said = f"--log {'|'.join(ready)}: passes the history's rows to a tracker" if ready else "--log: no tracker is there"
    return f"{said}; pip install {', '.join(missing)} brings more" if missing else said


def _trials(device: str) -> dict[str, dict[str, float]]:
    """Return the kept rates that decide how trainings run: by what was tried, then by way.

    Those that a busy machine gave are not kept: to measure them again here would show others than were chosen by.
    """
    if device == "cpu":
        return {"a small network": autotune.measured(device)} if machine(device) in trials.known_rates() else {}
    name = f"{machine(device)}, "
    kept = {key.removeprefix(name): rates for key, rates in trials.known_rates().items() if key.startswith(name)}
    return {trained: rates for trained, rates in kept.items() if not trained.endswith(TRAINED)}


def _described(compute: Compute) -> str:
    """Describe compute settings in words."""
    graphs = ", CUDA graphs" if compute.cuda_graphs else ""
    return (
        f"{compute.device}, {compute.precision}, {compute.threads} threads, "
        f"{'channels_last' if compute.channels_last else 'contiguous'}, fused optimisers{graphs}, torch.compile off"
    )


def _probe_file() -> Path:
    return cache_dir() / "compute.json"


def _place(variable: str, place: Callable[[], Path]) -> Finding:
    path = place().resolve()
    standing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not (standing.is_dir() and os.access(standing, os.W_OK)):
        return Finding(topic="place", what=f"{variable}: {path} cannot be written to", mend=f"export {variable}=DIR")
    free = shutil.disk_usage(standing).free / 1e9
    held = ""
    if variable == "VAEBENCH_CACHE":
        held = f"{readable(sum(part.size for part in cache_parts()))} kept, 'vaebench cache' shows of what; "
    return Finding(topic="place", what=f"{variable}: {path} ({held}{free:.0f} GB free)")


def _stock(line: Line, lines: list[Line]) -> Finding:
    """A dataset or network: at hand, or what its absence disables."""
    if line.state.startswith(("ready", "not checked")):
        return Finding(topic=line.kind, what=f"{line.name}: {line.state}")
    disabled = [other.name for other in lines if other.kind in ("recipes", "metrics") and other.state == line.state]
    problem, _, mend = line.state.partition(": ")
    what = f"{line.name}: {problem}, which disables {', '.join(disabled) or 'nothing'}"
    return Finding(topic=line.kind, what=what, mend=mend)


def fetch(name: str, source: Path | None) -> str:
    """Get a dataset or weights by name; what was done, in one line."""
    from vaebench.core.registry import did_you_mean
    from vaebench.datasets import DATASETS
    from vaebench.perceptual import PERCEPTUAL

    if name in PERCEPTUAL.names() and name not in DATASETS.names():
        get = PERCEPTUAL.fetcher(name)
        if get is not None:
            return get(source)
        PERCEPTUAL.get(name)()
        return f"{name}: ships with its package, nothing to fetch"
    if name not in DATASETS.names():
        known = [*DATASETS.names(), *PERCEPTUAL.names()]
        raise UserError(f"nothing to fetch is named '{name}': {did_you_mean(name, known)}")
    return DATASETS.get(name)().fetch(source)
