"""Measure how often CelebA's attributes are set, and how they go together, for ``toyfaces`` to imitate.

    python -m vaebench.datasets.toyface.measure_attribute_statistics list_attr_celeba.txt OUTPUT.csv

The input is CelebA's own attribute list: a count, a line of names, then a file name and -1 or 1 for each
attribute. The output has a line for each attribute: its name, the share of images that have it, and its
tetrachoric correlation with every attribute (itself: 1), which is the correlation of two normal variables
that, cut at the shares' quantiles, agree as often as the attributes do (Pearson 1900). Estimated pair by
pair, such a matrix need not be one of correlations; the nearest that is, its smallest eigenvalue no less
than 0.01, is what is written.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from vaebench.core.errors import UserError
from vaebench.core.files import write_text

STRONGEST = 0.999  # a pair that never meets, or never parts, would ask for a correlation of -1 or 1
SMALLEST_EIGENVALUE = 0.01  # survives the rounding to three decimals

Array = NDArray[np.float64]


class AttributeStatistics(NamedTuple):
    """Names of k attributes, shares (k,) in (0, 1) and latent correlations (k, k), positive definite."""

    names: tuple[str, ...]
    shares: Array
    correlations: Array


def read_attributes(path: Path) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Names, and which image has which: bool, (images, attributes)."""
    try:
        names = tuple(path.read_text(encoding="utf-8").splitlines()[1].split())
        table = pd.read_csv(path, sep=r"\s+", skiprows=2, header=None, index_col=0)
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is no readable attribute list ({reason}): give CelebA's list_attr_celeba.txt"
        ) from error
    values = table.to_numpy()
    if values.shape[1] != len(names) or not np.isin(values, (-1, 1)).all():
        raise UserError(f"{path}: each line must have {len(names)} values, -1 or 1: give CelebA's list_attr_celeba.txt")
    return names, values == 1


def both_below(first: Array, second: Array, correlation: Array) -> Array:
    """P(x < first, y < second) for standard normal x and y of that correlation; all arguments (n,).

    The derivative by the correlation is the density (Plackett 1954), integrated over its arc sine by
    Gauss and Legendre's rule of 64 nodes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    half = np.arcsin(correlation)[:, None] / 2
    angles = half * (nodes + 1)
    squares = (first**2 + second**2)[:, None] - 2 * (first * second)[:, None] * np.sin(angles)
    integral = (np.exp(-squares / (2 * np.cos(angles) ** 2)) * weights * half).sum(1)
    below: Array = ndtr(first) * ndtr(second) + integral / (2 * np.pi)
    return below


def tetrachoric(has: NDArray[np.bool_]) -> Array:
    """Latent correlation of each pair of columns, (k, k), by bisection; of ``has``, bool, (images, k)."""
    counted = has.astype(np.float64)
    shares = counted.mean(0)
    if not ((shares > 0) & (shares < 1)).all():
        raise UserError("an attribute that all images have, or none, goes together with nothing: leave it out")
    rows, columns = np.triu_indices(has.shape[1], 1)
    together = (counted.T @ counted / len(has))[rows, columns]
    first, second = ndtri(shares[rows]), ndtri(shares[columns])
    low, high = np.full(len(rows), -STRONGEST), np.full(len(rows), STRONGEST)
    for _ in range(40):
        middle = (low + high) / 2
        too_few = both_below(first, second, middle) < together
        low, high = np.where(too_few, middle, low), np.where(too_few, high, middle)
    found = np.eye(has.shape[1])
    found[rows, columns] = found[columns, rows] = (low + high) / 2
    return found


def nearest_correlations(matrix: Array) -> Array:
    """The correlation matrix nearest to a symmetric one of unit diagonal, by Higham's projections (2002).

    Nearest by the sum of squared differences among those whose eigenvalues are at least ``SMALLEST_EIGENVALUE``.
    """
    near, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(1000):
        values, vectors = np.linalg.eigh(near - correction)
        definite = (vectors * values.clip(SMALLEST_EIGENVALUE)) @ vectors.T
        correction = definite - (near - correction)
        near = definite.copy()
        np.fill_diagonal(near, 1)
        if np.abs(near - definite).max() < 1e-7:
            break
    return near


def measure(path: Path) -> AttributeStatistics:
    """Shares and latent correlations of an attribute list."""
    names, has = read_attributes(path)
    return AttributeStatistics(names, has.mean(0), nearest_correlations(tetrachoric(has)))


def write_statistics(statistics: AttributeStatistics, path: Path) -> None:
    """One line an attribute: name, share (5 decimals), correlations in the order of the lines (3 decimals)."""
    lines = [",".join(("attribute", "share", *statistics.names))]
    for name, share, row in zip(*statistics, strict=True):
        lines.append(",".join((name, f"{share:.5f}", *(f"{value:.3f}" for value in row))))
    write_text(path, "\n".join(lines) + "\n")


def read_statistics(path: Path) -> AttributeStatistics:
    """What :func:`write_statistics` wrote."""
    table = pd.read_csv(path, index_col=0)
    return AttributeStatistics(
        tuple(table.index), table["share"].to_numpy(np.float64), table.drop(columns="share").to_numpy(np.float64)
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write_statistics(measure(Path(sys.argv[1])), Path(sys.argv[2]))
