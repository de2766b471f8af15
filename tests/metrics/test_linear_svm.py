"""Linear support vector machines: against scikit-learn's LinearSVC, closed forms and autograd."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from vaebench.core.errors import UserError
from vaebench.metrics.probes.linear_svm import LinearSVMs, fit, objective


def problems(n, d, k, *, seed=0, rates=(0.02, 0.5), noise=1.0):
    """Correlated Gaussian features (n, d) float64 off the origin, and noisy linear rules of given base rates (n, k)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = normal(n, d) @ (torch.eye(d, dtype=torch.float64) + 0.3 * normal(d, d) / d**0.5) + 0.2 * normal(d)
    scores = features @ normal(d, k)
    scores = (scores - scores.mean(dim=0)) / scores.std(dim=0) + noise * normal(n, k)
    yes = (torch.linspace(*rates, k, dtype=torch.float64) * n).long().clamp(min=1)
    cut = scores.sort(dim=0, descending=True).values[yes, torch.arange(k)]
    return features, scores > cut


def reference(features, targets, c):
    """LinearSVC, one problem at a time."""
    weights, bias = [], []
    for column in targets.T:
        svm = LinearSVC(dual=False, C=c, tol=1e-8, max_iter=20000).fit(features.numpy(), column.numpy())
        weights.append(svm.coef_[0])
        bias.append(svm.intercept_[0])
    return LinearSVMs(weights=torch.from_numpy(np.stack(weights, axis=1)), bias=torch.tensor(bias, dtype=torch.float64))


def written_out(weights, bias, features, targets, c):
    """The objective as its formula stands, (k,) float64."""
    signs = 2 * targets.double() - 1
    slack = torch.relu(1 - signs * (features.double() @ weights + bias))
    return 0.5 * (weights.square().sum(dim=0) + bias.square()) + c * slack.square().sum(dim=0)


def assert_optimal(svms, features, targets, c):
    """By autograd in float64: the objective is strongly convex, so half the squared gradient bounds the gap."""
    weights, bias = svms.weights.clone().requires_grad_(), svms.bias.clone().requires_grad_()
    value = written_out(weights, bias, features, targets, c)
    by_weights, by_bias = torch.autograd.grad(value.sum(), (weights, bias))
    gap = 0.5 * (by_weights.square().sum(dim=0) + by_bias.square())
    assert (gap <= 1.01e-8 * value).all()
    torch.testing.assert_close(objective(svms, features, targets, c), value.detach(), rtol=1e-12, atol=0)


def assert_same(found, expected, *, tolerance=1e-4):
    assert found.weights.dtype == found.bias.dtype == torch.float64
    scale = expected.weights.abs().max()
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=tolerance * scale.item())
    torch.testing.assert_close(found.bias, expected.bias, rtol=0, atol=tolerance * max(1.0, scale.item()))


def assert_as_good(found, expected, features, targets, c):
    ours, theirs = objective(found, features, targets, c), objective(expected, features, targets, c)
    assert (ours <= theirs * (1 + 1e-6)).all()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
    same = (found.decision(features) > 0) == (expected.decision(features) > 0)
    assert same.double().mean() >= 0.999


@pytest.mark.parametrize("c", [1e-3, 1.0, 20.0])
@pytest.mark.parametrize(("n", "d"), [(500, 8), (2000, 30), (9000, 10)])  # the last is solved by samples first
def test_equals_linear_svc(n, d, c):
    features, targets = problems(n, d, 40)
    found = fit(features, targets, c)
    assert (found.weights.shape, found.bias.shape) == ((d, 40), (40,))
    assert_as_good(found, reference(features, targets, c), features, targets, c)
    assert_optimal(found, features, targets, c)


@pytest.mark.parametrize("c", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("n", [1000, 20000])
def test_equals_linear_svc_where_one_in_a_hundred_says_yes(n, c):
    features, targets = problems(n, 6, 2, rates=(0.01, 0.01), noise=0.3)
    found = fit(features, targets, c)
    assert_as_good(found, reference(features, targets, c), features, targets, c)
    assert_optimal(found, features, targets, c)


@pytest.mark.parametrize("n", [40, 300, 9000])
@pytest.mark.parametrize("c", [1e-4, 1.0, 1e3])
def test_separable_problems_are_optimal(n, c):
    features, targets = problems(n, 60, 3, noise=0.0)
    found = fit(features, targets, c)
    assert_optimal(found, features, targets, c)
    if c == 1e3:
        assert ((found.decision(features) > 0) == targets).double().mean() > 0.999


def test_fewer_rows_than_features_equals_linear_svc():
    features, targets = problems(50, 80, 40, rates=(0.1, 0.5))
    found = fit(features, targets, 0.1)
    assert_as_good(found, reference(features, targets, 0.1), features, targets, 0.1)


@pytest.mark.parametrize("n", [700, 9000])
@pytest.mark.parametrize("c", [1e-4, 1.0, 1e3])
def test_features_need_no_standardising(n, c):
    """Scales from a thousandth to ten thousand, means off by up to 100."""
    features, targets = problems(n, 8, 3)
    features = features * torch.logspace(-3, 4, 8, dtype=torch.float64) + torch.linspace(-100, 100, 8).double()
    found = fit(features, targets, c)
    assert_optimal(found, features, targets, c)


def test_badly_scaled_features_equal_linear_svc():
    features, targets = problems(9000, 4, 3)
    features = features * torch.tensor([0.01, 1.0, 1.0, 30.0])
    assert_as_good(fit(features, targets, 1.0), reference(features, targets, 1.0), features, targets, 1.0)


@pytest.mark.parametrize("n", [600, 9000])
def test_copies_of_a_feature_share_its_weight(n):
    features, targets = problems(n, 5, 4)
    found = fit(torch.cat([features, features[:, :1]], dim=1), targets, 1.0)
    torch.testing.assert_close(found.weights[0], found.weights[5], rtol=1e-4, atol=1e-6)
    scaled = features * torch.tensor([2**0.5, 1, 1, 1, 1])  # |(w, w)| = |w sqrt(2)|: one feature, the larger
    single = fit(scaled, targets, 1.0)
    torch.testing.assert_close(found.weights[0] * 2**0.5, single.weights[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [600, 9000])
def test_a_constant_feature_is_a_second_bias(n):
    features, targets = problems(n, 5, 4)
    found = fit(torch.cat([features, torch.full((n, 1), 3.0)], dim=1), targets, 0.01)
    torch.testing.assert_close(found.weights[5], 3 * found.bias, rtol=1e-4, atol=1e-6)
    useless = fit(torch.cat([features, torch.zeros(n, 1)], dim=1), targets, 0.01)
    assert useless.weights[5].tolist() == [0, 0, 0, 0]
    assert_same(LinearSVMs(weights=useless.weights[:5], bias=useless.bias), fit(features, targets, 0.01))


@pytest.mark.parametrize(("n", "c"), [(1, 1.0), (7, 1e-4), (9000, 0.5), (9000, 1e3)])
def test_closed_form_without_information(n, c):
    """Zeros as the only feature, and one class: 0.5 b^2 + C n (1 - b)^2 is least at 2 C n / (1 + 2 C n)."""
    targets = torch.zeros(n, 2, dtype=torch.bool)
    targets[:, 1] = True
    found = fit(torch.zeros(n, 1), targets, c)
    expected = 2 * c * n / (1 + 2 * c * n)
    assert found.weights.tolist() == [[0, 0]]
    assert found.bias.tolist() == pytest.approx([-expected, expected], rel=1e-5)


def test_one_class_beside_others():
    features, targets = problems(400, 5, 3)
    targets[:, 1] = True
    found = fit(features, targets, 1.0)
    assert_optimal(found, features, targets, 1.0)
    assert (found.decision(features)[:, 1] > 0).all()


def test_one_feature_one_problem():
    features, targets = problems(300, 1, 1, rates=(0.4, 0.4))
    found = fit(features, targets, 1.0)
    assert_as_good(found, reference(features, targets, 1.0), features, targets, 1.0)


SIZES = [(800, 12), (9000, 12)]  # solved whole, and by samples first


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_the_order_of_rows_does_not_matter(n, d):
    features, targets = problems(n, d, 5)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    assert_same(fit(features[order], targets[order], 1.0), fit(features, targets, 1.0))


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_a_problem_is_the_same_among_others(n, d):
    features, targets = problems(n, d, 40)
    together = fit(features, targets, 1.0)
    flipped = fit(features, targets.flip(1), 1.0)
    assert_same(LinearSVMs(weights=flipped.weights.flip(1), bias=flipped.bias.flip(0)), together)
    for one in (0, 17, 39):
        alone = fit(features, targets[:, [one]], 1.0)
        assert_same(alone, LinearSVMs(weights=together.weights[:, [one]], bias=together.bias[[one]]))


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("c", [1e-3, 1e3])
def test_a_warm_start_leads_to_the_same(n, d, c):
    features, targets = problems(n, d, 5)
    start = fit(features, targets, 1.0)
    kept = start.weights.clone()
    assert_same(fit(features, targets, c, start=start), fit(features, targets, c))
    assert torch.equal(start.weights, kept)
    wild = LinearSVMs(weights=1e4 * torch.ones(d, 5).double(), bias=-1e6 * torch.ones(5).double())
    assert_same(fit(features, targets, c, start=wild), fit(features, targets, c))


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_mirrored_targets_and_features_mirror_the_weights(n, d):
    features, targets = problems(n, d, 5)
    found = fit(features, targets, 1.0)
    opposite = LinearSVMs(weights=-found.weights, bias=-found.bias)
    assert_same(fit(features, ~targets, 1.0), opposite)
    assert_same(fit(-features, targets, 1.0), LinearSVMs(weights=-found.weights, bias=found.bias))


def test_rows_twice_are_twice_the_weight():
    features, targets = problems(5000, 6, 4)
    twice = fit(features.repeat(2, 1), targets.repeat(2, 1), 0.01)
    assert_same(twice, fit(features, targets, 0.02))


def test_deterministic_and_leaves_the_global_generator_alone():
    features, targets = problems(9000, 6, 4)
    state = torch.get_rng_state()
    first, second = fit(features, targets, 1.0), fit(features, targets, 1.0)
    assert torch.equal(first.weights, second.weights) and torch.equal(first.bias, second.bias)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_precisions_are_taken_as_they_are(dtype):
    features, targets = problems(700, 6, 4)
    assert_same(fit(features.to(dtype).requires_grad_(), targets, 1.0), fit(features.to(dtype).double(), targets, 1.0))


def test_decision():
    svms = LinearSVMs(weights=torch.tensor([[1.0, -2.0], [0.5, 0.0]]).double(), bias=torch.tensor([1.0, 3.0]).double())
    assert svms.decision(torch.tensor([[2.0, 4.0]])).tolist() == [[5.0, -1.0]]


def test_objective_by_hand():
    svms = LinearSVMs(weights=torch.tensor([[2.0]]).double(), bias=torch.tensor([-1.0]).double())
    features, targets = torch.tensor([[1.0], [0.5], [0.0]]), torch.tensor([[True], [False], [True]])
    assert objective(svms, features, targets, 0.5).tolist() == [0.5 * 5 + 0.5 * (0 + 1 + 4)]  # decisions 1, 0, -1


def bad(value):
    features = torch.zeros(6, 2)
    features[3, 1] = value
    return features


@pytest.mark.parametrize(
    ("features", "targets", "c", "said"),
    [
        (bad(float("nan")), torch.ones(6, 1).bool(), 1.0, "features are not all finite"),
        (bad(float("inf")), torch.ones(6, 1).bool(), 1.0, "features are not all finite"),
        (torch.zeros(6), torch.ones(6, 1).bool(), 1.0, r"floating \(n, d\)"),
        (torch.zeros(6, 2).int(), torch.ones(6, 1).bool(), 1.0, r"floating \(n, d\)"),
        (torch.zeros(0, 2), torch.ones(0, 1).bool(), 1.0, r"floating \(n, d\)"),
        (torch.zeros(6, 2), torch.ones(5, 1).bool(), 1.0, r"bool \(6, k\)"),
        (torch.zeros(6, 2), torch.ones(6).bool(), 1.0, r"bool \(6, k\)"),
        (torch.zeros(6, 2), torch.ones(6, 1), 1.0, r"bool \(6, k\)"),
        (torch.zeros(6, 2), torch.ones(6, 0).bool(), 1.0, r"bool \(6, k\)"),
        (torch.zeros(6, 2), torch.ones(6, 1).bool(), 0.0, "positive number, not 0"),
        (torch.zeros(6, 2), torch.ones(6, 1).bool(), -1.0, "positive number, not -1"),
        (torch.zeros(6, 2), torch.ones(6, 1).bool(), float("nan"), "positive number, not nan"),
        (1e200 * torch.arange(12).double().view(6, 2), torch.ones(6, 1).bool(), 1.0, "too large"),
    ],
)
def test_errors(features, targets, c, said):
    with pytest.raises(UserError, match=said):
        fit(features, targets, c)


def test_errors_of_starts_and_tolerances():
    features, targets = problems(50, 2, 3)
    for weights, bias in [((3, 3), 3), ((2, 2), 2), ((2, 3), 2)]:
        start = LinearSVMs(weights=torch.zeros(weights).double(), bias=torch.zeros(bias).double())
        with pytest.raises(UserError, match="do not fit the data"):
            fit(features, targets, 1.0, start=start)
        with pytest.raises(UserError, match="do not fit the data"):
            objective(start, features, targets, 1.0)
    lost = LinearSVMs(weights=torch.full((2, 3), float("nan")).double(), bias=torch.zeros(3).double())
    with pytest.raises(UserError, match="not finite"):
        fit(features, targets, 1.0, start=lost)
    with pytest.raises(UserError, match="tolerance is a positive"):
        fit(features, targets, 1.0, tolerance=0.0)


@pytest.mark.parametrize("n", [500, 9000])
def test_what_does_not_converge_is_an_error(n):
    features, targets = problems(n, 5, 4)
    with pytest.raises(UserError, match=r"4 of 4 linear SVMs \(the first is problem 0\) did not reach tolerance"):
        fit(features, targets, 1.0, iterations=1)
    with pytest.raises(UserError, match="did not reach tolerance 1e-300"):
        fit(features, targets, 1.0, tolerance=1e-300)


def test_pinned():
    features, targets = problems(300, 3, 2)
    found = fit(features.float(), targets, 0.5)
    assert objective(found, features.float(), targets, 0.5).tolist() == pytest.approx(
        [10.86635523, 101.2741326], rel=1e-6
    )
    expected = [-0.1407315, 0.2056195, -0.2641047, -0.6018986, 0.0848003, 0.2049172]
    assert found.weights.flatten().tolist() == pytest.approx(expected, rel=1e-4)
    assert found.bias.tolist() == pytest.approx([-1.0887467, 0.3289538], rel=1e-4)
