"""Fit the webcam's readers once a run: classifiers and directions of attributes on its latents, and novelty."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.core.dataset import DatasetSource, ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder
from vaebench.metrics.probes.attribute_vectors import AttributeVector, attribute_vector
from vaebench.metrics.probes.cost_selection import fit_chosen
from vaebench.metrics.probes.linear_svm import LinearSVMs
from vaebench.metrics.probes.novelty import NoveltyDetector, squared_errors
from vaebench.runs.recipes import load_split

BATCH = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Accuracy of a classifier on images it has not seen, as shares in [0, 1], and how many images have the attribute.

    ``balanced`` counts both kinds alike; ``None`` where the images are all of one kind.
    """

    accuracy: float
    balanced: float | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """All that reading faces needs beside the model.

    Attributes:
        attributes: all the dataset's names.
        classified: names of the classifiers' columns: attributes that training has both kinds of.
        svms: on posterior means as they come.
        trust: of each classified attribute.
        directions: of attributes with enough examples.
        familiar: quantiles over the tested images.
    """

    attributes: tuple[str, ...]
    classified: tuple[str, ...]
    svms: LinearSVMs
    trust: Mapping[str, Trust]
    directions: Mapping[str, AttributeVector]
    familiar: NoveltyDetector


@dataclass(frozen=True, slots=True)
class _Seen:
    """A split through the model: means (n, d) and attributes bool (n, a)."""

    means: Tensor
    attributes: Tensor


def named(data: ImageDataset) -> tuple[str, ...]:
    """The attributes' names; :class:`UserError` where there are none."""
    if data.attributes is None:
        raise UserError(
            f"{data.name} has no attributes, which webcam needs to read: choose a run on toyfaces or celeba"
        )
    return tuple(data.attribute_names)


def held_out(source: DatasetSource) -> list[str]:
    """Return the split to test on, then perhaps one to choose C on; :class:`UserError` if there is none."""
    held: list[str] = [split for split in ("test", "valid") if split in source.splits]
    if not held:
        raise UserError(f"{source.name} has no images beside those to train, which webcam needs to know what is usual")
    return held


def fit_reader(model: Autoencoder, source: DatasetSource, training: ImageDataset, device: str) -> Fitted:
    """Fit on the training images, choose C on ``valid``, try on ``test``; on ``valid`` with C = 1 where one is lacking.

    Raises :class:`UserError` where the dataset has no attributes or no images beside those to train.
    """
    names, held = named(training), held_out(source)
    log.info("webcam: encoding the images of %s, once a run", source.name)
    train = _seen(model, training, device)
    tested = load_split(source, held[0])
    testing, *choosing = [_seen(model, data, device) for data in (tested, *(load_split(source, n) for n in held[1:]))]
    both = train.attributes.any(dim=0) & ~train.attributes.all(dim=0)
    if not both.any():
        raise UserError(f"every attribute of {source.name} has one kind only in training: nothing can be told apart")
    columns = both.nonzero()[:, 0]
    log.info("webcam: fitting %d classifiers on %s latents", len(columns), f"{len(train.means):,}")
    svms = classifiers(
        train.means, train.attributes[:, columns], *[(c.means, c.attributes[:, columns]) for c in choosing]
    )
    classified = tuple(names[column] for column in columns.tolist())
    right = (svms.decision(testing.means) > 0) == testing.attributes[:, columns]
    return Fitted(
        attributes=names,
        classified=classified,
        svms=svms,
        trust={
            name: _trust(right[:, place], testing.attributes[:, column])
            for place, (name, column) in enumerate(zip(classified, columns.tolist(), strict=True))
        },
        directions=_directions(names, train),
        familiar=NoveltyDetector.of_errors(_errors(model, tested, testing.means, device), testing.means),
    )


@torch.inference_mode()
def _seen(model: Autoencoder, data: ImageDataset, device: str) -> _Seen:
    assert data.attributes is not None
    means = [model.posterior(to_float(part.to(device)))[0].cpu() for part in data.images.split(BATCH)]
    return _Seen(torch.cat(means).clone(), data.attributes)


@torch.inference_mode()
def _errors(model: Autoencoder, data: ImageDataset, means: Tensor, device: str) -> Tensor:
    """Squared errors of the images' reconstructions, float64 (n,)."""
    pairs = zip(data.images.split(BATCH), means.split(BATCH), strict=True)
    return torch.cat([squared_errors(to_float(part), model.decode(mean.to(device)).cpu()) for part, mean in pairs])


def classifiers(latents: Tensor, targets: Tensor, choosing: tuple[Tensor, Tensor] | None = None) -> LinearSVMs:
    """A linear SVM for each column of ``targets`` bool (n, k), on standardised latents (n, d), folded back into theirs.

    Each takes the C that does best on the latents and targets ``choosing``, as svm_accuracy's official protocol does;
    C = 1 without them.
    """
    mean, deviation = latents.double().mean(dim=0), latents.double().std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    features = ((latents - mean) / deviation).float()
    other = None if choosing is None else (((choosing[0] - mean) / deviation).float(), choosing[1])
    svms = fit_chosen(features, targets, other)
    weights = svms.weights / deviation[:, None]
    return LinearSVMs(weights=weights, bias=svms.bias - mean @ weights)


def _trust(right: Tensor, truth: Tensor) -> Trust:
    """From what is right, bool (n,), and what is so, bool (n,)."""
    kinds = [right[kind].double().mean().item() for kind in (truth, ~truth) if kind.any()]
    return Trust(
        accuracy=right.double().mean().item(),
        balanced=sum(kinds) / 2 if len(kinds) == 2 else None,
        share=truth.double().mean().item(),
    )


def _directions(names: tuple[str, ...], train: _Seen) -> dict[str, AttributeVector]:
    found = {}
    for name in names:
        try:
            found[name] = attribute_vector(name, train.means, train.attributes, names)
        except UserError as few:
            log.info("webcam: no direction of %s", few)
    return found
