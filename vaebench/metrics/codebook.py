"""Measure how a model with a codebook uses it: entries in use, their entropy, and the bits an image takes."""

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from vaebench.core import questions
from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Facet, Metric, MetricSpec, Need, Score, SharedMeasurement


def entropy_of(codes: Tensor, size: int) -> tuple[float, Tensor]:
    """Compute the entropy of codebook entries over all places of all images, in bits.

    Args:
        codes: int64 (n, places), numbers of entries from 0 to ``size`` - 1.
        size: of the codebook.

    Returns:
        The plug-in estimate (Shannon 1948), and what weighing each image more does to it: float64 (n,), the mean
        surprise of its places less the entropy.
    """
    shares = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    surprise = -shares.clamp(min=torch.finfo(torch.float64).tiny).log2()
    entropy = float((shares * surprise).sum())
    return entropy, surprise[codes].mean(dim=1) - entropy


def usage_of(codes: Tensor, size: int) -> tuple[float, Tensor]:
    """Compute the share of codebook entries that occur at all: codes int64 (n, places).

    Returns:
        The share, and (n - 1) times what it loses without each image: float64 (n,), the infinitesimal jackknife's
        derivative as leaving one out gives it.
    """
    n, places = codes.shape
    image = torch.arange(n).repeat_interleave(places)
    pairs = torch.stack([codes.flatten(), image], dim=1).unique(dim=0)  # an entry, and an image that has it
    users = torch.bincount(pairs[:, 0], minlength=size)
    alone = torch.bincount(pairs[users[pairs[:, 0]] == 1, 1], minlength=n)
    return float((users > 0).double().mean()), alone.double() * (n - 1) / size


class Codes(SharedMeasurement):
    """Final: the codes of all images, from which usage, entropy and bits are taken."""

    key = ("codes",)

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._pixels = 0

    def update(self, batch: EvalBatch) -> None:
        assert batch.codes is not None and batch.real is not None
        self._parts.append(batch.codes.cpu().long())
        self._pixels = batch.real.shape[-2] * batch.real.shape[-1]

    def merge(self, other: Self) -> None:
        self._parts.extend(other._parts)
        self._pixels = self._pixels or other._pixels

    def conclude(self, context: Context) -> Mapping[str, Score]:
        codes, size = torch.cat(self._parts), context.codebook_size
        if size is None:
            raise UserError("the model does not say how many entries its codebook has: give it codebook_size")
        if codes.min() < 0 or codes.max() >= size:
            raise UserError(f"codes from {codes.min()} to {codes.max()} are no entries of a codebook of {size}")
        entropy, surprise = entropy_of(codes, size)
        rate = codes.shape[1] / self._pixels
        protocol = f"entries={size}/n={len(codes)}"
        return {
            "usage": Score.influenced(*usage_of(codes, size), protocol),
            "entropy": Score.influenced(entropy, surprise, protocol),
            "bits": Score.influenced(rate * entropy, rate * surprise, protocol),
        }


def _facet(part: str, name: str, unit: str, margin: str, place: int, *, ranked: bool, highest: float) -> Metric:
    spec = MetricSpec(
        name=name,
        needs=Need.REAL | Need.CODES,
        unit=unit,
        direction="lower" if part == "bits" else "higher",
        lowest=0.0,
        highest=highest if math.isfinite(highest) else None,
        protocol="codebook",
        margin=margin,
        question=questions.PRIOR,
        place=place,
        ranked=ranked,
    )
    return Facet(Codes(), part, spec)


def codebook_usage() -> list[Metric]:
    """Share of a codebook's entries that occur among the images' codes."""
    return [_facet("usage", "codebook_usage", "share", "0.02", 6, ranked=True, highest=1.0)]


def codebook_entropy() -> list[Metric]:
    """Entropy of a codebook's entries among the images' codes, in bits; at most the logarithm of their number."""
    return [_facet("entropy", "codebook_entropy", "bits", "0.1", 7, ranked=False, highest=math.inf)]


def bits_per_pixel() -> list[Metric]:
    """Bits a pixel that the codes take by an ideal code of their entries' frequencies: the rate beside the error."""
    return [_facet("bits", "bits_per_pixel", "bits/pixel", "5%", 8, ranked=False, highest=math.inf)]
