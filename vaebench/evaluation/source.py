"""A source of evaluation: one thing to evaluate, with its identity, what it provides, its batches, its context."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaebench.core import subjects
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import Group
from vaebench.core.metric import EvalBatch, Need

BATCH = 64  # images at a time on a CPU: what decoders make on the way stays in its caches (four times the rate of 500)
BATCH_ON_GPU = 512
FLOATS = 2**24  # bytes of images that become floats at a time where no model works on them
FIELDS = {
    Need.REAL: "real",
    Need.RECONSTRUCTION: "reconstruction",
    Need.DRAW: "draw",
    Need.SAMPLE: "sample",
    Need.PATH: "path",
    Need.LATENT: "mean",
    Need.VARIANCE: "log_variance",
    Need.CODES: "codes",
}

Batches = Callable[[Need, Group], Iterator[EvalBatch]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who made what is evaluated, and on which device it runs: results are stored under it.

    Attributes:
        name: a recipe, ``external/NAME``, ``baseline/NAME``, ``real`` or ``real/train``.
        seed: of the training; ``None`` for what was not trained here.
        content_sha256: of a model's weights, or of images made elsewhere; empty for what has neither.
        device: as ``torch.device`` takes it.
    """

    name: str
    seed: int | None = None
    content_sha256: str = ""
    device: str = "cpu"


UNNAMED = Identity("unnamed")  # of what is evaluated and stored nowhere
REAL = Identity(subjects.REAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSource:
    """One thing to evaluate: its identity, what it provides, its batches, its context. Made once, and passed on.

    Attributes:
        identity: what its results are stored under.
        provides: what its batches and its context can hold.
        batches: (needs, group) -> the batches of this process of the group, with what is both needed and provided.
        context: what a score may need beside the batches, the model's own functions included.
        ready: features of the batches' rows in a space, if they need not be extracted: those of real images.
        paired: whether row i of its images belongs to image i of the evaluated split.
        latent_shape: of a model that can be looked into; ``None`` for everything else.
        reasons: what it does not provide -> why, where more is known than that it does not.
        shown_samples: n -> images (n, c, h, w) on the CPU, for pictures; ``None`` of what draws none.
        length: needs -> rows of all its batches together, by which progress is told; 0 where that is not known.
    """

    identity: Identity = UNNAMED
    provides: Need
    batches: Batches
    context: Context = field(default_factory=Context)
    ready: Callable[[FeatureSpace], Tensor] | None = None
    paired: bool = True
    latent_shape: tuple[int, ...] | None = None
    reasons: Mapping[Need, str] = field(default_factory=dict)
    shown_samples: Callable[[int], Tensor] | None = None
    length: Callable[[Need], int] = lambda needs: 0

    @property
    def title(self) -> str:
        """Its name in messages."""
        seed = self.identity.seed
        return self.identity.name if seed is None else f"{self.identity.name}/seed-{seed}"


def batch_on(device: torch.device | str) -> int:
    """Images that go through a model at a time."""
    return BATCH_ON_GPU if torch.device(device).type == "cuda" else BATCH


def at_a_time(images: Tensor) -> int:
    """Choose how many images become floats at a time where no model works on them: large ones are fewer."""
    return max(1, min(BATCH, FLOATS // (4 * max(1, images[:1].numel()))))


def labelling(data: ImageDataset) -> Need:
    """Tell whether batches of these images have labels or attributes."""
    return Need(0) if data.labels is None and data.attributes is None else Need.ATTRIBUTES


def labels(data: ImageDataset, rows: Tensor) -> dict[str, Any]:
    """Return the labels and attributes of some rows, as :class:`EvalBatch` takes them."""
    return {
        "labels": None if data.labels is None else data.labels[rows],
        "attributes": None if data.attributes is None else data.attributes[rows],
    }
