"""Measure sharpness: the variance of the Laplacian, as computer vision measures focus."""

from torch import Tensor
from torch.nn import functional

from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage


def to_grey(images: Tensor) -> Tensor:
    """Compute BT.601 luma: float images (n, c, h, w), c 1 or 3 (red, green, blue) -> (n, 1, h, w).

    The weights of ``cv2.COLOR_RGB2GRAY``. Raises :class:`UserError` for any other number of channels.
    """
    channels = images.shape[1]
    if channels == 1:
        return images
    if channels != 3:
        raise UserError(f"sharpness is defined for images of 1 or 3 channels, these have {channels}")
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _neighbours(images: Tensor, axis: int) -> Tensor:
    """Sum of the two neighbours of every pixel along ``axis`` (-1 or -2); the border is reflected."""
    side = images.shape[axis]
    # Border reflect-101 (dcb|abcd|cba) has nothing to reflect in a side of one pixel: OpenCV repeats it.
    mode = "reflect" if side > 1 else "replicate"
    padded = functional.pad(images, (1, 1, 0, 0) if axis == -1 else (0, 0, 1, 1), mode)
    return padded.narrow(axis, 0, side) + padded.narrow(axis, 2, side)


def laplacian_variance(images: Tensor) -> Tensor:
    """Compute the variance of the Laplacian, an image at a time: (n, c, h, w) in [0, 1], c 1 or 3 -> (n,) float64.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". Colour is made grey by
    BT.601 weights. Equals ``cv2.Laplacian(image, cv2.CV_32F).var()`` to float32 rounding: kernel
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]], border reflect-101, Laplacian in float32, population variance (divisor
    h * w), here in float64. Along a side of one pixel the image counts as constant, as in OpenCV.
    Raises :class:`UserError` for another number of channels.
    """
    grey = to_grey(images.float())
    laplacian = (_neighbours(grey, -1) + _neighbours(grey, -2) - 4 * grey).double().flatten(1)
    # Not torch.var, which warns on a batch of no images.
    return (laplacian - laplacian.mean(dim=1, keepdim=True)).square().mean(dim=1)


def _of_reconstruction(batch: EvalBatch) -> Tensor:
    assert batch.reconstruction is not None
    return laplacian_variance(batch.reconstruction)


def _of_sample(batch: EvalBatch) -> Tensor:
    assert batch.sample is not None
    return laplacian_variance(batch.sample)


def blur() -> list[Metric]:
    """Laplacian variance of reconstructions (``recon``) and of samples (``samples``).

    Noise raises it, so neither higher nor lower is better: closeness to the real images' value is.
    """
    return [
        PerImage(
            _of_reconstruction,
            MetricSpec(
                name="blur",
                needs=Need.RECONSTRUCTION,
                unit="variance",
                direction="target",
                lowest=0.0,
                protocol="recon",
                margin="5%",
                of_real=True,
                stratified=True,
                question=questions.RECONSTRUCTION,
                place=5,
                headline=1,
                column="recon",
                distribution="Laplacian variance",
            ),
        ),
        PerImage(
            _of_sample,
            MetricSpec(
                name="blur",
                needs=Need.SAMPLE,
                unit="variance",
                direction="target",
                lowest=0.0,
                protocol="samples",
                margin="5%",
                of_real=True,
                question=questions.RECONSTRUCTION,
                place=5,
                headline=2,
                column="samples",
            ),
        ),
    ]
