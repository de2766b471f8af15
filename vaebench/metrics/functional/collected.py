"""Collect the features of what a run made, for metrics of two sets of images, and check that there are enough."""

from typing import Self

import torch
from torch import Tensor

from vaebench.core.context import FeatureSpace, Reference
from vaebench.core.errors import UserError
from vaebench.core.metric import Accumulator, EvalBatch, Metric, MetricSpec, Need

KINDS = {"samples": ("sample", Need.SAMPLE), "recon": ("reconstruction", Need.RECONSTRUCTION)}


class Collected(Accumulator):
    """Features of one kind of images, as they came: rows shared with every metric that keeps them."""

    def __init__(self, kind: str) -> None:
        self._field = KINDS[kind][0]
        self._parts: list[Tensor] = []

    def update(self, batch: EvalBatch) -> None:
        self._parts.append(batch.features[self._field])

    def merge(self, other: Self) -> None:
        self._parts.extend(other._parts)

    def rows(self) -> Tensor:
        """Return all rows, on the device they were made on; on the CPU if that device has no float64 to compare them in
        (MPS).
        """
        rows = torch.cat(self._parts) if self._parts else torch.empty(0, 0)
        return rows.cpu() if rows.device.type == "mps" else rows


class OfAllFeatures(Metric):
    """Abstract: metric that is a function of all the features of one kind of images, which it keeps."""

    def __init__(self, spec: MetricSpec, space: FeatureSpace, kind: str) -> None:
        self.spec, self._space, self._kind = spec, space, kind
        self._collected = Collected(kind)

    def update(self, batch: EvalBatch) -> None:
        self._collected.update(batch)

    def merge(self, other: Self) -> None:
        self._collected.merge(other._collected)


def checked(features: Tensor, reference: Reference, least: int) -> Tensor:
    """Return the real images' features after checking both sets' sizes, and that features are finite."""
    real = reference.features
    for name, rows in (("images", features), ("real images", real)):
        if len(rows) < least:
            raise UserError(f"needs {least} {name} or more, there are {len(rows)}")
        if not torch.isfinite(rows).all():
            raise UserError(f"features of {name} are not finite")
    return real
