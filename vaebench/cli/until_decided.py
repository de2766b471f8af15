"""Train two recipes seed by seed until a test decides between them, or a limit is reached."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from vaebench.cli.jobs import train_jobs
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import Interrupted, UserError
from vaebench.core.recipe import Recipe
from vaebench.core.registry import did_you_mean
from vaebench.core.setting_names import own_name
from vaebench.evaluation.evaluate import evaluate_runs
from vaebench.evaluation.protocol import Protocol
from vaebench.metrics import METRICS
from vaebench.report.sequential import Pair, state, summary
from vaebench.runs.recipes import find_recipe, find_recipes
from vaebench.trackers import Wanted
from vaebench.training.compute import Choose
from vaebench.training.job import Job

OPTION = "--until-decided"
FORM = f"write {OPTION} A,B:METRIC, e.g. {OPTION} dfcvae-mnist,vae-mnist:blur"
MOST = 10  # seeds of either recipe, where the user does not say
BETWEEN_NAMES = re.compile(r",(?![^\[\]]*\])")  # a comma that is not within a name's settings
LEAST = 2  # seeds of either recipe: one has no variance
GOES_ON = "the same command goes on from there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be decided, and the trainings of the two recipes' first seeds.

    Attributes:
        pair: the recipes and the metric.
        jobs: one a recipe, for seed 0.
        most: seeds of either recipe at most.
    """

    pair: Pair
    jobs: tuple[Job, Job]
    most: int


def read_pair(text: str) -> tuple[str, str, str, str]:
    """Split ``A,B:METRIC`` or ``A,B:METRIC:PROTOCOL`` into its parts; the protocol may be empty.

    Raises:
        UserError: it has another form, names one recipe twice, or a metric that there is not.
    """
    names, colon, measure = text.partition(":")
    a, b, *more = [*(part.strip() for part in BETWEEN_NAMES.split(names)), ""]
    metric, _, protocol = (part.strip() for part in measure.partition(":"))
    if not (colon and a and b and metric) or any(more) or "/" in names:
        raise UserError(f"{OPTION} {text!r} names no two recipes and a metric: {FORM}")
    if a == b:
        raise UserError(f"{OPTION} names {a} twice: a recipe cannot be compared with itself, name another one")
    if metric not in METRICS.names():
        raise UserError(f"{OPTION}: no metric is named '{metric}': {did_you_mean(metric, METRICS.names())}")
    return a, b, metric, protocol


def read_asked(
    text: str, most: int, references: Sequence[str], settings: Sequence[str], *, steps: int | None, epochs: int | None
) -> Asked:
    """Find the two recipes and the metric that ``--until-decided`` names.

    Args:
        text: the option's value.
        most: seeds of either recipe at most.
        references: recipes given as arguments, which may be left out but for those in files of the user's own.
        settings: of ``--set``, for both recipes; what they do not share stands in their names.
        steps, epochs: length of each training, the recipes' own by default.

    Raises:
        UserError: there are other recipes among the arguments, the two are not of one dataset, or ``most`` is too few.
    """
    a, b, metric, protocol = read_pair(text)
    if most < LEAST:
        raise UserError(f"--most {most} is too few: give {LEAST} or more, since one seed has no variance")
    named = {find_recipe(reference)[0].name: reference for reference in dict.fromkeys(references)}
    if strangers := sorted(named.keys() - {own_name(a), own_name(b)}):
        raise UserError(f"{OPTION} trains {a} and {b}, not {strangers[0]}: leave it away, or train it by itself")
    known = [_configured(name, named, settings) for name in (a, b)]
    a, b = (recipe.name for recipe, _ in known)
    if a == b:
        raise UserError(f"{OPTION} names {a} twice, by its settings: a recipe cannot be compared with itself")
    data = [recipe.dataset for recipe, _ in known]
    if data[0] != data[1] or known[0][0].dataset_options != known[1][0].dataset_options:
        raise UserError(f"{a} is on {data[0]} and {b} on {data[1]}, or on other images of it: name two on the same")
    jobs = [
        # the length is said outright, so that a seed interrupted under another one is not taken for one of these
        Job(recipe=recipe, reference=reference, seed=0, steps=steps, epochs=recipe.epochs if steps is None else None)
        for recipe, reference in known
    ]
    if epochs is not None:
        jobs = [replace(job, epochs=epochs) for job in jobs]
    return Asked(
        pair=Pair(a=a, b=b, dataset=data[0], metric=metric, protocol=protocol), jobs=(jobs[0], jobs[1]), most=most
    )


def _configured(name: str, references: Mapping[str, str], settings: Sequence[str]) -> tuple[Recipe, str]:
    """Find one of the two recipes, with the settings in its name and those of ``--set``.

    Args:
        name: as the option has it.
        references: of recipes that are given as arguments, by the recipe's own name.
        settings: of ``--set``.
    """
    reference = references.get(own_name(name), own_name(name)) + name.removeprefix(own_name(name))
    found = find_recipes(reference, settings)
    if len(found) > 1:
        both = f"{found[0][0].name},{found[1][0].name}"
        raise UserError(
            f"{OPTION} trains two recipes: give --set one value a key, or name two settings, '{both}:METRIC'"
        )
    return found[0]


def train_until_decided(
    asked: Asked,
    choose: Choose,
    *,
    device: str,
    save_every: float,
    console: Console,
    say: Callable[[str], None],
    trackers: Sequence[Wanted] = (),
) -> None:
    """Train and measure the next seed of both recipes, look, and go on until a look decides or the limit is reached.

    What is trained and measured already is used as it is, in the order of the seeds; an interrupted training goes on.

    Raises:
        UserError: a run cannot be trained or measured as asked, or the two have nothing to be compared by.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    protocol = Protocol(metrics=(asked.pair.metric,), device=device)
    protocol.build()  # a metric whose plugin is broken is said before anything is trained
    loaded: dict[str, ImageDataset] = {}
    for seeds in range(1, asked.most + 1):
        jobs = [replace(job, seed=seeds - 1) for job in asked.jobs]
        for job in jobs:  # one by one: a run that another process trains cannot be passed over
            _train(job, choose, loaded, save_every=save_every, console=console, trackers=trackers)
        names = [f"{job.recipe.name}/seed-{job.seed}" for job in jobs]
        evaluate_runs(names, protocol, every=False, dataset=None, say=say)
        found = state(asked.pair, seeds)
        say(found.line)
        if found.verdict or seeds == asked.most:
            for line in summary(asked.pair, found, seeds, asked.most):
                say(line)
            return


def _train(
    job: Job,
    choose: Choose,
    loaded: dict[str, ImageDataset],
    *,
    save_every: float,
    console: Console,
    trackers: Sequence[Wanted],
) -> None:
    """Train one seed, or go on with it."""
    begun = job.folder.record_file.exists() and job.folder.read_record().status == "training"
    try:
        train_jobs(
            [job], choose, resume=begun, console=console, save_every=save_every, trackers=trackers, loaded=loaded
        )
    except Interrupted as error:
        raise Interrupted(str(error), goes_on=GOES_ON) from error
