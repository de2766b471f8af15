"""What linear classifiers read off latents: the 40 attributes of faces, or the class of digits.

Hou et al. 2017, "Deep feature consistent variational autoencoder", section 4.3.2: a linear SVM an attribute on the
posterior means of a trained encoder. An accuracy says little without the majority class's, so the lift over it and
the balanced accuracy are metrics of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Facet, Metric, Need, Score, Study
from vaebench.svm.linear import fit

COSTS = (0.001, 0.01, 0.1, 1.0)  # of the SVM: the official protocol chooses among them on the validation split
WHOLE = ("whole",)
MANY = ("whole", "mirrored", "left", "right", "up", "down")
HOU_TEST = 20_000  # images that Hou et al. 2017 test on
CURVATURES = 2**27  # numbers in all the problems' curvature matrices: 1 GiB
ETEKE_TEST = 0.1  # share that the replication tests on


@dataclass(frozen=True, slots=True)
class _Split:
    """Features (n, d) and targets (n, k), bool."""

    features: Tensor
    targets: Tensor

    def rows(self, rows: Tensor) -> "_Split":
        return _Split(self.features[rows], self.targets[rows])

    def problems(self, columns: Tensor) -> "_Split":
        return _Split(self.features, self.targets[:, columns])

    def __len__(self) -> int:
        return len(self.targets)


class Probe(Study):
    """Linear SVMs on latents under one protocol: fitted, chosen and tested on splits that share no image.

    ``official``: the dataset's own splits; scaler and SVMs are fitted on train, the cost C is chosen on valid for
    each attribute, test is what is evaluated; without a valid split a tenth of train stands in. ``hou``: 20,000 of
    all images to test on, the rest to train; ``eteke``: a tenth; both seeded, with C = 1, since there is no third set.
    """

    def __init__(self, protocol: str, views: tuple[str, ...]) -> None:
        self.key = ("probe", protocol, views)
        self._protocol, self._views = protocol, views

    def update(self, batch: EvalBatch) -> None:
        """Nothing: whole splits are read when the score is taken."""

    def merge(self, other: Self) -> None:
        """Nothing, likewise."""

    def conclude(self, context: Context) -> Mapping[str, Score]:
        if "train" not in context.splits:
            raise UserError("there is no training split to fit on")
        data = context.data(context.split)
        if self._protocol == "official":
            training, choosing, testing = self._official(context)
        else:
            training, testing = self._pooled(context)
            choosing = None
        training, choosing, testing = _scaled(training, choosing, testing)
        decisions = _decide(training, choosing, testing.features)
        if data.attributes is not None:
            scores = _attribute_scores(list(data.attribute_names), training, testing, decisions > 0)
        else:
            scores = _class_scores(training, testing, decisions.argmax(dim=1))
        if self._protocol == "official":
            return scores
        return {name: replace(score, per_image=None) for name, score in scores.items()}  # other images than the split's

    def _split(self, context: Context, split: str) -> _Split:
        data = context.data(split)
        features = torch.cat([context.latents(split, view) for view in self._views], dim=1)
        if not torch.isfinite(features).all():
            raise UserError(f"latents of {split} are not finite")
        if data.attributes is not None:
            return _Split(features, data.attributes)
        if data.labels is None:
            raise UserError("needs labels or attributes")
        classes = int(max(context.data(name).labels.max() for name in ("train", context.split))) + 1  # type: ignore[union-attr]
        return _Split(features, torch.nn.functional.one_hot(data.labels, classes).bool())

    def _official(self, context: Context) -> tuple[_Split, _Split, _Split]:
        training, testing = self._split(context, "train"), self._split(context, context.split)
        if "valid" in context.splits and context.split != "valid":
            return training, self._split(context, "valid"), testing
        order = torch.randperm(len(training), generator=seeding.generator(0, "probe: choosing C"))
        held = max(1, len(training) // 10)
        return training.rows(order[held:]), training.rows(order[:held]), testing

    def _pooled(self, context: Context) -> tuple[_Split, _Split]:
        splits = [self._split(context, split) for split in context.splits]
        pool = _Split(torch.cat([part.features for part in splits]), torch.cat([part.targets for part in splits]))
        held = HOU_TEST if self._protocol == "hou" else int(ETEKE_TEST * len(pool))
        if held >= len(pool) - 1:
            raise UserError(f"the protocol tests on {held:,} images and trains on the rest, there are {len(pool):,}")
        order = torch.randperm(len(pool), generator=seeding.generator(0, f"probe: {self._protocol}"))
        return pool.rows(order[held:]), pool.rows(order[:held])


def _scaled(training: _Split, *others: _Split | None) -> "tuple[_Split, _Split | None, _Split]":
    """All standardised by the training images' mean and deviation; a constant feature becomes 0."""
    mean, deviation = training.features.mean(dim=0), training.features.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    first, second, third = (
        None if part is None else _Split((part.features - mean) / deviation, part.targets)
        for part in (training, *others)
    )
    assert first is not None and third is not None
    return first, second, third


def _decide(training: _Split, choosing: _Split | None, features: Tensor) -> Tensor:
    """Decision values (n, k) of ``features``, by as many SVMs at once as their curvature matrices leave memory for."""
    together = max(1, CURVATURES // (training.features.shape[1] + 1) ** 2)
    parts = torch.arange(training.targets.shape[1]).split(together)
    return torch.cat(
        [_decide_some(training.problems(part), choosing and choosing.problems(part), features) for part in parts], dim=1
    )


def _decide_some(training: _Split, choosing: _Split | None, features: Tensor) -> Tensor:
    """By SVMs whose C did best on ``choosing``; of equals the smaller C."""
    if choosing is None:
        return fit(training.features, training.targets, 1.0).decision(features)
    best = torch.full((training.targets.shape[1],), -1.0)
    chosen = torch.zeros(len(features), training.targets.shape[1], dtype=torch.float64)
    machines = None
    for cost in COSTS:
        machines = fit(training.features, training.targets, cost, start=machines)
        accuracy = ((machines.decision(choosing.features) > 0) == choosing.targets).float().mean(dim=0)
        better = accuracy > best
        best = torch.where(better, accuracy, best)
        chosen = torch.where(better, machines.decision(features), chosen)
    return chosen


def _attribute_scores(names: list[str], training: _Split, testing: _Split, predicted: Tensor) -> Mapping[str, Score]:
    """Means over the attributes, and each attribute's own; those that training saw one class of have no value."""
    seen = training.targets.float().mean(dim=0)
    learnt = (seen > 0) & (seen < 1)
    if not learnt.any():
        raise UserError("every attribute has one class only in the training split")
    correct = predicted == testing.targets
    gained = correct.double() - (testing.targets == (seen > 0.5)).double()
    columns = {
        "accuracy": [Score.mean_of(column) for column in correct.T],
        "balanced_accuracy": [
            _balanced(right.double(), truth.long()) for right, truth in zip(correct.T, testing.targets.T, strict=True)
        ],
        "lift": [Score.mean_of(column) for column in gained.T],
    }
    missing = [name for name, known in zip(names, learnt.tolist(), strict=True) if not known]
    one_class = Score(value=None, n=len(testing), note="one class only in the training split")
    scores = {}
    for kind, parts in columns.items():
        usable = [part if known else one_class for part, known in zip(parts, learnt.tolist(), strict=True)]
        named = {f"attribute={name}": part for name, part in zip(names, usable, strict=True)}
        note = f"without {', '.join(missing)}: one class only in the training split" if missing else ""
        kept = named if kind == "accuracy" else {name: _bare(part) for name, part in named.items()}
        scores[kind] = _whole(list(usable), kept, note)
    return scores


def _whole(parts: list[Score], named: Mapping[str, Score], note: str) -> Score:
    """The mean of the parts that have a value; its error from what each image contributes, which correlate."""
    known = [part for part in parts if part.value is not None]
    per_image = torch.stack([part.per_image for part in known if part.per_image is not None]).mean(dim=0)
    whole = replace(Score.mean_of(per_image), influence=any(part.influence for part in known))
    return replace(whole, value=sum(part.value or 0.0 for part in known) / len(known), note=note, parts=named)


def _bare(score: Score) -> Score:
    return replace(score, per_image=None, influence=False)


def _balanced(correct: Tensor, truth: Tensor) -> Score:
    """Mean of the shares found of each class: (n,) 0 or 1, and (n,) int64 classes from 0, two or more.

    An image counts for its class alone, so its derivative is what it has above its class's share, over that share's
    weight.
    """
    numbers = torch.bincount(truth, minlength=2)
    if (numbers == 0).any():
        return Score(value=None, n=len(correct), note="one class only in the tested images")
    shares = torch.bincount(truth, weights=correct, minlength=2) / numbers
    derivatives = (correct - shares[truth]) * len(correct) / (len(numbers) * numbers[truth])
    return Score.influenced(float(shares.mean()), derivatives)


def _class_scores(training: _Split, testing: _Split, predicted: Tensor) -> Mapping[str, Score]:
    """One class an image (digits): accuracy, mean of the classes' shares found, lift over the commonest class."""
    truth = testing.targets.int().argmax(dim=1)
    correct = (predicted == truth).double()
    commonest = int(training.targets.sum(dim=0).argmax())
    gained = correct - (truth == commonest).double()
    labels, present = truth.unique(return_inverse=True)
    parts = {f"label={label}": _bare(Score.mean_of(correct[truth == label])) for label in labels.tolist()}
    return {
        "accuracy": replace(Score.mean_of(correct), parts=parts),
        "balanced_accuracy": _balanced(correct, present) if len(labels) > 1 else _bare(Score.mean_of(correct)),
        "lift": Score.mean_of(gained),
    }


def _facets(part: str, attributes: bool, multi_view: bool) -> list[Metric]:
    """One facet a protocol; the two that are CelebA's alone only for attributes."""
    kinds: list[tuple[str, tuple[str, ...]]] = [("official", WHOLE)]
    if attributes:
        kinds += [("official", MANY)] if multi_view else []
        kinds += [("hou", WHOLE), ("eteke", WHOLE)]
    return [
        Facet(
            Probe(protocol, views),
            part,
            name=f"svm_{part}",
            needs=Need.LATENT | Need.ATTRIBUTES,
            unit="share",
            direction="higher",
            protocol=protocol + (f"/views={len(views)}" if len(views) > 1 else ""),
            margin="0.01",
            of_features=len(views) == 1,
        )
        for protocol, views in kinds
    ]


def svm_accuracy(attributes: bool = True, multi_view: bool = True) -> list[Metric]:
    """Accuracy of linear SVMs on latents, mean over attributes; of digits, over their classes.

    ``views=6``: latents of six views of the face side by side (whole, mirrored, four shifted crops), the multi-view
    strategy of Hou et al. 2019; it takes six passes of the encoder, so ``multi_view=false`` leaves it out.
    """
    return _facets("accuracy", attributes, multi_view)


def svm_balanced_accuracy(attributes: bool = True, multi_view: bool = True) -> list[Metric]:
    """Mean of the shares found of each class, so that always saying no scores a half."""
    return _facets("balanced_accuracy", attributes, multi_view)


def svm_lift(attributes: bool = True, multi_view: bool = True) -> list[Metric]:
    """Accuracy above that of always naming the training images' majority class."""
    return _facets("lift", attributes, multi_view)
