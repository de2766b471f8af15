"""Typed values from JSON files: each field is checked against its annotation, and errors name it.

Names become parts of paths, so one pattern bounds what a name is; texts are single lines without control characters.
"""

import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from vaebench.core.errors import UserError, first_line

T = TypeVar("T")
LONGEST = 120  # characters of a name: with endings and a temporary file's, file systems take 255
LONGEST_TEXT = 20_000  # characters of a note
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SETTINGS = r"\[[A-Za-z0-9._~+=,-]+\]"  # as vaebench.core.setting_names makes them
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*\Z"

Name = Annotated[str, Meta(pattern=rf"^{_NAME}\Z", max_length=LONGEST)]
RecipeName = Annotated[str, Meta(pattern=rf"^{_NAME}({_SETTINGS})?\Z", max_length=LONGEST)]
RunName = Annotated[
    str, Meta(pattern=rf"^((external/|baseline/|real/){_NAME}|{_NAME}({_SETTINGS})?)\Z", max_length=LONGEST)
]
Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]*\Z", max_length=LONGEST)]  # a hash, or nothing
Text = Annotated[str, Meta(pattern=_PLAIN, max_length=LONGEST_TEXT)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Positive = Annotated[int, Meta(ge=1, lt=2**53)]
NotNegative = Annotated[float, Meta(ge=0)]

RESERVED = ("real", "external", "baseline", "studies")  # folders of their own in the runs folder


def is_name(text: str) -> bool:
    """Tell whether the text may name a folder or a file: letters, digits, ``.``, ``_``, ``-``, 120 at most."""
    return len(text) <= LONGEST and re.fullmatch(_NAME, text, re.ASCII) is not None


def plain_name(text: str) -> str:
    """Turn any text, such as a folder's name, into one that paths and tables may contain: forbidden characters give way
    to a hash of the text.
    """
    if is_name(text) and len(text) < LONGEST - 20:
        return text
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:40].lstrip("._-")
    return f"{kept or 'images'}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:8]}"


def plain_line(text: str) -> str:
    """Return the text as one line; control characters and what a terminal cannot show become escapes such as
    ``\x1b``.
    """
    if text.isprintable():
        return text
    return "".join(sign if _is_shown(sign) else sign.encode("unicode_escape").decode("ascii") for sign in text)


def _is_shown(sign: str) -> bool:
    return sign.isprintable() or unicodedata.category(sign) == "Zs"  # a no-break space, for one


def from_json(content: bytes | str, kind: type[T], where: str, remedy: str) -> T:
    """Read JSON as ``kind``, a dataclass or any type with annotations.

    Args:
        content: UTF-8 JSON.
        kind: what it must be.
        where: file (and line), the message's subject.
        remedy: what to do where it is something else, an imperative clause.

    Raises:
        UserError: names the file, and the field that is wrong.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UserError(f"{where} cannot be read ({_said(error)}): {remedy}") from error


def converted(value: object, kind: Any, where: str, remedy: str) -> Any:
    """Convert ``value``, made of JSON types, to ``kind``; raises as :func:`from_json` does.

    What ``kind`` means is msgspec's; a value of a type that msgspec does not know is returned as it is.
    """
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{where} cannot be read ({_said(error)}): {remedy}") from error
    except (TypeError, NotImplementedError):  # an annotation of a plugin's own
        return value


def strictly(values: Mapping[str, object], kind: Any, where: str, remedy: str) -> Any:
    """Convert ``values`` to the dataclass ``kind``; raises as :func:`converted` does, and for unknown fields."""
    refuse_unknown(set(values) - fields_of(kind), where, remedy)
    return converted(values, kind, where, remedy)


@cache
def fields_of(kind: Any) -> frozenset[str]:
    """Names of a dataclass's fields."""
    return frozenset(each.name for each in dataclasses.fields(kind))


def refuse_unknown(names: set[str], where: str, remedy: str) -> None:
    """Raise :class:`UserError` that names the first unknown field, if there is one."""
    if names:
        raise UserError(f"{where} cannot be read (unknown field {plain_line(min(names))}): {remedy}")


def keywords(values: Mapping[str, object], parameters: Mapping[str, Any], where: str, remedy: str) -> dict[str, Any]:
    """Convert a record's keywords, each as the parameter of that name is annotated.

    Args:
        values: name -> value, made of what JSON has.
        parameters: name -> ``inspect.Parameter`` with evaluated annotations.
        where: the record's file.
        remedy: an imperative clause.

    Raises:
        UserError: a keyword that the constructor does not have, or a value that does not fit.
    """
    unknown = sorted(set(values) - set(parameters))
    if unknown:
        raise UserError(f"{where} has {', '.join(map(plain_line, unknown))}, which is not known here: {remedy}")
    found = {
        name: converted(value, parameters[name].annotation, f"{where}, {name}", remedy)
        for name, value in values.items()
    }
    # JSON has lists where constructors have tuples
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _said(error: Exception) -> str:
    """msgspec's ``Expected `int`, got `str` - at `$.seed``` -> ``field seed: expected int, got str``."""
    text, _, place = first_line(error).partition(" - at ")
    text = text.replace("`", "")
    if "matching regex" in text:
        text = "not a name or a single line of plain text"
    field = place.strip("`").removeprefix("$").removeprefix(".")
    return plain_line(f"field {field}: {text[0].lower()}{text[1:]}" if field else text)


def as_text(word: str) -> str:
    """Return an argument as the UTF-8 text that it is, where the locale knows ASCII alone and Python kept its bytes."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return word
