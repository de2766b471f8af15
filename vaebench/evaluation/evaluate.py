"""Measure runs, images made elsewhere and the real images; lay the numbers beside them."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from vaebench.core import results, seeding
from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.device import pick_device
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import UserError
from vaebench.core.memory import keep_freed_memory
from vaebench.core.metric import Metric, Need
from vaebench.core.model import Autoencoder, GenerativeModel
from vaebench.core.paths import runs_dir
from vaebench.evaluation import evaluator, sources
from vaebench.evaluation.baselines import baselines, classical_blends
from vaebench.evaluation.features import Networks, kept_latents
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.results_store import Source, image_columns, pending, place_of, store
from vaebench.evaluation.run_selection import runs_to_measure
from vaebench.evaluation.split_context import Surroundings
from vaebench.metrics import facts_of
from vaebench.runs import galleries, per_image
from vaebench.runs.find import open_run
from vaebench.runs.recipes import open_dataset
from vaebench.runs.record import RunFolder, RunRecord

log = logging.getLogger(__name__)

SEED = 0  # of evaluation's noise: the same draws for every run, so that runs differ by themselves alone
GALLERY_SAMPLES = 60
SAMPLES = "samples.png"
RESUMED_WRONGLY = (
    "warning: it was resumed by a version of vaebench that gave convolutional weights the moments of others, so its "
    "training differs from an uninterrupted one: train it again where that matters"
)


def evaluate_runs(
    names: Sequence[str],
    protocol: Protocol,
    *,
    every: bool,
    dataset: str | None,
    say: Callable[[str], None],
    group: Group = ALONE,
) -> dict[str, list[RunFolder]]:
    """Measure the named runs on the test split of their data, and the real images; dataset -> folders measured.

    With ``every``, all finished runs; unfinished ones and damaged ones are named and passed over. Processes of
    ``group`` share the images that models and networks work on; the first one takes the scores and writes.
    """
    work = runs_to_measure(names, every=every, dataset=dataset, say=say, group=group)
    for message in protocol.passed_over():
        say(f"passed over: {message}")
    keep_freed_memory()
    networks = Networks(pick_device(protocol.device))
    opened: dict[str, Surroundings] = {}
    measured: dict[str, list[RunFolder]] = {}
    broken: list[UserError] = []
    for folder, record in work:
        try:
            measured_now = _measure_one(folder, record, opened, networks, protocol, say, group)
        except UserError as error:
            if not every or group.size > 1:  # processes that go on must all do so
                raise
            log.warning("passed over: %s", error)
            broken.append(error)
        else:
            measured.setdefault(measured_now, []).append(folder)
    if broken and not measured:
        raise broken[0]
    for key, surroundings in opened.items():
        sizes = {
            size
            for folder, record in work
            if folder in measured.get(surroundings.data.name, ()) and _key(record) == key
            for size in _probed(folder, record)
        }
        for name in group.led(partial(measure_baselines, surroundings, protocol, sizes)):
            say(f"{name}: measured")
    return measured


def _measure_one(
    folder: RunFolder,
    record: RunRecord,
    opened: dict[str, Surroundings],
    networks: Networks,
    protocol: Protocol,
    say: Callable[[str], None],
    group: Group,
) -> str:
    """Measure a run beside the real images of its data, which are opened and measured once; the dataset's name."""
    key = _key(record)
    if key not in opened:
        source = open_dataset(record.dataset, record.dataset_options)
        surroundings = Surroundings.of_split(source, "test", networks)
        said = f"processes have different {record.dataset} images: give all the same VAEBENCH_DATA"
        group.agree(surroundings.data.fingerprint, said)
        measure_real(surroundings, protocol, group)
        opened[key] = surroundings
    if record.resumed_by_faulty_version():
        say(f"{record.recipe}/seed-{record.seed}: {RESUMED_WRONGLY}")
    began = time.monotonic()
    fresh = measure_run(folder, opened[key], protocol, group=group)
    done = f"measured in {time.monotonic() - began:.0f} s" if fresh else "nothing new to measure"
    say(f"{record.recipe}/seed-{record.seed}: {done}")
    return opened[key].data.name


def _key(record: RunRecord) -> str:
    return json.dumps([record.dataset, record.dataset_options], sort_keys=True)


def _probed(folder: RunFolder, record: RunRecord) -> list[int]:
    """The run's latent size, where something was read off its latents that baselines can stand beside."""
    lines = results.read(folder.results) if folder.results.exists() else []
    size = record.hyperparameters.get("latent_dim")
    read = any(line.value is not None and facts_of(line).study == "attributes" for line in lines)
    return [size] if read and isinstance(size, int) and size > 0 else []


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
    context = sources.context_of(model, context, device)
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
    folder: RunFolder,
    surroundings: Surroundings,
    protocol: Protocol,
    opened: OpenRun | None = None,
    group: Group = ALONE,
) -> bool:
    """A trained run: results, per-image values and pictures, into its folder; ``False`` where all was there."""
    device, data = pick_device(protocol.device), surroundings.data
    record = folder.read_record()
    if tuple(record.image_shape) != data.image_shape:
        raise UserError(f"{folder.path} makes {record.image_shape} images, {data.name} has {data.image_shape}")
    source = Source(record.recipe, record.seed, record.weights_sha256, device)
    metrics = _wanted_by_all(folder, source, surroundings, protocol, protocol.build(data), group)
    undrawn = group.led(partial(_lacks_pictures, folder, record, data))
    if not (metrics or undrawn):
        return False
    _prepare(metrics, surroundings, group)
    opened = opened or open_beside(folder, surroundings, device)
    record, model = opened.record, opened.model
    if undrawn and group.leads:  # before the numbers: a stop between the two must not leave these beside older pictures
        _draw(folder, record, model, data, device)
    group.wait()
    if not metrics:
        return True
    needs = Need(0)
    for metric in metrics:
        needs |= metric.spec.needs
    subject = sources.of_model(
        model,
        data,
        needs=needs,
        samples=protocol.samples,
        seed=SEED,
        device=device,
        context=opened.context,
        group=group,
    )
    measure_into(folder, source, surroundings, metrics, subject, samples=protocol.samples, group=group)
    group.wait()
    return True


def _lacks_pictures(folder: RunFolder, record: RunRecord, data: ImageDataset) -> bool:
    """Whether the run's folder lacks pictures of these very weights, beside these images."""
    gallery = galleries.gallery_file(folder.path, data.fingerprint)
    return not ((folder.path / SAMPLES).is_file() and galleries.is_gallery_of(gallery, record.weights_sha256))


def _wanted_by_all(
    folder: RunFolder,
    source: Source,
    surroundings: Surroundings,
    protocol: Protocol,
    built: Sequence[Metric],
    group: Group,
) -> list[Metric]:
    """:func:`wanted` by the first process, for all: another may look while the first one writes."""

    def positions() -> list[int]:
        asked = {id(metric) for metric in wanted(folder, source, surroundings, protocol, built)}
        return [position for position, metric in enumerate(built) if id(metric) in asked]

    evaluator.name_extractors(built, surroundings.networks)
    return [built[position] for position in group.led(positions)]


def _prepare(metrics: Sequence[Metric], surroundings: Surroundings, group: Group) -> None:
    """The real images' features in the metrics' spaces, each process extracting its share; alone, when asked for."""
    if group.size == 1:
        return
    for space in sorted({metric.spec.space for metric in metrics if metric.spec.space is not None}):
        surroundings.extract_together(space, group)


def wanted(
    folder: RunFolder, source: Source, surroundings: Surroundings, protocol: Protocol, metrics: Sequence[Metric]
) -> list[Metric]:
    """Those of the metrics that have no answer yet, with their extractor's hash; all with ``protocol.again``.

    Results that are damaged are a :class:`UserError`, also where all are to be measured again: before the work.
    """
    evaluator.name_extractors(metrics, surroundings.networks)
    unanswered = pending(folder, source, surroundings.data, metrics, protocol.samples)
    return list(metrics) if protocol.again else unanswered


def measure_into(
    folder: RunFolder,
    source: Source,
    surroundings: Surroundings,
    metrics: Sequence[Metric],
    subject: sources.Subject,
    *,
    samples: int,
    paired: bool = True,
    group: Group = ALONE,
) -> None:
    """Take the metrics of the subject, and lay the answers down with the time they took."""
    began = time.monotonic()
    scores = evaluator.measure(metrics, subject, surroundings.networks, group)
    timed = replace(source, seconds=time.monotonic() - began)
    if group.leads:
        store(folder, timed, surroundings.data, scores, paired=paired, samples=samples)


def measure_real(surroundings: Surroundings, protocol: Protocol, group: Group = ALONE) -> None:
    """The real images, wherever a metric can be taken of them; and the labels that strata are cut by.

    Processes share the extraction of features; the rest is the first one's.
    """
    data = surroundings.data
    built = [metric for metric in protocol.build(data) if metric.spec.of_real]
    source = Source("real", None, "", "cpu")
    _prepare(_wanted_by_all(real_folder(data), source, surroundings, protocol, built, group), surroundings, group)
    group.led(partial(_measured_real, surroundings, protocol))


def _measured_real(surroundings: Surroundings, protocol: Protocol) -> None:
    data = surroundings.data
    folder, source = real_folder(data), Source("real", None, "", "cpu")
    per_image.write_labels(folder.path / "images.parquet", data.ids, image_columns(data))
    built = [metric for metric in protocol.build(data) if metric.spec.of_real]
    metrics = wanted(folder, source, surroundings, protocol, built)
    if metrics or not folder.results.exists():  # without results, the folder and its labels would not be found
        subject = sources.of_real(data, surroundings.context())
        measure_into(folder, source, surroundings, metrics, subject, samples=protocol.samples)
    if data.redistributable:
        shown = galleries.to_pixels(data.images[data.showcase_indices()])
        galleries.save_gallery(galleries.gallery_file(folder.path, data.fingerprint), {"reconstructions": shown}, "")


def measure_baselines(surroundings: Surroundings, protocol: Protocol, sizes: Iterable[int]) -> list[str]:
    """What no model learnt: features beside latents of ``sizes``, ways of blending; names of those measured now."""
    data, context = surroundings.data, surroundings.context()
    done = []
    for name, subject in (*(baselines(data, context, sizes) if sizes else ()), *classical_blends(context)):
        folder = RunFolder(runs_dir() / f"{name}-{place_of(data)}")
        source = Source(name, None, "", "cpu")
        built = [
            metric
            for metric in protocol.build(data)
            if metric.spec.of_baselines and metric.spec.needs in subject.provides
        ]
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
    """Draw ``samples.png``, ``reconstructions.png`` (originals above); last, which says all are there, the gallery."""
    latents = torch.randn(GALLERY_SAMPLES, model.latent_dim, generator=seeding.generator(SEED, "samples"))
    samples = galleries.to_pixels(model.decode(latents.to(device)))
    gallery = {"samples": samples}
    galleries.save_png(folder.path / SAMPLES, galleries.grid(samples, 10))
    if isinstance(model, Autoencoder):
        originals = data.images[data.showcase_indices()]
        mean, _ = model.posterior(to_float(originals.to(device)))
        gallery["reconstructions"] = galleries.to_pixels(model.decode(mean))
        pair = torch.cat([originals, torch.from_numpy(gallery["reconstructions"]).permute(0, 3, 1, 2)])
        sheet = galleries.grid(galleries.to_pixels(pair), len(originals))
        galleries.save_png(folder.path / "reconstructions.png", sheet)
    galleries.save_gallery(galleries.gallery_file(folder.path, data.fingerprint), gallery, record.weights_sha256)
