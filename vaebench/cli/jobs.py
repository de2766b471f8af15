"""The trainings that a command asks for: find recipes and seeds, share them among workers, train them one by one."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from rich.console import Console

from vaebench.cli.progress import shown
from vaebench.cli.sample_strip import show_samples, strips
from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import UserError
from vaebench.core.recipe import Recipe
from vaebench.datasets import DATASETS
from vaebench.runs.history import Progress
from vaebench.runs.recipes import dataset_of_recipe, every_recipe, find_recipes, load_split
from vaebench.trackers import Wanted
from vaebench.training.compute import Choose, Compute
from vaebench.training.job import Job, lacking_snapshots, train_run
from vaebench.training.pace import Pace, kept_rate
from vaebench.training.trial import workload

MOST_SEEDS = 10_000  # of one range
DONE = {
    "trained": "trained, in {}",
    "finished": "already trained, left as it is",
    "busy": "another process is at work in {}, passed over",
}


def train_jobs(
    jobs: Sequence[Job],
    choose: Choose,
    *,
    resume: bool,
    console: Console,
    save_every: float = 60.0,
    trackers: Sequence[Wanted] = (),
    group: Group = ALONE,
    loaded: dict[str, ImageDataset] | None = None,
) -> None:
    """Train the jobs one after the other, each with a line of progress; a dataset is read once, and kept in ``loaded``
    for further calls.

    ``choose`` completes compute settings for a workload, which it may try. ``trackers`` are opened for each training.
    Finished runs are left as they are, and so is a run that another process trains, unless it is the only one.

    Raises:
        UserError: the only run is being trained by another process, or a run cannot be trained as asked.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    loaded = {} if loaded is None else loaded
    for number, job in enumerate(jobs, 1):
        key = _images_of(job)
        if key not in loaded:
            loaded[key] = load_split(dataset_of_recipe(job.recipe), "train")
        title = f"{job.recipe.name}/seed-{job.seed}"
        picked = choose(workload=workload(job.recipe, loaded[key]))
        pace = Pace(job.recipe.name, picked)
        place = f"{number}/{len(jobs)}" if len(jobs) > 1 else ""
        behind = [other for other in jobs[number:] if not other.is_finished()]  # read once, not with each row
        with shown(console, title, place, partial(_seconds_behind, job, behind, picked, loaded)) as on_progress:

            def note(row: Progress, pace: Pace = pace, size: int = job.recipe.batch_size) -> None:
                slow = pace.note(row, size)
                on_progress(replace(row, warnings=(*row.warnings, slow)) if slow else row)

            outcome = train_run(
                job,
                loaded[key],
                picked,
                resume=resume,
                save_every=save_every,
                on_progress=note,
                trackers=trackers,
                on_samples=strips(console),
                group=group,
            )
        if group.leads:
            pace.keep()
        if outcome == "busy" and len(jobs) == 1:
            raise group.error(f"another process is at work in {job.folder.path}: wait for it, or stop it")
        said = f"{title}: {DONE[outcome].format(job.folder.path)}"
        if outcome != "busy" and (lacking := lacking_snapshots(job)):
            steps = ", ".join(f"{step:,}" for step in lacking)
            said += f"; without snapshots after {steps} steps, which it had passed: move it away to train it with them"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
        if outcome == "trained" and group.leads:
            show_samples(job.folder, console)


def _images_of(job: Job) -> str:
    """Identify the images that a job trains on."""
    return f"{job.recipe.dataset} {job.recipe.dataset_source} {sorted(job.recipe.dataset_options.items())}"


def _seconds_behind(
    first: Job, others: Sequence[Job], compute: Compute, loaded: Mapping[str, ImageDataset], rate: float
) -> float | None:
    """Estimate the seconds that the jobs behind the first one will take, by the rates of their recipes here.

    Args:
        first: trains at ``rate`` images per second.
        others: those behind it, unfinished.
        compute: its settings.
        loaded: images by :func:`_images_of`.
        rate: as above.

    Returns:
        Seconds, or None where there is no other job, or a recipe's rate or images are not known.
    """
    seconds = 0.0
    for job in others:
        known = rate if job.recipe.name == first.recipe.name else kept_rate(job.recipe.name, compute)
        images = loaded.get(_images_of(job))
        if not known or images is None:
            return None
        seconds += job.length(len(images)) * job.recipe.batch_size / known
    return seconds or None


def chosen_recipes(
    names: Sequence[str], settings: Sequence[str], say: Callable[[str], None], *, every: bool, dataset: str | None
) -> list[tuple[Recipe, str]]:
    """Find the recipes that the user names, or all, with their references; each under every combination of settings.

    Args:
        names: registered names, or ``./file.py:function``.
        settings: of ``--set``, ``key=value`` or ``key=value,value``.
        say: told of recipes that are passed over because their plugin is broken.
        every: all recipes, where none is named.
        dataset: leaves out recipes on other datasets.

    Raises:
        UserError: a name is unknown, or nothing is left.
    """
    if dataset is not None:
        DATASETS.get(dataset)  # raises for a misspelt name
    found = [each for name in names for each in find_recipes(name, settings)]
    found += every_recipe(settings, say) if every and not names else []
    found = [(recipe, reference) for recipe, reference in found if dataset in (None, recipe.dataset)]
    if not found:
        raise UserError("nothing to train: name a recipe, or --all; 'vaebench list recipes' shows what there is")
    return found


def numbers(text: str) -> list[int]:
    """Return the seeds of ``--seeds 0,1,2`` or ``--seeds 0-4``.

    Raises:
        UserError: it is no list of different whole numbers and ranges of them.
    """
    found: list[int] = []
    refused = f"--seeds {text!r} is no list of different whole numbers: write e.g. --seeds 0,1,2 or --seeds 0-4"
    for part in text.split(","):
        read = re.fullmatch(r"\s*(\d{1,15})(?:-(\d{1,15}))?\s*", part, re.ASCII)
        first, last = (int(read[1]), int(read[2] or read[1])) if read else (1, 0)
        if not first <= last < first + MOST_SEEDS:
            raise UserError(refused)
        found.extend(range(first, last + 1))
    if len(set(found)) < len(found):
        raise UserError(refused)
    return found


def shares(text: str | None) -> tuple[float, ...]:
    """Return the parts of a training that ``--snapshots 1/8,1/4,0.5`` names; none where nothing is given.

    Raises:
        UserError: one is no number between 0 and 1.
    """
    found = []
    for part in filter(None, (text or "").split(",")):
        try:
            value = float(Fraction(part.strip()))
        except (ValueError, ZeroDivisionError):
            value = math.nan
        if not 0 < value < 1:
            raise UserError(
                f"--snapshots {text!r}: {part!r} is no share of a training: write e.g. --snapshots 1/8,1/4,1/2"
            )
        found.append(value)
    return tuple(found)


def share(jobs: Sequence[Job], shard: str) -> list[Job]:
    """Every N-th job from the I-th on, where ``shard`` is ``I/N``."""
    number, slash, count = shard.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UserError(f"--shard {shard!r} is no share: write I/N with I from 1 to N, e.g. --shard 2/8")
    return list(jobs[int(number) - 1 :: int(count)])
