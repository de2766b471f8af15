"""Blending of images: against loops written from the papers' equations, and what must hold of each way."""

import math

import numpy as np
import pytest
import torch

from vaebench.core.errors import UserError
from vaebench.evaluation import pixel_blending
from vaebench.evaluation.pixel_blending import CUTOFF, WAYS, fourier_mix, laplacian_pyramid, pixel_average

SHAPES = [(3, 1, 28, 28), (2, 3, 16, 16), (2, 1, 15, 21), (2, 3, 5, 8), (2, 1, 4, 9), (1, 1, 1, 2)]
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
weights = pytest.mark.parametrize("alpha", [0.03, 0.3, 0.5, 0.8])


def images_of(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth_images_of(seed, *shape):
    """Away from black and white, so that no blend of them is cut off."""
    return torch.nn.functional.avg_pool2d(images_of(seed, *shape), 3, stride=1, padding=1, count_include_pad=False)


# --- the pyramid by loops: one channel at a time, arrays (h, w)


def mirrored(place, side):
    """Place in an endless reflection about the outermost pixels."""
    place = abs(place) % (2 * (side - 1)) if side > 1 else 0
    return min(place, 2 * (side - 1) - place)


def w(m, n):
    kernel = {-2: 0.25 - 0.4 / 2, -1: 0.25, 0: 0.4, 1: 0.25, 2: 0.25 - 0.4 / 2}
    return kernel[m] * kernel[n]


def reduced(image):
    height, width = image.shape
    result = np.zeros((math.ceil(height / 2), math.ceil(width / 2)))
    for i, j in np.ndindex(*result.shape):
        for m in range(-2, 3):
            for n in range(-2, 3):
                result[i, j] += w(m, n) * image[mirrored(2 * i + m, height), mirrored(2 * j + n, width)]
    return result


def expanded(image, shape):
    result = np.zeros(shape)
    for i, j in np.ndindex(*shape):
        for m in range(-2, 3):
            for n in range(-2, 3):
                if (i - m) % 2 == 0 and (j - n) % 2 == 0:  # whole places of (i - m) / 2, (j - n) / 2 only
                    row, column = mirrored(i - m, shape[0]) // 2, mirrored(j - n, shape[1]) // 2
                    result[i, j] += 4 * w(m, n) * image[row, column]
    return result


def pyramid(image):
    levels = []
    while min(image.shape) > 4:
        smaller = reduced(image)
        levels.append(image - expanded(smaller, image.shape))
        image = smaller
    return [*levels, image]


def salience(channels):
    height, width = channels[0].shape
    result = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        for k in (-1, 0, 1):
            for m in (-1, 0, 1):
                result[i, j] += sum(abs(c[mirrored(i + k, height), mirrored(j + m, width)]) for c in channels)
    return result


def fused(a, b, alpha):
    """Two images (c, h, w) float64: the choice by (1 - alpha) |A| against alpha |B|, the lighter one faded."""
    levels = [list(zip(*(pyramid(channel) for channel in image), strict=True)) for image in (a, b)]
    result = [(1 - alpha) * p + alpha * q for p, q in zip(levels[0][-1], levels[1][-1], strict=True)]
    for details_a, details_b in reversed(list(zip(levels[0][:-1], levels[1][:-1], strict=True))):
        choose_b = alpha * salience(details_b) > (1 - alpha) * salience(details_a)
        fade_a, fade_b = min(1, (1 - alpha) / alpha), min(1, alpha / (1 - alpha))
        result = [
            expanded(image, p.shape) + np.where(choose_b, fade_b * q, fade_a * p)
            for image, p, q in zip(result, details_a, details_b, strict=True)
        ]
    return np.clip(result, 0, 1)


@weights
@pytest.mark.parametrize("shape", SHAPES)
def test_laplacian_pyramid_equals_the_papers_sums(shape, alpha):
    a, b = images_of(0, *shape), images_of(1, *shape)
    expected = [fused(p, q, alpha) for p, q in zip(a.double().numpy(), b.double().numpy(), strict=True)]
    np.testing.assert_allclose(laplacian_pyramid(a, b, alpha).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("sides", "levels"), [((28, 28), [28, 14, 7, 4]), ((64, 64), [64, 32, 16, 8, 4])])
def test_pyramid_levels(sides, levels):
    assert [level.shape[-1] for level in pixel_blending._pyramid(images_of(2, 1, 1, *sides))] == levels


@pytest.mark.parametrize("shape", SHAPES)
def test_pyramid_reconstructs(shape):
    images = images_of(3, *shape).double()
    *details, whole = pixel_blending._pyramid(images)
    for detail in reversed(details):
        whole = pixel_blending._expand(whole, detail.shape) + detail
    torch.testing.assert_close(whole, images, rtol=0, atol=1e-14)


@pytest.mark.parametrize("sides", [(28, 28), (15, 21), (6, 7)])
def test_a_constant_has_no_detail(sides):
    *details, top = pixel_blending._pyramid(torch.full((1, 1, *sides), 0.7, dtype=torch.float64))
    assert max(detail.abs().max().item() for detail in details) < 1e-15
    torch.testing.assert_close(top, torch.full_like(top, 0.7), rtol=0, atol=1e-15)


def test_an_equal_blend_keeps_outlines_that_averaging_halves():
    a, b = torch.full((2, 1, 1, 32, 32), 0.4)
    a[..., 8:24, 8] = b[..., 8, 8:24] = 0.9
    contrast = {name: way(a, b, 0.5)[0, 0, 16, 8] - way(a, b, 0.5)[0, 0, 16, 12] for name, way in WAYS.items()}
    assert contrast["pixel-average"] == pytest.approx(0.25)
    assert contrast["laplacian-pyramid"] > 0.45


def test_a_light_image_leaves_little_on_a_blank_one():
    blank, busy = torch.full((1, 1, 28, 28), 0.5), images_of(4, 1, 1, 28, 28)
    for way in WAYS.values():
        assert (way(blank, busy, 0.01) - blank).abs().max() < 0.02
        assert (way(busy, blank, 0.99) - blank).abs().max() < 0.02


# --- the Fourier mix, by numpy.fft on an image mirrored by numpy.pad


def low_pass(image):
    height, width = image.shape
    spectrum = np.fft.fft2(np.pad(image, ((0, height), (0, width)), "symmetric"))
    shorter = min(height, width)
    for k, m in np.ndindex(*spectrum.shape):
        # cycles per shorter side; the transform counts cycles per doubled side, and the upper half are negative
        down = min(k, 2 * height - k) / (2 * height) * shorter
        across = min(m, 2 * width - m) / (2 * width) * shorter
        spectrum[k, m] *= 0.5 ** ((down**2 + across**2) / CUTOFF**2)
    return np.fft.ifft2(spectrum).real[:height, :width]


@weights
@pytest.mark.parametrize("shape", SHAPES)
def test_fourier_mix_equals_numpy(shape, alpha):
    a, b = images_of(5, *shape), images_of(6, *shape)
    expected = np.zeros(shape)
    for place in np.ndindex(*shape[:2]):
        p, q = a[place].double().numpy(), b[place].double().numpy()
        high = p - low_pass(p) if alpha <= 0.5 else q - low_pass(q)
        expected[place] = (1 - alpha) * low_pass(p) + alpha * low_pass(q) + high
    np.testing.assert_allclose(fourier_mix(a, b, alpha).numpy(), expected.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize(("cycles", "gain"), [(0, 1), (4, 0.5**0.25), (8, 0.5), (16, 0.5**4)])
def test_low_pass_gain(cycles, gain):
    places = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    wave = torch.cos(2 * math.pi * cycles * places).expand(1, 1, 64, 64)
    for image in (wave, wave.mT):
        torch.testing.assert_close(pixel_blending._low_pass(image), gain * image, rtol=0, atol=1e-12)


def test_fourier_mix_does_not_wrap_around():
    a, b = torch.full((2, 1, 1, 32, 32), 0.5)
    b[..., 0] = 1.0
    assert (fourier_mix(a, b, 0.5)[..., -4:] - 0.5).abs().max() < 1e-6


def test_at_one_half_high_frequencies_are_the_first_images():
    flat, busy = torch.full((1, 1, 32, 32), 0.5), torch.full((1, 1, 32, 32), 0.5)
    busy[..., ::2] = 0.6
    assert fourier_mix(flat, busy, 0.5).std() < 0.1 * busy.std()
    assert fourier_mix(busy, flat, 0.5).std() == pytest.approx(busy.std().item(), rel=0.05)


# --- all ways


@weights
def test_pixel_average(alpha):
    a, b = images_of(7, 3, 3, 9, 8), images_of(8, 3, 3, 9, 8)
    expected = a.numpy().astype(np.float64) * (1 - alpha) + b.numpy().astype(np.float64) * alpha
    np.testing.assert_allclose(pixel_average(a, b, alpha).numpy(), expected, rtol=1e-7)


@ways
@pytest.mark.parametrize("shape", SHAPES)
def test_the_ends_are_exact(way, shape):
    a, b = images_of(9, *shape), images_of(10, *shape)
    for alpha, expected in ((0, a), (0.0, a), (1, b), (1.0, b)):
        result = way(a, b, alpha)
        assert torch.equal(result, expected)
        assert result.data_ptr() != expected.data_ptr()  # to be changed without changing what was given


@ways
def test_near_the_ends_is_near_them(way):
    a, b = images_of(11, 2, 3, 28, 28), images_of(12, 2, 3, 28, 28)
    torch.testing.assert_close(way(a, b, 1e-6), a, rtol=0, atol=1e-5)
    torch.testing.assert_close(way(a, b, 1 - 1e-6), b, rtol=0, atol=1e-5)


@ways
@weights
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_with_itself_is_itself(way, shape, alpha):
    a = images_of(13, *shape)
    torch.testing.assert_close(way(a, a, alpha), a, rtol=0, atol=1e-7)


@ways
@pytest.mark.parametrize("alpha", [0.03, 0.3, 0.49, 0.5, 0.8])
def test_roles_are_symmetric(way, alpha):
    if way is fourier_mix and alpha == 0.5:
        alpha = 0.500001  # at one half itself the high frequencies are the first images'
    a, b = images_of(14, 3, 3, 28, 28), images_of(15, 3, 3, 28, 28)
    torch.testing.assert_close(way(a, b, alpha), way(b, a, 1 - alpha), rtol=0, atol=1e-6)


@ways
@weights
def test_brightness_is_the_weighted_average(way, alpha):
    a, b = smooth_images_of(17, 2, 1, 33, 33), smooth_images_of(18, 2, 1, 33, 33)
    expected = (1 - alpha) * a.mean() + alpha * b.mean()
    assert way(a, b, alpha).mean().item() == pytest.approx(expected.item(), abs=0.02)


@ways
@weights
def test_batch_size_does_not_matter_and_the_range_is_kept(way, alpha):
    a, b = images_of(19, 5, 3, 28, 28).round(), images_of(20, 5, 3, 28, 28).round()
    together = way(a, b, alpha)
    assert (together.shape, together.dtype) == (a.shape, torch.float32)
    assert 0 <= together.min() <= together.max() <= 1
    one_by_one = torch.cat([way(a[i : i + 1], b[i : i + 1], alpha) for i in range(5)])
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-7)
    assert way(a[:0], b[:0], alpha).shape == (0, 3, 28, 28)


@ways
def test_inputs_stay_as_they_were(way):
    a, b = images_of(21, 2, 1, 16, 16), images_of(22, 2, 1, 16, 16)
    before = a.clone(), b.clone()
    for alpha in (0, 0.4, 1):
        way(a, b, alpha).zero_()
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pixel-average", [0.4527174, 0.5221823, 0.5021691]),
        ("laplacian-pyramid", [0.4090366, 0.5283412, 0.490063]),
        ("fourier-mix", [0.4517005, 0.5278128, 0.5032174]),
    ],
)
def test_pinned(name, expected):
    a, b = smooth_images_of(23, 2, 3, 13, 14), smooth_images_of(24, 2, 3, 13, 14)
    assert WAYS[name](a, b, 0.4)[1, 2, 5, 3:6].tolist() == pytest.approx(expected, rel=1e-5)


@ways
@pytest.mark.parametrize("alpha", [-0.1, 1.01, math.nan, math.inf])
def test_other_weights_are_refused(way, alpha):
    a = images_of(25, 1, 1, 8, 8)
    with pytest.raises(UserError, match="between 0 and 1"):
        way(a, a, alpha)


@ways
def test_other_images_are_refused(way):
    a = images_of(26, 2, 1, 8, 8)
    with pytest.raises(UserError, match=r"\(2, 1, 8, 8\) and \(1, 1, 8, 8\)"):
        way(a, a[:1], 0.5)
    with pytest.raises(UserError, match="floating-point"):
        way(a[0], a[0], 0.5)
    with pytest.raises(UserError, match="uint8"):
        way(a.byte(), a.byte(), 0.5)
