"""Measure the accuracy of linear classifiers on latents: the 40 attributes of faces, or the class of digits.

Hou et al. 2017, "Deep feature consistent variational autoencoder", section 4.3.2: a linear SVM an attribute on the
posterior means of a trained encoder. An accuracy says little without the majority class's, so the lift over it and
the balanced accuracy are metrics of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from vaebench.core import questions, seeding
from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Facet, Metric, MetricSpec, Need, Score, SharedMeasurement
from vaebench.metrics.probes.latent_classifiers import (
    WHOLE,
    Split,
    balanced,
    bare,
    decide,
    mean_of_parts,
    official,
    scaled,
    split_of,
)

PARTS = ("accuracy", "balanced_accuracy", "lift")
MANY = ("whole", "mirrored", "left", "right", "up", "down")
HOU_TEST = 20_000  # images that Hou et al. 2017 test on
ETEKE_TEST = 0.1  # share that the replication tests on


class Probe(SharedMeasurement):
    """Linear SVMs on latents under one protocol: fitted, chosen and tested on splits that share no image.

    ``official``: the dataset's own splits; scaler and SVMs are fitted on train, the cost C is chosen on valid for
    each attribute, test is what is evaluated; without a valid split a tenth of train stands in. ``hou``: 20,000 of
    all images to test on, the rest to train; ``eteke``: a tenth; both seeded, with C = 1, since there is no third set.
    """

    def __init__(self, protocol: str, views: tuple[str, ...]) -> None:
        self.key = ("probe", protocol, views)
        self._protocol, self._views = protocol, views

    def update(self, batch: EvalBatch) -> None:
        """Do nothing: whole splits are read when the score is taken."""

    def merge(self, other: Self) -> None:
        """Do nothing: whole splits are read when the score is taken."""

    def conclude(self, context: Context) -> Mapping[str, Score]:
        if "train" not in context.splits:
            raise UserError("there is no training split to fit on")
        data = context.data(context.split)
        if self._protocol == "official":
            training, choosing, testing = official(context, self._views)
        else:
            training, testing = self._pooled(context)
            choosing = None
        training, choosing, testing = scaled(training, choosing, testing)
        decisions = decide(training, choosing, testing.features)
        if data.attributes is not None:
            scores = _attribute_scores(list(data.attribute_names), training, testing, decisions > 0)
        else:
            scores = _class_scores(training, testing, decisions.argmax(dim=1))
        if self._protocol == "official":
            return scores
        return {name: replace(score, per_image=None) for name, score in scores.items()}  # other images than the split's

    def _pooled(self, context: Context) -> tuple[Split, Split]:
        splits = [split_of(context, split, self._views) for split in context.splits]
        pool = Split(torch.cat([part.features for part in splits]), torch.cat([part.targets for part in splits]))
        held = HOU_TEST if self._protocol == "hou" else int(ETEKE_TEST * len(pool))
        if held >= len(pool) - 1:
            raise UserError(f"the protocol tests on {held:,} images and trains on the rest, there are {len(pool):,}")
        order = torch.randperm(len(pool), generator=seeding.generator(0, f"probe: {self._protocol}"))
        return pool.rows(order[held:]), pool.rows(order[:held])


def _attribute_scores(names: list[str], training: Split, testing: Split, predicted: Tensor) -> Mapping[str, Score]:
    """Compute means over the attributes, and each attribute's own; attributes with one class in training have no
    value.
    """
    seen = training.targets.float().mean(dim=0)
    learnt = (seen > 0) & (seen < 1)
    if not learnt.any():
        raise UserError("every attribute has one class only in the training split")
    correct = predicted == testing.targets
    gained = correct.double() - (testing.targets == (seen > 0.5)).double()
    columns = {
        "accuracy": [Score.mean_of(column) for column in correct.T],
        "balanced_accuracy": [
            balanced(right.double(), truth.long()) for right, truth in zip(correct.T, testing.targets.T, strict=True)
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
        kept = named if kind == "accuracy" else {name: bare(part) for name, part in named.items()}
        scores[kind] = mean_of_parts(list(usable), kept, note)
    return scores


def _class_scores(training: Split, testing: Split, predicted: Tensor) -> Mapping[str, Score]:
    """Compute scores of one class an image (digits): accuracy, mean of the classes' recalls, lift over the commonest
    class.
    """
    truth = testing.targets.int().argmax(dim=1)
    correct = (predicted == truth).double()
    commonest = int(training.targets.sum(dim=0).argmax())
    gained = correct - (truth == commonest).double()
    labels, present = truth.unique(return_inverse=True)
    parts = {f"label={label}": bare(Score.mean_of(correct[truth == label])) for label in labels.tolist()}
    return {
        "accuracy": replace(Score.mean_of(correct), parts=parts),
        "balanced_accuracy": balanced(correct, present) if len(labels) > 1 else bare(Score.mean_of(correct)),
        "lift": Score.mean_of(gained),
    }


def _facets(part: str, attributes: bool, multi_view: bool) -> list[Metric]:
    """Build one facet per protocol; ``hou`` and ``eteke`` only for attributes."""
    kinds: list[tuple[str, tuple[str, ...]]] = [("official", WHOLE)]
    if attributes:
        kinds += [("official", MANY)] if multi_view else []
        kinds += [("hou", WHOLE), ("eteke", WHOLE)]
    return [
        Facet(
            Probe(protocol, views),
            part,
            MetricSpec(
                name=f"svm_{part}",
                needs=Need.LATENT | Need.ATTRIBUTES,
                unit="share",
                direction="higher",
                lowest=-1.0 if part == "lift" else 0.0,
                highest=1.0,
                protocol=protocol + (f"/views={len(views)}" if len(views) > 1 else ""),
                margin="0.01",
                of_baselines=len(views) == 1,
                question=questions.LATENT_SPACE,
                place=PARTS.index(part),
                headline=7 if (part, protocol, views) == ("accuracy", "official", WHOLE) else 0,
                study="attributes",
                column=part,
            ),
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
