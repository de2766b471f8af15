"""Count the digits that a model shows on the way from one image to another.

The MNIST article ("Deep feature consistent variational auto-encoder", section "Linear interpolation between images")
finds a DFC-VAE's interpolation "less surprising as it doesn't generate intermediate digits of values other than 1 and
5". Here that is counted, over many pairs.
"""

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from vaebench.core import questions, seeding
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.interpolation import line
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, Refused, Score

_BATCH = 50  # paths decoded at a time
SPEC = MetricSpec(
    name="interpolation_surprises",
    needs=Need.CODE | Need.ATTRIBUTES,
    unit="classes a path",
    direction="lower",
    lowest=0.0,
    protocol="",  # known once the classifier is
    question=questions.EVENNESS,
    place=2,
    study="interpolation",
    column="surprising classes",
)


def surprising_classes(shown: Tensor, ends: Tensor) -> Tensor:
    """Count the different classes that the inner frames of each path show and neither end is: (n,) int64.

    ``shown`` int64 (n, frames), frames >= 2: what a classifier sees on each frame. ``ends`` int64 (n, 2): what the
    two images are: a model that draws one class whatever it is shown surprises on every path.
    """
    classes = int(torch.cat([shown, ends], dim=1).max()) + 1
    seen = torch.zeros(len(shown), classes, dtype=torch.bool)
    seen.scatter_(1, shown[:, 1:-1], value=True)
    seen.scatter_(1, ends, value=False)
    return seen.sum(dim=1)


def different_pairs(labels: Tensor, count: int) -> Tensor:
    """Draw ``count`` pairs of images of different labels (n,), int64 (count, 2), or as many as are found.

    The same for every model. No image is in two pairs: what is measured of pairs counts as independent. Raises
    :class:`UserError` where fewer than two pairs are found.
    """
    order = torch.randperm(len(labels), generator=seeding.generator(0, "pairs of images of different labels"))
    pairs = order[: len(labels) // 2 * 2].view(-1, 2)
    found = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]][:count]
    if len(found) < 2:
        raise UserError("too few images have different labels: there is nothing between two classes")
    return found


def pair_ids(ids: "list[str] | tuple[str, ...]", pairs: Tensor) -> list[str]:
    """Name each pair of rows, equally for equal images."""
    return [f"{ids[first]} to {ids[second]}" for first, second in pairs.tolist()]


class Surprises(Metric):
    """Final: mean number of surprising classes on straight lines between the latents of two real images."""

    def __init__(self, space: FeatureSpace, pairs: int, frames: int) -> None:
        if pairs < 2 or frames < 3:
            raise UserError(f"interpolation_surprises wants 2 pairs and 3 frames or more, not {pairs} and {frames}")
        self._space, self._pairs, self._frames = space, pairs, frames
        self.spec = replace(SPEC, protocol=f"{space.network}/{frames}-frames/pairs={pairs}", margin="0.05", space=space)

    def update(self, batch: EvalBatch) -> None:
        """Do nothing: pairs are drawn from the whole split when the score is taken."""

    def merge(self, other: Self) -> None:
        """Do nothing: pairs are drawn from the whole split when the score is taken."""

    def score(self, context: Context) -> Score:
        data = context.data(context.split)
        if data.labels is None:
            raise UserError("needs images of labelled classes")
        pairs = different_pairs(data.labels, self._pairs)
        latents = context.latents(context.split, "whole")
        shown = []
        for part in pairs.split(_BATCH):
            path = line(latents[part[:, 0]], latents[part[:, 1]], self._frames)
            shown.append(shown_classes(context, self._space, path))
        values = surprising_classes(torch.cat(shown), data.labels[pairs])
        score = Score.mean_of(values, ids=pair_ids(list(data.ids), pairs))
        right = context.reference(self._space, context.split).features.argmax(dim=1) == data.labels
        share = 100 * float(right.double().mean())
        protocol = f"{self._space.network}/{self._frames}-frames/pairs={len(pairs)}"
        return replace(score, note=f"the classifier reads {share:.1f} % of the images right", protocol=protocol)


def shown_classes(context: Context, space: FeatureSpace, path: Tensor) -> Tensor:
    """Classify each frame: latents (n, frames, d) -> int64 (n, frames)."""
    answers = context.features(space, context.decode(path.flatten(0, 1)))
    return answers.argmax(dim=1).reshape(path.shape[:2])


def interpolation_surprises(
    judge: str = "", pairs: int = 500, frames: int = 11, attributes: bool = False
) -> list[Metric]:
    """Classes that appear between two images of other classes, a path, as the data's own classifier sees it."""
    if not judge or attributes:
        reason = "needs images of labelled classes (digits) and a classifier of them"
        return [Refused(reason, replace(SPEC, protocol=f"classifier/{frames}-frames"))]
    return [Surprises(FeatureSpace(judge, "logits"), pairs, frames)]
