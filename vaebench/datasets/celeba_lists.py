"""Read CelebA's lists, as published or as Kaggle has them: attributes, parts and, if at hand, identities."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaebench.core import input_files
from vaebench.core.errors import UserError

ARCHIVE = "img_align_celeba.zip"
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
IDENTITIES = "identity_CelebA.txt"
SPLITS = {"0": "train", "1": "valid", "2": "test"}
ADVICE = f"get {ARCHIVE}, {ATTRIBUTES} and {PARTITION} elsewhere, then 'vaebench fetch celeba --from FOLDER'"


def read_list(path: Path) -> list[str]:
    """Read the lines of a list, with or without a byte-order mark; :class:`UserError` where it cannot be read."""
    try:
        return input_files.read_text(path, most=input_files.LOG, remedy=ADVICE).splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): {ADVICE}") from error


def as_published(name: str, lines: list[str], where: str) -> str:
    """Return a list in the published form, checked: Kaggle's comma-separated values are laid out anew.

    Args:
        name: ``ATTRIBUTES``, ``PARTITION`` or ``IDENTITIES``.
        lines: of the file.
        where: it lies, for messages.

    Raises:
        UserError: it is laid out in neither way.
    """
    if lines and "," in lines[0]:
        rows = [row for row in csv.reader(lines) if row]
        body = [f"{row[0].strip().lower()} {' '.join(cell.strip() for cell in row[1:])}" for row in rows[1:]]
        lines = [str(len(body)), " ".join(rows[0][1:]), *body] if name == ATTRIBUTES else body
    else:
        first = 2 if name == ATTRIBUTES else 0
        lines = lines[:first] + [_lower_name(line) for line in lines[first:]]
    parse: Callable[[list[str], str], object] = {
        ATTRIBUTES: _attributes,
        PARTITION: _partition,
        IDENTITIES: _identities,
    }[name]
    parse(lines, where)
    return "".join(f"{line}\n" for line in lines)


def _lower_name(line: str) -> str:
    name, space, rest = line.partition(" ")
    return f"{name.lower()}{space}{rest}"


def read_partition(path: Path) -> dict[str, str]:
    """Read the split of each image."""
    return _partition(read_list(path), str(path))


def _partition(lines: list[str], where: str) -> dict[str, str]:
    found = {}
    for number, line in enumerate(lines, 1):
        name, _, part = line.partition(" ")
        if part in SPLITS:
            found[name] = SPLITS[part]
        elif line:
            raise UserError(f"{where}, line {number} is not 'NAME 0', 'NAME 1' or 'NAME 2': replace the file")
    return found


def read_attributes(path: Path) -> tuple[dict[str, int], list[str], NDArray[np.bool_]]:
    """Read the row of each image, attribute names, and the values as bool (rows, attributes)."""
    return _attributes(read_list(path), str(path))


def _attributes(lines: list[str], where: str) -> tuple[dict[str, int], list[str], NDArray[np.bool_]]:
    names = lines[1].split() if len(lines) > 1 else []
    body = [(number, *line.partition(" ")[::2]) for number, line in enumerate(lines[2:], 3) if line]
    wrong = next((number for number, _, values in body if values.count("1") != len(names)), None)
    if names and wrong is not None:
        raise UserError(f"{where}, line {wrong} has no {len(names)} values of -1 or 1: replace the file")
    text = f" {' '.join(values for _, _, values in body)} ".encode()
    flat = np.frombuffer(text, np.uint8)
    ones = np.flatnonzero(flat == ord("1"))
    whole = (flat[ones + 1] == ord(" ")).all() and text.count(b"-") == text.count(b"-1")
    if not (names and body and whole) or text.translate(None, b" 1-"):
        raise UserError(f"{where} is not laid out as published (a count, names, then -1 or 1): replace the file")
    signs = flat[ones - 1] != ord("-")  # 8 million numbers, which no parser reads in a tenth of a second
    return {name: row for row, (_, name, _) in enumerate(body)}, names, signs.reshape(-1, len(names))


def read_identities(path: Path) -> dict[str, int]:
    """Read the person on each image, as a number."""
    return _identities(read_list(path), str(path))


def _identities(lines: list[str], where: str) -> dict[str, int]:
    found = {}
    for number, line in enumerate(lines, 1):
        name, _, person = line.partition(" ")
        if person.isascii() and person.isdigit():
            found[name] = int(person)
        elif line:
            raise UserError(f"{where}, line {number} is not 'NAME NUMBER': replace the file, or take it away")
    return found
