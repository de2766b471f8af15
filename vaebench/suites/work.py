"""What a suite asks for, as trainings and names: recipes with their settings and seeds, each with its length."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.recipe import Recipe
from vaebench.core.setting_names import own_name, typed_value
from vaebench.core.subjects import EXTERNAL
from vaebench.core.validation import LONGEST, RESERVED, is_name
from vaebench.evaluation.protocol import Protocol
from vaebench.models import RECIPES
from vaebench.runs.recipes import dataset_of_recipe, find_recipe, load_split
from vaebench.suites.suite import Located, Model, Scalar
from vaebench.training.compute import Choose
from vaebench.training.job import Job
from vaebench.training.operations import training_flops
from vaebench.training.trial import take_steps


class Length(NamedTuple):
    """How long a recipe is trained; neither: its own epochs."""

    steps: int | None = None
    epochs: int | None = None


def recipes_of(located: Located) -> list[tuple[int, Recipe, str]]:
    """Find the recipes of a suite, each with its place among the models and its reference.

    Raises:
        UserError: with file and line, where a recipe, setting or option of the dataset is unknown, or the recipe is on
            another dataset.
    """
    places = [place for place, model in enumerate(located.suite.models) if model.recipe]
    return [(place, *recipe_at(located, place)) for place in places]


def recipe_at(located: Located, place: int) -> tuple[Recipe, str]:
    """Find the recipe at a place among the models, and its reference; raises as :func:`recipes_of` does."""
    model, dataset = located.suite.models[place], located.suite.dataset
    settings = [f"{key}={typed_value(value)}" for key, value in model.settings.items()]
    settings += [f"dataset.{key}={typed_value(value)}" for key, value in dataset.options.items()]
    try:
        recipe, reference = find_recipe(model.recipe, settings)
    except UserError as error:
        raise UserError(f"{located.place('models', place, 'recipe')}: {error}") from error
    if model.name:
        _check_name(located, place, recipe)
        recipe = replace(recipe, name=model.name)
    if recipe.dataset != dataset.name:
        said = f"{recipe.name} is trained on {recipe.dataset}, and the suite is on {dataset.name}"
        raise UserError(f"{located.place('models', place, 'recipe')}: {said}: name a recipe on it")
    return recipe, reference


def _check_name(located: Located, place: int, recipe: Recipe) -> None:
    """Refuse a name that runs cannot have, or that another recipe has."""
    name, where = located.suite.models[place].name, located.place("models", place, "name")
    if not is_name(name) or name in RESERVED:
        rule = f"letters, digits, '.', '_' and '-', {LONGEST} at most, and none of {', '.join(RESERVED)}"
        raise UserError(f"{where}: '{name}' cannot name a model: give it {rule}")
    if name in RECIPES.names() and name != own_name(recipe.name):
        raise UserError(f"{where}: '{name}' is another recipe's name: give one that says what this is")


def jobs_of(located: Located, choose: Choose) -> list[Job]:
    """List the trainings of a suite: every recipe with every seed, the seeds in turn.

    Args:
        located: the suite.
        choose: completes compute settings, where the budget is in seconds.

    Raises:
        UserError: as :func:`recipes_of` does, or the budget is less than a step.
    """
    recipes = recipes_of(located)
    length = partial(_length, located, choose=choose, data=cache(partial(_images, recipes)))
    jobs = [
        Job(recipe=recipe, reference=reference, seed=seed, snapshots=located.suite.budget.shares)
        for seed in located.suite.seeds
        for _, recipe, reference in recipes
    ]
    lengths = {recipe.name: length(place, recipe, jobs) for place, recipe, _ in recipes}
    return [replace(job, steps=lengths[job.recipe.name].steps, epochs=lengths[job.recipe.name].epochs) for job in jobs]


def _images(recipes: list[tuple[int, Recipe, str]]) -> ImageDataset:
    """Read the training images, which all recipes share."""
    return load_split(dataset_of_recipe(recipes[0][1]), "train")


def _length(
    located: Located,
    place: int,
    recipe: Recipe,
    jobs: list[Job],
    *,
    choose: Choose,
    data: Callable[[], ImageDataset],
) -> Length:
    """Turn a model's own length, or the suite's budget, into steps or epochs of a recipe."""
    model = located.suite.models[place]
    if model.epochs is not None or model.steps is not None:
        return Length(steps=model.steps, epochs=model.epochs)
    given = located.suite.budget.given
    if not given:
        return Length()
    ((kind, amount),) = given.items()
    if kind == "epochs":
        return Length(epochs=int(amount))
    if kind == "seconds":
        steps = _steps_of_seconds(recipe, jobs, amount, choose, data)
    else:
        each = {
            "steps": lambda: 1.0,
            "images": lambda: float(recipe.batch_size),
            "flops": lambda: training_flops(recipe, data()),
        }
        steps = int(amount / each[kind]())
    if steps < 1:
        said = f"{kind} = {amount:g} is less than one step of {recipe.name}"
        raise UserError(f"{located.place('budget', kind)}: {said}: give more")
    return Length(steps=steps)


def _steps_of_seconds(
    recipe: Recipe, jobs: list[Job], seconds: float, choose: Choose, data: Callable[[], ImageDataset]
) -> int:
    """Return the steps that fit into seconds on this device, or those that were found before: a trial finds others."""
    for job in jobs:
        if job.recipe.name == recipe.name and job.folder.record_file.exists():
            return job.folder.read_record().steps
    found = take_steps(recipe, data(), choose())
    return int(seconds * found.rate / recipe.batch_size)


def protocol_of(located: Located, device: str = "auto") -> Protocol:
    """Return the suite's protocol of evaluation; whether its metrics can be built is checked beforehand."""
    asked = located.suite.evaluation
    options = {name: _texts(each) for name, each in asked.options.items()}
    return Protocol(
        metrics=tuple(asked.metrics), options=options, given=_texts(asked.shared), samples=asked.samples, device=device
    )


def snapshot_protocol_of(located: Located, device: str = "auto") -> Protocol:
    """Return the protocol by which models are measured in the course of their trainings."""
    whole = protocol_of(located, device)
    asked = tuple(located.suite.budget.metrics)
    if not asked:
        asked = tuple(dict.fromkeys(metric.spec.name for metric in whole.build() if metric.spec.headline))
    options = {name: each for name, each in whole.options.items() if name in asked}
    return replace(whole, metrics=asked, options=options)


def _texts(values: Mapping[str, Scalar]) -> dict[str, str]:
    return {key: typed_value(value) for key, value in values.items()}


def names_of(located: Located) -> list[str]:
    """List the names that a suite's models have in the tables."""
    recipes = [recipe.name for _, recipe, _ in recipes_of(located)]
    return [*recipes, *(f"{EXTERNAL}{model.name}" for _, model in others_of(located))]


def others_of(located: Located) -> Iterator[tuple[int, Model]]:
    """Yield models and images from elsewhere, with their places among the models."""
    for place, model in enumerate(located.suite.models):
        if not model.recipe:
            yield place, model
