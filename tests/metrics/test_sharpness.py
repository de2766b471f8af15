"""Laplacian variance: against OpenCV, and what must hold of it."""

import pickle

import cv2
import numpy as np
import pytest
import torch

from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Need
from vaebench.metrics.sharpness import blur, laplacian_variance, to_grey


def images_of(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def opencv(image):
    """(c, h, w) in [0, 1] -> Laplacian variance by OpenCV."""
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    grey = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY) if array.shape[2] == 3 else array[:, :, 0]
    return cv2.Laplacian(grey, cv2.CV_32F).astype(np.float64).var()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (64, 64), (5, 9), (2, 2), (2, 7), (1, 6), (6, 1), (1, 1)])
def test_equals_opencv(channels, size):
    images = images_of(0, 7, channels, *size)
    expected = [opencv(image) for image in images]
    result = laplacian_variance(images)
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-12)


def test_equals_opencv_on_smooth_images():
    ramp = torch.linspace(0, 1, 28)
    images = (ramp[:, None] * ramp[None, :] ** 2).expand(2, 1, 28, 28)
    np.testing.assert_allclose(laplacian_variance(images).numpy(), [opencv(i) for i in images], rtol=1e-4)


def test_grey_has_opencv_weights():
    images = images_of(1, 2, 3, 8, 8)
    expected = [cv2.cvtColor(np.ascontiguousarray(i.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY) for i in images]
    np.testing.assert_allclose(to_grey(images)[:, 0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_image_has_none(channels, value):
    assert laplacian_variance(torch.full((2, channels, 16, 16), value)).max() < 1e-12


def test_one_bright_pixel_by_hand():
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 2] = 1
    # Laplacian: -4 once, 1 four times, 20 zeros: mean 0, squares (16 + 4) / 25
    assert laplacian_variance(image).item() == pytest.approx(20 / 25)


def test_noise_raises_it_and_smoothing_lowers_it():
    sharp = images_of(2, 4, 1, 28, 28).round()
    smooth = torch.nn.functional.avg_pool2d(sharp, 3, stride=1, padding=1)
    noisy = smooth + 0.1 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(3))
    assert (laplacian_variance(smooth) < laplacian_variance(sharp)).all()
    assert (laplacian_variance(noisy) > laplacian_variance(smooth)).all()


def test_batch_size_does_not_matter():
    images = images_of(4, 10, 3, 12, 12)
    one_by_one = torch.cat([laplacian_variance(image[None]) for image in images])
    torch.testing.assert_close(laplacian_variance(images), one_by_one, rtol=1e-12, atol=0)
    assert laplacian_variance(images[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 1, 28, 28), [1.818167343, 1.548524777, 1.634258506]),
        ((2, 3, 16, 16), [0.9046390607, 0.6033475799]),
    ],
)
def test_pinned(shape, expected):
    assert laplacian_variance(images_of(5, *shape)).tolist() == pytest.approx(expected, rel=1e-6)


def test_other_channels_are_refused():
    with pytest.raises(UserError, match="1 or 3 channels"):
        laplacian_variance(torch.zeros(1, 2, 8, 8))


def test_protocols():
    recon, samples = blur()
    assert (recon.spec.needs, samples.spec.needs) == (Need.RECONSTRUCTION, Need.SAMPLE)
    assert (recon.spec.protocol, samples.spec.protocol) == ("recon", "samples")
    assert (recon.spec.stratified, samples.spec.stratified) == (True, False)
    for metric in (recon, samples):
        assert (metric.spec.name, metric.spec.unit, metric.spec.direction, metric.spec.of_real) == (
            "blur",
            "variance",
            "target",
            True,
        )


def test_each_protocol_reads_its_own_images_and_merges():
    reconstruction, sample = images_of(6, 9, 1, 12, 12), images_of(7, 9, 1, 12, 12)
    for metric, part, images in zip(blur(), blur(), (reconstruction, sample), strict=True):
        metric.update(EvalBatch(reconstruction=reconstruction[:5], sample=sample[:5]))
        part.update(EvalBatch(reconstruction=reconstruction[5:], sample=sample[5:]))
        metric.merge(pickle.loads(pickle.dumps(part)))  # noqa: S301 our own bytes: how processes exchange it
        score = metric.score(Context())
        expected = laplacian_variance(images)
        assert torch.equal(score.per_image, expected)
        assert (score.n, score.value) == (9, pytest.approx(expected.mean().item(), rel=1e-12))
        assert score.std_error == pytest.approx(expected.numpy().std(ddof=1) / 3)
