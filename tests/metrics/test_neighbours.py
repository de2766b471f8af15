"""Neighbourhoods of features: against plain loops, scikit-learn and torch-fidelity, and what must hold of them."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_prc import prc_features_to_metric

from vaebench.core.errors import UserError
from vaebench.metrics.functional import distances, diversity, screening
from vaebench.metrics.functional.neighbours import (
    closer_than_own_neighbour,
    density_coverage,
    manifold_coverage,
    nearest_distances,
    precision_recall,
    sorted_distances,
)


def mean_pairwise_distance(features):
    return diversity.mean_pairwise_distance(features).value


def vendi_score(features):
    return diversity.vendi_score(features).value


SHAPES = [(40, 30, 6), (25, 60, 1), (11, 12, 50)]


def sets(n, m, d, seed=0):
    """Real and generated features: float32 (n, d) and (m, d), the second somewhat narrower and aside."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw), 0.8 * torch.randn(m, d, generator=draw) + 0.2


def grid(n, m, d, seed=0):
    """Features of few whole numbers: ties and duplicates everywhere, and every squared distance is exact."""
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, 4, (rows, d), generator=draw).float() for rows in (n, m))


def squared_by_hand(a, b):
    a, b = a.double().numpy(), b.double().numpy()
    return np.array([[((x - y) ** 2).sum() for y in b] for x in a])


def squared_radii_by_hand(x, k):
    squared = squared_by_hand(x, x)
    np.fill_diagonal(squared, np.inf)
    return np.sort(squared, axis=1)[:, k - 1]


def inside_by_hand(points, centres, k, open_=False):
    squares, radii = squared_by_hand(points, centres), squared_radii_by_hand(centres, k)[None, :]
    return squares < radii if open_ else squares <= radii


def in_blocks(monkeypatch, rows, numbers=2**23):
    """Blocks of at most so many rows (whole groups of them, of pairs), and of so many numbers."""
    for module in (distances, screening):
        monkeypatch.setattr(module, "BLOCK", rows)
    monkeypatch.setattr(distances, "_NUMBERS", numbers)
    monkeypatch.setattr(screening, "SHELF", numbers)
    monkeypatch.setattr(screening, "_AT_ONCE", numbers)


@pytest.fixture(params=[1, 7, 2048])
def block(request, monkeypatch):
    in_blocks(monkeypatch, request.param)
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [1, 4])
def test_distances_equal_scikit_learn(shape, k, block):
    real, generated = (each.double() for each in sets(*shape))
    reference = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(real.numpy())
    result = sorted_distances(generated, real, k)
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result, reference.kneighbors(generated.numpy())[0], rtol=1e-9)
    np.testing.assert_allclose(sorted_distances(real, real, k, same=True), reference.kneighbors()[0], rtol=1e-9)
    assert torch.equal(nearest_distances(generated, real, k), result[:, -1])


@pytest.mark.parametrize("make", [sets, grid])
@pytest.mark.parametrize("shape", SHAPES)
def test_precision_recall_by_hand(make, shape, block):
    real, generated = make(*shape)
    result = precision_recall(real, generated, k=3)
    precise, recalled = inside_by_hand(generated, real, 3).any(axis=1), inside_by_hand(real, generated, 3).any(axis=1)
    assert result.precision_per_generated.tolist() == precise.tolist()
    assert result.recall_per_real.tolist() == recalled.tolist()
    assert (result.precision, result.recall) == pytest.approx((precise.mean(), recalled.mean()), abs=1e-12)


@pytest.mark.parametrize("make", [sets, grid])
@pytest.mark.parametrize("shape", SHAPES)
def test_density_coverage_by_hand(make, shape, block):
    real, generated = make(*shape)
    result = density_coverage(real, generated, k=5)
    inside = inside_by_hand(generated, real, 5)
    surfaces = inside & ~inside_by_hand(generated, real, 5, open_=True)
    counted = (inside & ~surfaces).sum(axis=1) + surfaces.sum(axis=1).clip(max=5)
    assert result.density_per_generated.tolist() == pytest.approx((counted / 5).tolist(), abs=1e-12)
    assert result.coverage_per_real.tolist() == inside.any(axis=0).tolist()
    assert result.density == pytest.approx(counted.sum() / 5 / len(generated), abs=1e-12)
    assert result.coverage == pytest.approx(inside.any(axis=0).mean(), abs=1e-12)


@pytest.mark.parametrize("sparing", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_precision_recall_equals_torch_fidelity(shape, sparing):
    real, generated = (each.double() for each in sets(*shape))
    expected = prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=16, save_cpu_ram=sparing, verbose=False
    )
    result = precision_recall(real, generated, k=3)
    assert result.precision == pytest.approx(expected["precision"], abs=1e-6)  # its means are float32
    assert result.recall == pytest.approx(expected["recall"], abs=1e-6)


def test_closer_than_own_neighbour_by_hand(block):
    training, points = sets(60, 80, 3)
    points[:30] = training[:30] + 0.3 * points[:30]
    result = closer_than_own_neighbour(points, training, nearest_distances(training, training, 1, same=True))
    squared, own = squared_by_hand(points, training), squared_radii_by_hand(training, 1)
    assert result.tolist() == [row.min() < own[row.argmin()] for row in squared]
    assert 0 < result.sum() < len(points)


def test_copies_count_and_duplicates_of_the_training_images_hide_none():
    training, points = sets(20, 10, 4)
    training[1] = training[0]  # its own neighbour is at 0: no point can be nearer than that
    points[:5] = training[:5]
    points[9] = training[0] + 1e-3
    radii = nearest_distances(training, training, 1, same=True)
    assert radii[:2].tolist() == [0, 0]
    assert closer_than_own_neighbour(points, training, radii)[[0, 1, 2, 3, 4, 9]].tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_of_training_images_equally_near_one_suffices(order):
    training = torch.tensor([[-1.0], [1.0], [1.5]])[order]  # of the two at 1, one has its own neighbour farther off
    radii = nearest_distances(training, training, 1, same=True)
    assert closer_than_own_neighbour(torch.zeros(1, 1), training, radii).tolist() == [True]


def test_mean_pairwise_distance_by_hand(block):
    features, _ = sets(33, 1, 5)
    distances = np.sqrt(squared_by_hand(features, features))
    assert mean_pairwise_distance(features) == pytest.approx(distances.sum() / (33 * 32), rel=1e-9)
    assert mean_pairwise_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)
    assert mean_pairwise_distance(torch.full((9, 3), 7.3)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(30, 5), (5, 30), (12, 12), (20, 1)])
def test_vendi_score_by_hand(shape, block):
    features = sets(shape[0], 1, shape[1])[0].double()
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / shape[0]).clip(1e-300)
    assert vendi_score(features) == pytest.approx(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()), rel=1e-9)


@pytest.mark.parametrize("dimensions", [4, 100])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_vendi_score_counts_groups_at_right_angles(groups, dimensions):
    features = torch.eye(dimensions)[:groups].repeat_interleave(9, dim=0) * torch.linspace(1, 2, 9 * groups)[:, None]
    assert vendi_score(features) == pytest.approx(groups, rel=1e-6)


def test_vendi_score_bounds():
    assert vendi_score(torch.tensor([[3.0, 4.0]])) == pytest.approx(1)
    assert vendi_score(torch.eye(7)) == pytest.approx(7)


@pytest.mark.parametrize("make", [sets, grid])
def test_values_do_not_depend_on_the_block(make, monkeypatch):
    real, generated = (each + 100 for each in make(70, 50, 4))
    found = []
    for block, numbers in ((2048, 2**23), (1, 2**23), (13, 2**23), (2048, 40)):
        in_blocks(monkeypatch, block, numbers)
        radii = nearest_distances(real, real, 3, same=True)
        both, dense = precision_recall(real, generated), density_coverage(real, generated)
        copies = closer_than_own_neighbour(generated, real, radii)
        values = [both.precision, both.recall, dense.density, dense.coverage]
        copied = copies.double().mean().item() if make is sets else 0  # a grid has more ties than are looked at
        found.append([*radii.tolist(), *values, copied, mean_pairwise_distance(real), vendi_score(real)])
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("move", ["rotated", "shifted", "scaled", "shuffled"])
def test_shares_and_relations_survive_a_motion(move):
    real, generated = (each.double() for each in sets(50, 40, 5))
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)).double()).Q
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    motions = {
        "rotated": lambda x: x @ rotation,
        "shifted": lambda x: x + 1e4,
        "scaled": lambda x: 3 * x,
        "shuffled": lambda x: x[order] if len(x) == 50 else x,
    }
    moved, others = motions[move](real), motions[move](generated)
    before, after = precision_recall(real, generated), precision_recall(moved, others)
    assert torch.equal(before.precision_per_generated, after.precision_per_generated)
    assert before.recall == after.recall
    before, after = density_coverage(real, generated), density_coverage(moved, others)
    assert torch.equal(before.density_per_generated, after.density_per_generated)
    assert before.coverage == after.coverage
    ratio = mean_pairwise_distance(moved) / mean_pairwise_distance(real)
    assert ratio == pytest.approx(3 if move == "scaled" else 1, rel=1e-9)
    if move != "shifted":  # a cosine knows where the origin is
        assert vendi_score(moved) == pytest.approx(vendi_score(real), rel=1e-9)


def test_identical_sets_have_one_of_all_and_density_above():
    real, _ = sets(60, 1, 8)
    real[10:20] = real[:10]
    both, dense = precision_recall(real, real.clone()), density_coverage(real, real.clone())
    assert (both.precision, both.recall, dense.coverage) == (1, 1, 1)
    assert dense.density > 1  # everyone is in one's own ball, and in those of whose k-th neighbour or nearer one is


def test_where_all_are_one_point_all_are_inside():
    real = torch.full((9, 3), 0.7)
    both, dense = precision_recall(real, real), density_coverage(real, real)
    # each lies on the surfaces of nine balls of radius 0, of which k = 5 count
    assert (both.precision, both.recall, dense.density, dense.coverage) == (1, 1, 1, 1)


def test_copies_of_one_real_image_do_not_make_a_copy_of_it_denser():
    real, _ = sets(200, 1, 3)
    few, many = (torch.cat([real, real[:1].expand(copies, 3)]) for copies in (6, 60))
    shown = [density_coverage(rows, real[:1].clone(), k=5).density for rows in (few, many)]
    # on the surfaces of the copies' balls and of those that reach to them: k count
    assert shown == [1, 1]


def test_a_collapsed_generator_is_precise_and_recalls_little():
    real, noise = sets(200, 200, 4)
    collapsed = real[:1] + 1e-3 * noise
    both, dense = precision_recall(real, collapsed), density_coverage(real, collapsed)
    assert both.precision == 1
    assert both.recall <= 1 / 200
    assert dense.coverage < 0.15


def test_a_scattered_generator_recalls_much_and_is_not_precise():
    real, noise = sets(200, 200, 4)
    both = precision_recall(real, 10 * noise)
    assert both.recall > 0.9
    assert both.precision < 0.1


def test_one_distribution_has_a_density_of_one():
    draw = torch.Generator().manual_seed(3)
    result = density_coverage(torch.randn(3000, 4, generator=draw), torch.randn(3000, 4, generator=draw))
    assert result.density == pytest.approx(1, abs=0.05)
    assert result.coverage == pytest.approx(1 - 0.5**5, abs=0.02)  # the paper's expectation for equal numbers


def test_self_is_left_out_by_index_and_duplicates_are_at_zero():
    features = torch.tensor([[1e3, 1.0], [1e3, 1.0], [1e3, 4.0], [1e3, 4.0], [1e3, 4.0]])
    assert sorted_distances(features, features, 2, same=True).tolist() == [[0, 3], [0, 3], [0, 0], [0, 0], [0, 0]]
    assert sorted_distances(features, features, 2).tolist() == [[0, 0]] * 5


def test_duplicates_are_at_zero_whatever_rounding_does(block):
    real, _ = sets(40, 1, 37)
    twice = torch.cat([real, real]) / 3 + 10
    assert nearest_distances(twice, twice, 1, same=True).tolist() == [0] * 80
    assert density_coverage(twice, twice, k=1).coverage_per_real.tolist() == [1] * 80


def test_far_from_the_origin_near_points_keep_their_distance():
    features = 1e6 + torch.arange(6).double()[:, None] * 1e-4
    assert nearest_distances(features, features, 1, same=True).tolist() == pytest.approx([1e-4] * 6, rel=1e-5)


def test_radii_at_hand_are_used():
    real, generated = sets(40, 30, 6)
    three, five = (nearest_distances(real, real, k, same=True) for k in (3, 5))
    assert precision_recall(real, generated, real_radii=three) == precision_recall(real, generated)
    assert density_coverage(real, generated, real_radii=five) == density_coverage(real, generated)
    assert precision_recall(real, generated, real_radii=0 * three).precision == 0
    with pytest.raises(ValueError, match=r"\(30,\) radii of 40 centres"):
        precision_recall(real, generated, real_radii=three[:30])
    with pytest.raises(ValueError, match="radii"):
        closer_than_own_neighbour(generated, real, three[:30])


def test_no_points_have_no_values():
    real, _ = sets(40, 1, 6)
    radii = nearest_distances(real, real, 3, same=True)
    assert nearest_distances(real[:0], real, 3).shape == (0,)
    assert manifold_coverage(real[:0], real, radii).shape == (0,)
    assert manifold_coverage(real, real[:0], radii[:0]).tolist() == [False] * 40
    assert closer_than_own_neighbour(real[:0], real, radii).shape == (0,)


FINE = torch.eye(6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: precision_recall(FINE[:3], FINE, k=3), "no neighbour number 3 among 3 images"),
        (lambda: precision_recall(FINE, FINE[:3], k=3), "no neighbour number 3 among 3 images"),
        (lambda: density_coverage(FINE[:5], FINE, k=5), "no neighbour number 5 among 5 images"),
        (lambda: density_coverage(FINE, FINE[:0], k=5), "there are none"),
        (lambda: nearest_distances(FINE, FINE, 0), "no neighbour number 0"),
        (lambda: nearest_distances(FINE, FINE[:0], 1), "no neighbour number 1 among 0"),
        (lambda: precision_recall(FINE, FINE[:, :5]), r"\(6, 6\) and \(6, 5\) do not go together"),
        (lambda: density_coverage(FINE, FINE[0]), "do not go together"),
        (lambda: mean_pairwise_distance(FINE[0]), "do not go together"),
        (lambda: mean_pairwise_distance(FINE[:1]), "at least 2"),
        (lambda: vendi_score(FINE[:0]), "there are none"),
        (lambda: vendi_score(FINE - torch.ones(6).diag()), "all 0"),
        (lambda: vendi_score(FINE / 0), "not finite"),
        (lambda: precision_recall(FINE, FINE * math.nan), "not finite"),
        (lambda: manifold_coverage(FINE * math.inf, FINE, FINE[0]), "not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, words):
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_a_gpu_says_the_same():
    """Of each image the same, to the bit; means are added up in another order there."""
    real, generated = sets(300, 200, 20)
    for function in (precision_recall, density_coverage):
        found, expected = function(real.cuda(), generated.cuda()), function(real, generated)
        for field in fields(expected):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            assert torch.equal(one.cpu(), other) if field.name.count("_") else one == pytest.approx(other, rel=1e-12)
    for function in (mean_pairwise_distance, vendi_score):
        assert function(real.cuda()) == pytest.approx(function(real), rel=1e-9)


def test_pinned():
    real, generated = sets(100, 90, 5, seed=4)
    both, dense = precision_recall(real, generated), density_coverage(real, generated)
    radii = nearest_distances(real, real, 1, same=True)
    values = (both.precision, both.recall, dense.density, dense.coverage)
    assert values == pytest.approx((88 / 90, 70 / 100, 534 / 450, 99 / 100), rel=1e-9)
    assert radii.mean().item() == pytest.approx(1.1474522020130569, rel=1e-6)
    assert closer_than_own_neighbour(generated, real, radii).sum().item() == 46
    assert mean_pairwise_distance(real) == pytest.approx(3.0953193937955112, rel=1e-6)
    assert vendi_score(real) == pytest.approx(4.921527003749489, rel=1e-6)
