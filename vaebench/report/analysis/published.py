"""Read claims from a user's own tables: ``--published FOLDER``, of files that have ``[[claims]]`` as a suite's has."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.report.analysis.claims import Claim, parse


def published_claims(folder: Path, dataset: str) -> list[Claim]:
    """Read the claims about a dataset.

    A table says ``source``, ``[dataset]`` with ``name``, and ``[[claims]]``, so that a suite's file is one; or, as in
    earlier versions, ``dataset = "NAME"`` and ``[[claim]]``.

    Raises:
        UserError: names the file that cannot be read, is no table of claims, or has a claim that cannot be parsed.
    """
    found: list[Claim] = []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
        try:
            remedy = "mend it, or leave --published away"
            table = tomllib.loads(input_files.read_text(path, most=input_files.SMALL, remedy=remedy))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}): mend it, or leave --published away") from error
        try:
            if _dataset(table) == dataset:
                found += [_claim(table["source"], entry) for entry in _entries(table)]
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"{path} is no table of claims ({type(error).__name__}: {error})"
            raise UserError(f"{reason}: write source, [dataset] and [[claims]] as a suite has them") from error
    return found


def _dataset(table: Mapping[str, Any]) -> Any:
    about = table["dataset"]
    return about["name"] if isinstance(about, dict) else about


def _entries(table: Mapping[str, Any]) -> Any:
    """Return a table's claims; a suite need not make any."""
    if isinstance(table["dataset"], dict):
        return table.get("claims", [])
    return table["claim"]


def _claim(source: str, entry: Mapping[str, Any]) -> Claim:
    texts = (entry["says"], source, entry.get("where", ""), entry.get("published", ""), _expression(entry))
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is no text")
    says, source, where, published, expression = (" ".join(text.split()) for text in texts)
    parse(expression)  # so that the error names the file
    return Claim(says=says, source=source, where=where, published=published, expression=expression)


def _expression(entry: Mapping[str, Any]) -> Any:
    """Return a claim's expression; of tables for versions before claims had one, made of their keys."""
    if "greater" in entry:
        cell = f"{entry['metric']}/{entry['protocol']}, {entry['stratum']}"
        return f"{cell}: {entry['greater']} > {entry['less']}"
    if "value" in entry:
        return f"{entry['metric']}, {entry['stratum']}: {entry['recipe']} = {float(entry['value'])!r}"
    return entry["claim"]
