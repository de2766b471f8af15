"""Compute moments of features that stream, and the Fréchet distance between the Gaussians they describe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vaebench.core import questions, seeding
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.metric import MetricSpec, Score
from vaebench.metrics.functional.collected import KINDS, OfAllFeatures, checked
from vaebench.metrics.functional.copies import copies_counted_once
from vaebench.metrics.functional.distances import doubles

BLOCK = 4096  # rows at a time in float64
EXTRAPOLATED_FROM = 15  # points on the line of distance over 1/n (Chong and Forsyth 2020)


@dataclass(slots=True)
class Moments:
    """Number, mean (d,) and sum of outer products of deviations (d, d) of rows, in float64; merging is exact.

    Chan et al. 1983, "Algorithms for computing the sample variance". Memory is d * d, whatever the number of rows.
    All stays on the device where the rows are (the CPU, where that has no float64).
    """

    n: int = 0
    mean: Tensor | None = None
    scatter: Tensor | None = None

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Compute the moments of rows (n, d), a block at a time."""
        moments = cls()
        for block in features.split(BLOCK):
            moments.add(block)
        return moments

    def add(self, features: Tensor) -> None:
        """Take in rows (n, d) of any float dtype, finite or not."""
        if len(features):
            rows = doubles(features)
            mean = rows.mean(dim=0)
            deviations = rows - mean
            self.merge(Moments(len(rows), mean, deviations.T @ deviations))

    def cpu(self) -> "Moments":
        """Move the moments to the CPU, where matrices are decomposed."""
        if self.mean is None or self.scatter is None:
            return self
        return Moments(self.n, self.mean.cpu(), self.scatter.cpu())

    def merge(self, other: "Moments") -> None:
        """Take in what another saw."""
        if other.mean is None or other.scatter is None:
            return
        if self.mean is None or self.scatter is None:
            self.n, self.mean, self.scatter = other.n, other.mean.clone(), other.scatter.clone()
            return
        total = self.n + other.n
        delta = other.mean - self.mean
        self.scatter += other.scatter
        self.scatter.addr_(delta, delta, alpha=self.n * other.n / total)
        self.mean = self.mean + delta * (other.n / total)
        self.n = total

    @property
    def covariance(self) -> Tensor:
        """Return the covariance (d, d), divisor n - 1, as numpy.cov has it; ``ValueError`` for fewer than 2 rows."""
        if self.scatter is None or self.n < 2:
            raise ValueError(f"a covariance needs 2 rows or more, not {self.n}")
        return self.scatter / (self.n - 1)


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """Compute the squared Fréchet distance of two Gaussians: means (d,), covariances (d, d) symmetric, float64.

    Dowson and Landau 1982; Heusel et al. 2017, equation 6: |a - b|^2 + tr(A + B - 2 (A B)^(1/2)). For any L and M
    with L L' = A and M M' = B, the trace of the root is the sum of the singular values of M' L, whose squares are the
    eigenvalues of A B. So it is real, and no small eigenvalue's rounding error grows by a root.
    """
    trace_of_root = torch.linalg.svdvals(_factor(covariance_b).T @ _factor(covariance_a)).sum()
    difference = mean_a - mean_b
    distance = difference @ difference + covariance_a.trace() + covariance_b.trace() - 2 * trace_of_root
    return float(distance.clamp(min=0))  # equal Gaussians come out at minus a rounding error


def _factor(covariance: Tensor) -> Tensor:
    """Factor a covariance into L L': Cholesky's, or if it is singular (fewer images than dimensions) its eigenvectors.

    Eigenvalues that are 0 but for rounding count as 0.
    """
    factor: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return factor
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    rounding = len(eigenvalues) * torch.finfo(covariance.dtype).eps * eigenvalues.max()
    return eigenvectors * eigenvalues.where(eigenvalues > rounding, 0).sqrt()


def frechet_derivatives(
    features: Tensor, mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> Tensor | None:
    """Differentiate :func:`frechet_distance` by the weight of each row (n, d) that ``a`` was fitted to: (n,) float64.

    With x a row less the mean, it is 2 (a - b)'x + x'(1 - T)x but for a constant, where T = A^(-1/2) (A^(1/2) B
    A^(1/2))^(1/2) A^(-1/2) carries the one Gaussian to the other (Olkin and Pukelsheim 1982): half the trace of T dA is
    the change of tr (A B)^(1/2). For A = L L' and L'B L = V s^2 V', x'T x is s times the squares of V'L^(-1) x.
    A may be singular (units that never fire): rows lie in its range, and all is taken there. ``None`` where there are
    fewer images than twice its rank: the error that this gives is then too small.
    """
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance_a)
    kept = eigenvalues > len(eigenvalues) * torch.finfo(covariance_a.dtype).eps * eigenvalues.max()
    if len(features) < 2 * int(kept.sum()):
        return None
    deviations, axes = eigenvalues[kept].sqrt(), eigenvectors[:, kept]
    factor = axes * deviations
    squares, vectors = torch.linalg.eigh(factor.T @ covariance_b @ factor)
    scales, shift = squares.clamp(min=0).sqrt(), 2 * (mean_a - mean_b)
    whitening = axes / deviations @ vectors
    device = doubles(features[:0]).device
    mean, shift, scales, whitening = (part.to(device) for part in (mean_a, shift, scales, whitening))
    parts = []
    for block in features.split(BLOCK):
        rows = doubles(block) - mean
        parts.append(rows @ shift + rows.square().sum(dim=1) - (rows @ whitening).square() @ scales)
    return torch.cat(parts).cpu()


def _spec(name: str, space: FeatureSpace, kind: str, protocol: str, place: int) -> MetricSpec:
    """Declare a Fréchet distance; ``place`` is its place among the metrics of its question."""
    return MetricSpec(
        name=name,
        needs=KINDS[kind][1],
        unit="squared distance",
        direction="lower",
        lowest=0.0,
        protocol=protocol,
        margin="5%",
        space=space,
        question=questions.DISTRIBUTION,
        place=place,
        column=kind,
        of_training_images=kind == "samples",
    )


class FrechetDistance(OfAllFeatures):
    """Final: squared Fréchet distance of Gaussians fitted to features; the features give the value's error.

    Of reconstructions the error counts that originals and reconstructions are drawn together; of samples it is given
    these real images, which all models are held against.
    """

    def __init__(
        self,
        name: str,
        space: FeatureSpace,
        kind: str,
        prepared: str = "",
        *,
        headline: int = 0,
        place: int = 2,
        stands_in: str = "",
    ) -> None:
        self._stem = f"{space}/{prepared}" if prepared else str(space)
        spec = _spec(name, space, kind, f"{self._stem}/{kind}", place)
        super().__init__(replace(spec, headline=headline, stands_in_for=stands_in), space, kind)

    def score(self, context: Context) -> Score:
        features = self._collected.rows()
        made = Moments.of(features).cpu()
        reference = context.reference(self._space, context.split)
        real = reference.statistic("moments", _moments_of)
        if made.n < 2 or made.mean is None or real["n"] < 2:
            raise UserError(f"needs 2 images or more of each kind, there are {made.n} and {int(real['n'])} real ones")
        if not (torch.isfinite(made.mean).all() and torch.isfinite(real["mean"]).all()):
            raise UserError("features are not finite")
        gaussians = (made.mean, made.covariance, real["mean"], real["covariance"])
        value, protocol = frechet_distance(*gaussians), f"{self._stem}/n={made.n}/{self._kind}"
        derivatives = frechet_derivatives(features, *gaussians)
        if derivatives is not None and self._kind == "recon" and made.n == real["n"]:
            # another draw of images would change originals and reconstructions together
            of_real = frechet_derivatives(reference.features, *gaussians[2:], *gaussians[:2])
            derivatives = None if of_real is None else derivatives + of_real
        if derivatives is None:
            return Score(value=value, n=made.n, protocol=protocol)
        score = Score.influenced(value, derivatives, protocol)
        return (
            copies_counted_once(features, lambda rows: self._of(rows, real, score))
            if self._kind == "samples"
            else score
        )

    def _of(self, rows: Tensor, real: Mapping[str, Tensor], whole: Score) -> Score:
        """Take the score of some of the rows; of all of them it is known."""
        if len(rows) == whole.n:
            return whole
        made = Moments.of(rows).cpu()
        if made.n < 2:
            return Score(value=None, n=made.n)
        assert made.mean is not None
        gaussians = (made.mean, made.covariance, real["mean"], real["covariance"])
        derivatives = frechet_derivatives(rows, *gaussians)
        value = frechet_distance(*gaussians)
        return Score(value=value, n=made.n) if derivatives is None else Score.influenced(value, derivatives)


def _moments_of(features: Tensor) -> Mapping[str, Tensor]:
    moments = Moments.of(features).cpu()
    if moments.n < 2 or moments.mean is None:
        return {"n": torch.tensor(moments.n), "mean": torch.zeros(0), "covariance": torch.zeros(0)}
    return {"n": torch.tensor(moments.n), "mean": moments.mean, "covariance": moments.covariance}


class FrechetInfinity(OfAllFeatures):
    """Final: the Fréchet distance extrapolated to infinitely many generated images; keeps their features.

    Chong and Forsyth 2020, "Effectively unbiased FID and Inception score", section 4: the distance is linear in 1/n
    to first order, and its intercept free of that bias. Fitted over 15 sizes from a tenth of the images (from twice
    the features' dimension, where that is more and there are enough) to all of them, random subsets each. The real
    images stay as many as they are: their part of the bias is the same for all models.
    """

    def __init__(self, name: str, space: FeatureSpace, kind: str, prepared: str, *, place: int = 2) -> None:
        self._stem = f"{space}/{prepared}"
        super().__init__(_spec(name, space, kind, f"{self._stem}/infinity/{kind}", place), space, kind)

    def score(self, context: Context) -> Score:
        made = self._collected.rows()
        n = len(made)
        reference = context.reference(self._space, context.split)
        checked(made, reference, 100)
        real = reference.statistic("moments", _moments_of)
        least = max(n // 10, min(2 * made.shape[1], n // 2))
        sizes = np.linspace(least, n, EXTRAPOLATED_FROM).astype(int)
        values = []
        for size in sizes:
            chosen = torch.randperm(n, generator=seeding.generator(0, f"fid infinity {size}"))[:size]
            part = Moments.of(made[chosen.to(made.device)]).cpu()
            assert part.mean is not None
            values.append(frechet_distance(part.mean, part.covariance, real["mean"], real["covariance"]))
        _, intercept = np.polyfit(1 / sizes, values, 1)
        return Score(value=float(intercept), n=n, protocol=f"{self._stem}/n=infinity(from {n})/{self._kind}")
