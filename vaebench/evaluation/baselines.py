"""Baselines that learnt nothing: features in place of latents, and ways of blending in pixels."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.evaluation.image_sources import of_blending, of_features
from vaebench.evaluation.pixel_blending import WAYS
from vaebench.evaluation.source import EvaluationSource, Identity

VGG_FC = FeatureSpace("vgg19-fc", "fc7")  # Hou et al. 2017: the last fully connected features
FITTED_ON = 20_000  # training images that principal components are fitted on, at most
EXACT = 4096  # pixels up to which they are found exactly
BLOCK = 1024


def baselines(data: ImageDataset, context: Context, sizes: Iterable[int]) -> Iterator[EvaluationSource]:
    """Yield the majority class, principal components of the pixels at each latent size, and VGG-19's features of faces.

    None where the dataset has no training split. What cannot be had (weights) is refused when it is asked for, and
    becomes a row that says so.
    """
    if "train" not in context.splits:
        return
    named: dict[str, Callable[[str], Tensor]] = {"majority": lambda split: torch.zeros(len(context.data(split)), 1)}
    for size in sorted(set(sizes)):
        named[f"pca-{size}"] = _principal_components(context, size)
    if data.attributes is not None and data.image_shape[0] == 3:
        named["VGG-FC"] = lambda split: context.reference(VGG_FC, split).features
    for name, latents in named.items():
        yield of_features(latents, data, context, Identity(f"baseline/{name}"))


def classical_blends(context: Context) -> Iterator[EvaluationSource]:
    """Yield the ways of blending in pixels that Ruiz and Lipson, "Feature blending with VAEs and GANs", compare
    with.
    """
    for name, way in WAYS.items():
        yield of_blending(way, context, Identity(f"baseline/{name}"))


def _principal_components(context: Context, size: int) -> Callable[[str], Tensor]:
    """Return a function that projects pixels onto the first components of the training images, fitted on first use."""
    fitted: list[tuple[Tensor, Tensor]] = []

    def project(split: str) -> Tensor:
        if not fitted:
            fitted.append(_fit(context.data("train").images, size))
        mean, components = fitted[0]
        blocks = context.data(split).images.split(BLOCK)
        return torch.cat([(to_float(block).flatten(1) - mean) @ components for block in blocks])

    return project


def _fit(images: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Fit mean (d,) and components (d, size or fewer) on at most :data:`FITTED_ON` images, taken at equal steps."""
    rows = to_float(images[:: max(1, -(-len(images) // FITTED_ON))]).flatten(1)
    mean = rows.mean(dim=0)
    rows -= mean
    size = min(size, *rows.shape)
    if rows.shape[1] <= EXACT:
        covariance = rows.double().T @ rows.double()
        return mean, torch.linalg.eigh(covariance)[1][:, -size:].flip(1).float()
    with seeding.isolated(0, "principal components"):  # a random subspace to start from (Halko et al. 2011)
        _, _, components = torch.svd_lowrank(rows, q=min(size + 20, *rows.shape), niter=8)
    return mean, components[:, :size]
