"""Read a suite's file; what is wrong in it is said with file, line and key."""

import re
import tomllib
from pathlib import Path

import msgspec

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.registry import did_you_mean
from vaebench.core.validation import is_name, plain_line
from vaebench.suites.suite import (
    Budget,
    Claim,
    Compute,
    Dataset,
    Evaluation,
    Located,
    Model,
    Part,
    Study,
    Suite,
    line_of,
)

Key = tuple[str | int, ...]
REMEDY = "mend the file"
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNED = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")
# the parts of a file by their place, for the names of keys that it may have
PARTS: dict[str, type[Part]] = {
    "": Suite,
    "dataset": Dataset,
    "models": Model,
    "budget": Budget,
    "compute": Compute,
    "evaluation": Evaluation,
    "studies": Study,
    "claims": Claim,
}


def read_suite(path: Path) -> Located:
    """Read a suite from a TOML file.

    Args:
        path: its name without ending is the suite's.

    Raises:
        UserError: the file is missing or no TOML, or a key is unknown, missing or of another type; with its line.
    """
    if not is_name(path.stem):
        raise UserError(f"{path}: '{path.stem}' cannot name a suite: give the file letters, digits, '.', '_' or '-'")
    try:
        text = input_files.read_text(path, most=input_files.SMALL, remedy=REMEDY)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}): give a suite's file or name") from error
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no TOML ({plain_line(first_line(error))}): {REMEDY}") from error
    lines = key_lines(text)
    try:
        suite = msgspec.convert(content, Suite)
    except msgspec.ValidationError as error:
        raise UserError(_explained(path, lines, str(error))) from error
    if len(set(suite.seeds)) < len(suite.seeds):
        twice = next(seed for seed in suite.seeds if suite.seeds.count(seed) > 1)
        raise UserError(f"{path}:{line_of(lines, ('seeds',))}: seed {twice} is there twice: name each once")
    return Located(path.stem, path, suite, lines)


def key_lines(text: str) -> dict[Key, int]:
    """Map every key of a TOML text, such as ``("models", 1, "recipe")``, to its line; a table to its header's."""
    found: dict[Key, int] = {}
    counts: dict[str, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            names = _names(header[2])
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], -1) + 1
                found.setdefault(tuple(names), number)
                table = (*names, counts[header[2]])
            else:
                inside = counts.get(names[0]) if len(names) > 1 else None
                table = (names[0], inside, *names[1:]) if inside is not None else tuple(names)
            found[table] = number
        elif assigned := _ASSIGNED.match(line):
            found.setdefault((*table, *_names(assigned[1])), number)
    return found


def _names(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _explained(path: Path, lines: dict[Key, int], message: str) -> str:
    """Turn msgspec's message into one of file, line and key."""
    text, _, place = message.partition(" - at ")
    keys = _keys(place.strip("`"))
    text = text.replace("`", "")
    if unknown := re.fullmatch(r"Object contains unknown field (.*)", text):
        part = PARTS.get(str(keys[0]) if keys else "")
        known = [each.name for each in msgspec.structs.fields(part)] if part else []
        line = line_of(lines, (*keys, unknown[1]))
        return f"{path}:{line}: unknown key '{plain_line(unknown[1])}': {did_you_mean(unknown[1], known)}"
    if missing := re.fullmatch(r"Object missing required field (.*)", text):
        return f"{path}:{line_of(lines, keys)}: the key '{missing[1]}' is missing: add it"
    named = f"'{_dotted(keys)}'" if keys else "the file"
    said = text[0].lower() + text[1:]
    return f"{path}:{line_of(lines, keys)}: {named} is not as it must be ({plain_line(said)}): {REMEDY}"


def _dotted(keys: Key) -> str:
    """``("models", 1, "name")`` -> ``models[1].name``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _keys(place: str) -> Key:
    """``$.models[1].settings[...]`` -> ``("models", 1, "settings")``."""
    keys: list[str | int] = []
    for name, index in re.findall(r"\.?([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]", place.removeprefix("$")):
        keys.append(int(index) if index else name)
    return tuple(keys)
