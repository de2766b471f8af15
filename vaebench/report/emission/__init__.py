"""The formats in which ``report --emit`` writes results for others: a line a format, a file each.

A format is a pure function of the leaderboard and of when each recipe was measured: the same results give the same
bytes. Rows without a value are left out, and so are rows of the real images and of baselines, which are no models.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean
from vaebench.core.subjects import is_model

if TYPE_CHECKING:
    from vaebench.report.analysis.leaderboard import Row

FORMATS: Mapping[str, str] = {  # name, and so folder beside the report -> module with ``texts``
    "model-index": "vaebench.report.emission.model_index",
    "every-eval-ever": "vaebench.report.emission.every_eval_ever",
}


def read_formats(text: str) -> tuple[str, ...]:
    """Read what ``--emit`` names, with commas between; nothing of an empty text.

    Raises:
        UserError: a format is unknown.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(","))) if text else []
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--emit {text!r}: no format is named '{name}': {did_you_mean(name, FORMATS)}")
    return tuple(names)


def emitted(
    formats: Sequence[str], report: str, rows: Sequence["Row"], measured_at: Mapping[str, str]
) -> dict[str, str]:
    """Format results as others read them.

    Args:
        formats: names in :data:`FORMATS`.
        report: the report's name, a dataset's or a suite's.
        rows: of ``leaderboard.csv``.
        measured_at: recipe -> when it was measured last, ISO 8601, UTC.

    Returns:
        Path within the report's folder -> content.
    """
    known: dict[str, list[Row]] = {}
    for row in rows:
        if row.value is not None and is_model(row.recipe):
            known.setdefault(row.recipe, []).append(row)
    found = {}
    for name in formats:
        texts = importlib.import_module(FORMATS[name]).texts
        for recipe, of_recipe in known.items():
            for path, content in texts(report, recipe, of_recipe, measured_at[recipe]).items():
                found[f"{name}/{path}"] = content
    return found
