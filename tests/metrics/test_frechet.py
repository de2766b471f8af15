"""Moments against numpy, the Fréchet distance against torch-fidelity, scipy and closed forms, and its extrapolation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from vaebench.core.context import Context, FeatureSpace, Reference
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch
from vaebench.metrics import frechet
from vaebench.metrics.frechet import FrechetDistance, FrechetInfinity, Moments, frechet_distance

SPACE = FeatureSpace("made-up", "6")


class Real(Reference):
    """Real features, nothing kept; counts what is computed."""

    def __init__(self, features):
        self._features, self.computed = features, []

    @property
    def features(self):
        return self._features

    def statistic(self, name, compute):
        self.computed.append(name)
        return compute(self._features)


def rows(n, d, seed=0):
    """float32 (n, d), correlated, of means and spreads that differ from column to column."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=torch.Generator().manual_seed(99)) / math.sqrt(d)
    shift = torch.randn(d, generator=draw)
    return (torch.randn(n, d, generator=draw) @ mixing.T) * torch.linspace(0.5, 2, d) + 0.3 * shift


def distance_of(a, b):
    first, second = Moments.of(a), Moments.of(b)
    return frechet_distance(first.mean, first.covariance, second.mean, second.covariance)


def score_of(metric, made, real, batch=7):
    for part in made.split(batch):
        metric.update(EvalBatch(features={"sample": part, "reconstruction": part}))
    reference = Real(real)
    return metric.score(Context(reference=lambda space, split: reference))


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 9), (300, 7), (1000, 1)])
@pytest.mark.parametrize("block", [1, 64, 4096])
def test_moments_are_numpy_s(n, d, block, monkeypatch):
    monkeypatch.setattr(frechet, "BLOCK", block)
    features = rows(n, d)
    moments = Moments.of(features)
    assert (moments.n, moments.mean.dtype, moments.covariance.dtype) == (n, torch.float64, torch.float64)
    expected = features.double().numpy()
    np.testing.assert_allclose(moments.mean, expected.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(expected, rowvar=False).reshape(d, d), rtol=1e-9, atol=1e-12)


def test_moments_of_float32_far_from_the_origin_keep_their_digits():
    """The two-pass sum of squares in float32 would have none left."""
    features = (torch.randint(0, 8, (9000, 3), generator=torch.Generator().manual_seed(0)) + 2**20).float()
    expected = np.cov(features.double().numpy() - 2**20, rowvar=False)
    np.testing.assert_allclose(Moments.of(features).covariance, expected, rtol=1e-10)


@pytest.mark.parametrize("cuts", [(0, 100), (1, 99), (37, 63), (10, 80), (100, 0)])
def test_merging_is_one_pass(cuts):
    features = rows(100, 5)
    first, second = features[: cuts[0]], features[cuts[0] : cuts[0] + cuts[1]]
    merged, other = Moments.of(first), Moments.of(second)
    kept = replace(other, scatter=None if other.scatter is None else other.scatter.clone())
    merged.merge(other)
    whole = Moments.of(features[: sum(cuts)])
    assert merged.n == whole.n
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-11, atol=1e-13)
    merged.add(features)  # goes on without touching what was merged in
    assert other.n == kept.n and (other.scatter is None or torch.equal(other.scatter, kept.scatter))


@pytest.mark.parametrize("n", [0, 1])
def test_a_covariance_needs_two_rows(n):
    with pytest.raises(ValueError, match=f"2 rows or more, not {n}"):
        _ = Moments.of(rows(n, 3)).covariance


CASES = {
    "one dimension": (rows(50, 1), rows(40, 1, 1)),
    "few dimensions": (rows(200, 5), rows(150, 5, 1)),
    "many dimensions": (rows(400, 60), rows(300, 60, 1)),
    "fewer rows than dimensions": (rows(20, 60), rows(300, 60, 1)),
    "both fewer rows than dimensions": (rows(20, 60), rows(25, 60, 1)),
    "a constant column": (rows(90, 4) * torch.tensor([1.0, 0, 1, 1]), rows(80, 4, 1)),
    "two equal columns": (rows(90, 4)[:, [0, 1, 2, 2]], rows(80, 4, 1)),
    "badly scaled": (rows(90, 6) * 10.0 ** torch.arange(-3, 3), rows(80, 6, 1) * 10.0 ** torch.arange(-3, 3)),
    "tiny": (rows(90, 4) * 1e-6, rows(80, 4, 1) * 1e-6),
    "huge": (rows(90, 4) * 1e6, rows(80, 4, 1) * 1e6),
    "against a point": (rows(90, 4), torch.ones(80, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_distance_is_torch_fidelity_s(case):
    made, real = (part.double() for part in CASES[case])
    if made.shape[1] == 1:  # torch-fidelity wants a matrix; numpy makes a number of one column
        made, real = (torch.cat([part, torch.zeros_like(part)], dim=1) for part in (made, real))
    statistics = [fid_features_to_statistics(part) for part in (made, real)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    first, second = ((torch.from_numpy(part["mu"]), torch.from_numpy(part["sigma"])) for part in statistics)
    assert frechet_distance(*first, *second) == pytest.approx(expected, rel=1e-6)
    assert distance_of(*CASES[case]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_distance_is_that_of_the_rows_themselves(case):
    """The root's trace is the sum of singular values of X Y', X and Y the rows' deviations: no covariance at all."""
    made, real = (part.double().numpy() for part in CASES[case])
    x, y = ((part - part.mean(axis=0)) / np.sqrt(len(part) - 1) for part in (made, real))
    shift = made.mean(axis=0) - real.mean(axis=0)
    trace = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    expected = shift @ shift + (x**2).sum() + (y**2).sum() - 2 * trace
    assert distance_of(*CASES[case]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", ["one dimension", "few dimensions", "many dimensions", "tiny", "huge"])
def test_distance_is_that_of_scipy_s_matrix_root_where_the_product_is_regular(case):
    first, second = (Moments.of(part) for part in CASES[case])
    a, b = (part.covariance.numpy() for part in (first, second))
    trace = np.trace(sqrtm(a @ b)).real
    expected = ((first.mean - second.mean) ** 2).sum().item() + np.trace(a) + np.trace(b) - 2 * trace
    assert distance_of(*CASES[case]) == pytest.approx(expected, rel=1e-9)


def test_diagonal_gaussians_have_a_closed_form():
    draw = torch.Generator().manual_seed(3)
    mean_a, mean_b, deviation_a, deviation_b = torch.rand(4, 8, generator=draw, dtype=torch.float64)
    found = frechet_distance(mean_a, deviation_a.square().diag(), mean_b, deviation_b.square().diag())
    expected = (mean_a - mean_b).square().sum() + (deviation_a - deviation_b).square().sum()
    assert found == pytest.approx(expected.item(), rel=1e-12)


def test_a_shift_costs_its_square_and_a_scale_its_share_of_the_trace():
    moments, shift = Moments.of(rows(100, 6)), torch.full((6,), 0.5, dtype=torch.float64)
    mean, covariance = moments.mean, moments.covariance
    assert frechet_distance(mean, covariance, mean + shift, covariance) == pytest.approx(6 * 0.25, rel=1e-9)
    expected = covariance.trace().item() * (3 - 1) ** 2
    assert frechet_distance(mean, covariance, mean, 9 * covariance) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [200, 1000])
def test_nothing_is_at_a_distance_from_itself(n):
    """Of 768 dimensions, with fewer rows than those and with more, and of Inception's kind of spread."""
    features = rows(n, 768).relu()
    assert 0 <= distance_of(features, features) < 1e-3
    assert 0 <= distance_of(features, features.flip(0)) < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_it_is_symmetric_and_unmoved_by_a_rotation(case):
    made, real = (part.double() for part in CASES[case])
    value, d = distance_of(made, real), made.shape[1]
    assert value > 0
    assert distance_of(real, made) == pytest.approx(value, rel=1e-6)
    turn = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(5), dtype=torch.float64)).Q
    assert distance_of(made @ turn, real @ turn) == pytest.approx(value, rel=1e-6)
    shift = 10 * real.std()
    assert distance_of(made + shift, real + shift) == pytest.approx(value, rel=1e-6)
    assert distance_of(3 * made, 3 * real) == pytest.approx(9 * value, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1, 1e6, 1e12])
@pytest.mark.parametrize("rank", [0, 1, 3, 10])
def test_nearly_singular_covariances_have_a_finite_distance(scale, rank):
    """Of rank 0 to full, with rounding that makes eigenvalues negative."""
    draw = torch.Generator().manual_seed(rank)
    factor = torch.randn(10, rank, generator=draw, dtype=torch.float64) * scale
    singular = factor @ factor.T
    noise = 1e-16 * scale**2 * torch.randn(10, 10, generator=draw, dtype=torch.float64)
    singular = singular + noise + noise.T
    full = torch.eye(10, dtype=torch.float64) * scale**2
    mean = torch.zeros(10, dtype=torch.float64)
    for a, b in ((singular, full), (full, singular), (singular, singular)):
        value = frechet_distance(mean, a, mean, b)
        assert math.isfinite(value) and value >= 0
    expected = (torch.linalg.eigvalsh(singular).clamp(min=0).sqrt() - scale).square().sum().item()
    assert frechet_distance(mean, singular, mean, full) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_the_metric_does_not_depend_on_batch_size(batch):
    made, real = rows(120, 6), rows(100, 6, 1)
    score = score_of(FrechetDistance("fid", SPACE, "samples", "resized"), made, real, batch)
    assert score.value == pytest.approx(distance_of(made, real), rel=1e-9)
    assert (score.n, score.protocol) == (120, "made-up6/resized/n=120/samples")


def test_the_error_of_reconstructions_is_that_of_originals_and_reconstructions_drawn_together():
    """The jackknife over pairs: each image left out with its reconstruction (Efron 1982)."""
    real = rows(150, 5, 1)
    made = 0.8 * real + 0.2 * rows(150, 5, 2)
    score = score_of(FrechetDistance("fid", SPACE, "recon"), made, real)
    keep = [[other for other in range(150) if other != left] for left in range(150)]
    without = np.array([distance_of(made[rest], real[rest]) for rest in keep])
    jackknife = math.sqrt(149 / 150 * np.square(without - without.mean()).sum())
    assert score.std_error == pytest.approx(jackknife, rel=0.05)
    assert score_of(FrechetDistance("fid", SPACE, "samples"), made, real).std_error > 1.3 * score.std_error


def test_the_metric_reads_the_real_moments_from_where_they_are_kept():
    metric, reference = FrechetDistance("fid", SPACE, "recon"), Real(rows(20, 6, 1))
    for _ in range(9):
        metric.update(EvalBatch(features={"reconstruction": rows(30, 6)}))
    metric.score(Context(reference=lambda space, split: reference))
    assert reference.computed == ["moments"]


@pytest.mark.parametrize(
    ("made", "real", "words"),
    [
        (rows(1, 6), rows(9, 6), "2 images or more of each kind, there are 1 and 9"),
        (rows(0, 6), rows(9, 6), "there are 0 and 9"),
        (rows(9, 6), rows(1, 6), "there are 9 and 1"),
        (rows(9, 6) / 0, rows(9, 6), "not finite"),
        (rows(9, 6), rows(9, 6) * math.nan, "not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(made, real, words):
    with pytest.raises(UserError, match=words) as caught:
        score_of(FrechetDistance("fid", SPACE, "samples", "resized"), made, real)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("made", "real", "words"),
    [
        (rows(99, 6), rows(200, 6), "needs 100 images or more, there are 99"),
        (rows(200, 6), rows(99, 6), "needs 100 real images or more, there are 99"),
        (rows(120, 6) / 0, rows(120, 6), "features of images are not finite"),
        (rows(120, 6), rows(120, 6) * math.nan, "features of real images are not finite"),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(made, real, words):
    with pytest.raises(UserError, match=words):
        score_of(FrechetInfinity("fid", SPACE, "samples", "resized"), made, real)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_extrapolation_is_nearer_to_the_true_value_than_the_plain_distance(seed):
    """Of unit Gaussians a shift apart, against many real ones: the plain distance of few is far too large."""
    draw, d, n = torch.Generator().manual_seed(seed), 16, 300
    real = torch.randn(40_000, d, generator=draw)
    made = torch.randn(n, d, generator=draw) + 0.2
    moments = Moments.of(real)
    true = frechet_distance(
        torch.full((d,), 0.2).double(), torch.eye(d, dtype=torch.float64), moments.mean, moments.covariance
    )
    plain = score_of(FrechetDistance("fid", SPACE, "samples", "resized"), made, real).value
    score = score_of(FrechetInfinity("fid", SPACE, "samples", "resized"), made, real)
    assert abs(score.value - true) < 0.7 * abs(plain - true)
    assert plain > true
    assert score.protocol == f"made-up6/resized/n=infinity(from {n})/samples"


def test_the_extrapolation_draws_the_same_subsets_again_and_leaves_the_global_rng_alone(global_rng_untouched):
    made, real = rows(150, 6), rows(200, 6, 1)
    values = [score_of(FrechetInfinity("fid", SPACE, "samples", ""), made, real, size).value for size in (150, 11)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_pinned():
    made, real = rows(120, 6), rows(100, 6, 1)
    assert distance_of(made, real) == pytest.approx(0.6427757350946308, rel=1e-6)
    infinity = score_of(FrechetInfinity("fid", SPACE, "samples", ""), made, real).value
    assert infinity == pytest.approx(0.10029205336493394, rel=1e-6)
