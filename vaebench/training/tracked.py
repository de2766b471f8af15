"""What trackers are told of a training: which run it is, its samples, its facts."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from vaebench.core import seeding
from vaebench.core.model import GenerativeModel
from vaebench.core.paths import runs_dir
from vaebench.core.training_facts import TrainingFacts
from vaebench.runs.galleries import Pixels, grid, to_pixels
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.trackers.tracker import Setting, TrackedRun
from vaebench.trackers.tracking import Tracking

SAMPLES, COLUMNS = 36, 6
OnSamples = Callable[[Callable[[], Pixels]], None]  # is given a function that draws samples


def tracked_run(folder: RunFolder, record: RunRecord) -> TrackedRun:
    """Name the run for trackers; its identity comes from its name and when it was begun, which a resume keeps."""
    name = f"{record.recipe}/seed-{record.seed}"
    known_by = json.dumps([name, record.created, record.data_fingerprint])
    return TrackedRun(
        name=name,
        group=record.recipe,
        identity=hashlib.sha256(known_by.encode()).hexdigest()[:16],
        folder=folder.path,
        root=runs_dir(),
        settings=settings_of(record),
    )


def settings_of(record: RunRecord) -> dict[str, Setting]:
    """List what decides a training: the recipe's settings as ``--set`` has them, then the record's other fields."""
    others = {
        "recipe": record.recipe,
        "seed": record.seed,
        "dataset": record.dataset,
        "steps": record.steps,
        "data_fingerprint": record.data_fingerprint,
        "images": record.images,
        "command": record.command,
        "begun": record.created,
        **{f"compute.{key}": value for key, value in record.compute.items()},
        **{f"versions.{key}": value for key, value in record.versions.items()},
    }
    known: Mapping[str, Any] = {**record.all_settings(), **others}
    return {key: value if isinstance(value, str | int | float) else json.dumps(value) for key, value in known.items()}


def numbers_of(facts: TrainingFacts) -> dict[str, float]:
    """Return the facts of a finished training that are numbers."""
    return {name: value for name, value in asdict(facts).items() if isinstance(value, int | float)}


def show_samples(
    model: GenerativeModel, seed: int, tracking: Tracking, on_samples: OnSamples | None, step: int
) -> None:
    """Show samples to trackers and to whoever watches; none are drawn where nobody does."""
    draw = partial(_samples, model, seed)
    tracking.picture(step, lambda: grid(draw(), COLUMNS))
    if on_samples is not None:
        on_samples(draw)


@torch.no_grad()
def _samples(model: GenerativeModel, seed: int) -> Pixels:
    """Decode latents of the prior, the same of each call, and leave the training as it was, its randomness too.

    Returns:
        Images uint8 (n, h, w, c).
    """
    latents = torch.randn(SAMPLES, model.latent_dim, generator=seeding.generator(seed, "tracked"))
    device = next(model.parameters()).device
    with _at_rest(model), torch.random.fork_rng([device] if device.type == "cuda" else []):
        return to_pixels(model.decode(latents.to(device)))


@contextmanager
def _at_rest(model: nn.Module) -> Iterator[None]:
    """Context manager in which a model evaluates; each module then trains or evaluates as before."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, trains in before.items():
            module.training = trains
