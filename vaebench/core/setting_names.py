"""Names of recipes with settings that are not their own: ``vae-digits[beta=4,latent_dim=10]``.

A name is derived from the settings; what decides a training is the run's record. Names become folders, cells, figures'
labels and words of a command line, so that they consist of ``A-Z a-z 0-9 . _ ~ + = , -`` and one pair of brackets: no
file system refuses these, and none of them ends a quoted word, an attribute of HTML or a path.
"""

import hashlib
import math
import re
from collections.abc import Mapping

from vaebench.core.errors import UserError
from vaebench.core.validation import LONGEST

OF_DATASET = "dataset."  # begins the key of a setting that is an option of the dataset
BATCH_SIZE = "batch_size"  # the key of the setting that is neither the model's nor the dataset's
HASHED = "~"  # begins the hash of what cannot stand in a name as it is; names that have one cannot be read back
BETWEEN = "+"  # the items of a tuple
_DIGITS, _DIGITS_OF_ALL = 8, 12  # of a value's hash, and of that of all settings together
_LONGEST_WORD, _LONGEST_PART = 40, 24
_WORD = re.compile(rf"[a-z0-9._-]{{1,{_LONGEST_WORD}}}")  # no capitals: macOS and Windows take a and A for one file
_KEY = re.compile(r"[a-z_][a-z0-9_.]*")
_NAMED = re.compile(r"(?P<recipe>.+)\[(?P<settings>[^\[\]]+)\]", re.DOTALL)


def name_with(recipe: str, settings: Mapping[str, object]) -> str:
    """Name a recipe that was given other settings than its own; a pure function.

    Args:
        recipe: the recipe's own name.
        settings: key -> value, only of those that differ from the recipe's own, such as ``{"latent_dim": 10}``.

    Returns:
        ``recipe[key=value,key2=value2]`` with sorted keys; the recipe's own name without settings. One that would be
        longer than a folder's name may be is cut, and ends in a hash of all settings.

    Raises:
        UserError: the recipe's own name leaves no room for settings.
    """
    if not settings:
        return recipe
    whole = ",".join(f"{spelled_key(key)}={spelled(settings[key])}" for key in sorted(settings))
    room = LONGEST - len(recipe) - len("[]")
    if len(whole) > room:
        ending = HASHED + _hash(whole, _DIGITS_OF_ALL)
        if room < len(ending):
            most = LONGEST - len("[]") - len(ending)
            raise UserError(f"{recipe} is too long a name where settings follow it: give it {most} characters at most")
        whole = whole[: room - len(ending)] + ending
    return f"{recipe}[{whole}]"


def spelled(value: object) -> str:
    """Spell a setting's value for a name: equal values alike, however they were typed, and others differently.

    Numbers are short (``4`` for 4 and 4.0, ``1e-5``), a tuple's items stand between ``+``. A text with capitals, spaces
    or other signs becomes its last part as a path, without these signs, and a hash: ``pictures~0f3a9c1d``.
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else _hashed(value)
    if isinstance(value, tuple | list) and value and not any(isinstance(item, tuple | list) for item in value):
        return _bounded(BETWEEN.join(spelled(item) for item in value))
    return _bounded(str(value)) if isinstance(value, int) else HASHED + _hash(repr(value), _DIGITS)


def spelled_key(key: str) -> str:
    """Spell a setting's key for a name: a keyword of Python's may have capitals, and letters of any alphabet."""
    return key if _KEY.fullmatch(key) and len(key) <= _LONGEST_WORD else _hashed(key)


def typed_value(value: object) -> str:
    """Write a setting's value as ``--set`` takes it."""
    if isinstance(value, tuple | list):
        return ",".join(typed_value(item) for item in value)
    return value if isinstance(value, str) else spelled(value)


def split_name(name: str) -> tuple[str, list[str]]:
    """Split a name into the recipe's own and its settings, ``key=value`` each; a plain name has none."""
    found = _NAMED.fullmatch(name)
    return (found["recipe"], found["settings"].split(",")) if found else (name, [])


def own_name(name: str) -> str:
    """Return the recipe's own name, without settings."""
    return split_name(name)[0]


def without_setting(name: str, key: str) -> str:
    """Return a name without one of its settings: what a sweep over that setting has in common."""
    recipe, settings = split_name(name)
    rest = [setting for setting in settings if setting.partition("=")[0] != key]
    return f"{recipe}[{','.join(rest)}]" if rest else recipe


def order_of(name: str) -> tuple[object, ...]:
    """Sort key of names: by the recipe's own name, then by settings, numbers as numbers: 5, 10, 20."""
    recipe, settings = split_name(name)
    parts = [setting.partition("=") for setting in settings]
    return recipe, tuple((key, *order_of_value(value)) for key, _, value in parts)


def order_of_value(text: str) -> tuple[int, float, str]:
    """Sort key of a setting's value, as it is spelled: numbers before what is none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return (1, 0.0, text) if math.isnan(number) else (0, number, text)


def _number(value: float) -> str:
    """``4`` for 4.0, ``0`` for -0.0, ``1e-5`` for 1e-05; any other to the last digit."""
    if value == 0:
        return "0"
    digits, exponential, power = repr(value).partition("e")
    digits = digits.removesuffix(".0")
    return f"{digits}e{int(power)}" if exponential else digits


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else _hashed(text)


def _hashed(text: str) -> str:
    """What stands behind a text's last slash, so that people know it again, and the hash of the whole."""
    last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", last)[:_LONGEST_PART]
    return f"{readable}{HASHED}{_hash(text, _DIGITS)}"


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:digits]
