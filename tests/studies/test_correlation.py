"""Correlations of directions and of labels, against numpy and scipy; their figure, by what is drawn in it."""

import io
import itertools

import numpy as np
import pytest
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from scipy.spatial.distance import cosine

from vaebench.core.errors import UserError
from vaebench.studies.correlation import (
    COLOURS,
    DIAMETER,
    clustered_order,
    correlations,
    heat_map,
    label_correlations,
    mantel,
    matrix_correlation,
)


def draw(seed):
    return np.random.default_rng(seed)


def symmetric(seed, a):
    return correlations(draw(seed).standard_normal((a, 6)))


def labels_of(seed, n, a):
    common = draw(seed).random((n, 1))
    return draw(seed + 1).random((n, a)) + common < draw(seed + 2).random(a) + 0.4


# --- correlations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_correlations_equal_numpy_and_cosines_scipy(dtype, scale):
    vectors = (draw(0).standard_normal((7, 20)) + 0.3).astype(dtype) * dtype(scale)
    result, cosines = correlations(vectors), correlations(vectors, centred=False)
    assert result.dtype == cosines.dtype == np.float64
    unscaled = vectors.astype(np.float64) / scale
    np.testing.assert_allclose(result, np.corrcoef(unscaled), atol=1e-12)
    expected = [[1 - cosine(p, q) for q in unscaled] for p in unscaled]
    np.testing.assert_allclose(cosines, expected, atol=1e-12)
    for matrix in (result, cosines):
        assert np.array_equal(matrix, matrix.T)
        assert (np.diagonal(matrix) == 1).all() and np.abs(matrix).max() <= 1


def test_only_cosines_bear_a_change_of_a_latents_sign():
    vectors, signs = draw(1).standard_normal((5, 12)) + 0.5, draw(2).choice([-1, 1], 12)
    np.testing.assert_allclose(correlations(vectors * signs, centred=False), correlations(vectors, centred=False))
    assert np.abs(correlations(vectors * signs) - correlations(vectors)).max() > 0.05


def test_opposite_and_equal_directions():
    vector = draw(3).standard_normal(9)
    expected = [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
    np.testing.assert_array_equal(correlations(np.stack([vector, -vector, 4 * vector])).round(12), expected)


@pytest.mark.parametrize("bad", [0.0, 0.7, np.nan, np.inf])
def test_a_vector_without_direction_is_named(bad):
    vectors = draw(4).standard_normal((3, 5))
    vectors[1] = bad
    with pytest.raises(UserError, match="the vector of Bald is"):
        correlations(vectors, names=["Male", "Bald", "Young"])
    with pytest.raises(UserError, match="vector 1 is"):
        correlations(vectors)
    if bad == 0.7:
        assert np.isfinite(correlations(vectors, centred=False)).all()
    else:
        with pytest.raises(UserError, match="vector 1 is"):
            correlations(vectors, centred=False)


def test_one_latent_has_no_correlation():
    with pytest.raises(UserError, match="2 latents"):
        correlations(np.ones((3, 1)))


# --- label_correlations


def test_phi_equals_pearson_and_chi_squared():
    labels = labels_of(5, 300, 6)
    result = label_correlations(labels)
    np.testing.assert_allclose(result, np.corrcoef(labels.T), atol=1e-12)
    for i, j in itertools.combinations(range(6), 2):
        table = [[(labels[:, i] == p)[labels[:, j] == q].sum() for q in (0, 1)] for p in (0, 1)]
        squared = scipy.stats.chi2_contingency(table, correction=False).statistic / 300
        assert result[i, j] ** 2 == pytest.approx(squared, rel=1e-9)


@pytest.mark.parametrize("value", [False, True])
def test_an_attribute_of_one_kind_has_no_correlation(value):
    labels = labels_of(6, 50, 4)
    labels[:, 2] = value
    result = label_correlations(labels)
    assert np.isnan(result[2]).all() and np.isnan(result[:, 2]).all()
    others = np.ix_([0, 1, 3], [0, 1, 3])
    np.testing.assert_allclose(result[others], np.corrcoef(labels[:, [0, 1, 3]].T), atol=1e-12)
    assert (np.diagonal(result)[[0, 1, 3]] == 1).all()


def test_equal_and_opposite_labels():
    label = draw(7).random(40) < 0.3
    np.testing.assert_array_equal(label_correlations(np.stack([label, ~label, label], axis=1))[0], [1, -1, 1])


# --- clustered_order


@pytest.mark.parametrize("a", [0, 1, 2, 3, 13, 40])
def test_order_is_a_permutation_and_repeats_itself(a):
    matrix = symmetric(8, a)
    order = clustered_order(matrix)
    assert sorted(order) == list(range(a))
    assert all(type(position) is int for position in order)
    assert order == clustered_order(matrix.copy())


def test_order_sets_the_alike_side_by_side():
    vectors = draw(9).standard_normal((9, 12))
    vectors[7] = vectors[1]
    order = clustered_order(correlations(vectors))
    assert abs(order.index(7) - order.index(1)) == 1
    groups = np.kron(np.eye(3), np.full((4, 4), 0.8)) + 0.2 * np.eye(12)
    mixed = draw(10).permutation(12)
    found = mixed[clustered_order(groups[np.ix_(mixed, mixed)])] // 4
    assert (np.diff(found) != 0).sum() == 2


def test_order_does_not_hang_on_the_order_given():
    matrix, mixed = symmetric(11, 8), draw(12).permutation(8)
    first, second = clustered_order(matrix), mixed[clustered_order(matrix[np.ix_(mixed, mixed)])].tolist()
    assert second in (first, first[::-1])


def test_what_has_no_correlation_is_ordered_as_uncorrelated():
    matrix, without = symmetric(13, 6), symmetric(13, 6)
    matrix[2], matrix[:, 2] = np.nan, np.nan
    without[2], without[:, 2] = 0, 0
    assert clustered_order(matrix) == clustered_order(without)


# --- matrix_correlation and mantel


def test_matrix_correlation_equals_scipy():
    a, b = symmetric(14, 9), symmetric(15, 9)
    above = np.triu_indices(9, 1)
    assert matrix_correlation(a, b) == pytest.approx(scipy.stats.pearsonr(a[above], b[above]).statistic, rel=1e-12)
    assert matrix_correlation(a, 3 * a + 1) == pytest.approx(1)
    assert matrix_correlation(a, -a) == pytest.approx(-1)


def test_attributes_without_correlation_are_left_out_of_both():
    a, b = symmetric(16, 7), symmetric(17, 7)
    kept = np.ix_([0, 2, 3, 5, 6], [0, 2, 3, 5, 6])
    expected, tested = matrix_correlation(a[kept], b[kept]), mantel(a[kept], b[kept], 50, 0)
    a[1], a[:, 1], b[4], b[:, 4] = np.nan, np.nan, np.nan, np.nan
    assert matrix_correlation(a, b) == pytest.approx(expected, rel=1e-12)
    assert mantel(a, b, 50, 0) == pytest.approx(tested, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_mantel_equals_all_orders(seed):
    a, b = symmetric(20 + seed, 4), symmetric(30 + seed, 4)
    above = np.triu_indices(4, 1)
    every = [np.corrcoef(a[above], b[np.ix_(order, order)][above])[0, 1] for order in itertools.permutations(range(4))]
    exact = np.mean(np.array(every) >= every[0] - 1e-9)
    r, p = mantel(a, b, 4000, 0)
    assert r == pytest.approx(every[0], rel=1e-9)
    assert r == pytest.approx(matrix_correlation(a, b), rel=1e-12)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 4000))


@pytest.mark.usefixtures("global_rng_untouched")
def test_mantel_repeats_itself_and_finds_what_is_alike():
    a = symmetric(18, 12)
    alike = a + 0.05 * symmetric(19, 12)
    found = mantel(a, alike, 199, 0)
    assert found.p == 1 / 200
    assert found == mantel(a, alike, 199, 0)
    assert mantel(a, -a, 199, 0).p > 0.9
    assert mantel(a, symmetric(40, 12), 199, 0).p != mantel(a, symmetric(40, 12), 199, 1).p


def test_mantel_errs_as_often_as_it_says():
    values = [mantel(symmetric(100 + 2 * i, 8), symmetric(101 + 2 * i, 8), 99, i).p for i in range(200)]
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.05, abs=0.05)
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_matrices_that_cannot_be_compared():
    a, missing = symmetric(41, 4), symmetric(41, 4)
    missing[0, 1] = np.nan
    for pair, message in (
        ((a, symmetric(41, 5)), "4 and 5 attributes"),
        ((a, a[:3]), "square"),
        ((a[:2, :2], a[:2, :2]), "at least 3"),
        ((a, missing), "missing"),
        ((a, np.eye(4)), "no pattern"),
    ):
        for compare in (matrix_correlation, lambda p, q: mantel(p, q, 9, 0)):
            with pytest.raises(UserError, match=message):
                compare(*pair)
    with pytest.raises(UserError, match="0 permutations"):
        mantel(a, a, 0, 0)


# --- heat_map


def figure_of(a, matrices=2, missing=False):
    names = [f"Some_Attribute_{'x' * (i % 5)}{i}" for i in range(a)]
    drawn = [(f"dfcvae-celeba seed {i}", symmetric(50 + i, a)) for i in range(matrices)]
    if missing:
        drawn[0][1][1], drawn[0][1][:, 1] = np.nan, np.nan
    order = draw(60).permutation(a).tolist()
    return heat_map(drawn, names, order), drawn, names, order


def circles_of(axes):
    (circles,) = (artist for artist in axes.collections if isinstance(artist, EllipseCollection))
    return circles


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def test_circles_have_the_area_and_colour_of_their_correlation():
    figure, drawn, names, order = figure_of(6)
    assert len(figure.axes) == 3  # two panels and the legend
    for axes, (title, matrix) in zip(figure.axes, drawn, strict=False):
        assert axes.get_title() == title
        circles = circles_of(axes)
        assert len(circles.get_offsets()) == 36
        for (x, y), diameter, colour in zip(
            circles.get_offsets(), circles.get_widths(), circles.get_facecolors(), strict=True
        ):
            r = matrix[order[int(y)], order[int(x)]]
            assert diameter**2 == pytest.approx(DIAMETER**2 * abs(r))
            np.testing.assert_allclose(colour, COLOURS((r + 1) / 2))
            if abs(r) > 0.2:
                assert (colour[2] > colour[0]) == (r > 0)  # blue is positive, red negative
        np.testing.assert_array_equal(circles.get_widths(), circles.get_heights())
        assert [label.get_text() for label in axes.get_xticklabels()] == [names[i].replace("_", " ") for i in order]
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row stands on top
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        names[i].replace("_", " ") for i in order
    ]


@pytest.mark.parametrize(("missing", "steps"), [(False, 6), (True, 7)])
def test_what_has_no_correlation_is_a_cross(missing, steps):
    figure, *_ = figure_of(5, missing=missing)
    panel, _, legend = figure.axes
    assert len(circles_of(panel).get_offsets()) == (16 if missing else 25)
    crosses = [artist for artist in panel.collections if not isinstance(artist, EllipseCollection)]
    assert sum(len(artist.get_offsets()) for artist in crosses) == (9 if missing else 0)
    labels = [label.get_text() for label in legend.get_yticklabels()]
    assert (len(labels), "none" in labels) == (steps, missing)


@pytest.mark.parametrize(("a", "matrices"), [(1, 1), (3, 2), (13, 3), (20, 1), (21, 2), (40, 3)])
def test_no_text_meets_another_or_leaves_the_figure(a, matrices):
    figure, *_ = figure_of(a, matrices, missing=a == 13)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [
        text
        for axes in figure.axes
        for text in (axes.title, axes._left_title, *axes.get_xticklabels(), *axes.get_yticklabels())
        if text.get_text()
    ]
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    width, height = figure.get_size_inches() * figure.dpi
    assert boxes[:, :2].min() >= 0 and boxes[:, 2].max() <= width and boxes[:, 3].max() <= height
    panels = np.array([axes.get_window_extent(renderer).extents for axes in figure.axes])
    for i, box in enumerate(boxes):
        for other in (*boxes[i + 1 :], *panels):
            apart = box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]
            assert apart, texts[i].get_text()


def test_equal_numbers_give_equal_bytes():
    assert png(figure_of(13, 3, missing=True)[0]) == png(figure_of(13, 3, missing=True)[0])
    assert png(figure_of(13, 3)[0]) != png(figure_of(13, 3, missing=True)[0])


def test_what_cannot_be_drawn():
    matrix, names = symmetric(61, 3), ["a", "b", "c"]
    with pytest.raises(UserError, match="at least one matrix"):
        heat_map([], names, [0, 1, 2])
    with pytest.raises(UserError, match=r"vae: correlations of shape \(3, 3\) for 2 names"):
        heat_map([("vae", matrix)], names[:2], [0, 1])
    for order in ([0, 1], [0, 1, 1], [0, 1, 3]):
        with pytest.raises(UserError, match="the order"):
            heat_map([("vae", matrix)], names, order)
