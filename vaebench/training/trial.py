"""Takes a recipe's own first steps at given compute settings: how long one takes, and what its losses are."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import ALONE
from vaebench.core.recipe import Recipe
from vaebench.core.trials import spread
from vaebench.runs.recipes import build_model
from vaebench.training.batches import TrainingBatches
from vaebench.training.compute import Compute, Workload
from vaebench.training.phases import PhaseRunner, take_step

COMPARED = 9  # first steps whose losses are held against the plain way's: warm-up, capture, replays
BLOCKS, LEAST, SECONDS = 5, 3, 1.0  # blocks of steps that are timed, steps of one, seconds of all
BATCHES = 8  # of images that a trial looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What a trial found.

    Attributes:
        rate: images a second, of the fastest block of steps.
        spread: the median block's seconds over the fastest's, less 1.
        losses: of the first steps, by phase: the sum of its terms, and of their magnitudes.
    """

    rate: float
    spread: float
    losses: tuple[dict[str, tuple[float, float]], ...]


def workload(recipe: Recipe, data: ImageDataset) -> Workload:
    """Describe a training by its recipe's name and first steps, for :func:`vaebench.training.compute.choose`."""
    return Workload(recipe.name, partial(take_steps, recipe, data))


def take_steps(recipe: Recipe, data: ImageDataset, compute: Compute) -> Steps:
    """Train a new model of the recipe for some steps and forget it.

    Args:
        recipe: configured.
        data: its training images, a batch or more; only the first few batches are used.
        compute: of one process.

    Raises:
        UserError: the recipe refuses its settings, or the data hold less than a batch.
    """
    few = first_images(data, BATCHES * recipe.batch_size)
    model = build_model(recipe, data.image_shape, 0)
    model.to(compute.device).to(memory_format=compute.memory_format)
    model.train().requires_grad_(False)
    batches = TrainingBatches(few, seed=0, batch_size=recipe.batch_size, compute=compute)
    runners = [PhaseRunner(phase, compute, ALONE) for phase in model.phases()]
    terms = [take_step(runners, batches, done, 10**6) for done in range(1, COMPARED + 1)]
    losses = []
    for step in terms:
        sums: dict[str, tuple[float, float]] = {}
        for row in step:
            before = sums.get(row.phase, (0.0, 0.0))
            sums[row.phase] = before[0] + row.values.sum().item(), before[1] + row.values.abs().sum().item()
        losses.append(sums)
    seconds = _timed(lambda done: take_step(runners, batches, done, 10**6), compute.device)
    return Steps(rate=recipe.batch_size / min(seconds), spread=spread(seconds), losses=tuple(losses))


def _timed(step: Callable[[int], object], device: str) -> list[float]:
    """Time blocks of steps that follow one another; return the seconds of a step in each."""
    done, seconds = COMPARED, list[float]()

    def block(count: int) -> float:
        nonlocal done
        start = time.perf_counter()
        for _ in range(count):
            done += 1
            step(done)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / count

    each = block(LEAST)
    count = max(LEAST, round(SECONDS / BLOCKS / each))
    while len(seconds) < BLOCKS:
        seconds.append(block(count))
    return seconds


def first_images(data: ImageDataset, n: int) -> ImageDataset:
    """Return the first ``n`` images, or all where there are fewer."""
    if len(data) <= n:
        return data
    cut = {
        name: part[:n]
        for name in ("images", "ids", "labels", "attributes", "people")
        if (part := getattr(data, name)) is not None
    }
    return replace(data, **cut, showcase=())
