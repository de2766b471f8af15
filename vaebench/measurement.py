"""Measure runs, images made elsewhere and the real images; lay the numbers beside them."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vaebench import evaluation, per_image, pictures, subjects
from vaebench.baselines import baselines, classical_blends
from vaebench.builtins import DATASETS, METRICS
from vaebench.checkpoints import RunFolder, RunRecord
from vaebench.compute import keep_freed_memory, pick_device
from vaebench.core import results, seeding
from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import Metric, Need
from vaebench.core.model import Autoencoder, GenerativeModel
from vaebench.core.places import runs_dir
from vaebench.core.recipe import hyperparameters_of, parse_options
from vaebench.core.registry import did_you_mean
from vaebench.features import Networks, kept_latents
from vaebench.judges import judge_network
from vaebench.runs import find_runs, open_dataset, open_run, unfinished
from vaebench.storage import Source, image_columns, pending, place_of, store
from vaebench.surroundings import Surroundings

SEED = 0  # of evaluation's noise: the same draws for every run, so that runs differ by themselves alone
GALLERY_SAMPLES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What to measure, and how."""

    metrics: tuple[str, ...] = ()  # empty: all
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # metric -> option -> text
    given: Mapping[str, str] = field(default_factory=dict)  # option -> text, for every metric that has it
    samples: int = 10_000
    again: bool = False  # measure what was measured already, too
    device: str = "auto"

    def build(self, data: ImageDataset | None = None) -> list[Metric]:
        """Fresh accumulators; :class:`UserError` for unknown metrics or options.

        A factory with a parameter named as one of ``given`` takes it from there, and with one named as a fact of
        ``data`` (:func:`_facts_of`) from the data, unless an option of its own says otherwise.
        """
        names = self.metrics or tuple(METRICS.names())
        for owner in self.options:
            if owner not in names:
                raise UserError(f"--set {owner}.…: no metric '{owner}' is measured: {did_you_mean(owner, names)}")
        built: list[Metric] = []
        broken = self._broken()
        for name in [name for name in names if name not in broken]:
            factory = METRICS.get(name)
            known = hyperparameters_of(factory)
            shared = {key: text for key, text in self.given.items() if key in known}
            facts = {key: fact for key, fact in _facts_of(data).items() if key in known}
            built.extend(factory(**{**facts, **parse_options(name, {**shared, **self.options.get(name, {})}, factory)}))
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


def _facts_of(data: ImageDataset | None) -> dict[str, object]:
    """What metrics choose their defaults by."""
    if data is None:
        return {}
    judge = judge_network(data)
    return {"classifier": data.classifier, "attributes": data.attributes is not None, "judge": judge}


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
    networks = Networks(pick_device(protocol.device))
    opened: dict[str, Surroundings] = {}
    measured: dict[str, list[RunFolder]] = {}
    for folder, record in work:
        key = _key(record)
        if key not in opened:
            source = open_dataset(record.dataset, record.dataset_options)
            opened[key] = Surroundings.of_split(source, "test", networks)
            measure_real(opened[key], protocol)
        began = time.monotonic()
        fresh = measure_run(folder, opened[key], protocol)
        measured.setdefault(opened[key].data.name, []).append(folder)
        done = f"measured in {time.monotonic() - began:.0f} s" if fresh else "nothing new to measure"
        say(f"{record.recipe}/seed-{record.seed}: {done}")
    for key, surroundings in opened.items():
        sizes = {size for folder, record in work if _key(record) == key for size in _probed(folder, record)}
        for name in measure_baselines(surroundings, protocol, sizes):
            say(f"{name}: measured")
    return measured


def _key(record: RunRecord) -> str:
    return json.dumps([record.dataset, record.dataset_options], sort_keys=True)


def _probed(folder: RunFolder, record: RunRecord) -> list[int]:
    """The run's latent size, where something was read off its latents that baselines can stand beside."""
    lines = results.read(folder.results)
    size = record.hyperparameters.get("latent_dim")
    read = any(line.metric.startswith("svm_") and line.value is not None for line in lines)
    return [int(size)] if read and size else []


def _records() -> list[Path]:
    return sorted(runs_dir().glob("*/seed-*/run.json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A trained run: its record, its model in evaluation mode, and what the model does, as metrics have it."""

    folder: RunFolder
    record: RunRecord
    model: GenerativeModel
    context: Context


def open_beside(folder: RunFolder, surroundings: Surroundings, device: str) -> OpenRun:
    """A run opened on ``device``, the split's images at hand; :class:`UserError` as :func:`runs.open_run`."""
    record, model = open_run(folder, device)
    context = replace(surroundings.context(), training=record.training_facts())
    context = subjects.context_of(model, context, device)
    latents = kept_latents(context.latents, record.weights_sha256, context.data)
    return OpenRun(folder=folder, record=record, model=model, context=replace(context, latents=latents))


def measure_opened(
    opened: Sequence[OpenRun], surroundings: Surroundings, protocol: Protocol, say: Callable[[str], None]
) -> None:
    """Runs that are open already, the real images, and what stands beside them."""
    measure_real(surroundings, protocol)
    for run in opened:
        if measure_run(run.folder, surroundings, protocol, run):
            say(f"{run.record.recipe}/seed-{run.record.seed}: measured")
    measure_baselines(surroundings, protocol, ())


def measure_run(
    folder: RunFolder, surroundings: Surroundings, protocol: Protocol, opened: OpenRun | None = None
) -> bool:
    """A trained run: results, per-image values and pictures, into its folder; ``False`` where all was there."""
    device, data = pick_device(protocol.device), surroundings.data
    record = folder.read_record()
    if tuple(record.image_shape) != data.image_shape:
        raise UserError(f"{folder.path} makes {record.image_shape} images, {data.name} has {data.image_shape}")
    source = Source(record.recipe, record.seed, record.weights_sha256, device)
    metrics = wanted(folder, source, surroundings, protocol, protocol.build(data))
    if not metrics:
        return False
    opened = opened or open_beside(folder, surroundings, device)
    record, model = opened.record, opened.model
    needs = Need(0)
    for metric in metrics:
        needs |= metric.needs
    subject = subjects.of_model(
        model,
        data,
        needs=needs,
        samples=protocol.samples,
        seed=SEED,
        device=device,
        context=opened.context,
    )
    measure_into(folder, source, surroundings, metrics, subject, samples=protocol.samples)
    _draw(folder, record, model, data, device)
    return True


def wanted(
    folder: RunFolder, source: Source, surroundings: Surroundings, protocol: Protocol, metrics: Sequence[Metric]
) -> list[Metric]:
    """Those of the metrics that have no answer yet, with their extractor's hash; all with ``protocol.again``."""
    evaluation.name_extractors(metrics, surroundings.networks)
    return list(metrics) if protocol.again else pending(folder, source, surroundings.data, metrics, protocol.samples)


def measure_into(
    folder: RunFolder,
    source: Source,
    surroundings: Surroundings,
    metrics: Sequence[Metric],
    subject: subjects.Subject,
    *,
    samples: int,
    paired: bool = True,
) -> None:
    """Take the metrics of the subject, and lay the answers down with the time they took."""
    began = time.monotonic()
    scores = evaluation.measure(metrics, subject, surroundings.networks)
    timed = replace(source, seconds=time.monotonic() - began)
    store(folder, timed, surroundings.data, scores, paired=paired, samples=samples)


def measure_real(surroundings: Surroundings, protocol: Protocol) -> None:
    """The real images, wherever a metric can be taken of them; and the labels that strata are cut by."""
    data = surroundings.data
    folder, source = real_folder(data), Source("real", None, "", "cpu")
    per_image.write_labels(folder.path / "images.parquet", data.ids, image_columns(data))
    built = [metric for metric in protocol.build(data) if metric.of_real]
    metrics = wanted(folder, source, surroundings, protocol, built)
    if metrics or not folder.results.exists():  # without results, the folder and its labels would not be found
        subject = subjects.of_real(data, surroundings.context())
        measure_into(folder, source, surroundings, metrics, subject, samples=protocol.samples)
    if data.redistributable:
        shown = pictures.to_pixels(data.images[data.showcase_indices()])
        pictures.save_gallery(pictures.gallery_file(folder.path, data.fingerprint), {"reconstructions": shown})


def measure_baselines(surroundings: Surroundings, protocol: Protocol, sizes: Iterable[int]) -> list[str]:
    """What no model learnt: features beside latents of ``sizes``, ways of blending; names of those measured now."""
    data, context = surroundings.data, surroundings.context()
    done = []
    for name, subject in (*(baselines(data, context, sizes) if sizes else ()), *classical_blends(context)):
        folder = RunFolder(runs_dir() / f"{name}-{place_of(data)}")
        source = Source(name, None, "", "cpu")
        built = [metric for metric in protocol.build(data) if metric.of_baselines and metric.needs in subject.provides]
        metrics = wanted(folder, source, surroundings, protocol, built)
        if metrics:
            measure_into(folder, source, surroundings, metrics, subject, samples=protocol.samples)
            done.append(name)
    return done


def real_folder(data: ImageDataset) -> RunFolder:
    """Where the values of a split's real images lie, by content: a subset is another set of images."""
    return RunFolder(runs_dir() / "real" / place_of(data))


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
