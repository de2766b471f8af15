"""What a metric declares, what it is fed, and what it answers."""

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
from torch import Tensor

Direction = Literal["higher", "lower", "target"]  # target: closeness to the real images' value is what counts


class Need(enum.Flag):
    """What a metric must be fed; the evaluator computes the union over all metrics once."""

    REAL = enum.auto()
    RECONSTRUCTION = enum.auto()  # decoded posterior means
    DRAW = enum.auto()  # decoded draws from the posterior, one an image
    SAMPLE = enum.auto()  # decoded draws from the prior
    LATENT = enum.auto()  # posterior mean and log-variance
    ATTRIBUTES = enum.auto()  # labels or attributes of the real images
    TRAINING = enum.auto()  # facts about the training: no images at all


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalBatch:
    """One batch of an evaluation: rows of all filled fields belong together.

    A metric finds filled what it declared as its needs, and nothing else is promised.

    Images are float32 (n, c, h, w) in [0, 1]; ``mean`` and ``log_variance`` float32 (n, d);
    ``labels`` int64 (n,); ``attributes`` bool (n, a). ``sample`` rows belong to no real image.
    """

    real: Tensor | None = None
    reconstruction: Tensor | None = None
    draw: Tensor | None = None
    sample: Tensor | None = None
    mean: Tensor | None = None
    log_variance: Tensor | None = None
    labels: Tensor | None = None
    attributes: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What a run's record says of its training: cost metrics read it."""

    parameters: int
    images_per_second: float
    seconds: float
    steps: int
    setting: str = ""  # device, precision and threads: speeds of different ones do not compare
    peak_memory: int = 0  # bytes; 0 where it was not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A value with its standard error over images, and the per-image values where there are any.

    ``value`` is ``None`` where the metric cannot be taken; ``note`` then says why.
    """

    value: float | None
    n: int
    std_error: float | None = None
    note: str = ""
    per_image: Tensor | None = field(default=None, compare=False)

    @classmethod
    def mean_of(cls, values: Tensor) -> Self:
        """Mean of per-image values (n,) in float64, with standard error s / sqrt(n), s with n - 1."""
        values = values.double()
        n = len(values)
        if n == 0:
            return cls(value=None, n=0, note="no images")
        error = values.std(correction=1).item() / math.sqrt(n) if n > 1 else None
        return cls(value=values.mean().item(), n=n, std_error=error, per_image=values)


class Metric(ABC):
    """A pure function in a thin accumulator. Accumulators merge, so an evaluation splits over processes.

    Attributes:
        name: as in the tables.
        needs: only batches that carry all of this reach :meth:`update`, unless ``needs`` mixes SAMPLE with
            needs of real images; then it is fed both kinds of batches and looks at the fields itself.
        unit, direction: as in the tables.
        protocol: how the value is computed; values of different protocols are never compared.
        of_real: whether the real images themselves have a value worth a row.
        stratified: whether labels and attributes split it into strata.
        extractor_sha256: of the weights that a feature extractor has; empty where there is none.
    """

    name: str
    needs: Need
    unit: str
    direction: Direction
    protocol: str
    of_real: bool = False
    stratified: bool = False
    extractor_sha256: str = ""

    @abstractmethod
    def update(self, batch: EvalBatch) -> None:
        """Take in one batch."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another accumulator of the same metric saw after this one."""

    @abstractmethod
    def score(self, facts: TrainingFacts | None) -> Score:
        """The value of all that was taken in."""


class PerImage(Metric):
    """Final: a function from a batch to one value an image; the score is their mean, and all are kept."""

    def __init__(
        self,
        function: Callable[[EvalBatch], Tensor],
        *,
        name: str,
        needs: Need,
        unit: str,
        direction: Direction,
        protocol: str,
        of_real: bool = False,
        stratified: bool = False,
    ) -> None:
        self.function = function
        self.name, self.needs, self.unit = name, needs, unit
        self.direction, self.protocol = direction, protocol
        self.of_real, self.stratified = of_real, stratified
        self._values: list[Tensor] = []

    def update(self, batch: EvalBatch) -> None:
        self._values.append(self.function(batch).cpu().double())

    def merge(self, other: Self) -> None:
        self._values.extend(other._values)

    def score(self, facts: TrainingFacts | None) -> Score:
        return Score.mean_of(torch.cat(self._values) if self._values else torch.empty(0))
