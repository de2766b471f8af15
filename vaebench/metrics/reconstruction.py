"""Measure how far a reconstruction is from its image: squared error, signal-to-noise ratio, structural similarity."""

import torch
from torch import Tensor

from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage

_LEAST_MSE = 1e-10  # 100 dB: identical images would have infinitely many, and then no mean and no test
_WINDOW, _SIGMA = 11, 1.5  # Wang et al. 2004, section III-C
_C1, _C2 = 0.01**2, 0.03**2  # (K L)^2 with K1 = 0.01, K2 = 0.03 and data range L = 1


def _check_shapes(real: Tensor, reconstruction: Tensor) -> None:
    if real.shape != reconstruction.shape:
        raise UserError(
            f"images {tuple(real.shape)} and reconstructions {tuple(reconstruction.shape)} differ in shape: "
            "give them the same number, channels and size"
        )


def squared_error(real: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean squared error over channels and pixels: two (n, c, h, w) in [0, 1] -> (n,) float64.

    Raises :class:`UserError` where the shapes differ.
    """
    _check_shapes(real, reconstruction)
    return (real.double() - reconstruction.double()).square().flatten(1).mean(dim=1)


def peak_signal_noise_ratio(real: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute 10 log10(1 / mse) in dB: two (n, c, h, w) in [0, 1] -> (n,) float64.

    The squared error is clamped at 1e-10 from below: identical images have 100 dB, not infinitely many.
    Raises :class:`UserError` where the shapes differ.
    """
    return -10 * squared_error(real, reconstruction).clamp(min=_LEAST_MSE).log10()


def _gaussian_mean(images: Tensor) -> Tensor:
    """Gaussian-weighted local means, valid region: (n, c, h, w) float64 -> (n, c, h - 10, w - 10)."""
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weights = torch.softmax(-offsets.square() / (2 * _SIGMA**2), dim=0).tolist()  # normalised to sum 1
    for axis in (-1, -2):  # the window is separable; shifted sums beat a float64 convolution on a CPU
        length = images.shape[axis] - _WINDOW + 1
        total = images.narrow(axis, 0, length) * weights[0]
        for shift in range(1, _WINDOW):
            total.add_(images.narrow(axis, shift, length), alpha=weights[shift])
        images = total
    return images


def structural_similarity(real: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute SSIM: two (n, c, h, w) in [0, 1], sides of 11 or more -> (n,) float64 in [-1, 1].

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", eq. 13:
    11 x 11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, data range 1. Mean over the valid region
    (windows that lie inside the image) and over channels; torchmetrics, by contrast, pads and takes the whole
    image. In float64, where E[x^2] - E[x]^2 loses nothing that matters against C2 = 9e-4.
    Raises :class:`UserError` where the shapes differ or a side is shorter than the window.
    """
    _check_shapes(real, reconstruction)
    height, width = real.shape[-2:]
    if min(height, width) < _WINDOW:
        raise UserError(f"ssim needs images of at least 11 x 11 pixels, these are {height} x {width}: leave it out")
    x, y = real.double(), reconstruction.double()
    mean_x, mean_y = _gaussian_mean(x), _gaussian_mean(y)
    variances = _gaussian_mean(x.square() + y.square()) - mean_x.square() - mean_y.square()
    covariance = _gaussian_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return (luminance * structure).flatten(1).mean(dim=1)


def _pair(batch: EvalBatch) -> tuple[Tensor, Tensor]:
    assert batch.real is not None and batch.reconstruction is not None
    return batch.real, batch.reconstruction


def _mse_of(batch: EvalBatch) -> Tensor:
    return squared_error(*_pair(batch))


def _psnr_of(batch: EvalBatch) -> Tensor:
    return peak_signal_noise_ratio(*_pair(batch))


def _ssim_of(batch: EvalBatch) -> Tensor:
    return structural_similarity(*_pair(batch))


def mse() -> list[Metric]:
    """Mean squared error of the pixels, intensities in [0, 1]."""
    return [
        PerImage(
            _mse_of,
            MetricSpec(
                name="mse",
                needs=Need.REAL | Need.RECONSTRUCTION,
                unit="squared intensity",
                direction="lower",
                lowest=0.0,
                protocol="recon",
                margin="5%",
                stratified=True,
                question=questions.RECONSTRUCTION,
                place=1,
                headline=3,
            ),
        )
    ]


def psnr() -> list[Metric]:
    """Peak signal-to-noise ratio an image, then their mean; capped at 100 dB an image."""
    return [
        PerImage(
            _psnr_of,
            MetricSpec(
                name="psnr",
                needs=Need.REAL | Need.RECONSTRUCTION,
                unit="dB",
                direction="higher",
                highest=100.0,
                protocol="recon/mean-of-images/cap=100dB",
                margin="0.25",
                stratified=True,
                question=questions.RECONSTRUCTION,
                place=2,
            ),
        )
    ]


def ssim() -> list[Metric]:
    """Structural similarity with the original's Gaussian window; 1 for identical images."""
    return [
        PerImage(
            _ssim_of,
            MetricSpec(
                name="ssim",
                needs=Need.REAL | Need.RECONSTRUCTION,
                unit="similarity",
                direction="higher",
                lowest=-1.0,
                highest=1.0,
                protocol="recon/gaussian11",
                margin="0.01",
                stratified=True,
                question=questions.RECONSTRUCTION,
                place=3,
                headline=4,
            ),
        )
    ]
