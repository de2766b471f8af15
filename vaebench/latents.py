"""What latents of labelled images say: directions of attributes, and whether an image is like those known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean

EXAMPLES = 1_000  # images with an attribute, and without it, that its direction is taken from
SIX = ("Bald", "Black_Hair", "Eyeglasses", "Male", "Smiling", "Mustache")  # Hou et al. 2019, figure 5
FEWEST = 10  # of either kind, below which a mean says nothing
_QUANTILES = 1_001
_USUAL = 0.99  # share of the known images within which an image counts as like them


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeVector:
    """Direction (d,) float32 that leads from images without an attribute to images with it, and of how many each."""

    name: str
    direction: Tensor
    with_it: int
    without_it: int


def attribute_vector(
    name: str,
    latents: Tensor,
    attributes: Tensor,
    names: Sequence[str],
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> AttributeVector:
    """Mean latent of images with an attribute less that of images without it.

    Hou et al. 2017, "Deep feature consistent variational autoencoder", section 4.3.2; 1,000 of each kind as in its
    replication, chosen at random from ``seed``, or all there are. ``latents`` (n, d), ``attributes`` bool (n, a) with
    their ``names``. Raises :class:`UserError` for an unknown name, and where fewer than 10 of either kind exist.
    """
    if examples < FEWEST:
        raise UserError(f"{examples} examples are too few for a direction: ask for {FEWEST} or more")
    has = attributes[:, position_of(name, names)]
    chosen = []
    for wanted, kind in ((has, "with"), (~has, "without")):
        rows = wanted.nonzero()[:, 0]
        if len(rows) < FEWEST:
            raise UserError(
                f"{name}: {len(rows)} images {kind} it, too few for a direction: choose another attribute or more data"
            )
        order = torch.randperm(len(rows), generator=seeding.generator(seed, f"attribute vector: {name}, {kind}"))
        chosen.append(rows[order[:examples]])
    first, second = (latents[rows].double().mean(dim=0) for rows in chosen)
    return AttributeVector(
        name=name, direction=(first - second).float(), with_it=len(chosen[0]), without_it=len(chosen[1])
    )


def line(first: Tensor, second: Tensor, frames: int) -> Tensor:
    """Points at equal distances on straight lines, ends included: two (n, d), frames >= 2 -> (n, frames, d).

    The MNIST article, section "Linear interpolation between images"; Hou et al. 2017, section 4.3.1.
    """
    shares = torch.linspace(0, 1, frames, dtype=first.dtype, device=first.device)
    return torch.lerp(first[:, None], second[:, None], shares[None, :, None])


def position_of(name: str, names: Sequence[str]) -> int:
    """Column of an attribute; :class:`UserError` with the nearest name where there is none such."""
    if name not in names:
        raise UserError(f"no attribute is named '{name}': {did_you_mean(name, names)}")
    return list(names).index(name)


def chosen_attributes(wanted: Sequence[str], names: Sequence[str], usual: Sequence[str] = SIX) -> list[str]:
    """The attributes asked for, checked and each once; else the usual ones that there are; else as many of the first.

    Raises :class:`UserError` as :func:`position_of`.
    """
    for name in wanted:
        position_of(name, names)
    known = [name for name in usual if name in names]
    return list(dict.fromkeys(wanted)) or known or list(names[: len(usual)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangeness:
    """How an image stands among known ones: shares of them with a smaller reconstruction error, a smaller norm.

    Each (n,) in [0, 1]. Out of distribution is an error that 99 % of the known images stay below, or a norm outside
    the middle 99 % of theirs: source 000's failure on faces unlike its data, made visible.
    """

    error: Tensor
    norm: Tensor

    @property
    def outside(self) -> Tensor:
        """Which images are unlike the known ones, bool (n,); by chance about 2 of 100 known ones are."""
        tail = (1 - _USUAL) / 2
        return ~((self.error <= _USUAL) & (self.norm >= tail) & (self.norm <= 1 - tail))  # NaN is unlike, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiar:
    """Quantiles of known images' reconstruction errors and latent norms, each (k,) float64, rising."""

    errors: Tensor
    norms: Tensor

    @classmethod
    def of(cls, images: Tensor, reconstructions: Tensor, means: Tensor) -> "Familiar":
        """From images a model was not trained on, (n, c, h, w) in [0, 1], and its answers; means (n, d)."""
        return cls.of_errors(squared_errors(images, reconstructions), means)

    @classmethod
    def of_errors(cls, errors: Tensor, means: Tensor) -> "Familiar":
        """The same from squared errors, float64 (n,), and means (n, d)."""
        shares = torch.linspace(0, 1, _QUANTILES, dtype=torch.float64)
        return cls(errors=torch.quantile(errors, shares), norms=torch.quantile(means.double().norm(dim=1), shares))

    def judge(self, images: Tensor, reconstructions: Tensor, means: Tensor) -> Strangeness:
        """Where images stand among the known ones."""
        return Strangeness(
            error=_share_below(self.errors, squared_errors(images, reconstructions)),
            norm=_share_below(self.norms, means.double().norm(dim=1)),
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """To be kept; ``Familiar(**tensors)`` brings it back."""
        return {"errors": self.errors, "norms": self.norms}


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error of each image: two (n, c, h, w) -> (n,) float64."""
    return (images.double() - reconstructions.double()).square().flatten(1).mean(dim=1)


def _share_below(quantiles: Tensor, values: Tensor) -> Tensor:
    """Share of the known values that are smaller, by linear interpolation between quantiles."""
    above = torch.searchsorted(quantiles, values.contiguous()).clamp(1, len(quantiles) - 1)
    low, high = quantiles[above - 1], quantiles[above]
    within = torch.where(high > low, (values - low) / (high - low).clamp(min=1e-300), 1.0).clamp(0, 1)
    return torch.where(values.isnan(), math.nan, (above - 1 + within) / (len(quantiles) - 1))
