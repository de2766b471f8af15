"""Load the models of finished runs."""

import inspect
from dataclasses import replace
from typing import Any

import torch

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.model import GenerativeModel, trained_modules
from vaebench.core.recipe import Recipe, hyperparameters_of
from vaebench.core.validation import keywords
from vaebench.runs.find import unfinished
from vaebench.runs.recipes import build_model, recipe_of
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.runs.trained_model import TrainedModel
from vaebench.runs.weights import RESTORE, load_weights


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
