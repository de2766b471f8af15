"""The type that evaluation sees of a model, whoever trained it: what it can do, and how."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor, nn


class Capability(enum.Flag):
    """What a model can do; what it cannot reads n/a in the tables, with the reason."""

    ENCODE = enum.auto()  # images -> latents
    DECODE = enum.auto()  # latents -> images
    SAMPLE = enum.auto()  # new images from noise
    VARIANCE = enum.auto()  # encoding gives a log-variance beside the mean: the encoder is not deterministic
    CODES = enum.auto()  # encoding gives the numbers of codebook entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What an encoder says of a batch of images.

    Attributes:
        mean: float (n, ...), of the model's latent shape: the mean of q(z|x), or the code itself.
        log_variance: like ``mean``; None of a deterministic encoder.
        codes: int64 (n, ...), numbers of codebook entries, one a place; None of a model without a codebook.
    """

    mean: Tensor
    log_variance: Tensor | None = None
    codes: Tensor | None = None


class ImageModel:
    """Base class of a model of images in evaluation mode: what it can do is overridden.

    Attributes:
        image_shape: (c, h, w) of the images that it takes and makes.
        latent_shape: flat (d,) or spatial (c, h, w); None where there is nothing to look into.
        can: what it can do.
        codebook_size: number of entries, of a model that gives codes.
        lacks: why it cannot do something, where more is known than that it cannot: what to mend.
        adversary: images -> (n,) how far the model's own discriminator or critic takes each for real, if it has one.
    """

    image_shape: tuple[int, int, int]
    latent_shape: tuple[int, ...] | None = None
    can: Capability
    codebook_size: int | None = None
    lacks: Mapping[Capability, str] = MappingProxyType({})
    adversary: Callable[[Tensor], Tensor] | None = None

    def encode(self, images: Tensor) -> Posterior:
        """Encode images, float32 (n, c, h, w) in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} cannot encode")

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents, float32 (n, *latent_shape), to images, float32 (n, c, h, w) in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} cannot decode")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw images, float32 (n, c, h, w) in [0, 1]; by default decoded draws of a standard normal.

        Args:
            n: how many.
            generator: on the CPU, the only source of randomness.
        """
        return self.decode(self.prior(n, generator))

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw latents (n, *latent_shape) of a standard normal, on the CPU."""
        assert self.latent_shape is not None
        return torch.randn(n, *self.latent_shape, generator=generator)

    @property
    def samples_by_its_prior(self) -> bool:
        """Whether samples are decoded draws of a standard normal, so that one can walk between them."""
        return Capability.SAMPLE in self.can and type(self).sample is ImageModel.sample

    def to(self, device: str) -> Self:
        """Move the model to a device: by default, every module among its attributes; return it."""
        for part in vars(self).values():
            if isinstance(part, nn.Module):
                part.to(device)
        return self
