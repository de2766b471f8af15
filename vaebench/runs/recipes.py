"""Recipes, datasets and models by the names that the command line and records use."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaebench.core import seeding
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError, first_line
from vaebench.core.model import GenerativeModel
from vaebench.core.own_code import fault_in, place_of
from vaebench.core.recipe import Recipe, check_size, configure, hyperparameters_of, settings_of_name, sweep
from vaebench.core.registry import did_you_mean, load_file_attribute
from vaebench.core.setting_names import HASHED, OF_DATASET, split_name
from vaebench.core.validation import LONGEST, RESERVED, is_name, keywords
from vaebench.datasets import DATASETS
from vaebench.models import RECIPES
from vaebench.runs.recipe_files import is_file_reference, recipe_function, split_reference
from vaebench.runs.record import RunFolder, RunRecord

TOO_LARGE = (
    *("allocate memory", "out of memory", "Storage size calculation overflowed", "storage size", "too large"),
    "failed to unpack",  # a size of more than 64 bits
)


def find_recipe(reference: str, settings: Sequence[str] = ()) -> tuple[Recipe, str]:
    """Find and configure a recipe that the user names, as ``./file.py:function`` or by name; return it with the
    reference to store.

    A file is imported, which runs it: for what a record names there is :func:`recipe_of`.

    Args:
        reference: may have settings in its name, as tables show it: ``vae-digits[beta=4]``.
        settings: ``key=value`` each, one value a key.

    Raises:
        UserError: there is no such recipe or setting, or the name cannot be read back.
    """
    recipe, stored, settings = _asked(reference, settings)
    return _configured(recipe, settings), stored


def find_recipes(reference: str, settings: Sequence[str]) -> list[tuple[Recipe, str]]:
    """Find a recipe under every combination of the values that ``--set`` gives; raises as :func:`find_recipe` does."""
    recipe, stored, settings = _asked(reference, settings)
    dataset = _factory(recipe)
    return [(_configured(recipe, each), stored) for each in sweep(recipe, settings, dataset)]


def _configured(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply settings; :class:`UserError` for a size of images that the model does not take."""
    found = configure(recipe, settings, _factory(recipe))
    check_size(found)
    return found


def _asked(given: str, settings: Sequence[str]) -> tuple[Recipe, str, list[str]]:
    """Return the recipe as it was written, the reference to store, and all settings, those in the name included."""
    reference, named = split_name(given)
    if any(HASHED in setting for setting in named):
        raise UserError(f"{given} has a shortened setting in its name: name {reference}, and give settings by --set")
    if is_file_reference(reference):
        function = load_file_attribute(reference)
        path, attribute = split_reference(reference)
        reference = f"{Path(path).expanduser().resolve()}:{attribute}"
    else:
        function = RECIPES.get(reference)
    recipe = _made(function, reference)
    keys = {setting.partition("=")[0] for setting in named}
    for setting in settings:
        if (key := setting.partition("=")[0]) in keys:
            raise UserError(f"{given} says what {key} is: leave --set {key} away, or name {reference} without settings")
    named = settings_of_name(recipe, named, _factory(recipe))
    return recipe, reference, [*named, *map(_with_whole_path, settings)]


def _with_whole_path(setting: str) -> str:
    """Make the path in an option of a dataset absolute, if something lies there: a record is read from anywhere, and
    one folder is one however it is written.
    """
    key, equals, text = setting.partition("=")
    is_path = key == f"{OF_DATASET}path" or (key.startswith(OF_DATASET) and any(sign in text for sign in "/\\~"))
    if not (is_path and text):
        return setting
    try:
        path = Path(text).expanduser()
        return f"{key}{equals}{path.resolve()}" if path.exists() else setting
    except (OSError, RuntimeError, ValueError):  # no such user, a name that is too long: who reads it says so
        return setting


def recipe_of(record: RunRecord, folder: RunFolder) -> Recipe:
    """Return a run's recipe; :class:`UserError` if it is in a file that the user has not named."""
    if is_file_reference(record.reference):
        return _made(recipe_function(record.reference, folder.path), record.reference)
    return _made(RECIPES.get(record.reference), record.reference)


def _made(function: Callable[[], Recipe], reference: str) -> Recipe:
    try:
        recipe = function()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        place = place_of(error)
        mend = f"mend it ({place})" if place else "mend it"
        raise UserError(f"{reference} fails ({reason}): {mend}; --debug shows the traceback") from error
    if not isinstance(recipe, Recipe):
        raise UserError(f"{reference} returns {type(recipe).__name__}, no Recipe: return vaebench.core.recipe.Recipe")
    if not is_name(recipe.name) or recipe.name in RESERVED:
        reason = f"{reference} calls its recipe '{recipe.name}', which cannot be a folder of runs"
        rule = f"a name has letters, digits, '.', '_' and '-', {LONGEST} at most, and is none of {', '.join(RESERVED)}"
        raise UserError(f"{reason}: {rule}")
    if is_file_reference(reference) and recipe.name in RECIPES.names():
        raise UserError(
            f"{reference} calls itself '{recipe.name}', which vaebench or a plugin has: give it another name"
        )
    if recipe.dataset_source is not None:
        _check_own_name(recipe.dataset, reference)
    return recipe


def _check_own_name(name: str, where: str) -> None:
    """Refuse a name of a user's own dataset that tables and folders cannot have, or that is registered."""
    if not is_name(name):
        rule = f"give it letters, digits, '.', '_' and '-', {LONGEST} at most"
        raise UserError(f"{where} calls its dataset {name!r:.60}, which tables cannot: {rule}")
    if name in DATASETS.names():
        raise UserError(f"{where} calls its dataset '{name}', which vaebench or a plugin has: give it another name")


def every_recipe(settings: Sequence[str], say: Callable[[str], None]) -> list[tuple[Recipe, str]]:
    """Return all recipes; one from a broken plugin is reported and skipped, since nobody asked for it."""
    found = []
    for name in RECIPES.names():
        try:
            RECIPES.get(name)
        except UserError as broken:
            say(f"passed over: {broken}")
        else:
            found += find_recipes(name, settings)
    return found


def named_dataset(text: str) -> Callable[..., DatasetSource]:
    """Return the class or function of the dataset that the user names on this command line.

    Args:
        text: a registered name, or ``./file.py:function``, which is imported: never what a file says.
    """
    if not is_file_reference(text):
        return DATASETS.get(text)
    function = load_file_attribute(text)
    if not callable(function):
        raise UserError(
            f"{text} is a {type(function).__name__}, no dataset: name a DatasetSource, or a function for one"
        )

    @functools.wraps(function, updated=())  # its parameters are the dataset's options
    def made(**options: Any) -> DatasetSource:
        source = _opened(function, options, text)
        _check_own_name(source.name, text)
        return source

    return made


def _factory(recipe: Recipe) -> Callable[..., object]:
    """Return what makes the recipe's dataset, whose parameters are its options."""
    return recipe.dataset_source or DATASETS.get(recipe.dataset)


def factory_of_run(record: RunRecord, folder: RunFolder) -> Callable[..., object]:
    """Return what makes the dataset that a run was trained on; raises as :func:`dataset_of_run` does."""
    if record.dataset in DATASETS.names() or not is_file_reference(record.reference):
        return DATASETS.get(record.dataset)
    return _factory(recipe_of(record, folder))


def dataset_of_recipe(recipe: Recipe) -> DatasetSource:
    """Open the dataset of a recipe that the user names, with its options."""
    if recipe.dataset_source is None:
        return open_dataset(recipe.dataset, dict(recipe.dataset_options))
    return _own_dataset(recipe, recipe.dataset_options)


def dataset_of_run(record: RunRecord, folder: RunFolder) -> DatasetSource:
    """Open the dataset that a run was trained on.

    Raises:
        UserError: it is not registered, nor in the file of a recipe that the user allows (:func:`recipe_of`).
    """
    if record.dataset in DATASETS.names() or not is_file_reference(record.reference):
        return open_dataset(record.dataset, record.dataset_options)
    recipe = recipe_of(record, folder)
    if recipe.dataset_source is None:
        return open_dataset(record.dataset, record.dataset_options)
    return _own_dataset(recipe, record.dataset_options)


def _own_dataset(recipe: Recipe, options: Mapping[str, object]) -> DatasetSource:
    assert recipe.dataset_source is not None
    words = f"options of dataset '{recipe.dataset}'"
    known = keywords(options, hyperparameters_of(recipe.dataset_source), words, "give others")
    source = _opened(recipe.dataset_source, known, recipe.dataset)
    if source.name != recipe.dataset:
        raise UserError(
            f"{recipe.name} is on '{recipe.dataset}', its dataset calls itself '{source.name}': make them alike"
        )
    return source


def open_dataset(name: str, options: Mapping[str, object] | None = None) -> DatasetSource:
    """Open a dataset by name with its options; :class:`UserError` if it has no such option, or not of that type."""
    dataset = DATASETS.get(name)
    known = keywords(options or {}, hyperparameters_of(dataset), f"options of dataset '{name}'", "give others")
    return _opened(dataset, known, name)


def _opened(dataset: Callable[..., DatasetSource], options: Mapping[str, Any], name: str) -> DatasetSource:
    try:
        source: object = dataset(**options)  # of a user's own function: anything
    except UserError:
        raise
    except Exception as error:
        theirs = fault_in(error, f"dataset '{name}'", dataset)
        if theirs is None:
            raise
        raise theirs from error
    if not isinstance(source, DatasetSource):
        kind = type(source).__name__
        raise UserError(f"{name} gives a {kind}, no dataset: return a vaebench.core.dataset.DatasetSource")
    return source


def load_split(source: DatasetSource, split: str) -> ImageDataset:
    """Load one split; :class:`UserError` names the splits there are."""
    if split not in source.splits:
        raise UserError(f"{source.name} has no split '{split}': {did_you_mean(split, source.splits)}")
    data = source.load(split)
    if not isinstance(data, ImageDataset):
        kind = type(data).__name__
        raise UserError(f"{source.name} loads {split} as {kind}: return vaebench.core.dataset.ImageDataset from load")
    return data


def build_model(recipe: Recipe, image_shape: tuple[int, int, int], seed: int) -> GenerativeModel:
    """Build the untrained model; its initial weights are a function of the seed alone.

    Raises:
        UserError: it is larger than this machine's memory.
    """
    try:
        with seeding.isolated(seed, "initialisation"):
            return recipe.model(image_shape=image_shape, **recipe.hyperparameters)
    except UserError:
        raise
    except Exception as error:
        memory = isinstance(error, MemoryError | RuntimeError | OverflowError | TypeError)
        full = isinstance(error, MemoryError | OverflowError) or any(sign in str(error) for sign in TOO_LARGE)
        if not (memory and full):
            theirs = fault_in(error, f"the model of {recipe.name}", recipe.model)
            if theirs is None:
                raise
            raise theirs from error
        reason = f"{recipe.name} does not fit into memory ({first_line(error)[:120]})"
        raise UserError(f"{reason}: choose a smaller model with --set, such as latent_dim") from error
