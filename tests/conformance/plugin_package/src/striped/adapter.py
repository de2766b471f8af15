"""Models that need no weights: pixels averaged over squares."""

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.core.errors import UserError
from vaebench.core.image_model import Capability, ImageModel, Posterior
from vaebench.core.opening import Opening


class Smoothed(ImageModel):
    """Averages squares of a side, and shows each as its average."""

    can = Capability.ENCODE | Capability.DECODE

    def __init__(self, side: int, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        self.side, self.image_shape = side, image_shape
        self.latent_shape = (channels, height // side, width // side)

    def encode(self, images: Tensor) -> Posterior:
        return Posterior(mean=functional.avg_pool2d(images, self.side))

    def decode(self, latents: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(latents, scale_factor=self.side)


def open_smoothed(what: str, opening: Opening) -> ImageModel:
    """Average squares of SIDE x SIDE pixels: ``--model smoothed:SIDE``."""
    if what not in ("1", "2", "4"):
        raise UserError(f"smoothed:{what} names no side: write smoothed:1, smoothed:2 or smoothed:4")
    return Smoothed(int(what), opening.image_shape)
