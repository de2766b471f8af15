"""Evaluate runs: measure them, the real images and the baselines, and write the results into their folders."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import torch

from vaebench.core import results
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.device import pick_device
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import UserError
from vaebench.core.files import make_dir
from vaebench.core.memory import keep_freed_memory
from vaebench.core.metric import Metric, Need
from vaebench.core.paths import runs_dir
from vaebench.core.recipe import parse_options
from vaebench.evaluation import evaluator, image_sources, model_source
from vaebench.evaluation.baselines import baselines, classical_blends
from vaebench.evaluation.features import Networks
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.results_store import image_columns, pending, place_of, store
from vaebench.evaluation.run_selection import runs_to_measure
from vaebench.evaluation.source import REAL, EvaluationSource, Identity
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import facts_of
from vaebench.runs import galleries, per_image
from vaebench.runs.recipe_files import is_file_reference, split_reference
from vaebench.runs.recipes import dataset_of_run, factory_of_run
from vaebench.runs.record import RunFolder, RunRecord

log = logging.getLogger(__name__)

TRAIN = "train"
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
SEED = 0  # of evaluation's noise: the same draws for every run, so that runs differ by themselves alone
GALLERY_SAMPLES = 60
SAMPLES = "samples.png"
RESUMED_WRONGLY = (
    "warning: an older, faulty version of vaebench resumed this training and gave some convolution weights the "
    "optimiser state of others, so its results differ from those of an uninterrupted one: train it again if that "
    "matters"
)


def evaluate_runs(
    names: Sequence[str],
    protocol: Protocol,
    *,
    every: bool,
    dataset: str | None,
    say: Callable[[str], None],
    group: Group = ALONE,
    options: Mapping[str, str] = NO_OPTIONS,
    snapshots: bool = False,
) -> dict[str, list[RunFolder]]:
    """Evaluate the named runs on the test split of their data, and the real images; return dataset -> folders measured.

    With ``every``, all finished runs; unfinished ones and damaged ones are named and passed over. Processes of
    ``group`` share the images that models and networks work on; the first one takes the scores and writes. Options of
    the data, such as where it lies now, take the place of those that a run was trained with. With ``snapshots``, what
    was kept of the runs in the course of their trainings is measured as well, and is none of the folders returned.
    """
    work = runs_to_measure(names, every=every, dataset=dataset, snapshots=snapshots, say=say, group=group)
    for message in protocol.passed_over():
        say(f"passed over: {message}")
    keep_freed_memory()
    networks = protocol.networks()
    opened: dict[str, SplitContext] = {}
    measured: dict[str, list[RunFolder]] = {}
    broken: list[UserError] = []
    for folder, record in work:
        try:
            placed = _with_options(folder, record, options)
            measured_now = _measure_one(folder, placed, opened, networks, protocol, say, group)
        except UserError as error:
            if not every or group.size > 1:  # processes that go on must all do so
                raise
            log.warning("passed over: %s", error)
            broken.append(error)
        else:
            measured.setdefault(measured_now, []).extend([] if folder.is_snapshot else [folder])
    if broken and not measured:
        raise broken[0]
    for key, split in opened.items():
        sizes = {
            size
            for folder, record in work
            if folder in measured.get(split.data.name, ()) and _key(_with_options(folder, record, options)) == key
            for size in _probed(folder, record)
        }
        for name in group.led(partial(measure_baselines, split, protocol, sizes)):
            say(f"{name}: measured")
    return measured


def _measure_one(
    folder: RunFolder,
    record: RunRecord,
    opened: dict[str, SplitContext],
    networks: Networks,
    protocol: Protocol,
    say: Callable[[str], None],
    group: Group,
) -> str:
    """Measure a run; open and measure the real images of its data if that was not done yet. Return the dataset's
    name.
    """
    key = _key(record)
    if key not in opened:
        source = dataset_of_run(record, folder)
        split = SplitContext.of_split(source, "test", networks)
        said = f"processes have different {record.dataset} images: give all the same VAEBENCH_DATA"
        group.agree(split.data.fingerprint, said)
        measure_real(split, protocol, group)
        opened[key] = split
    _check_training_images(folder, record, opened[key], say)
    title = folder.title_of(record)
    if record.resumed_by_faulty_version():
        say(f"{title}: {RESUMED_WRONGLY}")
    began = time.monotonic()
    fresh = measure_run(folder, record, opened[key], protocol, group=group)
    done = f"measured in {time.monotonic() - began:.0f} s" if fresh else "nothing new to measure"
    say(f"{title}: {done}")
    return opened[key].data.name


def _with_options(folder: RunFolder, record: RunRecord, options: Mapping[str, str]) -> RunRecord:
    """Return the record with options of the data in place of its own; :class:`UserError` for unknown ones."""
    if not options:
        return record
    given = parse_options(f"dataset {record.dataset}", options, factory_of_run(record, folder))
    return replace(record, dataset_options={**record.dataset_options, **given})


def _check_training_images(
    folder: RunFolder, record: RunRecord, split: SplitContext, say: Callable[[str], None]
) -> None:
    """Compare the training images that are here with those that the run was trained on.

    Raises:
        UserError: they are others, and nothing but their content says which images these are.
    """
    try:
        here = split.split(TRAIN).fingerprint
    except UserError as error:  # the test images alone can be measured
        log.info("%s: its training images cannot be compared with those here: %s", folder.path, error)
        return
    if here == record.data_fingerprint:
        return
    reason = (
        f"{folder.path} was trained on other {record.dataset} images (fingerprint {record.data_fingerprint[:12]}) than "
        f"those here ({here[:12]})"
    )
    if not split.published:
        raise UserError(f"{reason}: say where those are with --set dataset.path=DIR, or train on these")
    say(f"{reason}: what reads training images, such as memorisation, compares it with these")


def _key(record: RunRecord) -> str:
    file = split_reference(record.reference)[0] if is_file_reference(record.reference) else ""  # may hold the dataset
    return json.dumps([record.dataset, record.dataset_options, file], sort_keys=True)


def _probed(folder: RunFolder, record: RunRecord) -> list[int]:
    """Return the run's latent size if attributes were classified from its latents: baselines of that size belong beside
    it.
    """
    lines = results.read(folder.results) if folder.results.exists() else []
    size = record.hyperparameters.get("latent_dim")
    read = any(line.value is not None and facts_of(line).study == "attributes" for line in lines)
    return [size] if read and isinstance(size, int) and size > 0 else []


def evaluate_opened(
    opened: Sequence[tuple[RunFolder, RunRecord, EvaluationSource]],
    split: SplitContext,
    protocol: Protocol,
    say: Callable[[str], None],
) -> None:
    """Evaluate runs that are open already, the real images, and the classical ways of blending."""
    measure_real(split, protocol)
    for folder, record, source in opened:
        if measure_run(folder, record, split, protocol, source):
            say(f"{record.recipe}/seed-{record.seed}: measured")
    measure_baselines(split, protocol, ())


def measure_run(
    folder: RunFolder,
    record: RunRecord,
    split: SplitContext,
    protocol: Protocol,
    source: EvaluationSource | None = None,
    group: Group = ALONE,
) -> bool:
    """Write a trained run's results, per-image values and pictures into its folder.

    Args:
        folder, record: the run's.
        split: the evaluated split; the run makes images of its shape.
        protocol: what to measure, and how.
        source: the run, if it is open already; otherwise its model is loaded if something is to be measured.
        group: processes that share the work.

    Returns:
        Whether anything was missing.

    Raises:
        UserError: images of another shape, weights that are missing or others than the record's.
    """
    device, data = pick_device(protocol.device), split.data
    if tuple(record.image_shape) != data.image_shape:
        raise UserError(f"{folder.path} makes {record.image_shape} images, {data.name} has {data.image_shape}")
    identity = model_source.identity_of(record, device)
    metrics = unmeasured(folder, identity, split, split.metrics(protocol), protocol, group)
    undrawn = group.led(partial(_lacks_pictures, folder, record, data))
    if not (metrics or undrawn):
        return False
    split.extract_for(metrics, group)
    if source is None:
        source = model_source.of_run(
            folder,
            record,
            split.context(),
            samples=protocol.samples,
            seed=SEED,
            device=device,
            posterior=protocol.posterior,
        )
    if undrawn and group.leads:  # before the numbers: a stop between the two must not leave these beside older pictures
        draw(folder, source, data)
    group.wait()
    if metrics:
        measure_into(folder, source, split, metrics, samples=protocol.samples, group=group)
        group.wait()
    return True


def _lacks_pictures(folder: RunFolder, record: RunRecord, data: ImageDataset) -> bool:
    """Tell whether the run's folder lacks pictures of these weights on these images."""
    gallery = galleries.gallery_file(folder.path, data.fingerprint)
    return not ((folder.path / SAMPLES).is_file() and galleries.is_gallery_of(gallery, record.weights_sha256))


def unmeasured(
    folder: RunFolder,
    identity: Identity,
    split: SplitContext,
    metrics: Sequence[Metric],
    protocol: Protocol,
    group: Group = ALONE,
) -> list[Metric]:
    """Choose the metrics to measure, of those that ``split`` has built, and build them anew to be fed: those without a
    result for this source, or all with ``protocol.again``.

    Rank 0 decides for all, since another rank may look while it writes. Each metric gets its extractor's hash.

    Raises:
        UserError: results in ``folder`` are damaged, also if all are to be measured again: before the work.
    """
    evaluator.name_extractors(metrics, split.networks)

    def positions() -> list[int]:
        found = pending(folder, identity, split.data, metrics, protocol.samples)
        chosen = {id(metric) for metric in (metrics if protocol.again else found)}
        return [position for position, metric in enumerate(metrics) if id(metric) in chosen]

    return split.metrics(protocol).fresh(metrics[position] for position in group.led(positions))


def measure_into(
    folder: RunFolder,
    source: EvaluationSource,
    split: SplitContext,
    metrics: Sequence[Metric],
    *,
    samples: int,
    group: Group = ALONE,
    needed: bool = False,
) -> None:
    """Measure the source by the metrics, and store the results with the seconds that took.

    Raises:
        UserError: nothing could be measured, where something is ``needed``; then nothing is stored.
    """
    began = time.monotonic()
    scores = evaluator.measure(metrics, source, split.networks, group)
    if needed and all(score.value is None for _, score in scores):
        reasons = dict.fromkeys(f"{metric.spec.name}: {score.note}" for metric, score in scores)
        raise UserError(f"nothing could be measured of {source.identity.name} ({'; '.join(reasons)}): ask for others")
    if group.leads:
        store(folder, source, split.data, scores, samples=samples, seconds=time.monotonic() - began)


def measure_real(split: SplitContext, protocol: Protocol, group: Group = ALONE) -> None:
    """Measure the real images by each metric that can be taken of them, and training images in place of samples; write
    the labels that strata are cut by.

    Processes share the extraction of features; rank 0 does the rest.
    """
    folder = real_folder(split.data)
    built = [metric for metric in split.metrics(protocol) if metric.spec.of_real]
    metrics = unmeasured(folder, REAL, split, built, protocol, group)
    split.extract_for(metrics, group)
    group.led(partial(_write_real, folder, split, metrics, protocol))
    group.led(partial(_measure_training_images, split, protocol))


def _write_real(folder: RunFolder, split: SplitContext, metrics: Sequence[Metric], protocol: Protocol) -> None:
    data = split.data
    per_image.write_labels(folder.path / "images.parquet", data.ids, image_columns(data))
    if metrics or not folder.results.exists():  # without results, the folder and its labels would not be found
        measure_into(folder, image_sources.of_real(data, split.context()), split, metrics, samples=protocol.samples)
    if data.redistributable:
        shown = galleries.to_pixels(data.images[data.showcase_indices()])
        galleries.save_gallery(galleries.gallery_file(folder.path, data.fingerprint), {"reconstructions": shown}, "")


def _measure_training_images(split: SplitContext, protocol: Protocol) -> None:
    """Measure training images in place of samples: by the same metrics, as many as of a model."""
    built = [metric for metric in split.metrics(protocol) if metric.spec.of_training_images]
    context = split.context()
    if not built or split.data.split == TRAIN or TRAIN not in context.splits:
        return
    try:
        training = split.split(TRAIN)
    except UserError as error:  # models can be measured without
        log.warning("training images are not measured for reference: %s", error)
        return
    source = image_sources.of_training_images(training, context, samples=protocol.samples, seed=SEED)
    folder = RunFolder(runs_dir() / "real" / f"{TRAIN}-{place_of(split.data)}")
    metrics = unmeasured(folder, source.identity, split, built, protocol)
    if metrics:
        measure_into(folder, source, split, metrics, samples=protocol.samples)


def measure_baselines(split: SplitContext, protocol: Protocol, sizes: Iterable[int]) -> list[str]:
    """Measure the baselines that learnt nothing.

    Args:
        split: the evaluated split.
        protocol: what to measure, and how.
        sizes: of latents that features (principal components) are to stand beside; none: ways of blending alone.

    Returns:
        Names of the baselines measured now.
    """
    data, context = split.data, split.context()
    done = []
    for source in (*(baselines(data, context, sizes) if sizes else ()), *classical_blends(context)):
        name = source.identity.name
        folder = RunFolder(runs_dir() / f"{name}-{place_of(data)}")
        built = [
            metric
            for metric in split.metrics(protocol)
            if metric.spec.of_baselines and metric.spec.needs in source.provides
        ]
        metrics = unmeasured(folder, source.identity, split, built, protocol)
        if metrics:
            measure_into(folder, source, split, metrics, samples=protocol.samples)
            done.append(name)
    return done


def real_folder(data: ImageDataset) -> RunFolder:
    """Return the folder of a split's real images, named by content: a subset is another set of images."""
    return RunFolder(runs_dir() / "real" / place_of(data))


def draw(folder: RunFolder, source: EvaluationSource, data: ImageDataset) -> None:
    """Draw ``samples.png`` and ``reconstructions.png`` (originals above), as far as the source makes such images, and
    write the gallery last, which says that all are there.
    """
    context, gallery = source.context, {}
    make_dir(folder.path)
    if source.shown_samples is not None:
        gallery["samples"] = galleries.to_pixels(source.shown_samples(GALLERY_SAMPLES))
        galleries.save_png(folder.path / SAMPLES, galleries.grid(gallery["samples"], 10))
    if Need.RECONSTRUCTION in source.provides:
        originals = data.images[data.showcase_indices()]
        gallery["reconstructions"] = galleries.to_pixels(context.decode(context.encode(to_float(originals))))
        pair = torch.cat([originals, torch.from_numpy(gallery["reconstructions"]).permute(0, 3, 1, 2)])
        sheet = galleries.grid(galleries.to_pixels(pair), len(originals))
        galleries.save_png(folder.path / "reconstructions.png", sheet)
    weights = source.identity.content_sha256
    galleries.save_gallery(galleries.gallery_file(folder.path, data.fingerprint), gallery, weights)
