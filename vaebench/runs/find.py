"""Find runs by name."""

import glob
from collections.abc import Sequence
from pathlib import Path

from vaebench.core.commands import shown_command
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.core.registry import did_you_mean
from vaebench.core.validation import plain_line
from vaebench.models import RECIPES
from vaebench.runs.record import RunFolder, RunRecord


def find_runs(names: Sequence[str]) -> list[RunFolder]:
    """Find the runs that RUNs name: ``recipe`` (all its seeds), ``recipe/seed-k``, ``external/NAME``, or a path."""
    found: list[RunFolder] = []
    for name in names:
        if of_seeds := _seeds_of_outside_model(name):
            found.extend(map(RunFolder, of_seeds))
            continue
        candidates = [runs_dir() / name, Path(name)]
        folder = next((path for path in candidates if path.is_dir()), None)
        if folder is None:
            mend = f"run 'vaebench train {name}' first" if name in RECIPES.names() else did_you_mean(name, run_names())
            raise UserError(f"no run '{name}' in {runs_dir()}: {mend}")
        seeds = sorted(folder.glob("seed-*"), key=lambda path: (len(path.name), path.name))
        inner = seeds or ([folder] if list(folder.glob("*.json*")) else sorted(folder.glob("*/")))  # e.g. real/*
        found.extend(RunFolder(path) for path in inner)
    return found


def _seeds_of_outside_model(name: str) -> list[Path]:
    """List the folders of a model trained elsewhere, ``external/NAME``, that has training seeds."""
    kind, _, own = name.partition("/")
    if kind != "external" or not own or "/" in own:
        return []
    found = (runs_dir() / kind).glob(f"{glob.escape(own)}@*")
    return sorted(found, key=lambda path: (len(path.name), path.name))


def run_names() -> list[str]:
    """List recipes and external sets that have a folder."""
    root = runs_dir()
    if not root.is_dir():
        return []
    recipes = [path.name for path in root.iterdir() if any(path.glob("seed-*"))]
    return sorted([*recipes, *(f"external/{path.name}" for path in root.glob("external/*"))])


def unfinished(folder: RunFolder, record: RunRecord) -> str:
    """Message for a run that is not finished, with the command that resumes it."""
    reason = f"{folder.path} is not finished ({record.recipe}, seed {record.seed})"
    return plain_line(f"{reason}: go on with {shown_command(record.resume_command())}")
