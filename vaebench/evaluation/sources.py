"""Sources of evaluation: trained models, images made elsewhere, real images, and baselines that learnt nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import torch
from torch import Tensor

from vaebench.core import seeding, subjects
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.interpolation import line
from vaebench.core.metric import EvalBatch, Need
from vaebench.core.model import Autoencoder, GenerativeModel
from vaebench.evaluation.features import cached_latents
from vaebench.evaluation.views import VIEWS
from vaebench.runs.find import load_model
from vaebench.runs.record import RunFolder, RunRecord

BATCH = 64  # images at a time on a CPU: what decoders make on the way stays in its caches (four times the rate of 500)
BATCH_ON_GPU = 512
PATHS, FRAMES = 200, 11  # straight lines between prior draws, and images on each, ends included
FIELDS = {
    Need.REAL: "real",
    Need.RECONSTRUCTION: "reconstruction",
    Need.DRAW: "draw",
    Need.SAMPLE: "sample",
    Need.PATH: "path",
    Need.LATENT: "mean",
}


Batches = Callable[[Need, Group], Iterator[EvalBatch]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who made what is evaluated, and on which device it runs: results are stored under it.

    Attributes:
        name: a recipe, ``external/NAME``, ``baseline/NAME``, ``real`` or ``real/train``.
        seed: of the training; ``None`` for what was not trained here.
        content_sha256: of a model's weights, or of images made elsewhere; empty for what has neither.
        device: as ``torch.device`` takes it.
    """

    name: str
    seed: int | None = None
    content_sha256: str = ""
    device: str = "cpu"


UNNAMED = Identity("unnamed")  # of what is evaluated and stored nowhere
REAL = Identity(subjects.REAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSource:
    """One thing to evaluate: its identity, what it provides, its batches, its context. Made once, and passed on.

    Attributes:
        identity: what its results are stored under.
        provides: what its batches and its context can hold.
        batches: (needs, group) -> the batches of this process of the group, with what is both needed and provided.
        context: what a score may need beside the batches, the model's own functions included.
        ready: features of the batches' rows in a space, if they need not be extracted: those of real images.
        paired: whether row i of its images belongs to image i of the evaluated split.
        latent_dim: of a model; ``None`` for everything else.
    """

    identity: Identity = UNNAMED
    provides: Need
    batches: Batches
    context: Context = field(default_factory=Context)
    ready: Callable[[FeatureSpace], Tensor] | None = None
    paired: bool = True
    latent_dim: int | None = None


def identity_of(record: RunRecord, device: str) -> Identity:
    """Identify a trained run."""
    return Identity(record.recipe, record.seed, record.weights_sha256, device)


def of_run(
    folder: RunFolder, record: RunRecord, context: Context, *, samples: int, seed: int, device: str
) -> EvaluationSource:
    """Make a source of a finished run, its model loaded onto ``device``, with the evaluated split's ``context``.

    Posterior means are kept in ``VAEBENCH_CACHE`` by weights and images.

    Raises:
        UserError: the run is not finished, or its weights are not those of its record.
    """
    model = load_model(folder, record, device)
    identity = identity_of(record, device)
    context = replace(context, training=record.training_facts())
    return of_model(model, context.data(context.split), samples=samples, seed=seed, context=context, identity=identity)


def of_model(
    model: GenerativeModel,
    data: ImageDataset,
    *,
    samples: int,
    seed: int,
    context: Context,
    identity: Identity = UNNAMED,
) -> EvaluationSource:
    """Make a source of a trained model in evaluation mode, on ``data`` and on ``samples`` draws from the prior.

    ``context`` is the evaluated split's; what the model does to images is added here. Of several processes each
    provides its share, contiguous, in order. Noise is drawn once for the whole set on the CPU, so values depend neither
    on batch size nor on device.
    """
    device = identity.device
    provides = Need.REAL | Need.SAMPLE | Need.PATH | Need.TRAINING | _labelling(data)
    if isinstance(model, Autoencoder):
        provides |= Need.RECONSTRUCTION | Need.DRAW | Need.LATENT | Need.BLEND | Need.CODE

    @torch.inference_mode()
    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        wanted = needs & provides
        # all at once: torch.randn's stream depends on how many numbers a call asks for
        noise = torch.randn(len(data), model.latent_dim, generator=seeding.generator(seed, "posterior draws"))
        for rows in torch.arange(len(data))[group.share(len(data))].split(batch_on(device)):
            real = to_float(data.images[rows].to(device))
            filled: dict[str, Any] = {"real": real, **_labels(data, rows)}
            if isinstance(model, Autoencoder) and wanted & (Need.RECONSTRUCTION | Need.DRAW | Need.LATENT):
                mean, log_variance = model.posterior(real)
                filled |= {"mean": mean, "log_variance": log_variance}
                if Need.RECONSTRUCTION in wanted:
                    filled["reconstruction"] = model.decode(mean)
                if Need.DRAW in wanted:
                    filled["draw"] = model.decode(mean + noise[rows].to(device) * torch.exp(0.5 * log_variance))
            yield EvalBatch(**filled)
        if Need.SAMPLE in wanted:
            prior = torch.randn(samples, model.latent_dim, generator=seeding.generator(seed, "samples"))
            for latents in prior[group.share(samples)].split(batch_on(device)):
                yield EvalBatch(sample=model.decode(latents.to(device)))
        if Need.PATH in wanted:
            yield from _paths(model, seed, device, group)

    return EvaluationSource(
        identity=identity,
        provides=provides,
        batches=batches,
        context=_with_model(context, model, identity),
        latent_dim=model.latent_dim,
    )


def batch_on(device: torch.device | str) -> int:
    """Images that go through a model at a time."""
    return BATCH_ON_GPU if torch.device(device).type == "cuda" else BATCH


def _with_model(context: Context, model: GenerativeModel, identity: Identity) -> Context:
    """Add to a context what a trained model in evaluation mode does to images and latents."""
    device = identity.device
    if not isinstance(model, Autoencoder):
        return replace(context, decode=_batched(model.decode, device))
    latents = _encoder(model, context, device)
    if identity.content_sha256:
        latents = cached_latents(latents, identity.content_sha256, context.data)
    return replace(context, latents=latents, **_model_functions(model, device))


def _paths(model: GenerativeModel, seed: int, device: torch.device | str, group: Group) -> Iterator[EvalBatch]:
    """Yield images along straight lines between pairs of prior draws."""
    ends = torch.randn(2, PATHS, model.latent_dim, generator=seeding.generator(seed, "paths"))
    latents = line(ends[0], ends[1], FRAMES)[group.share(PATHS)]
    for part in latents.split(batch_on(device) // FRAMES):
        images = model.decode(part.flatten(0, 1).to(device))
        yield EvalBatch(path=images.unflatten(0, (len(part), FRAMES)))


def _encoder(model: Autoencoder, context: Context, device: torch.device | str) -> Callable[[str, str], Tensor]:
    """Return a function that encodes a split seen through a view into posterior means, once each."""
    known: dict[tuple[str, str], Tensor] = {}

    @torch.inference_mode()
    def latents(split: str, view: str) -> Tensor:
        if (split, view) not in known:
            images = context.data(split).images
            parts = [
                model.posterior(VIEWS[view](to_float(part.to(device))))[0].cpu()
                for part in images.split(batch_on(device))
            ]
            known[split, view] = torch.cat(parts).clone()
        return known[split, view]

    return latents


class _ModelFunctions(TypedDict):
    """What a model does to images, by the names of :class:`vaebench.core.context.Context`."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    blend: Callable[[Tensor, Tensor, float], Tensor]
    adversary: Callable[[Tensor], Tensor] | None


def _batched(function: Callable[[Tensor], Tensor], device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Wrap a function so that it takes and returns CPU tensors, in batches on the device."""

    @torch.inference_mode()
    def over_batches(rows: Tensor) -> Tensor:
        # clone: what inference mode makes may not be used outside it
        return torch.cat([function(part.to(device)).cpu() for part in rows.split(batch_on(device))]).clone()

    return over_batches


def _model_functions(model: Autoencoder, device: torch.device | str) -> _ModelFunctions:
    """Wrap an autoencoder's methods as pure functions of CPU tensors, in batches."""
    encode, decode = _batched(lambda images: model.posterior(images)[0], device), _batched(model.decode, device)
    judging = [phase for phase in model.phases() if phase.adversary is not None]
    return {
        "encode": encode,
        "decode": decode,
        "blend": lambda first, second, weight: decode(torch.lerp(encode(first), encode(second), weight)),
        "adversary": _batched(lambda images: judging[0].modules[0](images).float(), device) if judging else None,
    }


def of_blending(
    way: Callable[[Tensor, Tensor, float], Tensor], context: Context, identity: Identity = UNNAMED
) -> EvaluationSource:
    """Make a source of a way of blending in pixels, in place of a model's: a baseline."""
    return EvaluationSource(
        identity=identity, provides=Need.BLEND, batches=_nothing, context=replace(context, blend=way)
    )


def of_features(
    latents: Callable[[str], Tensor], data: ImageDataset, context: Context, identity: Identity = UNNAMED
) -> EvaluationSource:
    """Make a source of features of each split's images in place of a model's latents: a baseline."""

    def without_views(split: str, view: str) -> Tensor:
        if view != "whole":
            raise UserError("features of a baseline have no views")
        return latents(split)

    provides = Need.LATENT | _labelling(data)
    context = replace(context, latents=without_views)
    return EvaluationSource(identity=identity, provides=provides, batches=_nothing, context=context)


def _nothing(needs: Need, group: Group) -> Iterator[EvalBatch]:
    return iter(())


def of_images(
    images: Tensor,
    data: ImageDataset,
    *,
    kind: Need,
    paired: bool,
    context: Context | None = None,
    identity: Identity = UNNAMED,
) -> EvaluationSource:
    """Make a source of images made elsewhere: uint8 or float (n, c, h, w), as ``Need.RECONSTRUCTION`` or
    ``Need.SAMPLE``.

    With ``paired``, image i belongs to image i of ``data``, and what compares the two can be measured. Samples
    are measured against ``data`` as a whole: its images come in batches of their own.
    """
    provides = kind
    if paired or kind == Need.SAMPLE:
        provides |= Need.REAL | _labelling(data)

    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        if not paired and kind == Need.SAMPLE:
            yield from _real_batches(data)
        for rows in torch.arange(len(images)).split(BATCH):
            part = images[rows]
            filled: dict[str, Any] = {FIELDS[kind]: to_float(part) if part.dtype == torch.uint8 else part}
            if paired:
                filled |= {"real": to_float(data.images[rows]), **_labels(data, rows)}
            yield EvalBatch(**filled)

    return EvaluationSource(
        identity=identity, provides=provides, batches=batches, context=context or Context(), paired=paired
    )


def _real_batches(data: ImageDataset) -> Iterator[EvalBatch]:
    for rows in torch.arange(len(data)).split(BATCH):
        yield EvalBatch(real=to_float(data.images[rows]), **_labels(data, rows))


def of_real(data: ImageDataset, context: Context | None = None) -> EvaluationSource:
    """Make a source of the real images themselves, in place of reconstructions and of samples."""
    context = context or Context()

    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        for batch in _real_batches(data):
            yield replace(batch, reconstruction=batch.real, sample=batch.real)

    provides = Need.REAL | Need.RECONSTRUCTION | Need.SAMPLE | Need.BLEND | _labelling(data)
    return EvaluationSource(
        identity=REAL,
        provides=provides,
        batches=batches,
        context=replace(context, blend=lambda first, second, weight: first),  # the target: images as they are
        ready=lambda space: context.reference(space, data.split).features,
    )


def of_training_images(training: ImageDataset, context: Context, *, samples: int, seed: int) -> EvaluationSource:
    """Make a source of real training images in place of samples, drawn without replacement: what a model that makes
    real images reads.

    Args:
        training: the training split of the evaluated data.
        context: the evaluated split's.
        samples: how many, all if there are fewer.
        seed: of the draw.
    """
    drawn = torch.randperm(len(training), generator=seeding.generator(seed, "training images"))[:samples]

    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        for rows in drawn[group.share(len(drawn))].split(BATCH):
            yield EvalBatch(sample=to_float(training.images[rows]))

    identity = Identity(subjects.TRAINING_IMAGES, content_sha256=training.fingerprint)
    return EvaluationSource(identity=identity, provides=Need.SAMPLE, batches=batches, context=context)


def _labelling(data: ImageDataset) -> Need:
    return Need(0) if data.labels is None and data.attributes is None else Need.ATTRIBUTES


def _labels(data: ImageDataset, rows: Tensor) -> dict[str, Any]:
    return {
        "labels": None if data.labels is None else data.labels[rows],
        "attributes": None if data.attributes is None else data.attributes[rows],
    }
