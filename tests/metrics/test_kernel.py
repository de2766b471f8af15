"""The kernel distance against torch-fidelity and plain loops, its subsets, and the metric round it."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from vaebench.core.context import Context, FeatureSpace, Reference
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch
from vaebench.metrics import kernel
from vaebench.metrics.kernel import KernelDistance, kernel_distance, mmd_derivatives, of_subsets, polynomial_mmd

SPACE = FeatureSpace("made-up", "6")


class Real(Reference):
    """Real features, nothing kept."""

    def __init__(self, features):
        self._features = features

    @property
    def features(self):
        return self._features

    def statistic(self, name, compute):
        return compute(self._features)


def rows(n, d, seed=0):
    """float32 (n, d), the seeds' means apart."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 0.5 * seed


def score_of(made, real, *, subsets=10, size=1000, batch=7):
    metric = KernelDistance(SPACE, "samples", subsets, size, "resized")
    for part in made.split(batch):
        metric.update(EvalBatch(features={"sample": part}))
    return metric.score(Context(reference=lambda space, split: Real(real)))


@pytest.fixture(params=["all pairs", "subsets"])
def way(request, monkeypatch):
    """From all pairs at once, or each subset by itself."""
    monkeypatch.setattr(kernel, "_MARKED", 0 if request.param == "subsets" else math.inf)
    return request.param


@pytest.mark.parametrize(("n", "m", "d"), [(50, 60, 6), (40, 40, 1), (45, 200, 80)])
@pytest.mark.parametrize(("subsets", "size"), [(1, 40), (7, 13), (3, 2)])
def test_it_is_torch_fidelity_s_subset_for_subset(n, m, d, subsets, size, way):
    made, real = rows(n, d).double(), rows(m, d, 1).double()
    expected = kid_features_to_metric(made, real, kid_subsets=subsets, kid_subset_size=size, verbose=False)
    assert kernel_distance(made, real, subsets, size) == pytest.approx(
        expected["kernel_inception_distance_mean"], rel=1e-6
    )


@pytest.mark.parametrize("block", [(1, 1), (3, 6), (2, 64)])
@pytest.mark.parametrize(("subsets", "size"), [(9, 30), (4, 57)])
def test_both_ways_say_the_same(subsets, size, block, monkeypatch):
    made, real = rows(57, 20), rows(64, 20, 1)
    monkeypatch.setattr(kernel, "BLOCK", block)
    expected = [polynomial_mmd(x, y) for x, y in drawn(made, real, subsets, size)]
    monkeypatch.setattr(kernel, "_MARKED", 0)
    apart, derivatives = of_subsets(made, real, subsets, size)
    monkeypatch.undo()
    together, precise = of_subsets(made, real, subsets, size)
    assert apart == pytest.approx(expected, rel=1e-12)
    assert together == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(derivatives, precise, rtol=1e-5, atol=1e-6)


def drawn(made, real, subsets, size):
    """The pairs of subsets that torch-fidelity draws."""
    draw = np.random.RandomState(2020)
    for _ in range(subsets):
        first, second = (draw.choice(len(each), size, replace=False) for each in (made, real))
        yield made[torch.from_numpy(first)], real[torch.from_numpy(second)]


@pytest.mark.parametrize("n", [9, 70])
def test_derivatives_by_hand(n):
    made, real = rows(n, 5).double(), rows(13, 5, 1).double()
    kernels = [(made @ other.T / 5 + 1) ** 3 for other in (made, real)]
    within = (kernels[0].sum(dim=1) - kernels[0].diagonal()) / (n - 1)
    torch.testing.assert_close(mmd_derivatives(made, real), 2 * (within - kernels[1].mean(dim=1)), rtol=1e-5, atol=1e-6)


def test_many_subsets_of_few_images_are_from_all_pairs_and_few_of_many_are_not(monkeypatch):
    asked = []
    monkeypatch.setattr(kernel, "polynomial_mmd", lambda x, y: asked.append(len(x)) or 0.0)
    of_subsets(rows(40, 6), rows(50, 6, 1), 30, 40)
    assert not asked
    of_subsets(rows(400, 60), rows(500, 60, 1), 3, 40)
    assert asked == [40] * 3


@pytest.mark.parametrize(("n", "m", "d"), [(5, 7, 3), (2, 2, 1), (12, 4, 30)])
@pytest.mark.parametrize("block", [(2, 4), (256, 2048)])
def test_the_unbiased_estimate_by_hand(n, m, d, block, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", block)
    x, y = rows(n, d).double().numpy(), rows(m, d, 1).double().numpy()

    def value(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / d + 1) ** 3

    within_x = sum(value(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(value(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(value(a, b) for a in x for b in y) / (n * m)
    expected = within_x + within_y - 2 * between
    found = polynomial_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert found == pytest.approx(expected, rel=1e-9)
    assert polynomial_mmd(torch.from_numpy(y), torch.from_numpy(x)) == pytest.approx(expected, rel=1e-9)


def test_it_is_unbiased():
    """Over many draws of few images of one distribution: a mean of 0 within its error, values on both sides."""
    noise = torch.randn(600, 16, 4, generator=torch.Generator().manual_seed(4))
    values = np.array([polynomial_mmd(*each.split(8)) for each in noise])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    assert (values < 0).any() and (values > 0).any()


def test_it_is_unmoved_by_a_rotation_and_the_order_of_rows():
    x, y = rows(30, 6).double(), rows(20, 6, 1).double()
    value = polynomial_mmd(x, y)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)).Q
    assert polynomial_mmd(x @ turn, y @ turn) == pytest.approx(value, rel=1e-9)
    assert polynomial_mmd(x.flip(0), y.flip(0)) == pytest.approx(value, rel=1e-9)


def test_it_grows_with_the_distance_of_the_sets():
    x, y = rows(400, 6).split(200)
    values = [polynomial_mmd(x, y + shift) for shift in (0.0, 0.2, 0.5, 1.0)]
    assert values == sorted(values) and values[-1] > 0.5


def test_float32_features_are_taken_in_float64(way):
    made, real = rows(60, 500) * 30, rows(50, 500, 1) * 30
    assert kernel_distance(made, real, 5, 40) == kernel_distance(made.double(), real.double(), 5, 40)


@pytest.mark.parametrize(("made", "real", "size"), [(40, 60, 40), (60, 40, 40), (9, 60, 9), (60, 60, 50)])
def test_subsets_hold_no_more_than_there_are_and_the_protocol_says_so(made, real, size):
    x, y = rows(made, 6), rows(real, 6, 1)
    score = score_of(x, y, subsets=4, size=50)
    assert score.protocol == f"made-up6/resized/poly3/4x{size}/n={made}/samples"
    assert score.value == kernel_distance(x, y, 4, size)
    assert score.n == made


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_the_metric_does_not_depend_on_batch_size(batch):
    made, real = rows(70, 6), rows(80, 6, 1)
    expected = kernel_distance(made, real, 10, 30)
    assert score_of(made, real, size=30, batch=batch).value == pytest.approx(expected, rel=1e-5)


def test_merging_keeps_the_order_of_rows():
    made, real = rows(70, 6), rows(80, 6, 1)
    first, second = (KernelDistance(SPACE, "samples", 10, 30, "resized") for _ in range(2))
    first.update(EvalBatch(features={"sample": made[:20]}))
    second.update(EvalBatch(features={"sample": made[20:]}))
    first.merge(second)
    score = first.score(Context(reference=lambda space, split: Real(real)))
    assert score.value == kernel_distance(made, real, 10, 30)


def test_global_generators_are_left_alone(global_rng_untouched):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    score_of(rows(20, 6), rows(30, 6, 1))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("made", "real", "words"),
    [
        (rows(1, 6), rows(9, 6), "needs 2 images or more, there are 1"),
        (rows(9, 6), rows(1, 6), "needs 2 real images or more, there are 1"),
        (rows(9, 6) / 0, rows(9, 6), "features of images are not finite"),
        (rows(9, 6), rows(9, 6) * math.nan, "features of real images are not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(made, real, words):
    with pytest.raises(UserError, match=words):
        score_of(made, real)


@pytest.mark.parametrize(("subsets", "size"), [(0, 10), (-1, 10), (5, 1), (5, 0)])
def test_options_that_mean_nothing_are_refused(subsets, size):
    with pytest.raises(UserError, match=rf"kid\.subsets={subsets}, kid\.size={size}: give"):
        KernelDistance(SPACE, "samples", subsets, size, "resized")


def test_an_estimate_of_one_row_is_a_fault():
    with pytest.raises(ValueError, match="2 rows or more, not 1"):
        polynomial_mmd(rows(1, 6), rows(5, 6))


def test_pinned():
    assert polynomial_mmd(rows(50, 6), rows(60, 6, 1)) == pytest.approx(1.4415420006990374, rel=1e-6)
    assert score_of(rows(70, 6), rows(80, 6, 1), size=30).value == pytest.approx(1.2464204040422746, rel=1e-6)
