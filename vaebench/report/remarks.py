"""Read what a person wrote about the figures: ``remarks.toml`` beside a report.

date = "2026-11-20"
[figures]
"figures/samples.png" = "The plain VAE's faces are smooth; ..."
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """Text by figure, as the figure is named in the page, and the day it was written."""

    date: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)


def read_remarks(folder: Path) -> Remarks:
    """Read the remarks in a report's folder, empty if there are none."""
    path = folder / "remarks.toml"
    if not path.exists():
        return Remarks()
    try:
        found = tomllib.loads(input_files.read_text(path, most=input_files.SMALL, remedy="write it anew"))
        figures = {str(name): str(text) for name, text in found["figures"].items()}
        return Remarks(date=str(found["date"]), figures=figures)
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{path} cannot be read ({type(error).__name__}: {error})"
        raise UserError(f'{reason}: write date = "…" and a table [figures] of figure = "text"') from error
