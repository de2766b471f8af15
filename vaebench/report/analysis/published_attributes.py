"""Read accuracies of CelebA's 40 attributes as papers print them: ``baselines/published/celeba_attributes.csv``."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line

BUNDLED: Final = "baselines/published"
TABLE: Final = "celeba_attributes.csv"
_FIELDS: Final = ("method", "source", "protocol", "average_printed", "note")
_ATTRIBUTES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One row of a printed table.

    Attributes:
        method: as printed.
        source: the paper that prints it, and its table.
        protocol: what was trained on what, as far as the source says.
        average_printed: the printed mean as a fraction in [0, 1]; ``None`` where none is printed.
        note: what is odd about the row; empty where nothing is.
        accuracies: attribute by CelebA's name -> accuracy as a fraction in [0, 1], in CelebA's order.
    """

    method: str
    source: str
    protocol: str
    average_printed: float | None
    note: str
    accuracies: Mapping[str, float]


def read_published(path: Path) -> list[PublishedRow]:
    """Read the rows of a table in percent, in its order.

    Raises :class:`UserError` with the file, and the line where there is one, where it cannot be read, its columns are
    others, or a row has not 40 numbers in [0, 100].
    """
    try:
        text = input_files.read_text(path, most=input_files.SMALL, remedy="mend or replace it")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}): mend or replace it") from error
    header = lines[0][1] if lines else []
    names = header[len(_FIELDS) :]
    if tuple(header[: len(_FIELDS)]) != _FIELDS or len(set(names)) != _ATTRIBUTES or len(names) != _ATTRIBUTES:
        wanted = f"{', '.join(_FIELDS)} and {_ATTRIBUTES} attributes"
        raise UserError(f"{path}, line 1: the columns are not {wanted}: write it as vaebench's own {TABLE} is")
    return [_row(names, cells, f"{path}, line {number}") for number, cells in lines[1:]]


def _row(names: Sequence[str], cells: Sequence[str], place: str) -> PublishedRow:
    fields, values = cells[: len(_FIELDS)], cells[len(_FIELDS) :]
    if len(values) != len(names):
        raise UserError(f"{place}: {len(values)} accuracies, not {len(names)}: give one an attribute")
    method, source, protocol, average, note = fields
    return PublishedRow(
        method=method,
        source=source,
        protocol=protocol,
        average_printed=_fraction(average, "average_printed", place) if average else None,
        note=note,
        accuracies={name: _fraction(value, name, place) for name, value in zip(names, values, strict=True)},
    )


def _fraction(text: str, name: str, place: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = float("nan")
    if not 0 <= percent <= 100:  # nan is not either
        raise UserError(f"{place}: {name} is '{text}', no percentage in [0, 100]: mend it")
    return percent / 100
