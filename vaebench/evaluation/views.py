"""Ways of looking at a face: views whose latents together say more of it than one (multi-view prediction)."""

from collections.abc import Callable
from typing import Final

from torch import Tensor
from torch.nn import functional

SHIFT = 16  # a sixteenth of the side: 4 pixels of 64


def _moved(images: Tensor, right: int, down: int) -> Tensor:
    """The crop beside: images (n, c, h, w) moved by a sixteenth of their sides, the border repeated."""
    height, width = images.shape[-2:]
    by_y, by_x = height // SHIFT, width // SHIFT
    padded = functional.pad(images, (by_x, by_x, by_y, by_y), mode="replicate")
    y, x = by_y * (1 - down), by_x * (1 - right)
    return padded[..., y : y + height, x : x + width]


VIEWS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "whole": lambda images: images,
    "mirrored": lambda images: images.flip(-1),
    "left": lambda images: _moved(images, -1, 0),
    "right": lambda images: _moved(images, 1, 0),
    "up": lambda images: _moved(images, 0, -1),
    "down": lambda images: _moved(images, 0, 1),
}
