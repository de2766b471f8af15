"""Sizes of images that the face families take, and how their networks grow with them: one rule for all of them.

The published networks halve 64 x 64 images four times, to maps of 4 x 4, and make images by the way back. An image of
twice the side is halved once more, as the usual forms of DCGAN for 128 x 128 and 256 x 256 do: four convolutions alone
would look at 46 x 46 pixels, which is little of a larger face. 96 and 192, one and a half times 64 and 128, have the
layers of these and end at 6 x 6. Each further layer has twice the channels of the one before, up to :data:`WIDEST`
times the first layer's: DCGAN at 128 x 128 begins with 1,024 channels, as figure 1 of Radford et al. 2016 does, and so
it does at 256 x 256.

======  ========  ============  =====================================  ==============================
side    halvings  smallest map  DCGAN, in ``feature_maps``             Hou et al. (VAE, DFC-VAE, critic)
======  ========  ============  =====================================  ==============================
64      4         4 x 4         8-4-2-1                                32-64-128-256
96      4         6 x 6         8-4-2-1                                32-64-128-256
128     5         4 x 4         16-8-4-2-1                             32-64-128-256-512
192     5         6 x 6         16-8-4-2-1                             32-64-128-256-512
256     6         4 x 4         16-16-8-4-2-1                          32-64-128-256-512-512
======  ========  ============  =====================================  ==============================

The blending autoencoder pools three times at every size (:mod:`vaebench.models.chunks`): its latents see maps of an
eighth of the side.
"""

from collections.abc import Sequence

from vaebench.core.errors import UserError
from vaebench.core.recipe import nearest_sizes

FACE_SIZES = (64, 96, 128, 192, 256)
DIGITS = 28  # halved twice, to 7 x 7
WIDEST = 16  # times the channels of the layer beside the image
LARGEST_MAP = 7  # the smallest map's side: what is larger and even is halved again


def halvings(height: int, width: int, least: int = 4) -> int:
    """Count how often maps are halved: ``least`` times, then as long as they are even and beyond 7 x 7."""
    count = least
    while not (height >> count) % 2 and not (width >> count) % 2 and min(height, width) >> count > LARGEST_MAP:
        count += 1
    return count


def widths(first: int, count: int) -> tuple[int, ...]:
    """Return the channels of ``count`` layers, from the image inwards: doubled from ``first`` up to the widest."""
    return tuple(first * min(2**layer, WIDEST) for layer in range(count))


def check_square(image_shape: tuple[int, int, int], sizes: Sequence[int], family: str) -> None:
    """Refuse images that the family's networks are not built for.

    Raises:
        UserError: they are not square, or of none of the ``sizes``; the message names the nearest.
    """
    _, height, width = image_shape
    if height != width or height not in sizes:
        known = ", ".join(map(str, sizes[:-1])) + f" or {sizes[-1]}"
        mend = f"choose {nearest_sizes(max(height, width), sizes)} pixels"
        raise UserError(f"{family} takes square images of {known} pixels a side, not {height} x {width}: {mend}")
