"""Find runs by name, and load their models."""

import glob
import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vaebench.core import input_files
from vaebench.core.commands import shown_command
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.model import GenerativeModel, trained_modules
from vaebench.core.paths import runs_dir
from vaebench.core.recipe import Recipe, hyperparameters_of
from vaebench.core.registry import did_you_mean
from vaebench.core.validation import keywords, plain_line
from vaebench.runs.recipes import build_model, recipe_of
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.runs.trained_model import TrainedModel
from vaebench.runs.weights import RESTORE, load_weights


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
            raise UserError(f"no run '{name}' in {runs_dir()}: {did_you_mean(name, run_names())}")
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
    command = [*record.train_command(), "--seeds", str(record.seed), "--resume"]
    return plain_line(f"{reason}: go on with {shown_command(command)}")


def _recorded(record: RunRecord, recipe: Recipe, where: str) -> dict[str, Any]:
    """Return the recorded hyperparameters, converted as the constructor's annotations say; those behind ``**rest``
    unchanged.
    """
    keyword = inspect.Parameter.KEYWORD_ONLY
    passed_on = {name: inspect.Parameter(name, keyword, annotation=Any) for name in recipe.hyperparameters}
    return keywords(record.hyperparameters, {**passed_on, **hyperparameters_of(recipe.model)}, where, "train it again")


def open_run(folder: RunFolder, device: str) -> tuple[RunRecord, GenerativeModel]:
    """Read a finished run's record and load its model; raises as :func:`load_model` does."""
    record = folder.read_record()
    return record, load_model(folder, record, device)


def load_image_model(folder: RunFolder, record: RunRecord, device: str) -> TrainedModel:
    """Load a finished run's model as evaluation sees any model; raises as :func:`load_model` does."""
    channels, height, width = record.image_shape
    return TrainedModel(load_model(folder, record, device), (channels, height, width))


def load_model(folder: RunFolder, record: RunRecord, device: str) -> GenerativeModel:
    """Load a finished run's model onto ``device``, in evaluation mode.

    Raises:
        UserError: the run is not finished, its weights are missing or not those of the record, or its recipe is not
            known here or does not fit the record.
    """
    if record.status != "finished":
        raise UserError(unfinished(folder, record))
    if folder.weights.exists():
        input_files.checked(folder.weights, most=input_files.LARGE, remedy=RESTORE, inside=folder.path)
    if folder.weights.exists() and sha256_of(folder.weights) != record.weights_sha256:
        raise UserError(f"{folder.weights} is not the file that run.json describes (sha256): restore it or train again")
    recipe = recipe_of(record, folder)
    shape = (record.image_shape[0], record.image_shape[1], record.image_shape[2])
    parameters = _recorded(record, recipe, str(folder.record_file))
    model = build_model(replace(recipe, hyperparameters=parameters), shape, record.seed)
    load_weights(folder.weights, trained_modules(model, model.phases()))
    # channels_last: up to twice the rate of decoders on a CPU, and what a GPU's convolutions want
    model.to(device).to(memory_format=torch.channels_last)
    return model.eval().requires_grad_(False)
