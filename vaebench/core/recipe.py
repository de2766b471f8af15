"""Recipes: a model on a dataset with a paper's hyperparameters, which are its constructor's keywords."""

import inspect
import itertools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from vaebench.core.errors import UserError
from vaebench.core.model import GenerativeModel
from vaebench.core.registry import did_you_mean
from vaebench.core.setting_names import BATCH_SIZE, BETWEEN, OF_DATASET, name_with, spelled
from vaebench.core.validation import plain_line


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train, on what, and for how long.

    Attributes:
        name: ``<model>-<dataset>``; of a configured one with its settings, ``<model>-<dataset>[beta=4]``.
        model: called with ``image_shape=(c, h, w)`` and the hyperparameters as keywords.
        dataset: registered name.
        batch_size: images per training step.
        epochs: passes over the training split; the last, partial batch of each epoch is left out.
        hyperparameters: keywords of ``model`` that differ from their defaults.
        dataset_options: keywords of the dataset's constructor.
        dataset_source: class or function that gives the dataset, of a recipe whose dataset stands in a file of one's
            own, as the recipe does; None where ``dataset`` is registered.
        image_sizes: sides of square images that the model takes, of those that the dataset's option ``size`` may ask
            for, so that another is refused before images are prepared; empty where the model says so when it is built.
        settings: keys of the settings, sorted, by which it differs from the recipe as it was written.
    """

    name: str
    model: Callable[..., GenerativeModel]
    dataset: str
    batch_size: int
    epochs: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    dataset_source: Callable[..., Any] | None = None
    image_sizes: Sequence[int] = ()
    settings: tuple[str, ...] = ()

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

    Values are read by the annotation of the parameter they set. What differs from the recipe's own values becomes part
    of its name; what does not is as if it had not been said.

    Raises:
        UserError: a key is misspelt (with the nearest right one), or a value has the wrong type.
    """
    known, own = _annotations(recipe, dataset), _own_values(recipe, dataset)
    given: dict[str, Any] = {}
    for setting in settings:
        key, text = _split(recipe, setting, known)
        given[key] = _parsed(key, text, known[key])
    if given.get(BATCH_SIZE, 1) < 1:
        raise UserError(f"{BATCH_SIZE}={given[BATCH_SIZE]} is no batch: give 1 or more")
    changed = {key: value for key, value in given.items() if not _same(value, own[key])}
    options = {key.removeprefix(OF_DATASET): value for key, value in changed.items() if key.startswith(OF_DATASET)}
    model = {key: value for key, value in changed.items() if key != BATCH_SIZE and not key.startswith(OF_DATASET)}
    return replace(
        recipe,
        name=name_with(recipe.name, changed),
        hyperparameters={**recipe.hyperparameters, **model},
        dataset_options={**recipe.dataset_options, **options},
        batch_size=changed.get(BATCH_SIZE, recipe.batch_size),
        settings=tuple(sorted(changed)),
    )


def sweep(recipe: Recipe, settings: Sequence[str], dataset: Callable[..., object]) -> list[list[str]]:
    """Return the settings of each training that ``--set`` options ask for: all combinations of their values.

    A key may come several times, each with a value; numbers, true and false may also stand in one option with commas
    between them. In a text or a list of values a comma is a part of the value.

    Raises:
        UserError: as :func:`configure` raises it; or one value is given twice.
    """
    known = _annotations(recipe, dataset)
    values: dict[str, list[str]] = {}
    for setting in settings:
        key, text = _split(recipe, setting, known)
        values.setdefault(key, []).extend([text] if _takes_commas(known[key]) else text.split(","))
    for key, texts in values.items():
        spellings = [spelled(_parsed(key, text, known[key])) for text in texts]
        twice = next((text for place, text in enumerate(texts) if spellings[place] in spellings[:place]), None)
        if twice is not None:
            raise UserError(f"--set {key} has the value {twice} twice: give each value once")
    combinations = itertools.product(*([f"{key}={text}" for text in texts] for key, texts in values.items()))
    return [list(combination) for combination in combinations]


def settings_of_name(recipe: Recipe, settings: Sequence[str], dataset: Callable[..., object]) -> list[str]:
    """Return settings as ``--set`` takes them that were taken from a name, where a list has no commas."""
    known = _annotations(recipe, dataset)
    pairs = [setting.partition("=") for setting in settings]
    return [
        f"{key}{equals}{text.replace(BETWEEN, ',') if _is_tuple(known.get(key)) else text}"
        for key, equals, text in pairs
    ]


def _annotations(recipe: Recipe, dataset: Callable[..., object]) -> dict[str, Any]:
    """Return every key that ``--set`` takes, with the type of its value."""
    of_model, of_dataset = hyperparameters_of(recipe.model), hyperparameters_of(dataset)
    return {
        **{key: parameter.annotation for key, parameter in of_model.items()},
        BATCH_SIZE: int,
        **{OF_DATASET + key: parameter.annotation for key, parameter in of_dataset.items()},
    }


def _own_values(recipe: Recipe, dataset: Callable[..., object]) -> dict[str, Any]:
    """Return the value of every setting that the recipe has by itself."""
    of_dataset = {key: parameter.default for key, parameter in hyperparameters_of(dataset).items()}
    options = {OF_DATASET + key: value for key, value in {**of_dataset, **recipe.dataset_options}.items()}
    return {**recipe.resolved(), BATCH_SIZE: recipe.batch_size, **options}


def _same(value: Any, own: Any) -> bool:
    return spelled(value) == spelled(float(own) if isinstance(value, float) and isinstance(own, int) else own)


def _split(recipe: Recipe, setting: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """Split ``key=value``; :class:`UserError` where there is no value, or no such key."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set {setting!r} has no value: write --set {key}=VALUE")
    if key not in known:
        raise UserError(f"{recipe.name} has no setting '{key}': {did_you_mean(key, known)}")
    return key, text


def _without_none(annotation: Any) -> Any:
    """Return the first type of a union that is not None: what a text is read as."""
    if not isinstance(annotation, types.UnionType):
        return annotation
    return next(part for part in typing.get_args(annotation) if part is not types.NoneType)


def _is_tuple(annotation: Any) -> bool:
    return typing.get_origin(_without_none(annotation)) is tuple


def _takes_commas(annotation: Any) -> bool:
    """Tell whether a comma may be a part of one value: not of numbers, true and false."""
    return _without_none(annotation) not in (int, float, bool)


def parse_options(owner: str, settings: Mapping[str, str], target: Callable[..., object]) -> dict[str, Any]:
    """Convert texts to keywords of ``target`` by its annotations; :class:`UserError` as in :func:`configure`."""
    parameters = hyperparameters_of(target)
    parsed = {}
    for key, text in settings.items():
        if key not in parameters:
            known = did_you_mean(key, parameters) if parameters else "it takes none"
            raise UserError(f"{owner} has no option '{key}': {known}")
        parsed[key] = _parsed(f"{owner}.{key}", text, parameters[key].annotation)
    return parsed


def _parsed(key: str, text: str, annotation: Any) -> Any:
    """Convert ``text`` as ``annotation`` says: bool, int, float, str, a tuple of one of them, or one of them or
    None.
    """
    if text.lower() == "none" and types.NoneType in typing.get_args(annotation):
        return None
    annotation = _without_none(annotation)
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
