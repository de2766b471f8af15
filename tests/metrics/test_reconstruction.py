"""Squared error, peak signal-to-noise ratio and structural similarity: against torchmetrics and by hand."""

import math
import pickle

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio as reference_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as reference_ssim

from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Need
from vaebench.metrics.reconstruction import (
    mse,
    peak_signal_noise_ratio,
    psnr,
    squared_error,
    ssim,
    structural_similarity,
)

SHAPES = [(4, 1, 28, 28), (3, 3, 32, 20), (2, 3, 11, 11), (2, 1, 11, 40)]
FUNCTIONS = [squared_error, peak_signal_noise_ratio, structural_similarity]
FACTORIES = [mse, psnr, ssim]


def pair(seed, *shape, noise=0.2):
    generator = torch.Generator().manual_seed(seed)
    real = torch.rand(shape, generator=generator)
    return real, (real + noise * torch.randn(shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_mse_equals_numpy(shape):
    real, other = pair(0, *shape)
    expected = ((real.double().numpy() - other.double().numpy()) ** 2).mean(axis=(1, 2, 3))
    assert squared_error(real, other).tolist() == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_psnr_equals_torchmetrics(shape):
    real, other = pair(1, *shape)
    expected = [reference_psnr(b.double(), a.double(), data_range=1.0).item() for a, b in zip(real, other, strict=True)]
    assert peak_signal_noise_ratio(real, other).tolist() == pytest.approx(
        expected, rel=1e-6
    )  # its logarithm is float32


@pytest.mark.parametrize("noise", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_equals_torchmetrics(shape, noise):
    real, other = pair(2, *shape, noise=noise)
    _, full = reference_ssim(
        other.double(), real.double(), sigma=1.5, data_range=1.0, reduction="none", return_full_image=True
    )
    expected = full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))  # torchmetrics pads: its map's rim is no valid region
    assert structural_similarity(real, other).tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_ssim_of_flat_images_by_hand():
    real, other = torch.full((1, 1, 20, 20), 0.9), torch.full((1, 1, 20, 20), 0.6)
    c1 = 0.01**2
    assert structural_similarity(real, other).item() == pytest.approx((2 * 0.54 + c1) / (0.81 + 0.36 + c1), abs=1e-6)


def test_identical_images():
    real, _ = pair(3, 3, 3, 16, 16)
    assert squared_error(real, real).tolist() == [0.0] * 3
    assert peak_signal_noise_ratio(real, real).tolist() == pytest.approx([100.0] * 3, abs=1e-12)
    assert structural_similarity(real, real).tolist() == pytest.approx([1.0] * 3, abs=1e-12)


def test_psnr_by_hand_and_its_cap():
    real = torch.zeros(3, 1, 4, 4)
    shifts = torch.tensor([0.1, 1.0, 1e-6])
    result = peak_signal_noise_ratio(real, real + shifts[:, None, None, None])
    assert result.tolist() == pytest.approx([20.0, 0.0, 100.0], abs=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_symmetric_and_free_of_batch_size(function):
    real, other = pair(4, 6, 3, 14, 12)
    whole = function(real, other)
    assert whole.dtype == torch.float64
    torch.testing.assert_close(function(other, real), whole, rtol=0, atol=1e-12)
    single = torch.cat([function(a[None], b[None]) for a, b in zip(real, other, strict=True)])
    torch.testing.assert_close(single, whole, rtol=1e-12, atol=0)
    assert function(real[:0], other[:0]).shape == (0,)


def test_more_noise_is_worse_by_every_metric():
    for function, sign in zip(FUNCTIONS, (1, -1, -1), strict=True):
        values = [sign * function(*pair(5, 1, 1, 28, 28, noise=noise)).item() for noise in (0.05, 0.2, 0.6)]
        assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shapes_must_agree(function):
    with pytest.raises(UserError, match="differ in shape"):
        function(torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16))


@pytest.mark.parametrize("size", [(10, 28), (28, 10)])
def test_ssim_refuses_small_images(size):
    with pytest.raises(UserError, match="at least 11 x 11") as caught:
        structural_similarity(torch.zeros(1, 1, *size), torch.zeros(1, 1, *size))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "grey", "colour"),
    [
        (squared_error, 0.03201741841, 0.03105816179),
        (peak_signal_noise_ratio, 14.94750710, 15.07959574),
        (structural_similarity, 0.8082125455, 0.8271777542),
    ],
)
def test_pinned(function, grey, colour):
    assert function(*pair(6, 2, 1, 28, 28)).mean().item() == pytest.approx(grey, rel=1e-6)
    assert function(*pair(7, 2, 3, 16, 16)).mean().item() == pytest.approx(colour, rel=1e-6)


def test_protocols():
    made = [metric for factory in FACTORIES for metric in factory()]
    assert [(m.spec.name, m.spec.protocol, m.spec.direction) for m in made] == [
        ("mse", "recon", "lower"),
        ("psnr", "recon/mean-of-images/cap=100dB", "higher"),
        ("ssim", "recon/gaussian11", "higher"),
    ]
    assert [m.spec.unit for m in made] == ["squared intensity", "dB", "similarity"]
    assert all(
        m.spec.needs == Need.REAL | Need.RECONSTRUCTION and m.spec.stratified and not m.spec.of_real for m in made
    )


@pytest.mark.parametrize(("factory", "function"), list(zip(FACTORIES, FUNCTIONS, strict=True)))
def test_merge_equals_one_pass(factory, function):
    real, other = pair(8, 9, 1, 12, 12)
    (first,), (second,) = factory(), factory()
    first.update(EvalBatch(real=real[:4], reconstruction=other[:4]))
    second.update(EvalBatch(real=real[4:], reconstruction=other[4:]))
    first.merge(pickle.loads(pickle.dumps(second)))  # noqa: S301 our own bytes: how processes exchange it
    score, expected = first.score(Context()), function(real, other)
    torch.testing.assert_close(score.per_image, expected, rtol=1e-12, atol=0)
    assert (score.n, score.value) == (9, pytest.approx(expected.mean().item(), rel=1e-12))


def test_mean_psnr_is_not_the_psnr_of_the_mean():
    real = torch.zeros(2, 1, 4, 4)
    (metric,) = psnr()
    metric.update(EvalBatch(real=real, reconstruction=real + torch.tensor([0.1, 1.0])[:, None, None, None]))
    value = metric.score(Context()).value
    assert value == pytest.approx(10.0, abs=1e-5)
    assert value != pytest.approx(-10 * math.log10((0.01 + 1) / 2), abs=1)
