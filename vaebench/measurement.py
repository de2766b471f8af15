"""Measure runs, images made elsewhere and the real images; lay the numbers beside them."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vaebench import __version__, evaluation, per_image, pictures
from vaebench.builtins import DATASETS, METRICS
from vaebench.checkpoints import RunFolder, RunRecord, package_versions
from vaebench.compute import keep_freed_memory, machine, pick_device
from vaebench.core import results, seeding
from vaebench.core.dataset import ImageDataset, strata, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import Metric, Need, Score
from vaebench.core.model import Autoencoder, GenerativeModel
from vaebench.core.places import exclusive, make_dir, runs_dir
from vaebench.core.recipe import parse_options
from vaebench.core.registry import did_you_mean
from vaebench.core.results import Provenance, Result
from vaebench.runs import command_line, find_runs, load_split, now, open_dataset, open_run, unfinished

SEED = 0  # of evaluation's noise: the same draws for every run, so that runs differ by themselves alone
GALLERY_SAMPLES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What to measure, and how."""

    metrics: tuple[str, ...] = ()  # empty: all
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # metric -> option -> text
    samples: int = 10_000
    device: str = "auto"

    def build(self) -> list[Metric]:
        """Fresh accumulators; :class:`UserError` for unknown metrics or options."""
        names = self.metrics or tuple(METRICS.names())
        for owner in self.options:
            if owner not in names:
                raise UserError(f"--set {owner}.…: no metric '{owner}' is measured: {did_you_mean(owner, names)}")
        built: list[Metric] = []
        broken = self._broken()
        for name in [name for name in names if name not in broken]:
            factory = METRICS.get(name)
            built.extend(factory(**parse_options(name, self.options.get(name, {}), factory)))
        return built

    def passed_over(self) -> list[str]:
        """Why metrics that nobody asked for by name are left out: their plugins are broken."""
        return list(self._broken().values())

    def _broken(self) -> dict[str, str]:
        found = {}
        for name in () if self.metrics else METRICS.names():
            try:
                METRICS.get(name)
            except UserError as error:
                found[name] = str(error)
        return found


def evaluate_runs(
    names: Sequence[str],
    protocol: Protocol,
    *,
    every: bool,
    dataset: str | None,
    say: Callable[[str], None],
) -> dict[str, list[RunFolder]]:
    """Measure the named runs on the test split of their data, and the real images; dataset -> folders measured.

    With ``every``, all finished runs; unfinished ones are named and passed over.
    """
    if dataset is not None:
        DATASETS.get(dataset)  # a misspelt name is said as such
    chosen = find_runs(names) if names else [RunFolder(path.parent) for path in _records()] if every else []
    untrained = [folder.path for folder in chosen if folder.results.exists() and not folder.record_file.exists()]
    if untrained:
        raise UserError(f"{untrained[0]} was not trained here: measure its images with --images and --name")
    work = [(folder, folder.read_record()) for folder in chosen]
    work = [(folder, record) for folder, record in work if dataset in (None, record.dataset)]
    for folder, record in [pair for pair in work if pair[1].status != "finished"]:
        if names:
            raise UserError(unfinished(folder, record))
        say(f"{folder.path}: not finished, passed over")
        work.remove((folder, record))
    if not work:
        raise UserError("nothing to measure: name a RUN, or --all once something is trained ('vaebench train')")
    for message in protocol.passed_over():
        say(f"passed over: {message}")
    keep_freed_memory()
    loaded: dict[str, ImageDataset] = {}
    measured: dict[str, list[RunFolder]] = {}
    for folder, record in work:
        key = json.dumps([record.dataset, record.dataset_options], sort_keys=True)
        if key not in loaded:
            loaded[key] = load_split(open_dataset(record.dataset, record.dataset_options), "test")
            measure_real(loaded[key], protocol)
        began = time.monotonic()
        measure_run(folder, loaded[key], protocol)
        measured.setdefault(loaded[key].name, []).append(folder)
        say(f"{record.recipe}/seed-{record.seed}: measured in {time.monotonic() - began:.0f} s")
    return measured


def _records() -> list[Path]:
    return sorted(runs_dir().glob("*/seed-*/run.json"))


def measure_run(folder: RunFolder, data: ImageDataset, protocol: Protocol) -> None:
    """A trained run: results, per-image values and pictures, into its folder."""
    device = pick_device(protocol.device)
    record, model = open_run(folder, device)
    if tuple(record.image_shape) != data.image_shape:
        raise UserError(f"{folder.path} makes {record.image_shape} images, {data.name} has {data.image_shape}")
    metrics = protocol.build()
    needs = Need(0)
    for metric in metrics:
        needs |= metric.needs
    began = time.monotonic()
    subject = evaluation.of_model(
        model,
        data,
        needs=needs,
        samples=protocol.samples,
        seed=SEED,
        device=device,
        facts=record.training_facts(),
    )
    scores = evaluation.measure(metrics, subject)
    source = Source(record.recipe, record.seed, record.weights_sha256, device, time.monotonic() - began)
    store(folder, source, data, scores, paired=True)
    _draw(folder, record, model, data, device)


def measure_real(data: ImageDataset, protocol: Protocol) -> None:
    """The real images, wherever a metric can be taken of them; and the labels that strata are cut by."""
    folder = real_folder(data)
    metrics = [metric for metric in protocol.build() if metric.of_real]
    began = time.monotonic()
    scores = evaluation.measure(metrics, evaluation.of_real(data))
    source = Source("real", None, "", "cpu", time.monotonic() - began)
    per_image.write_labels(folder.path / "images.parquet", data.ids, label_columns(data))
    store(folder, source, data, scores, paired=True)
    if data.redistributable:
        shown = pictures.to_pixels(data.images[data.showcase_indices()])
        pictures.save_gallery(pictures.gallery_file(folder.path, data.fingerprint), {"reconstructions": shown})


def real_folder(data: ImageDataset) -> RunFolder:
    """Where the values of a split's real images lie, by content: a subset is another set of images."""
    return RunFolder(runs_dir() / "real" / f"{data.name}-{data.split}-{data.fingerprint[:12]}")


def label_columns(data: ImageDataset) -> dict[str, list[int]]:
    """``label`` and attributes by name, as :func:`vaebench.core.dataset.strata` cuts them."""
    columns: dict[str, list[int]] = {}
    if data.labels is not None:
        columns["label"] = data.labels.tolist()
    if data.attributes is not None:
        for position, attribute in enumerate(data.attribute_names):
            columns[attribute] = data.attributes[:, position].int().tolist()
    return columns


@dataclass(frozen=True, slots=True)
class Source:
    """Who made what is measured, where it was measured, and how long that took."""

    recipe: str
    seed: int | None
    weights_sha256: str
    device: str
    seconds: float


def store(
    folder: RunFolder,
    source: Source,
    data: ImageDataset,
    scores: Sequence[tuple[Metric, Score]],
    *,
    paired: bool,
) -> None:
    """Per-image values first, then the results that speak of them."""
    subsets = {name: torch.tensor(rows) for name, rows in strata(label_columns(data)).items()}
    provenance = Provenance(
        data_fingerprint=data.fingerprint,
        weights_sha256=source.weights_sha256,
        extractor_sha256="",
        vaebench_version=__version__,
        versions=package_versions(),
        device=machine(source.device),
        command=command_line(),
        created=now(),
        seconds=round(source.seconds, 3),
        data_note=data.note,
    )
    kept: dict[per_image.Series, per_image.PerImageValues] = {}
    lines: list[Result] = []
    for metric, score in scores:
        cut = {"all": score}
        if score.per_image is not None:
            belongs = paired and len(score.per_image) == len(data) and Need.SAMPLE not in metric.needs
            ids = data.ids if belongs else [f"{source.recipe}/{i:06d}" for i in range(len(score.per_image))]
            series = per_image.Series(data.name, data.split, data.fingerprint, metric.name, metric.protocol)
            kept[series] = per_image.PerImageValues(tuple(ids), score.per_image.numpy())
            if metric.stratified and belongs:
                cut |= {name: Score.mean_of(score.per_image[rows]) for name, rows in subsets.items()}
        marked = replace(provenance, extractor_sha256=metric.extractor_sha256)
        lines.extend(_result(metric, part, stratum, source, data, marked) for stratum, part in cut.items())
    make_dir(folder.path)
    with exclusive(folder.path, wait=True):
        per_image.write(folder.per_image, kept)
        results.append(folder.results, lines)


def _result(
    metric: Metric, score: Score, stratum: str, source: Source, data: ImageDataset, provenance: Provenance
) -> Result:
    return Result(
        recipe=source.recipe,
        seed=source.seed,
        dataset=data.name,
        split=data.split,
        stratum=stratum,
        metric=metric.name,
        protocol=metric.protocol,
        unit=metric.unit,
        direction=metric.direction,
        value=score.value,
        std_error=score.std_error,
        n=score.n,
        note=score.note,
        provenance=provenance,
    )


@torch.inference_mode()
def _draw(folder: RunFolder, record: RunRecord, model: GenerativeModel, data: ImageDataset, device: str) -> None:
    """``samples.png``, ``reconstructions.png`` (originals above) and the images themselves."""
    latents = torch.randn(GALLERY_SAMPLES, model.latent_dim, generator=seeding.generator(SEED, "samples"))
    samples = pictures.to_pixels(model.decode(latents.to(device)))
    gallery = {"samples": samples}
    pictures.save_png(folder.path / "samples.png", pictures.grid(samples, 10))
    if isinstance(model, Autoencoder):
        originals = data.images[data.showcase_indices()]
        mean, _ = model.posterior(to_float(originals.to(device)))
        gallery["reconstructions"] = pictures.to_pixels(model.decode(mean))
        pair = torch.cat([originals, torch.from_numpy(gallery["reconstructions"]).permute(0, 3, 1, 2)])
        sheet = pictures.grid(pictures.to_pixels(pair), len(originals))
        pictures.save_png(folder.path / "reconstructions.png", sheet)
    pictures.save_gallery(pictures.gallery_file(folder.path, data.fingerprint), gallery)
