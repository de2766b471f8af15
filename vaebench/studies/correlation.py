"""Correlation matrices of attribute directions and of labels, their comparison by Mantel's test, and their drawing.

Hou et al. 2017, "Deep feature consistent variational autoencoder", section 4.3.3 and figure 7.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from vaebench.core import seeding
from vaebench.core.errors import UserError

Matrix = NDArray[np.float64]

FEWEST = 3  # attributes, below which two matrices have nothing to agree or differ in
_ROUNDING = 1e-12  # by which a statistic that is equal may come out smaller

STYLE: Mapping[str, object] = {"font.size": 9, "axes.titlesize": 9, "svg.hashsalt": "vaebench"}
# Okabe and Ito's vermilion and blue, which colour-blind readers tell apart; grey between, for white would not be seen
COLOURS = LinearSegmentedColormap.from_list("correlation", ["#D55E00", "#DADADA", "#0072B2"])
DIAMETER = 0.94  # of a circle that stands for -1 or 1, in cells
_DPI = 150
_STEPS = (1.0, 0.5, 0.2, -0.2, -0.5, -1.0)  # of the legend
_GAP, _TITLE = 0.12, 0.3  # inches


class Mantel(NamedTuple):
    """Correlation of two matrices, and the share of permutations of the attributes that give one as high."""

    r: float
    p: float


def correlations(vectors: NDArray[np.floating], *, names: Sequence[str] | None = None, centred: bool = True) -> Matrix:
    """Compute correlations of attributes' directions: (a, d) -> (a, a) float64, 1 on the diagonal.

    Pearson's over the d components, as ``np.corrcoef`` and as the source says. ``centred=False`` gives the cosine of
    the angle instead, which does not change when latent axes are turned or change their signs, as they may from one
    training to the next; Pearson's leaves out what the directions share along (1, ..., 1). Of 100 latents they
    differ by some hundredths. Raises :class:`UserError` with the name (of ``names``) or number of a vector that has no
    direction: zero, constant where centred, or not finite; and for fewer than 2 latents.
    """
    if vectors.ndim != 2 or vectors.shape[1] < 2:
        raise UserError(f"vectors of shape {vectors.shape} have no correlation: give (attributes, 2 latents or more)")
    finite = np.isfinite(vectors).all(axis=1, keepdims=True)
    rows = np.where(finite, vectors, 0).astype(np.float64)
    flat = np.ptp(rows, axis=1) == 0 if centred else ~rows.any(axis=1)
    for position in np.flatnonzero(flat).tolist():
        named = f"the vector of {names[position]}" if names else f"vector {position}"
        raise UserError(f"{named} is zero, constant or not finite and has no direction: leave the attribute out")
    if centred:
        rows = rows - rows.mean(axis=1, keepdims=True)
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)  # squares of very small or large ones would leave the range
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return _bounded(rows @ rows.T)


def label_correlations(attributes: NDArray[np.bool_]) -> Matrix:
    """Phi coefficients of labels, bool (n, a) -> (a, a) float64: Pearson's correlation of 0 and 1.

    What correlations of directions are held against: they cannot be expected to be independent where labels are not.
    An attribute that all images have, or none, has no correlation: its row and column are NaN, the diagonal too.
    """
    counts = attributes.astype(np.float64)
    n = float(len(counts))
    having = counts.sum(axis=0)
    # whole numbers up to here, so that an attribute of one kind has exactly no spread
    spread = np.sqrt(having * (n - having))
    spread[spread == 0] = np.nan
    return _bounded((n * (counts.T @ counts) - np.outer(having, having)) / np.outer(spread, spread))


def _bounded(matrix: Matrix) -> Matrix:
    """Symmetric, in [-1, 1], and 1 on the diagonal, to the last bit; NaN stays."""
    matrix = np.clip((matrix + matrix.T) / 2, -1, 1)
    diagonal = np.diagonal(matrix)
    np.fill_diagonal(matrix, np.where(np.isnan(diagonal), np.nan, 1.0))
    return matrix


def clustered_order(matrix: Matrix) -> list[int]:
    """Order the attributes (a, a) so that similar ones stand side by side: a permutation of 0 to a - 1.

    Average linkage on 1 - r, its leaves in the order of the least sum of distances between neighbours (Bar-Joseph,
    Gifford and Jaakkola 2001, "Fast optimal leaf ordering for hierarchical clustering"); of this order and its reverse,
    the one that begins with the smaller number. What has no correlation (NaN) counts as r = 0.
    """
    _check_square(matrix)
    if len(matrix) < 2:
        return list(range(len(matrix)))
    distances = 1 - np.nan_to_num((matrix + matrix.T) / 2, nan=0.0)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(np.clip(distances, 0, 2), checks=False), "average", optimal_ordering=True)
    order = [int(leaf) for leaf in leaves_list(tree)]
    return order if order[0] < order[-1] else order[::-1]


def matrix_correlation(a: Matrix, b: Matrix) -> float:
    """Pearson's correlation of two matrices (a, a), of their entries above the diagonal: Mantel's statistic.

    Attributes that have NaN on the diagonal of either matrix (labels of one kind) are left out of both. Raises
    :class:`UserError` for matrices of different sizes, for fewer than 3 attributes left, and where all entries of one
    matrix are the same.
    """
    first, second = _shared(a, b)
    above = np.triu_indices(len(first), 1)
    return float(_standardised(first, above)[above] @ _standardised(second, above)[above])


def mantel(a: Matrix, b: Matrix, permutations: int, seed: int) -> Mantel:
    """Compute :func:`matrix_correlation`, and how often one as high comes by chance.

    Mantel 1967, "The detection of disease clustering and a generalized regression approach": the attributes of ``b``
    are put in random orders, rows and columns alike, for pairs that share an attribute are not independent. One-sided:
    p = (1 + orders that give r or more) / (1 + ``permutations``), at least 1 / (1 + ``permutations``).
    """
    if permutations < 1:
        raise UserError(f"{permutations} permutations say nothing: give 1 or more, 9999 as a rule")
    first, second = _shared(a, b)
    above = np.triu_indices(len(first), 1)
    first, second = _standardised(first, above), _standardised(second, above)
    observed = float(first[above] @ second[above])
    draw = seeding.generator(seed, "mantel")
    as_high = 0
    for _ in range(permutations):
        order = torch.randperm(len(second), generator=draw).numpy()
        as_high += float(first[above] @ second[np.ix_(order, order)][above]) >= observed - _ROUNDING
    return Mantel(r=observed, p=(1 + as_high) / (1 + permutations))


def _check_square(matrix: Matrix) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"a matrix of shape {matrix.shape} is not one of correlations: give a square one")


def _shared(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Both matrices, symmetric, of the attributes that have correlations in both."""
    _check_square(a)
    _check_square(b)
    if len(a) != len(b):
        raise UserError(f"matrices of {len(a)} and {len(b)} attributes cannot be compared: give the same attributes")
    kept = np.flatnonzero(np.isfinite(np.diagonal(a)) & np.isfinite(np.diagonal(b)))
    if len(kept) < FEWEST:
        raise UserError(f"{len(kept)} attributes have correlations in both matrices: give at least {FEWEST}")
    first, second = (((matrix + matrix.T) / 2)[np.ix_(kept, kept)] for matrix in (a, b))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise UserError("some correlations are missing: leave their attributes out, or set their diagonal to NaN")
    return first, second


def _standardised(matrix: Matrix, above: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Matrix:
    """With mean 0 and sum of squares 1 above the diagonal, which no order of the attributes changes."""
    values = matrix[above]
    if np.ptp(values) < _ROUNDING:
        raise UserError("all correlations in a matrix are the same: there is no pattern to compare")
    centred = values - values.mean()
    result: Matrix = (matrix - values.mean()) / np.linalg.norm(centred)
    return result


def heat_map(matrices: Sequence[tuple[str, Matrix]], names: Sequence[str], order: Sequence[int]) -> Figure:
    """Correlations as circles, one panel a matrix (title, (a, a)), side by side, the attributes in ``order`` in each.

    After the source's figure 7: blue is positive, red negative, and shade and size are the strength. A circle's area is
    in proportion to the size of r: areas are what the eye compares, and by its diameter 0.5 would look like a quarter.
    Squares are drawn in full, so that all of an attribute's correlations stand in one row; a cross is where there is
    none (NaN). All is laid out in inches by the lengths of the labels, so that no text meets another. The same numbers
    give the same bytes when saved without matplotlib's version (``metadata={"Software": None}``). Raises
    :class:`UserError` for no matrix, matrices that are not (a, a), and an ``order`` that is no permutation.
    """
    if not matrices or not names:
        raise UserError("no correlations to draw: give at least one matrix of at least one attribute")
    for title, matrix in matrices:
        if matrix.shape != (len(names), len(names)):
            raise UserError(f"{title}: correlations of shape {matrix.shape} for {len(names)} names: give one a name")
    if sorted(order) != list(range(len(names))):
        raise UserError(f"the order must have each of {len(names)} attributes once: take it from clustered_order")
    labels = [names[position].replace("_", " ") for position in order]
    rows = np.asarray(order)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # matplotlib's stub lists every key
        return _panels([(title, matrix[np.ix_(rows, rows)]) for title, matrix in matrices], labels)


def _panels(matrices: Sequence[tuple[str, Matrix]], labels: Sequence[str]) -> Figure:
    many = len(labels) > 20
    cell, size = (0.17, 7.0) if many else (0.27, 9.0)  # inches, points
    side = cell * len(labels)
    across = max(side, *(_length(title, 9.0) for title, _ in matrices))  # a panel may have a longer title
    before = max(_length(label, size) for label in labels) + 2 * _GAP
    missing = any(np.isnan(matrix).any() for _, matrix in matrices)
    steps = np.array([*_STEPS, *([np.nan] if missing else [])])[:, None]
    further = across + (before if many else 2 * _GAP)  # from panel to panel: of many rows the names are said again
    legend = before + (len(matrices) - 1) * further + across + 2 * _GAP
    width = legend + max(_length("correlation", 9.0), cell + _length("none", 9.0) + _GAP) + _GAP
    height = _TITLE + max(side + before, cell * len(steps) + _GAP)
    figure = Figure(figsize=(width, height), dpi=_DPI)

    def squares(title: str, values: Matrix, left: float, where: str) -> Axes:
        wide, high = cell * values.shape[1], cell * values.shape[0]
        axes = figure.add_axes((left / width, 1 - (_TITLE + high) / height, wide / width, high / height))
        axes.set_title(title, loc="left" if where == "left" else "center", pad=5)
        _circles(axes, values)
        return axes

    for position, (title, matrix) in enumerate(matrices):
        axes = squares(title, matrix, before + position * further + (across - side) / 2, "center")
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(len(labels)), labels if many or position == 0 else [""] * len(labels), fontsize=size)
    axes = squares("correlation", steps, legend, "left")
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks(range(len(steps)), ["none" if np.isnan(r) else f"{r:g}" for r in steps[:, 0]])
    axes.tick_params(length=0)
    return figure


def _circles(axes: Axes, values: Matrix) -> None:
    """Circles of correlations (h, w) on a lattice of squares, row by row downwards; crosses for NaN."""
    height, width = values.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_xticks(np.arange(width + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(height + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#E6E6E6", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    down, across = np.nonzero(np.isfinite(values))
    known = values[down, across]
    diameters = DIAMETER * np.sqrt(np.abs(known))
    circles = EllipseCollection(
        diameters,
        diameters,
        np.zeros(len(known)),
        units="xy",
        offsets=np.stack([across, down], axis=1),
        offset_transform=axes.transData,
        facecolors=COLOURS(Normalize(-1, 1)(known)),
        edgecolors="none",
        zorder=2,
    )
    axes.add_collection(circles)
    down, across = np.nonzero(np.isnan(values))
    axes.scatter(across, down, s=9, marker="x", color="#999999", linewidths=0.7)


def _length(text: str, size: float) -> float:
    """Inches that a text takes at a size in points."""
    return float(TextPath((0, 0), text, size=size).get_extents().width) / 72 if text.strip() else 0.0
