"""Pure functions by their public names: what a training loop of one's own imports and calls."""

import math
import re

import numpy as np
import pytest
import torch
from scipy import linalg

from vaebench.metrics import functional

REAL = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MADE = (REAL + 0.1 * torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
FIRST = torch.randn(60, 5, generator=torch.Generator().manual_seed(2))
SECOND = torch.randn(50, 5, generator=torch.Generator().manual_seed(3)) * 1.5 + 0.5


def test_every_name_is_there_and_documents_its_shapes():
    assert set(functional.__all__) <= set(dir(functional))
    for name in functional.__all__:
        found = getattr(functional, name)
        assert callable(found)
        assert re.search(r"\(n", found.__doc__) or re.search(r"\(d", found.__doc__), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'psnr'"):
        functional.psnr  # noqa: B018


@pytest.mark.parametrize("name", ["squared_error", "peak_signal_noise_ratio", "structural_similarity", "bernoulli_nll"])
def test_pairs_of_images_give_a_value_each(name):
    values = getattr(functional, name)(REAL, MADE)
    assert values.shape == (4,) and values.dtype == torch.float64 and torch.isfinite(values).all()


def test_errors_against_numpy():
    error = ((REAL.double() - MADE.double()) ** 2).numpy().reshape(4, -1).mean(1)
    np.testing.assert_allclose(functional.squared_error(REAL, MADE), error)
    np.testing.assert_allclose(functional.peak_signal_noise_ratio(REAL, MADE), -10 * np.log10(error))


def test_the_frechet_distance_of_two_sets_of_features():
    first, second = functional.Moments.of(FIRST), functional.Moments.of(SECOND)
    ours = functional.frechet_distance(first.mean, first.covariance, second.mean, second.covariance)
    a, b = FIRST.double().numpy(), SECOND.double().numpy()
    root = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root)
    assert ours == pytest.approx(expected, rel=1e-9)


def test_the_others_of_two_sets_of_features():
    within = functional.precision_recall(FIRST, FIRST + 0)
    assert (float(within.precision_per_generated.mean()), within.recall) == (1.0, 1.0)
    assert 0 <= functional.density_coverage(FIRST, SECOND).coverage <= 1
    assert functional.polynomial_mmd(FIRST, SECOND) > functional.polynomial_mmd(FIRST[:30], FIRST[30:])
    assert functional.kernel_distance(FIRST, SECOND, 5, 40) > 0


def test_one_set_of_features_and_codes():
    assert functional.vendi_score(torch.eye(5)).value == pytest.approx(5)
    assert functional.mean_pairwise_distance(torch.tensor([[0.0], [3.0]])).value == 3
    codes = torch.tensor([[0, 1], [2, 3]])
    assert functional.codebook_entropy(codes, 8)[0] == pytest.approx(math.log2(4))
    assert functional.codebook_usage(codes, 8)[0] == 0.5


def test_sharpness_is_zero_of_a_flat_image():
    assert functional.laplacian_variance(torch.full((2, 3, 8, 8), 0.4)).tolist() == pytest.approx([0, 0], abs=1e-12)
