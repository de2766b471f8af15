"""What a suite asks for, as trainings and names: recipes with their settings and seeds, each with its length."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.paths import runs_dir
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

STATE = ".suites"  # in the runs folder: which studies were made of which weights, how many steps fit into seconds


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
    lengths = {recipe.name: length(place, recipe) for place, recipe, _ in recipes}
    return [replace(job, steps=lengths[job.recipe.name].steps, epochs=lengths[job.recipe.name].epochs) for job in jobs]


def _images(recipes: list[tuple[int, Recipe, str]]) -> ImageDataset:
    """Read the training images, which all recipes share."""
    return load_split(dataset_of_recipe(recipes[0][1]), "train")


def _length(
    located: Located,
    place: int,
    recipe: Recipe,
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
        steps = _steps_of_seconds(recipe, amount, choose, data)
    else:
        each = {
            "steps": lambda: 1.0,
            "images": lambda: float(recipe.batch_size),
            "flops": lambda: training_flops(recipe, data()),
        }[kind]()
        if not each:
            said = f"no operations can be counted of {recipe.name}"
            raise UserError(f"{located.place('budget', kind)}: {said}: give steps, images or epochs in place of flops")
        steps = int(amount / each)
    if steps < 1:
        said = f"{kind} = {amount:g} is less than one step of {recipe.name}"
        raise UserError(f"{located.place('budget', kind)}: {said}: give more")
    return Length(steps=steps)


def _steps_of_seconds(recipe: Recipe, seconds: float, choose: Choose, data: Callable[[], ImageDataset]) -> int:
    """Return the steps that fit into seconds on this device, by a trial that is kept: another would find others."""
    path = runs_dir() / STATE / "seconds" / f"{recipe.name}-{seconds:g}.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, TypeError, KeyError):
        steps = int(seconds * take_steps(recipe, data(), choose()).rate / recipe.batch_size)
    write_text(path, json.dumps({"steps": steps}) + "\n")
    return steps


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
    asked = asked or whole.metrics  # where none is looked for first: none at all would be every metric that there is
    options = {name: each for name, each in whole.options.items() if name in asked}
    return replace(whole, metrics=asked, options=options)


def _texts(values: Mapping[str, Scalar]) -> dict[str, str]:
    return {key: typed_value(value) for key, value in values.items()}


def names_of(located: Located) -> list[str]:
    """List the names that a suite's models have in the tables."""
    recipes = [recipe.name for _, recipe, _ in recipes_of(located)]
    others = [model.name.partition("@")[0] if model.model else model.name for _, model in others_of(located)]
    return [*recipes, *dict.fromkeys(f"{EXTERNAL}{name}" for name in others)]


def names_in_studies(located: Located) -> dict[str, str]:
    """Map what a study may call a trained model to its name in the tables, which is that name, too.

    A recipe's own name will do where a single model without a name is of it.
    """
    written = [(located.suite.models[place], recipe) for place, recipe, _ in recipes_of(located)]
    found = {recipe.name: recipe.name for _, recipe in written}
    for model, recipe in written:
        if not model.name and sum(other.recipe == model.recipe and not other.name for other, _ in written) == 1:
            found.setdefault(model.recipe, recipe.name)
    return found


def beside(located: Located, path: str) -> Path:
    """Resolve a path in a suite: of a relative one, beside the suite's file."""
    found = Path(path).expanduser()
    return found if found.is_absolute() else located.path.parent / found


def others_of(located: Located) -> Iterator[tuple[int, Model]]:
    """Yield models and images from elsewhere, with their places among the models."""
    for place, model in enumerate(located.suite.models):
        if not model.recipe:
            yield place, model
