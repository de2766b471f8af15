"""Many images on one sheet, similar ones near each other: embedded in the plane, then snapped to a grid.

Hou et al. 2017, "Deep feature consistent variational autoencoder", section 4.3.4 and figure 8: the latents of 1,600
images by t-SNE. What the eye makes of such a sheet is put beside numbers: how many of an image's neighbours there are
its neighbours in latent space, and how much more often neighbours share an attribute than chance has it.
"""

import importlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn needs it, so it is there

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.runs.galleries import Pixels

Cells = NDArray[np.int64]

FEWEST = 10  # images, below which there are no neighbourhoods to keep
FRAME = 2  # pixels
_PERPLEXITY = 30.0  # scikit-learn's default, as in van der Maaten's own examples
_NEIGHBOURS = 15  # UMAP's default


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Share of adjacent pairs of cells that agree in an attribute, what chance gives, and of how many pairs."""

    share: float
    chance: float
    pairs: int


def embedded(latents: NDArray[np.float32], *, method: Literal["tsne", "umap"], seed: int) -> NDArray[np.float64]:
    """Embed latents (n, d) in the plane: (n, 2) float64, the same for the same seed whatever the number of threads.

    ``tsne``: van der Maaten 2014, "Accelerating t-SNE using tree-based algorithms", by scikit-learn, from the first
    two principal components (Kobak and Berens 2019, "The art of using t-SNE for single-cell transcriptomics"),
    perplexity 30 or (n - 1) / 3, whichever is less; the seed hardly matters to it. ``umap``: McInnes, Healy and
    Melville 2018, "UMAP", by the optional package umap-learn, of 15 neighbours. Raises :class:`UserError` for fewer
    than 10 latents or 2 dimensions, for values that are not finite, for latents that are all the same, and where
    umap-learn is not installed.
    """
    if latents.ndim != 2 or len(latents) < FEWEST or latents.shape[1] < 2:
        raise UserError(
            f"latents of shape {latents.shape} cannot be embedded: give at least {FEWEST} images and 2 dimensions"
        )
    if not np.isfinite(latents).all():
        raise UserError("some latents are not finite numbers: choose a checkpoint from before the training diverged")
    if (latents == latents[0]).all():
        raise UserError("all latents are the same: the encoder does not tell these images apart, choose another run")
    state = seeding.derive(seed, f"embedding: {method}") % 2**32  # as much as numpy's generator takes
    # sums over threads come in any order, and the embedding is chaotic in their last bits
    with threadpool_limits(limits=1):
        return _by_umap(latents, state) if method == "umap" else _by_tsne(latents, state)


def _by_tsne(latents: NDArray[np.float32], state: int) -> NDArray[np.float64]:
    perplexity = min(_PERPLEXITY, (len(latents) - 1) / 3)
    reduction = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=state, n_jobs=1)
    return np.asarray(reduction.fit_transform(latents), np.float64)


def _by_umap(latents: NDArray[np.float32], state: int) -> NDArray[np.float64]:
    try:
        umap = importlib.import_module("umap")
    except ImportError as error:
        raise UserError(
            "UMAP needs the package umap-learn: pip install 'vaebench[umap]', or choose the method tsne"
        ) from error
    neighbours = min(_NEIGHBOURS, len(latents) - 1)
    reduction = umap.UMAP(n_components=2, n_neighbors=neighbours, random_state=state, n_jobs=1)
    return np.asarray(reduction.fit_transform(latents), np.float64)


def snapped(positions: NDArray[np.float64], columns: int, rows: int) -> Cells:
    """Give every point a cell of its own: (n, 2) -> row * columns + column, (n,) int64, rows counted downwards.

    Positions are stretched along both axes until the outermost lie on the outermost cells' centres; the assignment has
    the least sum of squared distances, in cells, of all there are (scipy's linear sum assignment: time n^3 at worst).
    An axis along which all positions are the same has them in the middle. Raises :class:`UserError` for more points
    than cells, and for positions that are not finite.
    """
    if columns < 1 or rows < 1 or len(positions) > columns * rows:
        raise UserError(f"{len(positions)} images do not fit on {columns} x {rows} cells: give a larger grid")
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise UserError(f"positions must be finite and of shape (n, 2), these are {positions.shape}: embed again")
    if not len(positions):
        return np.empty(0, np.int64)
    places = cell_centres(np.arange(columns * rows), columns)
    low, high = positions.min(axis=0), positions.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    share = np.where(high > low, (positions - low) / span, 0.5)
    costs = cdist(share * places[-1], places, "sqeuclidean")
    _, cells = linear_sum_assignment(costs)
    return cells.astype(np.int64)


def cell_centres(cells: Cells, columns: int) -> NDArray[np.float64]:
    """Where cells lie, in cells: (n,) -> (n, 2), across and down from the first one's centre."""
    return np.stack([cells % columns, cells // columns], axis=1).astype(np.float64)


def mosaic(pictures: Pixels, cells: Cells, columns: int, rows: int, frames: NDArray[np.uint8] | None = None) -> Pixels:
    """One picture of images (n, h, w, c) on their cells, row by row; cells without an image are white.

    ``frames``: colours (n, 3), drawn :data:`FRAME` pixels wide round each image, which makes grey images coloured.
    Without them images touch, and the result is (rows h, columns w, c); with them each cell is 2 frames larger along
    both sides, so that none of an image is covered. Raises :class:`UserError` where cells are taken twice or lie
    outside, or where there are not as many of everything.
    """
    _check_cells(cells, len(pictures), columns, rows)
    if frames is not None and frames.shape != (len(pictures), 3):
        raise UserError(
            f"frames of shape {frames.shape} for {len(pictures)} images: give each a colour (red, green, blue)"
        )
    edge = 0 if frames is None else FRAME
    height, width, channels = pictures.shape[1:]
    channels = channels if frames is None else 3
    sheet = np.full((rows, columns, height + 2 * edge, width + 2 * edge, channels), 255, np.uint8)
    down, across = np.divmod(cells, columns)
    if frames is not None:
        sheet[down, across] = frames[:, None, None, :]
    sheet[down, across, edge : edge + height, edge : edge + width] = pictures
    return sheet.transpose(0, 2, 1, 3, 4).reshape(rows * (height + 2 * edge), columns * (width + 2 * edge), channels)


def trustworthiness(latents: NDArray[np.float32], cells: Cells, columns: int, *, neighbours: int = 10) -> float:
    """How far the images round an image on the grid are its neighbours in latent space too: 1 is all, 1/2 is chance.

    Venna and Kaski 2001, "Neighborhood preservation in nonlinear projection methods", equation 1: the mean of how much
    further down than ``neighbours`` the grid's nearest images stand in the latents' order by Euclidean distance,
    scaled so that the worst grid has 0. On a grid many images are equally near: where they are too many, the mean over
    all choices among them is taken, so that the value does not hang on the order of the images. Without ties it equals
    ``sklearn.manifold.trustworthiness``. Raises :class:`UserError` unless 2 ``neighbours`` < n.
    """
    if not 0 < 2 * neighbours < len(latents):
        raise UserError(
            f"{neighbours} neighbours of {len(latents)} images: give more images, or fewer neighbours (less than half)"
        )
    _check_cells(cells, len(latents), columns, None)
    return _trust(latents.astype(np.float64), cell_centres(cells, columns), neighbours)


def _trust(latents: NDArray[np.float64], positions: NDArray[np.float64], neighbours: int) -> float:
    """Trustworthiness of any positions (n, 2)."""
    n = len(latents)
    ranks = rankdata(_from_others(latents), method="min", axis=1) - 1  # equally near is equally good; itself has rank 0
    apart = _from_others(positions)
    farthest = np.sort(apart, axis=1)[:, neighbours, None]  # distance of the last neighbour; the image itself is first
    nearer, tied = (apart < farthest) & (apart >= 0), apart == farthest
    share = (neighbours - nearer.sum(axis=1)) / tied.sum(axis=1)
    penalty = np.maximum(ranks - neighbours, 0) * (nearer + tied * share[:, None])
    return float(1 - penalty.sum() * 2 / (n * neighbours * (2 * n - 3 * neighbours - 1)))


def _from_others(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (n, n), each point before all others from itself."""
    apart = cdist(points, points)
    np.fill_diagonal(apart, -1)
    return apart


def agreement(cells: Cells, columns: int, attribute: NDArray[np.bool_]) -> Agreement:
    """Of horizontally and vertically adjacent pairs of images, the share that agree in an attribute (n,).

    Chance is the share expected of the same images in any order: m (m - 1) + (n - m)(n - m - 1) over n (n - 1), with m
    images that have the attribute; p^2 + (1 - p)^2 as n grows. Raises :class:`UserError` where no two are adjacent.
    """
    _check_cells(cells, len(attribute), columns, None)
    n, having = len(attribute), int(attribute.sum())
    sheet = np.full((int(cells.max(initial=0)) // columns + 1) * columns, -1, np.int64)
    sheet[cells] = attribute
    grid = sheet.reshape(-1, columns)
    sides = ((grid[:, :-1], grid[:, 1:]), (grid[:-1], grid[1:]))
    taken = [(first >= 0) & (second >= 0) for first, second in sides]
    pairs = sum(int(both.sum()) for both in taken)
    if not pairs:
        raise UserError("no two images lie side by side: give more images, or a smaller grid")
    agreeing = sum(int((first == second)[both].sum()) for (first, second), both in zip(sides, taken, strict=True))
    alike = having * (having - 1) + (n - having) * (n - having - 1)
    return Agreement(share=agreeing / pairs, chance=alike / (n * (n - 1)), pairs=pairs)


def _check_cells(cells: Cells, n: int, columns: int, rows: int | None) -> None:
    """A cell of its own for each of n images; ``rows`` None: as many as it takes."""
    if cells.shape != (n,):
        raise UserError(f"{n} images but cells of shape {cells.shape}: give each image a cell")
    if columns < 1 or (rows is not None and rows < 1):
        raise UserError("a grid without columns or rows holds no image: give at least one of each")
    if n and (cells.min() < 0 or (rows is not None and cells.max() >= columns * rows)):
        raise UserError(f"some cells lie outside the grid of {columns} columns: arrange the images on this very grid")
    if len(np.unique(cells)) < n:
        raise UserError("two images have the same cell: give each a cell of its own")
