"""Every setting of every recipe: two values never share a name, one value has one name, its own leaves it plain."""

import types
import typing

import pytest

from vaebench.core.recipe import hyperparameters_of
from vaebench.core.setting_names import typed_value
from vaebench.core.validation import LONGEST
from vaebench.datasets import DATASETS
from vaebench.models import RECIPES
from vaebench.runs.recipes import find_recipe

# texts of unequal values by type, the first of which may be spelled otherwise too
NUMBERS = ["7", "8", "70", "-7"]
VALUES = {
    int: (NUMBERS, ["07", "+7"]),
    float: ([*NUMBERS, "0.7", "0.70000001", "7e-9", "7e9"], ["7.0", "7.000", "0.7e1", "+7"]),
    bool: (["true", "false"], ["True", "1"]),
    str: (["seven", "Seven", "se/ven", "se ven", "seven,eight"], []),
    tuple: (["1", "2", "1,2", "2,1"], []),
}


def kinds_of(annotation):
    """The type that a text is read as, and whether it may be none."""
    if isinstance(annotation, types.UnionType):
        parts = typing.get_args(annotation)
        return kinds_of(next(part for part in parts if part is not types.NoneType))[0], types.NoneType in parts
    return typing.get_origin(annotation) or annotation, False


def settings_of(name):
    recipe = RECIPES.get(name)()
    model, data = hyperparameters_of(recipe.model), hyperparameters_of(DATASETS.get(recipe.dataset))
    yield "batch_size", int, False, recipe.batch_size
    for key, parameter in model.items():
        yield key, *kinds_of(parameter.annotation), recipe.resolved()[key]
    for key, parameter in data.items():
        own = recipe.dataset_options.get(key, parameter.default)
        yield f"dataset.{key}", *kinds_of(parameter.annotation), own


def values_of(name, key, kind):
    """Unequal texts of a setting, and other spellings of the first; of a size only those that the model takes."""
    sizes = RECIPES.get(name)().image_sizes if key == "dataset.size" else ()
    texts = [str(size) for size in sizes[1:]]
    return (texts, [f"0{texts[0]}", f"+{texts[0]}"]) if texts else VALUES[kind]


@pytest.mark.parametrize("name", RECIPES.names())
def test_names_tell_settings_apart(name):
    walked = 0
    for key, kind, optional, own in settings_of(name):
        if kind not in VALUES:
            continue  # nothing that --set takes
        texts, alike = values_of(name, key, kind)
        texts = [text for text in texts if not (key == "batch_size" and text.startswith("-"))]
        texts = [*texts, "none"] if optional else texts
        named = [find_recipe(name, [f"{key}={text}"])[0] for text in texts]
        assert len({recipe.name.lower() for recipe in named}) == len(texts), key
        assert all(len(recipe.name) <= LONGEST for recipe in named)
        for text in alike:
            assert find_recipe(name, [f"{key}={text}"])[0] == named[0], (key, text)
        plain = find_recipe(name, [f"{key}={typed_value(own)}"])[0]
        assert (plain.name, plain.settings) == (name, ()), key
        walked += 1
    assert walked > 3


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_name_with_settings_is_a_recipe(name):
    """What stands in a table can be trained again as it stands there, tuples included."""
    for key, kind, _, _ in settings_of(name):
        if kind in VALUES and kind is not str:
            given, reference = find_recipe(name, [f"{key}={values_of(name, key, kind)[0][-2]}"])
            assert find_recipe(given.name) == (given, reference) and reference == name
