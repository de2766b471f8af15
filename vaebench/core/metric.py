"""Metrics: what one declares, the batches it is fed, the score it gives."""

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Self

import torch
from torch import Tensor

from vaebench.core.context import Context, FeatureSpace
from vaebench.core.results import Facts

Direction = Literal["higher", "lower", "target"]  # target: closeness to the real images' value is what counts


class Need(enum.Flag):
    """What a metric must be fed; the evaluator computes the union over all metrics once."""

    REAL = enum.auto()
    RECONSTRUCTION = enum.auto()  # decoded posterior means
    DRAW = enum.auto()  # decoded draws from the posterior, one an image
    SAMPLE = enum.auto()  # decoded draws from the prior
    PATH = enum.auto()  # decoded straight lines between draws from the prior
    LATENT = enum.auto()  # posterior mean; its log-variance where the encoder gives one
    VARIANCE = enum.auto()  # posterior log-variance: of encoders that are not deterministic
    CODES = enum.auto()  # numbers of codebook entries
    ATTRIBUTES = enum.auto()  # labels or attributes of the real images
    TRAINING = enum.auto()  # facts about the training: no images at all
    BLEND = enum.auto()  # a way of blending two images: read from the context, not from batches
    CODE = enum.auto()  # an encoder and a decoder: likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalBatch:
    """One batch of an evaluation: rows of all filled fields belong together.

    A metric finds filled what it declared as its needs, and nothing else is promised.

    Images are float32 (n, c, h, w) in [0, 1]; ``mean`` and ``log_variance`` float32 (n, d), spatial ones flattened;
    ``codes`` int64 (n, places);
    ``labels`` int64 (n,); ``attributes`` bool (n, a). ``sample`` rows belong to no real image. ``path`` is
    (n, frames, c, h, w). ``features`` holds float32 (n, d) of ``reconstruction`` and ``sample``, by these names, in
    the space that the metric names.
    """

    real: Tensor | None = None
    reconstruction: Tensor | None = None
    draw: Tensor | None = None
    sample: Tensor | None = None
    path: Tensor | None = None
    mean: Tensor | None = None
    log_variance: Tensor | None = None
    codes: Tensor | None = None
    labels: Tensor | None = None
    attributes: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        held = (getattr(self, name) for name in ("real", "reconstruction", "sample", "path", "mean"))
        return next((len(rows) for rows in held if rows is not None), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A value with its standard error over images, and the per-image values where there are any.

    ``value`` is ``None`` where the metric cannot be taken; ``note`` then says why. ``parts`` are values of what
    the score is a mean of (an attribute each), by stratum; they go no deeper.

    ``ids`` name what the per-image values are of where that is neither every image of the split nor a sample: a pair of
    images, or some of them. Values of the same ids are compared pair by pair.

    ``influence``: the metric is of all images together, and ``per_image`` (n,) is what each contributes to it, by the
    infinitesimal jackknife (Jaeckel 1972; Efron 1982, "The jackknife, the bootstrap and other resampling plans"): the
    value plus the derivative of the metric by that image's weight. Their mean is the value, their standard error that
    of the value, and the mean of a paired difference that of two values; single ones mean nothing.
    """

    value: float | None
    n: int
    std_error: float | None = None
    note: str = ""
    per_image: Tensor | None = field(default=None, compare=False)
    influence: bool = False
    parts: "Mapping[str, Score]" = field(default_factory=dict)
    protocol: str = ""
    ids: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def mean_of(cls, values: Tensor, ids: Sequence[str] = ()) -> Self:
        """Mean of per-image values (n,) in float64, with standard error s / sqrt(n), s with n - 1."""
        values = values.double()
        n = len(values)
        if n == 0:
            return cls(value=None, n=0, note="no images")
        error = values.std(correction=1).item() / math.sqrt(n) if n > 1 else None
        return cls(value=values.mean().item(), n=n, std_error=error, per_image=values, ids=tuple(ids))

    @classmethod
    def influenced(cls, value: float, derivatives: Tensor, protocol: str = "", ids: Sequence[str] = ()) -> Self:
        """A value of all images together, and its derivative by the weight of each (n,), centred here."""
        derivatives = derivatives.double().cpu()
        n = len(derivatives)
        per_image = value + derivatives - derivatives.mean()
        error = derivatives.std(correction=1).item() / math.sqrt(n) if n > 1 else None
        return cls(
            value=value,
            n=n,
            std_error=error,
            per_image=per_image,
            influence=True,
            protocol=protocol,
            ids=tuple(ids),
        )


class Accumulator(ABC):
    """Takes in batches, and merges with another accumulator, so that an evaluation can be split over processes.

    Its attributes that are tensors, numbers, text, lists and tuples of these, or accumulators, are what it knows; they
    travel between processes (:mod:`vaebench.evaluation.accumulator_transfer`). Functions, enumerations, feature
    spaces and specifications are constants. With anything else among its attributes (an array, a mapping) it is
    refused where several processes evaluate.
    """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another accumulator of the same kind saw after this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(Facts):
    """All facts about a metric: what it must be fed, what its values are, and how a report shows them.

    Attributes:
        name: as in the tables.
        needs: only batches that carry all of this reach :meth:`Metric.update`, unless ``needs`` mixes SAMPLE with
            needs of real images; then it is fed both kinds of batches and looks at the fields itself.
        unit, direction: as in the tables.
        protocol: how the value is computed; values of different protocols are never compared.
        margin: the difference that matters to a user, in the metric's unit (``0.01``) or as a share of the value, of
            the real images' for ``target`` (``5%``); smaller ones count as equivalent. Empty: none is declared.
        of_real: whether the real images themselves have a value worth a row.
        of_training_images: whether real training images in place of samples have a value worth a row: the best that a
            model can be expected to read, with as many images.
        stratified: whether labels and attributes split it into strata.
        of_baselines: whether it can be taken of what no model learnt: features that stand for latents, or ways of
            blending in pixels.
        space: where it wants features of what the run made; the evaluator extracts them once for all metrics.

    :class:`vaebench.core.results.Facts` has the other attributes: question, ranked, headline and so on.
    """

    name: str
    needs: Need
    unit: str
    direction: Direction
    protocol: str
    margin: str = ""
    of_real: bool = False
    of_training_images: bool = False
    stratified: bool = False
    of_baselines: bool = False
    space: FeatureSpace | None = None

    def facts(self) -> Facts:
        """What each result keeps of it for the report."""
        return Facts(**{each.name: getattr(self, each.name) for each in fields(Facts)})


class Metric(Accumulator):
    """A pure function in a thin accumulator.

    Attributes:
        spec: all facts about it.
        extractor_sha256: of the weights that a feature extractor has; empty where there is none.
        made_from: what an evaluation adds to the protocol of all its values, such as ``posterior=sample``; empty for
            the usual way.
    """

    spec: MetricSpec
    extractor_sha256: str = ""
    made_from: str = ""

    def protocol_of(self, score: Score | None = None) -> str:
        """Return the protocol of a score of this metric, or the one it has before it is measured."""
        known = score.protocol if score is not None and score.protocol else self.spec.protocol
        return f"{known}/{self.made_from}" if self.made_from else known

    @abstractmethod
    def update(self, batch: EvalBatch) -> None:
        """Take in one batch."""

    @abstractmethod
    def score(self, context: Context) -> Score:
        """Return the value of all batches so far."""


class SharedMeasurement(Accumulator):
    """A computation that several metrics read their values from (:class:`Facet`): fed once, concluded once.

    Two with the same ``key`` would take in and conclude the same; the evaluator keeps one of them.
    """

    key: Hashable
    _scores: Mapping[str, Score] | None = None

    @abstractmethod
    def update(self, batch: EvalBatch) -> None:
        """Take in one batch."""

    @abstractmethod
    def conclude(self, context: Context) -> Mapping[str, Score]:
        """Return the value of each facet by name."""

    def scores(self, context: Context) -> Mapping[str, Score]:
        """Call :meth:`conclude` once and keep its result."""
        if self._scores is None:
            self._scores = self.conclude(context)
        return self._scores


class Facet(Metric):
    """Final: one of the values of a shared measurement, under a name of its own."""

    def __init__(self, measurement: SharedMeasurement, part: str, spec: MetricSpec) -> None:
        self.measurement, self.part, self.spec = measurement, part, spec

    def update(self, batch: EvalBatch) -> None:
        self.measurement.update(batch)

    def merge(self, other: Self) -> None:
        self.measurement.merge(other.measurement)

    def score(self, context: Context) -> Score:
        return self.measurement.scores(context)[self.part]


class PerImage(Metric):
    """Final: a function from a batch to one value an image; the score is their mean, and all are kept."""

    def __init__(self, function: Callable[[EvalBatch], Tensor], spec: MetricSpec) -> None:
        self.function, self.spec = function, spec
        self._values: list[Tensor] = []

    def update(self, batch: EvalBatch) -> None:
        self._values.append(self.function(batch).cpu().double())

    def merge(self, other: Self) -> None:
        self._values.extend(other._values)

    def score(self, context: Context) -> Score:
        return Score.mean_of(torch.cat(self._values) if self._values else torch.empty(0))


class Refused(Metric):
    """Final: a metric that cannot be taken of the images at hand; a row without a value says why."""

    def __init__(self, reason: str, spec: MetricSpec) -> None:
        self.reason, self.spec = reason, spec

    def update(self, batch: EvalBatch) -> None:
        """Nothing: no image could change the reason."""

    def merge(self, other: Self) -> None:
        """Nothing."""

    def score(self, context: Context) -> Score:
        return Score(value=None, n=0, note=self.reason)
