"""Recipes: a model on a dataset with a paper's hyperparameters, which are its constructor's keywords."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from vaebench.core.errors import UserError
from vaebench.core.model import GenerativeModel
from vaebench.core.registry import did_you_mean
from vaebench.core.validation import plain_line


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train, on what, and for how long.

    Attributes:
        name: ``<model>-<dataset>``.
        model: called with ``image_shape=(c, h, w)`` and the hyperparameters as keywords.
        dataset: registered name.
        batch_size: images per training step.
        epochs: passes over the training split; the last, partial batch of each epoch is left out.
        hyperparameters: keywords of ``model`` that differ from their defaults.
        dataset_options: keywords of the dataset's constructor.
        image_sizes: sides of square images that the model takes, of those that the dataset's option ``size`` may ask
            for, so that another is refused before images are prepared; empty where the model says so when it is built.
    """

    name: str
    model: Callable[..., GenerativeModel]
    dataset: str
    batch_size: int
    epochs: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    image_sizes: Sequence[int] = ()

    def resolved(self) -> dict[str, Any]:
        """Return every hyperparameter with its value, defaults included, as a run's record keeps it."""
        defaults = {name: parameter.default for name, parameter in hyperparameters_of(self.model).items()}
        return {**defaults, **self.hyperparameters}


def check_size(recipe: Recipe) -> None:
    """Refuse a size of images that the recipe's model does not take, before any image is prepared.

    Raises:
        UserError: with the nearest sizes that it takes.
    """
    size = recipe.dataset_options.get("size")
    if recipe.image_sizes and size is not None and size not in recipe.image_sizes:
        known = ", ".join(map(str, recipe.image_sizes))
        mend = nearest_sizes(size, recipe.image_sizes)
        raise UserError(f"{recipe.name} takes images of {known} pixels a side, not {size}: --set dataset.size={mend}")


def nearest_sizes(size: int, known: Sequence[int]) -> str:
    """Name the nearest of the known sizes: the next below and the next above, ``96 or 128``, or the only one."""
    below, above = [one for one in known if one <= size], [one for one in known if one > size]
    return " or ".join(str(one) for one in (*below[-1:], *above[:1]))


def hyperparameters_of(model: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return a constructor's keyword parameters except the image shape; a parameter without annotation takes
    anything.
    """
    try:
        parameters = inspect.signature(model, eval_str=True).parameters
    except NameError:  # an annotation that only a type checker imports: its parameter, like the others, takes anything
        unread = inspect.signature(model).parameters
        parameters = MappingProxyType({name: each.replace(annotation=Any) for name, each in unread.items()})
    return {
        name: each.replace(annotation=Any) if each.annotation is each.empty else each
        for name, each in parameters.items()
        if name != "image_shape" and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }


def configure(recipe: Recipe, settings: Sequence[str], dataset: Callable[..., object]) -> Recipe:
    """Apply ``--set`` options to a recipe: ``key=value``, ``batch_size=value``, ``dataset.key=value``.

    Values are read by the annotation of the parameter they set. Raises :class:`UserError` for a misspelt
    key (with the nearest right one) or a value of the wrong type.
    """
    model_parameters, dataset_parameters = hyperparameters_of(recipe.model), hyperparameters_of(dataset)
    known = [*model_parameters, "batch_size", *(f"dataset.{name}" for name in dataset_parameters)]
    hyperparameters, options = dict(recipe.hyperparameters), dict(recipe.dataset_options)
    batch_size = recipe.batch_size
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting!r} has no value: write --set {key}=VALUE")
        if key not in known:
            raise UserError(f"{recipe.name} has no setting '{key}': {did_you_mean(key, known)}")
        if key == "batch_size":
            batch_size = _parsed(key, text, int)
        elif key.startswith("dataset."):
            name = key.removeprefix("dataset.")
            options[name] = _parsed(key, text, dataset_parameters[name].annotation)
        else:
            hyperparameters[key] = _parsed(key, text, model_parameters[key].annotation)
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} is no batch: give 1 or more")
    return replace(recipe, hyperparameters=hyperparameters, dataset_options=options, batch_size=batch_size)


def parse_options(owner: str, settings: Mapping[str, str], target: Callable[..., object]) -> dict[str, Any]:
    """Convert texts to keywords of ``target`` by its annotations; :class:`UserError` as in :func:`configure`."""
    parameters = hyperparameters_of(target)
    parsed = {}
    for key, text in settings.items():
        if key not in parameters:
            raise UserError(f"{owner} has no option '{key}': {did_you_mean(key, parameters)}")
        parsed[key] = _parsed(f"{owner}.{key}", text, parameters[key].annotation)
    return parsed


def _parsed(key: str, text: str, annotation: Any) -> Any:
    """Convert ``text`` as ``annotation`` says: bool, int, float, str, a tuple of one of them, or one of them or
    None.
    """
    if isinstance(annotation, types.UnionType):
        if text.lower() == "none" and types.NoneType in typing.get_args(annotation):
            return None
        annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    try:
        if typing.get_origin(annotation) is tuple:
            inner = typing.get_args(annotation)[0]
            return tuple(_parsed(key, part, inner) for part in text.split(","))
        if annotation is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if annotation is str and not plain_line(text) == text:
            raise ValueError
        if annotation in (int, float, str):
            return annotation(text)
    except (ValueError, KeyError):
        raise UserError(f"{key}={text!r} is no {getattr(annotation, '__name__', annotation)}: give one") from None
    raise UserError(f"'{key}' cannot be set from the command line: write a recipe of your own (./file.py:function)")
