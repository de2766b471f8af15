"""Measure the variational bound: pixel likelihood, divergence from the prior, latent dimensions in use."""

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.core import questions, seeding
from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage, Score
from vaebench.models.losses import kl_to_standard_normal

_BLOCK = 1024  # rows of kernel values at a time
_EPSILON = 1e-7  # Keras's: one wrong, certain pixel costs at most 16.1 nats


def bernoulli_nll(real: Tensor, probabilities: Tensor) -> Tensor:
    """Negative Bernoulli log-likelihood in nats, summed over pixels: two (n, c, h, w) -> (n,) float64.

    Kingma & Welling 2014, "Auto-encoding variational Bayes", appendix C.1: the cross-entropy, for pixels
    anywhere in [0, 1] too. Probabilities in [0, 1] are clamped to [1e-7, 1 - 1e-7], in float64. Raises
    ``ValueError`` where the shapes differ.
    """
    clamped = probabilities.double().clamp(_EPSILON, 1 - _EPSILON)
    return functional.binary_cross_entropy(clamped, real.double(), reduction="none").flatten(1).sum(dim=1)


def _nll_of(batch: EvalBatch) -> Tensor:
    assert batch.real is not None and batch.draw is not None
    return bernoulli_nll(batch.real, batch.draw)


def _kl_of(batch: EvalBatch) -> Tensor:
    assert batch.mean is not None and batch.log_variance is not None
    return kl_to_standard_normal(batch.mean.double(), batch.log_variance.double())


def _elbo_of(batch: EvalBatch) -> Tensor:
    return -(_nll_of(batch) + _kl_of(batch))


def nll() -> list[Metric]:
    """Negative log-likelihood of an image under one draw from its posterior, in nats an image."""
    return [
        PerImage(
            _nll_of,
            MetricSpec(
                name="nll",
                needs=Need.REAL | Need.DRAW,
                unit="nats",
                direction="lower",
                lowest=0.0,
                protocol="bernoulli/1-draw",
                margin="1%",
                stratified=True,
                question=questions.PRIOR,
                place=2,
            ),
        )
    ]


def kl() -> list[Metric]:
    """Divergence of the posterior from the standard normal prior, in nats an image.

    Lower is better as a term of the bound only: a collapsed posterior has 0. Read it beside ``nll``.
    """
    return [
        PerImage(
            _kl_of,
            MetricSpec(
                name="kl",
                needs=Need.VARIANCE,
                unit="nats",
                direction="lower",
                lowest=0.0,
                protocol="posterior",
                margin="5%",
                stratified=True,
                question=questions.PRIOR,
                place=3,
                ranked=False,  # less of it is worth nothing by itself: a posterior that ignores the image has none
            ),
        )
    ]


def elbo() -> list[Metric]:
    """Evidence lower bound -(nll + kl), in nats an image, from one draw."""
    return [
        PerImage(
            _elbo_of,
            MetricSpec(
                name="elbo",
                needs=Need.REAL | Need.DRAW | Need.VARIANCE,
                unit="nats",
                direction="higher",
                protocol="bernoulli/1-draw",
                margin="1%",
                stratified=True,
                question=questions.PRIOR,
                place=1,
            ),
        )
    ]


class ActiveUnits(Metric):
    """Final: number of latent dimensions whose posterior mean has a variance over images above a threshold.

    Burda et al. 2016, "Importance weighted autoencoders", section 5.2: A_u = Cov_x(E_{u ~ q(u|x)}[u]) > 0.01.
    The variance is the population's (divisor n). Kept as count, mean and sum of squared deviations in float64
    on the CPU, which merge exactly (Chan et al. 1983, "Algorithms for computing the sample variance").
    """

    def __init__(self, threshold: float) -> None:
        if not (math.isfinite(threshold) and threshold >= 0):
            raise UserError(f"active_units.threshold is a variance of 0 or more, not {threshold}")
        self.threshold = threshold
        self.spec = MetricSpec(
            name="active_units",
            needs=Need.LATENT,
            unit="dimensions",
            direction="higher",
            lowest=0.0,
            protocol=f"variance>{float(threshold)}",
            margin="0.5",
            question=questions.PRIOR,
            place=4,
        )
        self._n = 0
        self._mean = self._squares = torch.zeros(0, dtype=torch.float64)

    def update(self, batch: EvalBatch) -> None:
        assert batch.mean is not None
        values = batch.mean.double()
        if len(values):
            mean = values.mean(dim=0)
            squares = (values - mean).square().sum(dim=0)
            self._combine(len(values), mean.cpu(), squares.cpu())

    def merge(self, other: Self) -> None:
        self._combine(other._n, other._mean, other._squares)

    def _combine(self, n: int, mean: Tensor, squares: Tensor) -> None:
        if n == 0:
            return
        if self._n == 0:
            self._n, self._mean, self._squares = n, mean, squares
            return
        total = self._n + n
        delta = mean - self._mean
        self._squares = self._squares + squares + delta.square() * (self._n * n / total)
        self._mean = self._mean + delta * (n / total)
        self._n = total

    def score(self, context: Context) -> Score:
        if self._n < 2:
            return Score(value=None, n=self._n, note="needs at least 2 images")
        variance = self._squares / self._n
        if not torch.isfinite(variance).all():  # NaN > threshold is false: it would pass for a dead dimension
            return Score(value=None, n=self._n, note="posterior means are not finite")
        return Score(value=float((variance > self.threshold).sum()), n=self._n)


def active_units(threshold: float = 0.01) -> list[Metric]:
    """Latent dimensions in use: those whose posterior mean varies over images by more than ``threshold``.

    Raises :class:`UserError` where ``threshold`` is negative or not finite.
    """
    return [ActiveUnits(threshold)]


def _to_prior(latents: Tensor) -> Tensor:
    """Mean kernel value of each row (n, d) with standard normal draws, in closed form."""
    d = latents.shape[1]
    scale: float = (d / (d + 1)) ** (d / 2)
    return scale * torch.exp(-latents.square().sum(dim=1) / (2 * (d + 1)))


def _to_each_other(latents: Tensor) -> Tensor:
    """Mean kernel value of each row (n, d) with the other rows; blockwise."""
    n, d = latents.shape
    squares = latents.square().sum(dim=1)
    sums = [
        torch.exp(-(squares[rows, None] + squares[None] - 2 * latents[rows] @ latents.T).clamp(min=0) / (2 * d)).sum(1)
        for rows in torch.arange(n).split(_BLOCK)
    ]
    return (torch.cat(sums) - 1) / (n - 1)


def mmd_to_standard_normal(latents: Tensor) -> tuple[float, Tensor]:
    """Unbiased squared maximum mean discrepancy of rows (n, d), n >= 2, from the standard normal; float64.

    Gretton et al. 2012, "A kernel two-sample test", lemma 6, with the Gaussian kernel exp(-|x - y|^2 / (2 d)); the
    two expectations under the normal are known in closed form, so no draws of it add noise. May be slightly below 0.
    Beside it its derivative by the weight of each row (n,), up to a constant (Hoeffding 1948).
    """
    rows = latents.double()
    d = rows.shape[1]
    between_draws: float = (d / (d + 2)) ** (d / 2)
    each_other, prior = _to_each_other(rows), _to_prior(rows)
    return float(each_other.mean() - 2 * prior.mean() + between_draws), 2 * (each_other - prior)


class PosteriorMismatch(Metric):
    """Final: how far the latents of encoded images, one posterior draw each, are from the prior."""

    spec = MetricSpec(
        name="posterior_mismatch",
        needs=Need.VARIANCE,
        unit="squared MMD",
        direction="lower",
        protocol="mmd/gaussian/1-draw",
        margin="0.002",  # unbiased, so near 0 no share of it would do
        question=questions.PRIOR,
        place=5,
    )

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def update(self, batch: EvalBatch) -> None:
        assert batch.mean is not None and batch.log_variance is not None
        self._parts.append((batch.mean.cpu(), batch.log_variance.cpu()))

    def merge(self, other: Self) -> None:
        self._parts.extend(other._parts)

    def score(self, context: Context) -> Score:
        n = sum(len(mean) for mean, _ in self._parts)
        if n < 2:
            return Score(value=None, n=n, note="needs at least 2 images")
        mean, log_variance = (torch.cat(parts).double() for parts in zip(*self._parts, strict=True))
        noise = torch.randn(mean.shape, generator=seeding.generator(0, "posterior mismatch"))
        latents = mean + noise * torch.exp(0.5 * log_variance)
        if not torch.isfinite(latents).all():
            return Score(value=None, n=n, note="posteriors are not finite")
        return Score.influenced(*mmd_to_standard_normal(latents))


def posterior_mismatch() -> list[Metric]:
    """Distance of the aggregate posterior from the prior: large where samples decode latents never trained on."""
    return [PosteriorMismatch()]


def unevenness(paths: Tensor) -> Tensor:
    """Largest step of each path over its mean step: (n, frames, c, h, w), frames >= 2 -> (n,) float64, 1 or more.

    A step is the root mean square change of the pixels from one frame to the next. 1 is an even change; as many as
    there are steps, one jump. A path on which nothing changes counts as even.
    """
    steps = paths.double().diff(dim=1).flatten(2).square().mean(dim=2).sqrt()
    mean = steps.mean(dim=1)
    return torch.where(mean > 0, steps.amax(dim=1) / mean.clamp(min=torch.finfo(torch.float64).tiny), 1.0)


def _unevenness_of(batch: EvalBatch) -> Tensor:
    assert batch.path is not None
    return unevenness(batch.path)


def interpolation_smoothness() -> list[Metric]:
    """Largest step over mean step along straight lines between prior draws, 11 images a line: 1 is smooth."""
    return [
        PerImage(
            _unevenness_of,
            MetricSpec(
                name="interpolation_smoothness",
                needs=Need.PATH,
                unit="largest step / mean step",
                direction="lower",
                lowest=1.0,
                protocol="pixels/11-frames/prior",
                margin="5%",
                question=questions.EVENNESS,
                place=1,
                study="interpolation",
                column="largest / mean step",
            ),
        )
    ]
