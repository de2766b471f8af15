"""Compute precision, recall, density, coverage and copies from neighbourhoods of features.

Pure functions of float features (n, d), on the CPU or a GPU. Distances are Euclidean, and all is decided as float64
decides it, a block of pairs at a time: no matrix of all pairs is ever held.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.metrics.functional.distances import check
from vaebench.metrics.functional.nearest_pairs import Inside, inside_balls, nearest

SURFACE = 1e-9  # of a radius: nearer to it than that, a point lies on the surface of the ball
_TIES = 8  # training images equally near to a point that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecall:
    """Both values, the 0 or 1 of every image that they are means of, and what recall owes to each generated image.

    float64 (m,), (n,) and (m,); ``recall_derivatives`` by leaving out, (m - 1) times what recall then loses.
    """

    precision: float
    recall: float
    precision_per_generated: Tensor = field(compare=False)
    recall_per_real: Tensor = field(compare=False)
    recall_derivatives: Tensor = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityCoverage:
    """Both values, what they are means of (density 0 or more, coverage 0 or 1), and what coverage owes to each image.

    float64 (m,), (n,) and (m,); ``coverage_derivatives`` by leaving out, (m - 1) times what coverage then loses.
    """

    density: float
    coverage: float
    density_per_generated: Tensor = field(compare=False)
    coverage_per_real: Tensor = field(compare=False)
    coverage_derivatives: Tensor = field(compare=False)


def sorted_distances(queries: Tensor, keys: Tensor, k: int, *, same: bool = False) -> Tensor:
    """Compute the distances of each query to its k nearest keys, near to far: (n, d) and (m, d) -> (n, k) float64.

    With ``same``, the queries are the keys, and each row's own index is left out: a duplicate counts, at exactly 0.
    Column k - 1 is :func:`nearest_distances` of every smaller k too, so that one pass serves them all.
    Raises :class:`UserError` where there are too few keys, the dimensions differ, or features are not finite.
    """
    return _nearest(queries, keys, k, same=same)[0]


def nearest_distances(queries: Tensor, keys: Tensor, k: int, *, same: bool = False) -> Tensor:
    """Compute the distance of each query to its k-th nearest key: (n, d) and (m, d) -> (n,) float64.

    ``same`` and errors as in :func:`sorted_distances`.
    """
    return sorted_distances(queries, keys, k, same=same)[:, k - 1]


def manifold_coverage(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Tell whether each point lies within the radius of at least one centre: (n, d), (m, d), (m,) -> (n,) bool.

    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models", eq. 1: balls
    are closed. Keep radii in float64: a radius rounded down loses the neighbour that it was taken from.
    Raises :class:`UserError` where the dimensions differ or features are not finite, ``ValueError`` where radii are
    not one a centre.
    """
    check(points, centres)
    _check_radii(centres, radii)
    covered = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    if len(points) and len(centres):
        for found, _ in inside_balls(centres, points, row_radii=radii[:, None]):
            assert found is not None
            covered[found.point] = True
    return covered


def precision_recall(
    real: Tensor, generated: Tensor, k: int = 3, *, real_radii: Tensor | None = None
) -> PrecisionRecall:
    """Compute the share of generated images among the real ones, and of real images among the generated: (n, d) and (m,
    d).

    Kynkäänniemi et al. 2019, eq. 2: inside is what lies within some image's distance to its k-th nearest neighbour
    in its own set. ``real_radii`` (n,) is ``nearest_distances(real, real, k, same=True)`` where it is at hand.
    Raises :class:`UserError` where a set has k images or fewer, the dimensions differ, or features are not finite.
    """
    check(real, generated)
    if real_radii is None:
        real_radii = nearest_distances(real, real, k, same=True)
    _check_radii(real, real_radii)
    gone = _Recall(real, generated, k)
    precise = torch.zeros(len(generated), dtype=torch.float64, device=generated.device)
    for of_real, of_generated in inside_balls(real, generated, row_radii=real_radii[:, None], column_radii=gone.radii):
        assert of_real is not None and of_generated is not None
        precise[of_real.point] = 1
        gone.see(of_generated)
    recalled, derivatives = gone.conclude()
    return PrecisionRecall(
        precision=precise.mean().item(),
        recall=recalled.mean().item(),
        precision_per_generated=precise,
        recall_per_real=recalled,
        recall_derivatives=derivatives,
    )


class _Recall:
    """Whether each real image is recalled, and what recall loses without each generated image, times (m - 1).

    Without an image its ball is gone, and those that had it among their k nearest reach out to the next one. So a
    real image is lost with the only ball that it lies in, unless one of those reaches it, and one that lay in none is
    won where one does.
    """

    def __init__(self, real: Tensor, generated: Tensor, k: int) -> None:
        self._count = len(generated)
        spare = min(k + 1, self._count - 1)  # the next one, where there is one
        distances, numbers = _nearest(generated, generated, max(k, spare), same=True)
        self.radii = distances[:, [k - 1, spare - 1]]
        self._near = numbers[:, :k]
        self._balls = torch.zeros(len(real), dtype=torch.int64, device=real.device)
        self._their_numbers = torch.zeros_like(self._balls)  # added up: of one ball, the sum is its number
        self._reached: list[Tensor] = []  # (p, 2): a real image, and a generated one without which a ball reaches it

    def see(self, found: Inside) -> None:
        """Take in the balls that real images lie in."""
        inner = found.within[:, 0]
        point, centre = found.point[inner], found.centre[inner]
        self._balls.index_add_(0, point, torch.ones_like(point))
        self._their_numbers.index_add_(0, point, centre)
        point, near = found.point[~inner], self._near[found.centre[~inner]]
        self._reached.append(torch.stack([point[:, None].expand_as(near), near], dim=-1).flatten(0, 1).unique(dim=0))

    def conclude(self) -> tuple[Tensor, Tensor]:
        """float64 (n,) and (m,)."""
        balls, numbers, count = self._balls, self._their_numbers, self._count
        image, without = torch.cat(self._reached).unique(dim=0).T
        won = torch.bincount(without[balls[image] == 0], minlength=count)
        lost = torch.bincount(numbers[balls == 1], minlength=count)
        kept = torch.bincount(without[(balls[image] == 1) & (numbers[image] == without)], minlength=count)
        return (balls > 0).double(), (lost - kept - won).double() * (count - 1) / len(balls)


def density_coverage(
    real: Tensor, generated: Tensor, k: int = 5, *, real_radii: Tensor | None = None
) -> DensityCoverage:
    """Compute how densely real images surround a generated one, and how many have one near: (n, d) and (m, d).

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models". Density: the number of real
    images whose k-th neighbour is no nearer than the generated image is, over k; it may exceed 1, and is expected to
    be 1 where both sets are of one distribution. Coverage: whether a real image has a generated one within that
    distance. Balls are closed here, as in :func:`manifold_coverage`; the authors' code has them open, which matters
    to ties alone: of the balls on whose very surface a generated image lies (copies lie on those of radius 0), density
    counts k at most, or a few copies among the real images would make it as large as one likes. ``real_radii`` as in
    :func:`precision_recall`.
    Raises :class:`UserError` where there are k real images or fewer, or no generated one, the dimensions differ, or
    features are not finite.
    """
    check(real, generated)
    if len(generated) == 0:
        raise UserError("density and coverage need generated images, there are none")
    if real_radii is None:
        real_radii = nearest_distances(real, real, k, same=True)
    _check_radii(real, real_radii)
    balls, surfaces = torch.zeros(2, len(generated), dtype=torch.float64, device=real.device)
    inner_radii = real_radii * (1 - SURFACE)
    visitors = torch.zeros(len(real), dtype=torch.int64, device=real.device)
    their_numbers = torch.zeros_like(visitors)  # added up: of one visitor, the sum is its number
    for found, _ in inside_balls(real, generated, row_radii=torch.stack([inner_radii, real_radii], dim=1)):
        assert found is not None
        inside = (found.within[:, 0] & (real_radii[found.centre] > 0)).double()
        balls.index_add_(0, found.point, inside)
        surfaces.index_add_(0, found.point, 1 - inside)
        visitors.index_add_(0, found.centre, torch.ones_like(found.centre))
        their_numbers.index_add_(0, found.centre, found.point)
    density, coverage = (balls + surfaces.clamp(max=k)) / k, (visitors > 0).double()
    alone = torch.bincount(their_numbers[visitors == 1], minlength=len(generated))
    return DensityCoverage(
        density=density.mean().item(),
        coverage=coverage.mean().item(),
        density_per_generated=density,
        coverage_per_real=coverage,
        coverage_derivatives=alone.double() * (len(generated) - 1) / len(real),
    )


def closer_than_own_neighbour(points: Tensor, training: Tensor, training_radii: Tensor) -> Tensor:
    """Tell whether each point is nearer to its nearest training image than that image is to any other: -> (n,) bool.

    Alaa et al. 2022, "How faithful is your synthetic data?": such a point is not authentic, it looks like a copy of
    what was trained on. An exact copy (distance 0) always counts, of a training image that has a duplicate too. Of
    training images equally near, one suffices. Published code of this measure looks for the nearest generated image
    of each training image instead.
    ``points`` (n, d), ``training`` (m, d); ``training_radii`` (m,) is
    ``nearest_distances(training, training, 1, same=True)``.
    Raises :class:`UserError` where there is no training image, the dimensions differ, or features are not finite,
    ``ValueError`` where radii are not one a training image.
    """
    _check_radii(training, training_radii)
    distances, indices = _nearest(points, training, max(1, min(_TIES, len(training))), same=False)
    nearest, own = distances[:, :1], training_radii.double()[indices]
    return ((distances == nearest) & (nearest < own) | (nearest == 0)).any(dim=1)


def _nearest(queries: Tensor, keys: Tensor, k: int, *, same: bool) -> tuple[Tensor, Tensor]:
    """Find the k nearest keys: distances and numbers, near to far: float64 and int64 (n, k)."""
    check(queries, keys)
    if not 1 <= k <= len(keys) - same:
        raise UserError(f"there is no neighbour number {k} among {len(keys)} images: give more images, or a smaller k")
    if len(queries) == 0:
        return queries.new_empty(0, k, dtype=torch.float64), queries.new_empty(0, k, dtype=torch.int64)
    return nearest(queries, keys, k, same=same)


def _check_radii(centres: Tensor, radii: Tensor) -> None:
    if radii.shape != centres.shape[:1]:
        raise ValueError(f"{tuple(radii.shape)} radii of {len(centres)} centres")
