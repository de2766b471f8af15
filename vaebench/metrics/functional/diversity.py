"""Compute how far a set of features is spread: Vendi score and mean distance, with what each image contributes to them.

Pure functions of float features (n, d), on the CPU or a GPU, in float64.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.metrics.functional.distances import blocks, check, mean_row, squared


@dataclass(frozen=True, slots=True)
class Spread:
    """A value of all rows together, and its derivative by the weight of each row, float64 (n,), up to a constant."""

    value: float
    derivatives: Tensor = field(compare=False)


def mean_pairwise_distance(features: Tensor) -> Spread:
    """Mean distance over all pairs of different rows of (n, d), 0 or more.

    The derivative is twice a row's mean distance to the others (Hoeffding 1948, of U-statistics).
    Raises :class:`UserError` where there are fewer than 2 rows or features are not finite.
    """
    check(features)
    n = len(features)
    if n < 2:
        raise UserError(f"a mean distance of pairs needs at least 2 images, there are {n}")
    sums, origin = features.new_zeros(n, dtype=torch.float64), mean_row(features)
    for start, rows in blocks(features, origin):
        here = slice(start, start + len(rows))
        for first, columns in blocks(features[start:], origin):
            distances = squared(rows, columns).clamp_(min=0).sqrt_()
            if first:
                sums[start + first : start + first + len(columns)] += distances.sum(dim=0)
            else:
                distances.fill_diagonal_(0)
            sums[here] += distances.sum(dim=1)
    return Spread(sums.sum().item() / (n * (n - 1)), 2 * sums / (n - 1))


def vendi_score(features: Tensor) -> Spread:
    """Compute the effective number of different rows of (n, d), in [1, n]: m for m groups of equal size, at right
    angles.

    Friedman & Dieng 2023, "The Vendi score: a diversity evaluation metric for machine learning": the
    exponential of the Shannon entropy H of the eigenvalues of K / n, K the cosine similarities. The d x d matrix
    C = X'X / n of the normalised rows has the same ones but for zeros, and is taken where it is smaller; so
    min(n, d)^2 numbers are held. The derivative of H by a row's weight is -x' log(C) x.
    Raises :class:`UserError` where there is no row, one is all zeros, or features are not finite.
    """
    check(features)
    n, dimensions = features.shape
    if n == 0:
        raise UserError("a Vendi score needs images, there are none")
    if not features.any(dim=1).all():
        raise UserError("the Vendi score's cosine similarity is undefined: an image's features are all 0")
    zero = features.new_zeros(dimensions, dtype=torch.float64)
    if dimensions < n:
        similarity = zero.new_zeros(dimensions, dimensions)
        for _, rows in blocks(features, zero):
            unit = _unit(rows)
            similarity.addmm_(unit.T, unit)
    else:
        unit = _unit(features.double())
        similarity = unit @ unit.T
    eigenvalues, eigenvectors = torch.linalg.eigh(similarity / n)
    eigenvalues = eigenvalues.clamp(min=0)
    surprise = -torch.where(eigenvalues > 0, eigenvalues, 1.0).log()
    if dimensions < n:
        parts = [(_unit(rows) @ eigenvectors).square() @ surprise for _, rows in blocks(features, zero)]
        by_row = torch.cat(parts)
    else:  # a row along the k-th axis of C is root(n lambda_k) times its entry in K's k-th eigenvector
        by_row = eigenvectors.square() @ (n * eigenvalues * surprise)
    value = math.exp(torch.special.entr(eigenvalues).sum().item())
    return Spread(value, value * by_row)


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1, eps=0)
