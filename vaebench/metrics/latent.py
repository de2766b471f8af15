"""What the variational bound says: pixel likelihood, divergence from the prior, latent dimensions in use."""

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.blocks import kl_to_standard_normal
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Metric, Need, PerImage, Score, TrainingFacts

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
            name="nll",
            needs=Need.REAL | Need.DRAW,
            unit="nats",
            direction="lower",
            protocol="bernoulli/1-draw",
            stratified=True,
        )
    ]


def kl() -> list[Metric]:
    """Divergence of the posterior from the standard normal prior, in nats an image.

    Lower is better as a term of the bound only: a collapsed posterior has 0. Read it beside ``nll``.
    """
    return [
        PerImage(
            _kl_of,
            name="kl",
            needs=Need.LATENT,
            unit="nats",
            direction="lower",
            protocol="posterior",
            stratified=True,
        )
    ]


def elbo() -> list[Metric]:
    """Evidence lower bound -(nll + kl), in nats an image, from one draw."""
    return [
        PerImage(
            _elbo_of,
            name="elbo",
            needs=Need.REAL | Need.DRAW | Need.LATENT,
            unit="nats",
            direction="higher",
            protocol="bernoulli/1-draw",
            stratified=True,
        )
    ]


class ActiveUnits(Metric):
    """Final: number of latent dimensions whose posterior mean has a variance over images above a threshold.

    Burda et al. 2016, "Importance weighted autoencoders", section 5.2: A_u = Cov_x(E_{u ~ q(u|x)}[u]) > 0.01.
    The variance is the population's (divisor n). Kept as count, mean and sum of squared deviations in float64
    on the CPU, which merge exactly (Chan et al. 1983, "Algorithms for computing the sample variance").
    """

    name = "active_units"
    needs = Need.LATENT
    unit = "dimensions"
    direction = "higher"

    def __init__(self, threshold: float) -> None:
        if not (math.isfinite(threshold) and threshold >= 0):
            raise UserError(f"active_units.threshold is a variance of 0 or more, not {threshold}")
        self.threshold = threshold
        self.protocol = f"variance>{float(threshold)}"
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

    def score(self, facts: TrainingFacts | None) -> Score:
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
