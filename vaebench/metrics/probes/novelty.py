"""Novelty detection: whether an image is unlike those that a model knows, by reconstruction error and latent norm."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_QUANTILES = 1_001


_USUAL = 0.99  # share of the known images within which an image counts as like them


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangeness:
    """Shares of the known images that have a smaller reconstruction error, and a smaller latent norm, than an image.

    Each (n,) in [0, 1]. Out of distribution is an error that 99 % of the known images stay below, or a norm outside
    the middle 99 % of theirs: the failure on faces unlike its data that Eteke et al. report, made visible.
    """

    error: Tensor
    norm: Tensor

    @property
    def outside(self) -> Tensor:
        """Tell which images are unlike the known ones, bool (n,); by chance about 2 of 100 known ones are."""
        tail = (1 - _USUAL) / 2
        return ~((self.error <= _USUAL) & (self.norm >= tail) & (self.norm <= 1 - tail))  # NaN is unlike, too


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyDetector:
    """Quantiles of known images' reconstruction errors and latent norms, each (k,) float64, rising."""

    errors: Tensor
    norms: Tensor

    @classmethod
    def of(cls, images: Tensor, reconstructions: Tensor, means: Tensor) -> "NoveltyDetector":
        """Fit on images that the model was not trained on, (n, c, h, w) in [0, 1], their reconstructions, and means (n,
        d).
        """
        return cls.of_errors(squared_errors(images, reconstructions), means)

    @classmethod
    def of_errors(cls, errors: Tensor, means: Tensor) -> "NoveltyDetector":
        """Fit on squared errors, float64 (n,), and means (n, d)."""
        shares = torch.linspace(0, 1, _QUANTILES, dtype=torch.float64)
        return cls(errors=torch.quantile(errors, shares), norms=torch.quantile(means.double().norm(dim=1), shares))

    def judge(self, images: Tensor, reconstructions: Tensor, means: Tensor) -> Strangeness:
        """Compute each image's strangeness."""
        return Strangeness(
            error=_share_below(self.errors, squared_errors(images, reconstructions)),
            norm=_share_below(self.norms, means.double().norm(dim=1)),
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors to store; ``NoveltyDetector(**tensors)`` restores it."""
        return {"errors": self.errors, "norms": self.norms}


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error of each image: two (n, c, h, w) -> (n,) float64."""
    return (images.double() - reconstructions.double()).square().flatten(1).mean(dim=1)


def _share_below(quantiles: Tensor, values: Tensor) -> Tensor:
    """Compute the share of the known values that are smaller, by linear interpolation between quantiles."""
    above = torch.searchsorted(quantiles, values.contiguous()).clamp(1, len(quantiles) - 1)
    low, high = quantiles[above - 1], quantiles[above]
    within = torch.where(high > low, (values - low) / (high - low).clamp(min=1e-300), 1.0).clamp(0, 1)
    return torch.where(values.isnan(), math.nan, (above - 1 + within) / (len(quantiles) - 1))
