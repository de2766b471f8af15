"""Classical ways of blending two batches of images in pixels, which blending in latent space is compared with.

Salomon Ruiz and Lipson, "Feature blending with VAEs and GANs", name three: a linear combination of pixel
values, the Laplacian pyramid, "which combines the images at lower frequencies, and then applies the higher frequency
components", and the same in Fourier space. They give no recipe; each function says which it follows.

All take images ``a`` and ``b``, float (n, c, h, w) in [0, 1], and ``alpha``, the weight of ``b``, in [0, 1]; all return
images in [0, 1] of ``a``'s shape and type, which are ``a`` itself for ``alpha`` 0 and ``b`` for 1. They raise
:class:`UserError` for shapes that differ, for what is no floating-point batch, and for ``alpha`` outside [0, 1].
"""

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.core.errors import UserError

Way = Callable[[Tensor, Tensor, float], Tensor]

# Burt and Adelson's generating kernel [1/4 - a/2, 1/4, a, 1/4, 1/4 - a/2] with their a = 0.4, the most Gaussian-like
KERNEL = (0.05, 0.25, 0.4, 0.25, 0.05)
# Pyramids end once the shorter side is at most this: 64, 32, 16, 8, 4 and 28, 14, 7, 4. Such a top says where a picture
# is light and dark; a smaller one would let choosing, not averaging, decide that.
COARSEST = 4
# Cycles per image at which the Fourier mix's low-pass filter has half its gain. Identity is read from 8 to 16 cycles a
# face (Costen, Parker and Craw 1996, "Effects of high-pass and low-pass spatial filtering on face identification"), and
# an aligned face fills most of its image: what lies below is averaged, who it is stays one person's.
CUTOFF = 8.0


def _way(blend: Way) -> Way:
    """The function with its input checked, in float64, exact at both ends, and its result back in [0, 1]."""

    @functools.wraps(blend)
    def checked(a: Tensor, b: Tensor, alpha: float) -> Tensor:
        if a.shape != b.shape:
            raise UserError(
                f"images of {tuple(a.shape)} and {tuple(b.shape)} cannot be blended: give as many of one size"
            )
        if a.ndim != 4 or not (a.is_floating_point() and b.is_floating_point()):
            raise UserError(
                f"blending takes floating-point images (n, c, h, w) in [0, 1], these are {a.dtype} {tuple(a.shape)} and"
                f" {b.dtype}: convert them"
            )
        if not 0 <= alpha <= 1:  # also where it is no number
            raise UserError(f"alpha is {alpha}: the second images' weight must lie between 0 and 1")
        if alpha in (0, 1):
            return (b.to(a.dtype) if alpha else a).clone()
        return blend(a.double(), b.double(), alpha).clamp(0, 1).to(a.dtype)

    return checked


@_way
def pixel_average(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The linear combination of the pixel values, (1 - alpha) a + alpha b."""
    return (1 - alpha) * a + alpha * b


@_way
def laplacian_pyramid(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """Each detail from the image in which it is stronger, on the average of what both look like from afar.

    Pyramids of Burt and Adelson 1983, "The Laplacian pyramid as a compact image code". Averaging every level would be
    the pixel average, for pyramids are linear; so details are chosen, as in Burt and Kolczynski 1993, "Enhanced image
    capture through fusion": place by place the image of the greater salience, here the absolute coefficients over
    3 x 3 places and all channels (so that no colours arise that neither image has). The top level is the weighted
    average.

    The weights enter through contrast: before they are compared, the details of each image are scaled by its weight
    over the larger of the two. The comparison is then that of (1 - alpha) |A| with alpha |B|, the heavier image keeps
    its full contrast, and the lighter one's details, wherever they win, fade as its weight does. Were they chosen at
    full strength, all of a lighter image's outlines would stand on the blank ground of a heavier one whatever the
    weight, and vanish at 0 at once. Equal salience (both blank, or the same) takes the mean, so that
    ``laplacian_pyramid(a, b, alpha)`` equals ``laplacian_pyramid(b, a, 1 - alpha)``.
    """
    heavier = max(alpha, 1 - alpha)
    levels_a, levels_b = _pyramid(a), _pyramid(b)
    image = (1 - alpha) * levels_a[-1] + alpha * levels_b[-1]
    for level_a, level_b in zip(reversed(levels_a[:-1]), reversed(levels_b[:-1]), strict=True):
        detail_a, detail_b = level_a * ((1 - alpha) / heavier), level_b * (alpha / heavier)
        difference = _salience(detail_b) - _salience(detail_a)
        share_b = torch.heaviside(difference, torch.full_like(difference, 0.5))
        image = _expand(image, level_a.shape) + (1 - share_b) * detail_a + share_b * detail_b
    return image


@_way
def fourier_mix(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """Frequencies below :data:`CUTOFF` cycles per image of both by weight, those above of the heavier image alone.

    "Combining lower frequency components and then adding higher frequencies" (Ruiz and Lipson). The filter is Gaussian
    in the radial frequency, with half its gain at the cut-off, as hybrid images are made (Oliva, Torralba and Schyns
    2006, "Hybrid images"): a sharp cut would ring round every edge. With L the filtered image, the mix is
    (1 - alpha) L(a) + alpha L(b) + a - L(a) = a + alpha L(b - a) while ``a`` is the heavier, and likewise with the
    roles changed. High frequencies have no middle, so the result changes over at alpha 1/2, where they are still
    ``a``'s; everywhere else ``fourier_mix(a, b, alpha)`` equals ``fourier_mix(b, a, 1 - alpha)``.
    """
    if alpha <= 0.5:
        return a + alpha * _low_pass(b - a)
    return b + (1 - alpha) * _low_pass(a - b)


WAYS: Mapping[str, Way] = {
    "pixel-average": pixel_average,
    "laplacian-pyramid": laplacian_pyramid,
    "fourier-mix": fourier_mix,
}


def _pyramid(images: Tensor) -> list[Tensor]:
    """Detail levels, finest first, and the top: (n, c, h, w), (n, c, ceil(h / 2), ceil(w / 2)) and so on."""
    levels = []
    while min(images.shape[-2:]) > COARSEST:
        smaller = _smoothed(images)[..., ::2, ::2]  # REDUCE, equation 1
        levels.append(images - _expand(smaller, images.shape))
        images = smaller
    return [*levels, images]


def _expand(images: Tensor, shape: torch.Size) -> Tensor:
    """EXPAND, equation 2: twice the sides, odd or even as ``shape``'s are.

    Its sum over whole positions only is a filter over the pixels set apart by zeros. Reflection about the outermost
    pixels keeps odd places odd, so that the border is right for both kinds of side.
    """
    apart = images.new_zeros(shape)
    apart[..., ::2, ::2] = images
    return 4 * _smoothed(apart)


def _smoothed(images: Tensor) -> Tensor:
    """The generating kernel along both sides, of at least 3 pixels; the border is reflected (dcb|abcd|cba)."""
    for axis, border in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        side = images.shape[axis]
        padded = functional.pad(images, border, "reflect")
        images = torch.stack([weight * padded.narrow(axis, start, side) for start, weight in enumerate(KERNEL)]).sum(0)
    return images


def _salience(detail: Tensor) -> Tensor:
    """Local strength: mean absolute value of 3 x 3 places, summed over channels, the border reflected; (n, 1, h, w)."""
    strength = functional.pad(detail.abs().sum(dim=1, keepdim=True), (1, 1, 1, 1), "reflect")
    salience: Tensor = functional.avg_pool2d(strength, 3, stride=1)
    return salience


def _low_pass(images: Tensor) -> Tensor:
    """Gaussian low-pass filter of half gain at :data:`CUTOFF` cycles per (shorter side of the) image.

    Images are mirrored to twice their sides before the transform, which takes them for periodic: what leaves at one
    edge must not come in at the other.
    """
    if not len(images):  # some versions of torch transform no empty batch
        return images.clone()
    height, width = images.shape[-2:]
    shorter = min(height, width)
    rows = torch.fft.fftfreq(2 * height, d=1 / shorter, dtype=images.dtype, device=images.device)
    columns = torch.fft.rfftfreq(2 * width, d=1 / shorter, dtype=images.dtype, device=images.device)
    gain = torch.exp2(-(rows[:, None].square() + columns.square()) / CUTOFF**2)
    mirrored = torch.cat([images, images.flip(-1)], dim=-1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], dim=-2)
    spectrum = torch.fft.rfft2(mirrored) * gain
    filtered: Tensor = torch.fft.irfft2(spectrum, s=mirrored.shape[-2:])
    return filtered[..., :height, :width]
