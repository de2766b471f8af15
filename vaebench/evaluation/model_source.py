"""Sources of models: trained runs, and anyone's; what the evaluation asks a model for, batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.image_model import Capability, ImageModel
from vaebench.core.interpolation import line
from vaebench.core.metric import EvalBatch, Need
from vaebench.evaluation.features import cached_latents
from vaebench.evaluation.noise import ByPosition
from vaebench.evaluation.source import UNNAMED, EvaluationSource, Identity, batch_on, labelling, labels
from vaebench.evaluation.views import VIEWS
from vaebench.runs.load import load_image_model
from vaebench.runs.record import RunFolder, RunRecord

NO_VARIANCE = (
    "--posterior sample draws from the posterior, and this encoder gives no variance to draw with: leave it away, and "
    "reconstructions are decoded from the latents that it gives"
)
BLOCK = 64  # samples that a model with a sampler of its own draws with one seed: it decides what they are
PATHS, FRAMES = 200, 11  # straight lines between prior draws, and images on each, ends included


def identity_of(record: RunRecord, device: str) -> Identity:
    """Identify a trained run."""
    return Identity(record.recipe, record.seed, record.weights_sha256, device)


def of_run(
    folder: RunFolder,
    record: RunRecord,
    context: Context,
    *,
    samples: int,
    seed: int,
    device: str,
    posterior: str = "mean",
) -> EvaluationSource:
    """Make a source of a finished run, its model loaded onto ``device``, with the evaluated split's ``context``.

    Posterior means are kept in ``VAEBENCH_CACHE`` by weights and images.

    Raises:
        UserError: the run is not finished, or its weights are not those of its record.
    """
    model = load_image_model(folder, record, device)
    identity = identity_of(record, device)
    context = replace(context, training=record.training_facts())
    data = context.data(context.split)
    return of_model(model, data, samples=samples, seed=seed, context=context, identity=identity, posterior=posterior)


def of_model(
    model: ImageModel,
    data: ImageDataset,
    *,
    samples: int,
    seed: int,
    context: Context,
    identity: Identity = UNNAMED,
    posterior: str = "mean",
) -> EvaluationSource:
    """Make a source of a model in evaluation mode, on ``data`` and on ``samples`` draws.

    Reconstructions are decoded from the posterior's mean, or with ``posterior`` "sample" from a draw, the one that the
    evidence lower bound is taken of.
    ``context`` is the evaluated split's; what the model does to images is added here. Of several processes each
    provides its share, contiguous, in order. Noise is drawn by position on the CPU, so values depend neither on batch
    size nor on device. Spatial latents reach the metrics flattened.
    """
    device = identity.device

    @torch.inference_mode()
    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        wanted = needs & provides
        noise = ByPosition(seed, "posterior draws", len(data), model.latent_shape or (1,))
        for rows in torch.arange(len(data))[group.share(len(data))].split(batch_on(device)):
            real = to_float(data.images[rows].to(device))
            made = _made_of(model, real, wanted, noise, rows, posterior)
            yield EvalBatch(real=real, **labels(data, rows), **made)
        if Need.SAMPLE in wanted:
            yield from _samples(model, samples, seed, device, group)
        if Need.PATH in wanted:
            yield from _paths(model, seed, device, group)

    provides = _provided(model.can, data, prior=model.samples_by_its_prior)
    if context.training is not None:
        provides |= Need.TRAINING
    return EvaluationSource(
        identity=identity,
        provides=provides,
        batches=batches,
        context=_with_model(context, model, identity),
        latent_shape=model.latent_shape,
        reasons={Need.CODES: model.lacks[Capability.CODES]} if Capability.CODES in model.lacks else {},
        shown_samples=partial(_shown, model, seed, device) if Capability.SAMPLE in model.can else None,
        length=lambda needs: len(data) + (samples if Need.SAMPLE in needs & provides else 0),
    )


@torch.inference_mode()
def _shown(model: ImageModel, seed: int, device: str, count: int) -> Tensor:
    """Draw samples for pictures: the same noise for all models of as many latents."""
    generator = seeding.generator(seed, "samples")
    if not model.samples_by_its_prior:
        return model.sample(count, generator).cpu().clone()
    return _batched(model.decode, device)(model.prior(count, generator))


def _provided(can: Capability, data: ImageDataset, *, prior: bool) -> Need:
    """Tell what batches and context can hold of a model that can do so much."""
    needs = Need.REAL | labelling(data)
    if Capability.SAMPLE in can:
        needs |= Need.SAMPLE
    if prior:
        needs |= Need.PATH
    if Capability.ENCODE in can:
        needs |= Need.LATENT
        needs |= Need.VARIANCE if Capability.VARIANCE in can else Need(0)
        needs |= Need.CODES if Capability.CODES in can else Need(0)
    if Capability.ENCODE | Capability.DECODE in can:
        needs |= Need.RECONSTRUCTION | Need.BLEND | Need.CODE
        needs |= Need.DRAW if Capability.VARIANCE in can else Need(0)
    return needs


_ENCODED = Need.RECONSTRUCTION | Need.DRAW | Need.LATENT | Need.VARIANCE | Need.CODES


def _made_of(
    model: ImageModel, real: Tensor, wanted: Need, noise: "ByPosition", rows: Tensor, kind: str
) -> dict[str, Any]:
    """Encode and decode a batch of real images as far as is wanted; latents come flattened."""
    if not wanted & _ENCODED:
        return {}
    posterior = model.encode(real)
    made = {"mean": posterior.mean.float().flatten(1)}
    if posterior.codes is not None:
        made["codes"] = posterior.codes.flatten(1)
    if posterior.log_variance is not None:
        made["log_variance"] = posterior.log_variance.float().flatten(1)
    of_draws = Need.RECONSTRUCTION in wanted and kind == "sample"
    if Need.DRAW in wanted or of_draws:
        if posterior.log_variance is None:
            raise UserError(NO_VARIANCE)
        drawn = noise.rows(rows).to(real.device)
        made["draw"] = model.decode(posterior.mean + drawn * torch.exp(0.5 * posterior.log_variance))
    if Need.RECONSTRUCTION in wanted:
        made["reconstruction"] = made["draw"] if of_draws else model.decode(posterior.mean)
    return made


def _samples(model: ImageModel, samples: int, seed: int, device: str, group: Group) -> Iterator[EvalBatch]:
    """Yield this process's samples; those of a model with a sampler of its own in blocks, each with its own noise."""
    if model.samples_by_its_prior:
        assert model.latent_shape is not None
        noise = ByPosition(seed, "samples", samples, model.latent_shape)
        for rows in torch.arange(samples)[group.share(samples)].split(batch_on(device)):
            yield EvalBatch(sample=model.decode(noise.rows(rows).to(device)))
        return
    blocks = torch.arange(samples).split(BLOCK)
    for block in range(len(blocks))[group.share(len(blocks))]:
        generator = seeding.generator(seed, "samples", block)
        yield EvalBatch(sample=model.sample(len(blocks[block]), generator))


def _with_model(context: Context, model: ImageModel, identity: Identity) -> Context:
    """Add to a context what a model in evaluation mode does to images and latents; latents are rows."""
    device = identity.device
    shape = model.latent_shape or ()
    decode = _batched(lambda rows: model.decode(rows.unflatten(1, shape) if len(shape) > 1 else rows), device)
    if Capability.ENCODE not in model.can:
        return replace(context, decode=decode) if Capability.DECODE in model.can else context
    latents = _encoder(model, context, device)
    if identity.content_sha256:
        latents = cached_latents(latents, identity.content_sha256, context.data)
    encode = _batched(lambda images: model.encode(images).mean.float().flatten(1), device)
    context = replace(context, latents=latents, encode=encode, codebook_size=model.codebook_size)
    if Capability.DECODE not in model.can:
        return context
    return replace(
        context,
        decode=decode,
        blend=lambda first, second, weight: decode(torch.lerp(encode(first), encode(second), weight)),
        adversary=None if model.adversary is None else _batched(_judge(model.adversary), device),
    )


def _judge(adversary: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: adversary(images).float()


def _paths(model: ImageModel, seed: int, device: torch.device | str, group: Group) -> Iterator[EvalBatch]:
    """Yield images along straight lines between pairs of prior draws."""
    assert model.latent_shape is not None
    ends = torch.randn(2, PATHS, *model.latent_shape, generator=seeding.generator(seed, "paths"))
    latents = line(ends[0].flatten(1), ends[1].flatten(1), FRAMES)[group.share(PATHS)]
    for part in latents.split(max(1, batch_on(device) // FRAMES)):
        images = model.decode(part.flatten(0, 1).unflatten(1, model.latent_shape).to(device))
        yield EvalBatch(path=images.unflatten(0, (len(part), FRAMES)))


def _encoder(model: ImageModel, context: Context, device: torch.device | str) -> Callable[[str, str], Tensor]:
    """Return a function that encodes a split seen through a view into posterior means, once each."""
    known: dict[tuple[str, str], Tensor] = {}

    @torch.inference_mode()
    def latents(split: str, view: str) -> Tensor:
        if (split, view) not in known:
            images = context.data(split).images
            parts = [
                model.encode(VIEWS[view](to_float(part.to(device)))).mean.float().flatten(1).cpu()
                for part in images.split(batch_on(device))
            ]
            known[split, view] = torch.cat(parts).clone()
        return known[split, view]

    return latents


def _batched(function: Callable[[Tensor], Tensor], device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Wrap a function so that it takes and returns CPU tensors, in batches on the device."""

    @torch.inference_mode()
    def over_batches(rows: Tensor) -> Tensor:
        # clone: what inference mode makes may not be used outside it
        return torch.cat([function(part.to(device)).cpu() for part in rows.split(batch_on(device))]).clone()

    return over_batches
