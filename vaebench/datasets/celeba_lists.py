"""Read CelebA's lists as published: attributes, parts and, if at hand, identities."""

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


def _lines(path: Path) -> list[str]:
    try:
        return input_files.read_text(path, most=input_files.LOG, remedy=ADVICE).splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): {ADVICE}") from error


def read_partition(path: Path) -> dict[str, str]:
    """Read the split of each image."""
    found = {}
    for number, line in enumerate(_lines(path), 1):
        name, _, part = line.partition(" ")
        if part in SPLITS:
            found[name] = SPLITS[part]
        elif line:
            raise UserError(f"{path}, line {number} is not 'NAME 0', 'NAME 1' or 'NAME 2': replace the file")
    return found


def read_attributes(path: Path) -> tuple[dict[str, int], list[str], NDArray[np.bool_]]:
    """Read the row of each image, attribute names, and the values as bool (rows, attributes)."""
    lines = _lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    body = [(number, *line.partition(" ")[::2]) for number, line in enumerate(lines[2:], 3) if line]
    wrong = next((number for number, _, values in body if values.count("1") != len(names)), None)
    if names and wrong is not None:
        raise UserError(f"{path}, line {wrong} has no {len(names)} values of -1 or 1: replace the file")
    text = f" {' '.join(values for _, _, values in body)} ".encode()
    flat = np.frombuffer(text, np.uint8)
    ones = np.flatnonzero(flat == ord("1"))
    whole = (flat[ones + 1] == ord(" ")).all() and text.count(b"-") == text.count(b"-1")
    if not (names and body and whole) or text.translate(None, b" 1-"):
        raise UserError(f"{path} is not laid out as published (a count, names, then -1 or 1): replace the file")
    signs = flat[ones - 1] != ord("-")  # 8 million numbers, which no parser reads in a tenth of a second
    return {name: row for row, (_, name, _) in enumerate(body)}, names, signs.reshape(-1, len(names))


def read_identities(path: Path) -> dict[str, int]:
    """Read the person on each image, as a number."""
    found = {}
    for number, line in enumerate(_lines(path), 1):
        name, _, person = line.partition(" ")
        if person.isascii() and person.isdigit():
            found[name] = int(person)
        elif line:
            raise UserError(f"{path}, line {number} is not 'NAME NUMBER': replace the file, or take it away")
    return found
