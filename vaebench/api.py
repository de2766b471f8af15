"""Use vaebench from Python: train, evaluate, compare, and see what a notebook should show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.device import pick_device
from vaebench.core.errors import UserError
from vaebench.core.image_model import Capability, ImageModel
from vaebench.evaluation.evaluate import evaluate_runs
from vaebench.evaluation.external import External, evaluate_array, evaluate_external
from vaebench.evaluation.origin_notes import check_note, note_origin
from vaebench.evaluation.outside_models import OutsideModel, evaluate_model
from vaebench.evaluation.protocol import Protocol
from vaebench.report.analysis.comparisons import compare as compare_rows
from vaebench.report.analysis.measured import all_folders, collect, datasets_measured
from vaebench.report.tabular import Results, as_frame, results_of
from vaebench.runs.find import find_runs
from vaebench.runs.load import load_image_model
from vaebench.runs.recipes import dataset_of_recipe, find_recipe, load_split
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.training import compute
from vaebench.training.job import Job, train_run
from vaebench.training.trial import workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A trained run, its model loaded when it is first asked for.

    Attributes:
        folder: where it lies.
        record: how it was trained.
        device: on which the model works.
    """

    folder: RunFolder
    record: RunRecord
    device: str = "cpu"

    @property
    def name(self) -> str:
        """``recipe/seed-k``."""
        return f"{self.record.recipe}/seed-{self.record.seed}"

    @cached_property
    def model(self) -> ImageModel:
        """The model as evaluation sees it, in evaluation mode."""
        return load_image_model(self.folder, self.record, self.device)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Encode images, float32 (n, c, h, w) in [0, 1], to posterior means, float32 (n, d).

        Raises:
            UserError: the run is a GAN, which has no encoder.
        """
        if Capability.ENCODE not in self.model.can:
            raise UserError(f"{self.name} cannot encode: it has no encoder; name an autoencoder")
        return self.model.encode(images.to(self.device)).mean.cpu().clone()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents, float32 (n, d), to images, float32 (n, c, h, w) in [0, 1]."""
        return self.model.decode(latents.to(self.device)).cpu().clone()

    @torch.inference_mode()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw images, float32 (n, c, h, w) in [0, 1], from the prior; equal seeds give equal images."""
        return self.decode(self.model.prior(n, seeding.generator(seed, "samples")))


def train(
    recipe: str,
    seed: int = 0,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    dataset: Mapping[str, object] | None = None,
    **settings: object,
) -> Run:
    """Train one recipe with one seed into the runs folder, or return the run if it is there already.

    Args:
        recipe: a registered name, or ``./file.py:function``; settings may stand in it, ``vae-digits[latent_dim=10]``.
        seed: of weights, batches and noise.
        steps, epochs: length, instead of the recipe's.
        device, precision, threads: as ``vaebench train`` takes them.
        dataset: options of the recipe's dataset, such as ``{"size": 64}``.
        settings: hyperparameters and ``batch_size``, one value each, as ``vaebench train --set`` takes them; the run
            lies under a name that has them, ``vae-digits[latent_dim=10]/seed-0``.

    Raises:
        UserError: there is no such recipe or setting, or the folder holds another training.
    """
    texts = [f"{key}={_text(value)}" for key, value in settings.items()]
    texts += [f"dataset.{key}={_text(value)}" for key, value in (dataset or {}).items()]
    found, reference = find_recipe(recipe, texts)
    if steps is not None and epochs is not None:
        raise UserError("steps and epochs both set the length: give one of them")
    job = Job(recipe=found, reference=reference, seed=seed, steps=steps, epochs=epochs)
    data = load_split(dataset_of_recipe(found), "train")
    tried = workload(found, data)
    picked = compute.choose(device=device, precision=precision, threads=threads, workload=tried)
    outcome = train_run(job, data, picked, resume=True, save_every=60.0, on_progress=lambda progress: None)
    if outcome == "busy":
        raise UserError(f"another process is at work in {job.folder.path}: wait for it, or stop it")
    return Run(job.folder, job.folder.read_record(), picked.device)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def load_run(name: str, device: str = "auto") -> Run:
    """Load a trained run: ``recipe/seed-k``, or ``recipe`` for the first of its seeds.

    Raises:
        UserError: there is none, or it was not trained here.
    """
    folder = find_runs([name])[0]
    if not folder.record_file.exists():
        raise UserError(f"{name} was not trained here: it has images but no model")
    return Run(folder, folder.read_record(), pick_device(device))


def evaluate(
    what: Any,
    *,
    dataset: str = "",
    metrics: Sequence[str] = (),
    name: str = "",
    samples: int = 10_000,
    paired: bool | str = False,
    device: str = "auto",
    precision: str = "fp32",
    range: tuple[float, float] | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    again: bool = False,
    posterior: str = "mean",
    command: str = "",
    tf32: bool = False,
) -> Results:
    """Measure a run, a model or images, and return what was measured.

    Args:
        what: a run's name or :class:`Run`; an ``ImageModel``, a torch module or a sampler ``(n, generator) -> images``;
            a ``--model`` SPEC such as ``diffusers:DIR``; a path of images; an array or tensor of images (n, c, h, w)
            or (n, h, w, c), uint8 or float in [0, 1].
        dataset: ``NAME`` or ``NAME:SPLIT`` that models and images are measured against; a run knows its own.
        metrics: names; all by default.
        name: of a model or of images in the tables; of a model also ``NAME@SEED``.
        samples: how many a model draws.
        paired: whether each image belongs to one of the split's: ``"name"`` to the one of its name, ``"position"`` to
            the one in its place; True pairs an array by position and files by name.
        device: as ``torch.device`` takes it, or ``auto``.
        precision: of a model from elsewhere: ``fp32``, ``bf16`` or ``fp16``.
        range: values of black and white that a model from elsewhere takes and makes, such as ``(-1, 1)``.
        options: of metrics, by name, such as ``{"diversity": {"features": "pixels"}}``.
        again: whether to measure anew what was measured already.
        posterior: what reconstructions are decoded from: the posterior's ``mean``, or a draw (``sample``).
        command: a note of how a model or images from elsewhere were made, kept with their numbers.
        tf32: whether a GPU may round float32 to TF32, which is faster; part of the protocol.

    Raises:
        UserError: something is missing or cannot be measured; the message says how to mend it.
    """
    protocol = Protocol(
        metrics=(metrics,) if isinstance(metrics, str) else tuple(metrics),
        options={key: {k: _text(v) for k, v in value.items()} for key, value in (options or {}).items()},
        samples=samples,
        again=again,
        device=device,
        posterior=posterior,
        tf32=tf32,
    )
    check_note(command)
    protocol.build()
    run = what.name if isinstance(what, Run) else what
    if isinstance(run, str) and ":" not in run and not Path(run).expanduser().is_file() and not _holds_images(run):
        measured = evaluate_runs([run], protocol, every=False, dataset=None, say=_silent)
        return results_of(next(iter(measured)), [folder.read_record().recipe for folder in find_runs([run])])
    if isinstance(what, Path) or (isinstance(what, str) and ":" not in what):
        pairing = ("name" if paired else "") if isinstance(paired, bool) else paired
        given = External(name=name, reference=dataset, paired=pairing)
        found = evaluate_external(Path(what).expanduser(), given, protocol, _silent)
    elif isinstance(what, np.ndarray) or (isinstance(what, Tensor) and what.ndim >= 3):
        array = what if isinstance(what, np.ndarray) else what.detach().cpu().numpy()
        pairing = ("position" if paired else "") if isinstance(paired, bool) else paired
        given = External(name=name, reference=dataset, paired=pairing)
        found = evaluate_array(array, given, protocol, _silent)
    else:
        limits = "" if range is None else f"{range[0]},{range[1]}"
        outside = OutsideModel(spec=what, name=name, dataset=dataset, precision=precision, range=limits)
        found = evaluate_model(outside, protocol, _silent)
    note_origin(name, command)
    return results_of(next(iter(found)), [f"external/{name.partition('@')[0]}"])


def _holds_images(path: str) -> bool:
    """Tell whether a path is a folder of images and no run's."""
    folder = Path(path).expanduser()
    return folder.is_dir() and not list(folder.glob("run.json")) and not list(folder.glob("seed-*"))


def _silent(message: str) -> None:
    """Say nothing: what is returned speaks."""


def compare(a: str, b: str) -> "pd.DataFrame":
    """Test two recipes against one another on every metric that both have: a row a test.

    Args:
        a, b: recipes, or ``external/NAME``.

    Raises:
        UserError: they were not measured on a dataset in common.
    """
    frames = []
    for dataset in datasets_measured(all_folders()):
        measured = collect(dataset, all_folders())
        if {a, b} <= set(measured.recipes()):
            frames += compare_rows(measured, a, b)
    if not frames:
        raise UserError(f"{a} and {b} were not measured on a dataset in common: evaluate both on one")
    return as_frame(frames)


def leaderboard(dataset: str) -> Results:
    """Return all that was measured on a dataset, ranked as far as the tests support it.

    Raises:
        UserError: nothing was.
    """
    return results_of(dataset)
