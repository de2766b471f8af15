"""The runs that a study shows side by side: models of one dataset, opened once, with the dataset's splits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.device import pick_device
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.evaluation.evaluate import SEED, evaluate_opened
from vaebench.evaluation.features import Networks
from vaebench.evaluation.model_source import of_run
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.source import EvaluationSource
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics.probes.novelty import NoveltyDetector
from vaebench.runs.find import find_runs
from vaebench.runs.recipes import dataset_of_run
from vaebench.runs.record import RunFolder, RunRecord

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """One opened run: its record, its source and its label in pictures."""

    folder: RunFolder
    record: RunRecord
    source: EvaluationSource
    label: str  # in pictures: the recipe, or the name where a recipe occurs twice

    @property
    def name(self) -> str:
        """``recipe/seed-k``."""
        return f"{self.record.recipe}/seed-{self.record.seed}"

    @property
    def context(self) -> Context:
        return self.source.context

    @property
    def latent_dim(self) -> int:
        assert self.source.latent_shape is not None  # a run has a model
        return self.source.latent_shape[0]

    def latents(self, split: str) -> Tensor:
        """Return posterior means (n, d) of a split, encoded once."""
        return self.context.latents(split, "whole")

    @cached_property
    def familiar(self) -> NoveltyDetector:
        """Novelty detector fitted on the evaluated split, which the model was not trained on."""
        images = to_float(self.context.data(self.context.split).images)
        means = self.latents(self.context.split)
        return NoveltyDetector.of(images, self.context.decode(means), means)


@dataclass(frozen=True, kw_only=True)
class OpenedRuns:
    """Runs of the same images, in the order in which they were named."""

    runs: tuple[OpenedRun, ...]
    data: ImageDataset  # the test split
    split: SplitContext
    device: str

    @property
    def recipes(self) -> list[str]:
        """Recipes of the runs, each once."""
        return list(dict.fromkeys(run.record.recipe for run in self.runs))


def open_runs(names: Sequence[str], device: str, say: Say, *, encode: str = "") -> OpenedRuns:
    """Open the runs; of a recipe with several seeds the first one, which is reported.

    ``encode`` says what an encoder is wanted for, where one is. Raises :class:`UserError` for runs of different data,
    for a GAN where an encoder is wanted, and for runs that cannot be opened.
    """
    if not names:
        raise UserError("no RUN is named: give one or more, e.g. vae-toyfaces")
    folders = [folder for name in names for folder in _first_seed(name, say)]
    if kept := [folder.path for folder in folders if folder.is_snapshot]:
        raise UserError(f"{kept[0]} is a run in the course of its training: name the run, {kept[0].parents[1]}")
    records = [folder.read_record() for folder in folders]
    first = records[0]
    for record in records:
        if (record.dataset, record.dataset_options) != (first.dataset, first.dataset_options):
            raise UserError(
                f"{first.recipe} is of {first.dataset}, {record.recipe} of {record.dataset}: name runs of one dataset"
            )
    dataset = dataset_of_run(first, folders[0])
    picked = pick_device(device)
    split = SplitContext.of_split(dataset, "test", Networks(picked))
    if len({folder.path.resolve() for folder in folders}) < len(folders):
        raise UserError("a run is named twice: name each once")
    recipes = [record.recipe for record in records]
    opened = []
    for folder, record in zip(folders, records, strict=True):
        label = record.recipe if recipes.count(record.recipe) == 1 else f"{record.recipe}/seed-{record.seed}"
        source = _open(folder, record, split, picked, encode)
        opened.append(OpenedRun(folder=folder, record=record, source=source, label=label))
    return OpenedRuns(runs=tuple(opened), data=split.data, split=split, device=picked)


def _open(folder: RunFolder, record: RunRecord, split: SplitContext, device: str, encode: str) -> EvaluationSource:
    samples = Protocol().samples
    opened = of_run(folder, record, split.context(), samples=samples, seed=SEED, device=device)
    made, fitting = tuple(record.image_shape), split.data.image_shape
    if made != fitting:
        raise UserError(f"{folder.path} makes {made} images, {split.data.name} has {fitting}: train it again")
    if encode and Need.CODE not in opened.provides:
        raise UserError(
            f"{record.recipe} is a GAN: it has no encoder, so it cannot {encode}; name an autoencoder "
            "(vae, dfcvae, vaewgan, blend)"
        )
    return opened


def _first_seed(name: str, say: Say) -> list[RunFolder]:
    found = find_runs([name])
    trained = [folder for folder in found if folder.record_file.exists()]
    if not trained:
        raise UserError(f"{name} was not trained here: it has images but no model to look into")
    if len(trained) > 1:
        say(f"{name}: {trained[0].path.name} of {len(trained)} seeds is shown")
    return trained[:1]


def shown_pairs(data: ImageDataset, count: int, seed: int | None) -> list[tuple[int, int]]:
    """Choose rows of pairs of test images: those that figures show, then any; with a seed any."""
    shown = data.showcase_indices(2 * count) if seed is None else []
    order = torch.randperm(len(data), generator=seeding.generator(seed or 0, "pairs to show")).tolist()
    rows = list(dict.fromkeys([*shown, *order]))[: 2 * count]
    if len(rows) < 2:
        raise UserError(f"{data.name} has too few images for a pair: choose another dataset")
    return list(zip(rows[0::2], rows[1::2], strict=False))


def measure_runs(
    opened_runs: OpenedRuns, metrics: Sequence[str], options: Mapping[str, Mapping[str, str]], device: str, say: Say
) -> list[RunFolder]:
    """Measure the runs as ``vaebench evaluate`` does; return their folders, or none if one was never measured."""
    folders = [opened.folder for opened in opened_runs.runs]
    if metrics:
        protocol = Protocol(metrics=tuple(metrics), options=options, device=device)
        evaluate_opened(
            [(each.folder, each.record, each.source) for each in opened_runs.runs], opened_runs.split, protocol, say
        )
    return folders if all(folder.results.exists() for folder in folders) else []
