"""A training's history: one row a log interval, as ``history.csv`` and live displays have it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaebench.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One row of ``history.csv``: means over the steps since the last one; warnings are of the moment, not kept."""

    step: int
    steps: int
    epoch: float
    seconds: float
    images_per_second: float
    terms: Mapping[str, float]
    warnings: tuple[str, ...] = ()


_COLUMNS = ("step", "steps", "epoch", "seconds", "images_per_second")


def to_text(log: Sequence[Progress]) -> str:
    """A header, then a line a row; a term that a row lacks is an empty cell."""
    terms = list(dict.fromkeys(name for row in log for name in row.terms))  # a term may begin late
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *terms])
    for row in log:
        writer.writerow([*(getattr(row, column) for column in _COLUMNS), *(row.terms.get(name, "") for name in terms)])
    return out.getvalue()


def read(path: Path) -> list[Progress]:
    """The rows of ``history.csv``, none where there is no file; :class:`UserError` where it is damaged."""
    if not path.exists():
        return []
    try:
        return [_progress(fields) for fields in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it; the training itself can still be resumed") from error


def _progress(fields: Mapping[str, str]) -> Progress:
    return Progress(
        step=int(fields["step"]),
        steps=int(fields["steps"]),
        epoch=float(fields["epoch"]),
        seconds=float(fields["seconds"]),
        images_per_second=float(fields["images_per_second"]),
        terms={name: float(value) for name, value in fields.items() if name not in _COLUMNS and value != ""},
    )
