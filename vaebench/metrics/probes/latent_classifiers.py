"""Linear classifiers fitted on latents of one split and tested on others, shared by probes and shift studies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import Score
from vaebench.metrics.probes.cost_selection import fit_chosen

WHOLE = ("whole",)  # the one view that most probes take


@dataclass(frozen=True, slots=True)
class Split:
    """Features (n, d) and targets (n, k), bool."""

    features: Tensor
    targets: Tensor

    def rows(self, rows: Tensor) -> "Split":
        return Split(self.features[rows], self.targets[rows])

    def __len__(self) -> int:
        return len(self.targets)


def split_of(context: Context, split: str, views: tuple[str, ...] = WHOLE) -> Split:
    """Return a split's latents, views side by side, with its attributes, or its labels as one column each.

    Raises :class:`UserError` where latents are not finite or there is nothing to be said of the images.
    """
    data = context.data(split)
    features = torch.cat([context.latents(split, view) for view in views], dim=1)
    if not torch.isfinite(features).all():
        raise UserError(f"latents of {split} are not finite")
    if data.attributes is not None:
        return Split(features, data.attributes)
    if data.labels is None:
        raise UserError("needs labels or attributes")
    classes = int(max(context.data(name).labels.max() for name in ("train", context.split))) + 1  # type: ignore[union-attr]
    return Split(features, torch.nn.functional.one_hot(data.labels, classes).bool())


def official(context: Context, views: tuple[str, ...] = WHOLE) -> tuple[Split, Split, Split]:
    """Return the dataset's splits to fit on, to choose C on, and to test on; a tenth of train replaces a missing
    valid.
    """
    training, testing = split_of(context, "train", views), split_of(context, context.split, views)
    if "valid" in context.splits and context.split != "valid":
        return training, split_of(context, "valid", views), testing
    order = torch.randperm(len(training), generator=seeding.generator(0, "probe: choosing C"))
    held = max(1, len(training) // 10)
    return training.rows(order[held:]), training.rows(order[:held]), testing


def scaled(training: Split, *others: Split | None) -> "tuple[Split, Split | None, Split]":
    """Standardise all features by the training images' mean and deviation; a constant feature becomes 0."""
    mean, deviation = training.features.mean(dim=0), training.features.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    first, second, third = (
        None if part is None else Split((part.features - mean) / deviation, part.targets)
        for part in (training, *others)
    )
    assert first is not None and third is not None
    return first, second, third


def decide(training: Split, choosing: Split | None, features: Tensor) -> Tensor:
    """Compute decision values (n, k) of ``features`` by SVMs whose C has the best validation accuracy on
    ``choosing``.
    """
    other = None if choosing is None else (choosing.features, choosing.targets)
    return fit_chosen(training.features, training.targets, other).decision(features)


def mean_of_parts(parts: list[Score], named: Mapping[str, Score], note: str) -> Score:
    """Average the parts that have a value; the error comes from what each image contributes, since parts correlate."""
    known = [part for part in parts if part.value is not None]
    per_image = torch.stack([part.per_image for part in known if part.per_image is not None]).mean(dim=0)
    whole = replace(Score.mean_of(per_image), influence=any(part.influence for part in known))
    return replace(whole, value=sum(part.value or 0.0 for part in known) / len(known), note=note, parts=named)


def bare(score: Score) -> Score:
    return replace(score, per_image=None, influence=False)


def balanced(correct: Tensor, truth: Tensor) -> Score:
    """Average the shares found of each class: (n,) 0 or 1, and (n,) int64 classes from 0, two or more.

    An image counts for its class alone, so its derivative is what it has above its class's share, over that share's
    weight.
    """
    numbers = torch.bincount(truth, minlength=2)
    if (numbers == 0).any():
        return Score(value=None, n=len(correct), note="one class only in the tested images")
    shares = torch.bincount(truth, weights=correct, minlength=2) / numbers
    derivatives = (correct - shares[truth]) * len(correct) / (len(numbers) * numbers[truth])
    return Score.influenced(float(shares.mean()), derivatives)
