"""A training's history: one row per log interval, for ``history.csv`` and live progress."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.validation import plain_line

REMEDY = "delete it; the training itself can still be resumed"
LARGEST = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One row of ``history.csv``: means over the steps since the last row; warnings are not stored."""

    step: int
    steps: int
    epoch: float
    seconds: float
    images_per_second: float
    terms: Mapping[str, float]
    warnings: tuple[str, ...] = ()


_COLUMNS = ("step", "steps", "epoch", "seconds", "images_per_second")


def to_text(log: Sequence[Progress]) -> str:
    """Format the rows as CSV; a term that a row lacks is an empty cell."""
    terms = list(dict.fromkeys(name for row in log for name in row.terms))  # a term may begin late
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *terms])
    for row in log:
        writer.writerow([*(getattr(row, column) for column in _COLUMNS), *(row.terms.get(name, "") for name in terms)])
    return out.getvalue()


def read(path: Path) -> list[Progress]:
    """Read the rows of ``history.csv``, none if there is no file; :class:`UserError` names a damaged line."""
    if not path.exists():
        return []
    text = input_files.read_text(path, most=input_files.LOG, remedy=REMEDY, inside=path.parent)
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows: list[Progress] = []
    try:
        for fields in reader:
            rows.append(_progress(fields))
            if len(rows) > 1 and rows[-1].step <= rows[-2].step:
                raise ValueError("steps do not grow")
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise UserError(
            f"{path}, line {reader.line_num} is damaged ({plain_line(first_line(error))}): {REMEDY}"
        ) from error
    return rows


def _progress(fields: Mapping[str | None, str | None]) -> Progress:
    if None in fields or None in fields.values():
        raise ValueError("cells are missing, or too many")
    known = {str(name): str(value) for name, value in fields.items()}
    numbers = {name: float(value) for name, value in known.items() if value != ""}
    if not all(0 <= numbers[name] < LARGEST for name in _COLUMNS):
        raise ValueError("a number is out of range")
    return Progress(
        step=int(known["step"]),
        steps=int(known["steps"]),
        epoch=numbers["epoch"],
        seconds=numbers["seconds"],
        images_per_second=numbers["images_per_second"],
        terms={name: value for name, value in numbers.items() if name not in _COLUMNS},
    )
