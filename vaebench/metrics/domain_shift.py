"""Measure how attribute accuracy falls on displaced faces, with and without realigning them; and whether the run
notices.

Tests the explanation that Eteke et al. give of their failure on a camera's faces: their position.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from vaebench.core import questions, seeding
from vaebench.core.context import Context
from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import (
    Direction,
    EvalBatch,
    Facet,
    Metric,
    MetricSpec,
    Need,
    Refused,
    Score,
    SharedMeasurement,
)
from vaebench.metrics.functional.face_displacement import UNTOUCHED, faces_out_of_place
from vaebench.metrics.probes.latent_classifiers import Split, decide, official, scaled
from vaebench.metrics.probes.novelty import NoveltyDetector

FACES = 200  # test images, at most
WAYS = ("plain", "realigned")
MAJORITY = "majority class"  # beside the conditions: the accuracy of always predicting the majority class


class OutOfPlace(SharedMeasurement):
    """Metric of linear SVMs on latents (official protocol) applied to displaced test faces; means over the
    displacements.

    Facets ``accuracy plain`` and so on: mean accuracy over the attributes; ``flagged plain``: share of faces that the
    run's reconstruction error or latent norm calls unlike its test images
    (:class:`vaebench.metrics.probes.novelty.NoveltyDetector`).
    """

    def __init__(self, faces: int) -> None:
        if faces < 2:
            raise UserError(f"faces out of place are measured on 2 images or more, not {faces}")
        self.key = ("out of place", faces)
        self._faces = faces

    def update(self, batch: EvalBatch) -> None:
        """Do nothing: whole splits are read when the score is taken."""

    def merge(self, other: Self) -> None:
        """Do nothing: whole splits are read when the score is taken."""

    def conclude(self, context: Context) -> Mapping[str, Score]:
        data = context.data(context.split)
        if "train" not in context.splits or data.attributes is None or data.image_shape[0] != 3:
            raise UserError("needs colour images of faces with attributes, and a training split")
        rows = torch.randperm(len(data), generator=seeding.generator(0, "faces out of place"))[: self._faces].sort()[0]
        known = faces_out_of_place(data, context.data("train"), rows)
        images = {
            (name, way): to_float(part.displaced if way == "plain" else part.realigned)
            for name, part in known.items()
            for way in WAYS
        }
        means = {key: context.encode(part) for key, part in images.items()}
        correct = _correct(context, means, data.attributes[rows])
        familiar = _familiar(context)
        flagged = {
            key: familiar.judge(images[key], context.decode(means[key]), means[key]).outside.double() for key in images
        }
        ids = [data.ids[row] for row in rows.tolist()]
        scores: dict[str, Score] = {}
        for way in WAYS:
            found = torch.cat([part.found for name, part in known.items() if name != UNTOUCHED]).double().mean()
            note = f"eyes found in {100 * float(found):.0f} % of the displaced faces" if way == "realigned" else ""
            for what, values in (("accuracy", correct), ("flagged", flagged)):
                kept = {name: value for (name, other), value in values.items() if other == way}
                scores[f"{what} {way}"] = _over_conditions(kept, ids, note)
            usual = {f"condition={MAJORITY}": Score.mean_of(_by_majority(context, data.attributes[rows]), ids)}
            accuracy = scores[f"accuracy {way}"]
            scores[f"accuracy {way}"] = replace(accuracy, parts={**accuracy.parts, **usual})
            if not all(means[key].isfinite().all() for key in means if key[1] == way):
                lost = "latents of displaced faces are not finite"  # an SVM would say no to every attribute
                scores[f"accuracy {way}"] = Score(value=None, n=len(ids), note=lost)
        return scores


def _correct(context: Context, means: Mapping[tuple[str, str], Tensor], truth: Tensor) -> dict[tuple[str, str], Tensor]:
    """Compute the share of each face's attributes that are told right, (n,) float64; those with one class in training
    left out.
    """
    training, choosing, _ = official(context)
    every = Split(torch.cat(list(means.values())), truth.repeat(len(means), 1))
    fitted, choice, asked = scaled(training, choosing, every)
    seen = training.targets.float().mean(dim=0)
    learnt = (seen > 0) & (seen < 1)
    right = (decide(fitted, choice, asked.features) > 0) == asked.targets
    shares = right[:, learnt].double().mean(dim=1).split(len(truth))
    return dict(zip(means, shares, strict=True))


def _by_majority(context: Context, truth: Tensor) -> Tensor:
    """Compute the share that always naming the training images' majority class tells right, of each face: (n,)
    float64.
    """
    seen = context.data("train").attributes
    assert seen is not None
    share = seen.float().mean(dim=0)
    learnt = (share > 0) & (share < 1)
    return (truth == (share > 0.5))[:, learnt].double().mean(dim=1)


def _familiar(context: Context) -> NoveltyDetector:
    images = to_float(context.data(context.split).images)
    means = context.latents(context.split, "whole")
    return NoveltyDetector.of(images, context.decode(means), means)


def _over_conditions(values: Mapping[str, Tensor], ids: list[str], note: str) -> Score:
    """Average each face over displacements, conditions as parts."""
    touched = torch.stack([value for name, value in values.items() if name != UNTOUCHED]).mean(dim=0)
    parts = {f"condition={name}": Score.mean_of(value, ids) for name, value in values.items()}
    return replace(Score.mean_of(touched, ids), parts=parts, note=note)


def _facets(what: str, unit: str, direction: Direction, margin: str, attributes: bool, faces: int) -> list[Metric]:
    spec = MetricSpec(
        name=f"shift_{what}",
        needs=Need.CODE | Need.ATTRIBUTES,
        unit=unit,
        direction=direction,
        protocol=f"faces={faces}",
        question=questions.MANIPULATION,
        place=7 if what == "accuracy" else 8,
        ranked=what == "accuracy",  # what a detector says is no quality by itself
        averaged=what == "accuracy",
        study="shift",
        column=what,
    )
    if not attributes:
        return [Refused("needs faces with attributes", spec)]
    made: list[Metric] = []
    for way in WAYS:
        # on faces that were put back a warning is a false alarm
        better: Direction = "lower" if what == "flagged" and way == "realigned" else direction
        of_way = replace(spec, protocol=f"{way}/faces={faces}", margin=margin, direction=better)
        made.append(Facet(OutOfPlace(faces), f"{what} {way}", of_way))
    return made


def shift_accuracy(attributes: bool = False, faces: int = FACES) -> list[Metric]:
    """Mean attribute accuracy on test faces moved, scaled or turned: ``plain``, and ``realigned`` by their eyes."""
    return _facets("accuracy", "share", "higher", "0.01", attributes, faces)


def shift_flagged(attributes: bool = False, faces: int = FACES) -> list[Metric]:
    """Share of such faces that the run calls unlike its test images, by reconstruction error or latent norm."""
    return _facets("flagged", "share", "higher", "0.02", attributes, faces)
