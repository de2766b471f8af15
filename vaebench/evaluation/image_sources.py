"""Sources of what no model makes as it is measured: images from elsewhere, real ones, baselines that learnt nothing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaebench.core import seeding, subjects
from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Need
from vaebench.evaluation.source import (
    FIELDS,
    REAL,
    UNNAMED,
    EvaluationSource,
    Identity,
    at_a_time,
    labelling,
    labels,
)


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

    provides = Need.LATENT | labelling(data)
    context = replace(context, latents=without_views)
    return EvaluationSource(identity=identity, provides=provides, batches=_nothing, context=context)


def _nothing(needs: Need, group: Group) -> Iterator[EvalBatch]:
    return iter(())


def of_images(
    images: Tensor,
    data: ImageDataset,
    *,
    kind: Need,
    partners: Tensor | None,
    context: Context | None = None,
    identity: Identity = UNNAMED,
) -> EvaluationSource:
    """Make a source of images made elsewhere.

    Args:
        images: uint8 or float (n, c, h, w).
        data: the images that they are measured against.
        kind: ``Need.RECONSTRUCTION`` or ``Need.SAMPLE``.
        partners: int64 (len(data),), the row of each of ``data``'s images' own: what compares the two can then be
            measured. ``None`` of what is measured against ``data`` as a whole, whose images come in batches of their
            own.
        context: the evaluated split's.
        identity: whose results they are.
    """
    provides, paired = kind, partners is not None
    if paired or kind == Need.SAMPLE:
        provides |= Need.REAL | labelling(data)

    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        if not paired and kind == Need.SAMPLE:
            yield from _real_batches(data)
        for rows in torch.arange(len(images)).split(at_a_time(images)):
            part = images[rows if partners is None else partners[rows]].contiguous()
            filled: dict[str, Any] = {FIELDS[kind]: to_float(part) if part.dtype == torch.uint8 else part}
            if paired:
                filled |= {"real": to_float(data.images[rows]), **labels(data, rows)}
            yield EvalBatch(**filled)

    return EvaluationSource(
        identity=identity,
        provides=provides,
        batches=batches,
        context=context or Context(),
        paired=paired,
        length=lambda needs: len(images) + (0 if paired or kind != Need.SAMPLE else len(data)),
    )


def _real_batches(data: ImageDataset) -> Iterator[EvalBatch]:
    for rows in torch.arange(len(data)).split(at_a_time(data.images)):
        yield EvalBatch(real=to_float(data.images[rows]), **labels(data, rows))


def of_real(data: ImageDataset, context: Context | None = None) -> EvaluationSource:
    """Make a source of the real images themselves, in place of reconstructions and of samples."""
    context = context or Context()

    def batches(needs: Need, group: Group) -> Iterator[EvalBatch]:
        for batch in _real_batches(data):
            yield replace(batch, reconstruction=batch.real, sample=batch.real)

    provides = Need.REAL | Need.RECONSTRUCTION | Need.SAMPLE | Need.BLEND | labelling(data)
    return EvaluationSource(
        identity=REAL,
        provides=provides,
        batches=batches,
        context=replace(context, blend=lambda first, second, weight: first),  # the target: images as they are
        ready=lambda space: context.reference(space, data.split).features,
        length=lambda needs: len(data),
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
        for rows in drawn[group.share(len(drawn))].split(at_a_time(training.images)):
            yield EvalBatch(sample=to_float(training.images[rows]))

    identity = Identity(subjects.TRAINING_IMAGES, content_sha256=training.fingerprint)
    return EvaluationSource(
        identity=identity, provides=Need.SAMPLE, batches=batches, context=context, length=lambda needs: len(drawn)
    )
