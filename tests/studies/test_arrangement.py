"""Arrangements of images: against brute force on small grids, and what must hold of large ones."""

import itertools
import math
import sys
import types

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from vaebench.core.errors import UserError
from vaebench.studies import arrangement
from vaebench.studies.arrangement import FRAME, agreement, embedded, mosaic, snapped, trustworthiness


def draw(seed):
    return np.random.default_rng(seed)


def latents_of(seed, n, d=5):
    return draw(seed).standard_normal((n, d)).astype(np.float32)


def two_groups(n=60, d=8):
    latents = latents_of(0, n, d)
    latents[n // 2 :] += 6
    return latents


# --- embedded


@pytest.mark.usefixtures("global_rng_untouched")
def test_embedding_repeats_itself_and_leaves_the_rest_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 to see that nothing draws from it
    latents = two_groups()
    kept = latents.copy()
    first, second = (embedded(latents, method="tsne", seed=0) for _ in range(2))
    assert (first.shape, first.dtype) == ((60, 2), np.float64)
    assert np.array_equal(first, second)
    assert np.array_equal(latents, kept)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_embedding_keeps_groups_apart():
    positions = embedded(two_groups(), method="tsne", seed=0)
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert ((apart.argmin(axis=1) < 30) == (np.arange(60) < 30)).all()


def test_the_fewest_latents_can_be_embedded():
    assert np.isfinite(embedded(latents_of(1, 10, 2), method="tsne", seed=0)).all()


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (latents_of(2, 9), "at least 10 images"),
        (latents_of(2, 10, 1), "2 dimensions"),
        (np.zeros(10, np.float32), "2 dimensions"),
        (np.where(np.arange(60).reshape(12, 5) == 7, np.nan, latents_of(2, 12)), "not finite"),
        (np.ones((12, 3), np.float32), "all latents are the same"),
    ],
)
def test_what_cannot_be_embedded(latents, message):
    with pytest.raises(UserError, match=message):
        embedded(latents, method="tsne", seed=0)


def test_umap_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"pip install 'vaebench\[umap\]'"):
        embedded(latents_of(3, 12), method="umap", seed=0)


def test_umap_is_asked_for_what_it_says(monkeypatch):
    asked = []

    class Stub:
        def __init__(self, **options):
            asked.append(options)

        def fit_transform(self, latents):
            return latents[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Stub))
    latents = latents_of(4, 12)
    result = embedded(latents, method="umap", seed=0)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, latents[:, :2])
    assert 0 <= asked[0].pop("random_state") < 2**32
    assert asked == [{"n_components": 2, "n_neighbors": 11, "n_jobs": 1}]


def test_umap_itself():
    pytest.importorskip("umap")
    first, second = (embedded(two_groups(), method="umap", seed=0) for _ in range(2))
    assert first.shape == (60, 2)
    assert np.array_equal(first, second)


# --- snapped


def cost(positions, cells, columns, rows):
    """Sum of squared distances by loops, after stretching the positions over the grid."""
    total = 0.0
    for axis, last in ((0, columns - 1), (1, rows - 1)):
        values = [position[axis] for position in positions]
        for value, cell in zip(values, cells, strict=True):
            span = max(values) - min(values)
            place = (value - min(values)) / span * last if span else last / 2
            total += (place - (cell % columns if axis == 0 else cell // columns)) ** 2
    return total


@pytest.mark.parametrize(("n", "columns", "rows"), [(6, 3, 2), (6, 2, 3), (5, 3, 2), (4, 3, 3), (3, 1, 4), (1, 2, 2)])
def test_snapping_costs_least_of_all_ways(n, columns, rows):
    for seed in range(5):
        positions = draw(seed).random((n, 2)) * [7, 0.2] + [3, -5]
        cells = snapped(positions, columns, rows)
        assert (cells.dtype, len(set(cells.tolist()))) == (np.int64, n)
        every = itertools.permutations(range(columns * rows), n)
        assert cost(positions, cells, columns, rows) == pytest.approx(
            min(cost(positions, way, columns, rows) for way in every), abs=1e-12
        )


def test_a_grid_stays_as_it_is():
    cells = draw(0).permutation(35)
    positions = np.stack([cells % 7 * 0.3 - 4, cells // 7 * 20.0], axis=1)
    assert np.array_equal(snapped(positions, 7, 5), cells)


def test_snapping_ignores_place_and_scale_and_repeats_itself():
    positions = draw(1).standard_normal((90, 2))
    cells = snapped(positions, 10, 10)
    assert np.array_equal(cells, snapped(positions.copy(), 10, 10))
    assert np.array_equal(cells, snapped(positions * [4, 0.5] + 8, 10, 10))
    assert cells.min() >= 0 and cells.max() < 100


def test_equal_points_have_cells_of_their_own():
    assert sorted(snapped(np.zeros((6, 2)), 3, 2).tolist()) == list(range(6))
    assert snapped(np.zeros((0, 2)), 3, 2).shape == (0,)


def test_what_cannot_be_snapped():
    with pytest.raises(UserError, match="7 images do not fit on 3 x 2 cells"):
        snapped(np.zeros((7, 2)), 3, 2)
    with pytest.raises(UserError, match="finite"):
        snapped(np.full((2, 2), np.nan), 3, 2)
    with pytest.raises(UserError, match=r"\(n, 2\)"):
        snapped(np.zeros((2, 3)), 3, 2)


# --- mosaic


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("framed", [False, True])
def test_mosaic(channels, framed):
    n, height, width, columns, rows = 5, 4, 3, 3, 2
    pictures = draw(2).integers(0, 256, (n, height, width, channels), dtype=np.uint8)
    frames = draw(3).integers(0, 256, (n, 3), dtype=np.uint8) if framed else None
    cells = np.array([4, 0, 5, 2, 1])
    edge = FRAME if framed else 0
    down, across = height + 2 * edge, width + 2 * edge
    expected = np.full((rows * down, columns * across, 3 if framed else channels), 255)
    for i, cell in enumerate(cells):
        top, left = cell // columns * down, cell % columns * across
        if framed:
            expected[top : top + down, left : left + across] = frames[i]
        expected[top + edge : top + edge + height, left + edge : left + edge + width] = pictures[i]
    image_sheet = mosaic(pictures, cells, columns, rows, frames)
    assert image_sheet.dtype == np.uint8
    np.testing.assert_array_equal(image_sheet, expected)


def test_what_is_no_mosaic():
    pictures = np.zeros((2, 3, 3, 1), np.uint8)
    for cells, message in (
        ([0, 0], "same cell"),
        ([0, 4], "outside"),
        ([-1, 0], "outside"),
        ([0], "each image a cell"),
    ):
        with pytest.raises(UserError, match=message):
            mosaic(pictures, np.array(cells), 2, 2)
    with pytest.raises(UserError, match="a colour"):
        mosaic(pictures, np.array([0, 1]), 2, 2, np.zeros((3, 3), np.uint8))
    with pytest.raises(UserError, match="at least one of each"):
        mosaic(pictures, np.array([0, 1]), 0, 2)


# --- trustworthiness


@pytest.mark.parametrize(("n", "neighbours"), [(30, 5), (40, 1), (25, 12)])
def test_trustworthiness_equals_sklearn_where_none_are_tied(n, neighbours):
    latents, positions = latents_of(5, n).astype(np.float64), draw(6).random((n, 2))
    expected = sklearn_trustworthiness(latents, positions, n_neighbors=neighbours)
    assert arrangement._trust(latents, positions, neighbours) == pytest.approx(expected, rel=1e-12)


def test_trustworthiness_is_the_mean_over_choices_among_the_tied():
    n, columns, k = 11, 4, 3
    latents, cells = latents_of(7, n), draw(8).permutation(12)[:n]
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        order = sorted(others, key=lambda j: np.linalg.norm(latents[i].astype(float) - latents[j]))
        apart = {j: math.dist(divmod(cells[i], columns), divmod(cells[j], columns)) for j in others}
        last = sorted(apart.values())[k - 1]
        choices = [
            chosen
            for chosen in itertools.combinations(others, k)
            if all(apart[j] <= last for j in chosen) and {j for j in others if apart[j] < last} <= set(chosen)
        ]
        total += np.mean([sum(max(order.index(j) + 1 - k, 0) for j in chosen) for chosen in choices])
    expected = 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total
    assert trustworthiness(latents, cells, columns, neighbours=k) == pytest.approx(expected, rel=1e-12)


def test_trustworthiness_of_a_perfect_grid_and_of_chance():
    cells = np.arange(400)
    places = np.stack([cells % 20, cells // 20], axis=1).astype(np.float32)
    assert trustworthiness(places, cells, 20) == 1
    assert trustworthiness(places, draw(9).permutation(400), 20) == pytest.approx(0.5, abs=0.05)


def test_trustworthiness_does_not_hang_on_the_images_order_or_the_sheets_side():
    latents, cells, order = latents_of(10, 64), draw(11).permutation(64), draw(12).permutation(64)
    value = trustworthiness(latents, cells, 8)
    assert trustworthiness(latents[order], cells[order], 8) == pytest.approx(value, rel=1e-12)
    assert trustworthiness(latents, 63 - cells, 8) == pytest.approx(value, rel=1e-12)


def test_trustworthiness_needs_more_images():
    with pytest.raises(UserError, match="10 neighbours of 20 images"):
        trustworthiness(latents_of(13, 20), np.arange(20), 5)


def test_snapped_embedding_is_trustworthy():
    latents = two_groups(64)
    cells = snapped(embedded(latents, method="tsne", seed=0), 8, 8)
    assert trustworthiness(latents, cells, 8) > 0.75
    assert agreement(cells, 8, np.arange(64) < 32).share > 0.85


# --- agreement


def test_agreement_by_loops_and_chance_by_all_orders():
    columns, cells = 3, np.array([0, 1, 3, 5, 4, 8])
    attribute = np.array([True, False, True, True, False, False])
    adjacent = [
        (i, j)
        for i, j in itertools.combinations(range(6), 2)
        if math.dist(divmod(cells[i], columns), divmod(cells[j], columns)) == 1
    ]
    assert len(adjacent) == 6
    found = agreement(cells, columns, attribute)
    assert found.pairs == 6
    assert found.share == np.mean([attribute[i] == attribute[j] for i, j in adjacent])
    every = [agreement(cells, columns, attribute[list(order)]).share for order in itertools.permutations(range(6))]
    assert found.chance == pytest.approx(np.mean(every), rel=1e-12)


def test_agreement_at_its_ends():
    cells = np.arange(36)
    checks = (cells // 6 + cells % 6) % 2 == 0
    assert agreement(cells, 6, checks).share == 0
    whole = agreement(cells, 6, np.ones(36, bool))
    assert (whole.share, whole.chance, whole.pairs) == (1, 1, 60)
    many = agreement(np.arange(10_000), 100, draw(14).random(10_000) < 0.2)
    assert many.chance == pytest.approx(0.2**2 + 0.8**2, abs=0.01)
    assert many.share == pytest.approx(many.chance, abs=0.01)


def test_agreement_needs_neighbours():
    with pytest.raises(UserError, match="side by side"):
        agreement(np.array([0, 3]), 2, np.array([True, False]))
