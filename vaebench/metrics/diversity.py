"""Measure whether a model's samples differ enough from one another, and whether they copy its training images."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vaebench.core import questions
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.metric import Metric, MetricSpec, Score
from vaebench.metrics.fidelity import RESIZE, inception_space
from vaebench.metrics.functional import diversity as diversity_module
from vaebench.metrics.functional import neighbours
from vaebench.metrics.functional.collected import KINDS, OfAllFeatures, checked
from vaebench.metrics.functional.copies import copies_counted_once

COLLAPSED = 0.5  # of the real images' diversity beyond its least: below it, samples are said to have collapsed
LEAST = {"vendi": 1.0, "pairwise": 0.0}  # what images that are all alike have


def _space(features: str, classifier: str, inception: int) -> FeatureSpace:
    """Choose the feature space: as asked; else the classifier that comes with the data; else Inception."""
    text = features or classifier
    return FeatureSpace.parse(text) if text else inception_space(inception)


def _stem(space: FeatureSpace) -> str:
    return f"{space}/{RESIZE}" if space.network == "inception" else str(space)


class Diversity(OfAllFeatures):
    """Final: one number for how far a set of images is spread; real images have one too, to be near to."""

    def __init__(
        self,
        function: Callable[[Tensor], diversity_module.Spread],
        kind: str,
        unit: str,
        space: FeatureSpace,
        headline: int = 0,
    ) -> None:
        self._function, self._statistic = function, kind
        spec = MetricSpec(
            name="diversity",
            needs=KINDS["samples"][1],
            unit=unit,
            direction="target",
            lowest=0.0,
            protocol=f"{kind}/{_stem(space)}/samples",
            margin="5%",
            of_real=True,
            space=space,
            question=questions.VARIETY,
            place=1,
            headline=headline,
        )
        super().__init__(spec, space, "samples")

    def score(self, context: Context) -> Score:
        made = self._collected.rows()
        reference = context.reference(self._space, context.split)
        checked(made, reference, 2)
        score = copies_counted_once(made, self._alone)
        assert score.value is not None
        real = reference.statistic(self._statistic, partial(_alone, function=self._function))["value"].item()
        least = LEAST[self._statistic]
        collapsed = score.value - least < COLLAPSED * (real - least)
        note = f"collapse: {score.value:.4g} beside the real images' {real:.4g}" if collapsed else ""
        return replace(score, note="; ".join(filter(None, [note, score.note])))

    def _alone(self, features: Tensor) -> Score:
        found = self._function(features)
        return Score.influenced(found.value, found.derivatives)


def _alone(features: Tensor, function: Callable[[Tensor], diversity_module.Spread]) -> Mapping[str, Tensor]:
    return {"value": torch.tensor(function(features).value, dtype=torch.float64)}


def diversity(features: str = "", classifier: str = "", inception: int = 2048) -> list[Metric]:
    """Vendi score (effective number of different images) and mean distance between two, of samples.

    ``features`` is ``NETWORK/LAYER`` or ``pixels``; by default the classifier's that comes with the data, else
    Inception's. Noise has much diversity too: nearness to the real images' value counts. Below half of what the real
    images have beyond images that are all alike, the score is flagged as a collapse.
    """
    space = _space(features, classifier, inception)
    return [
        Diversity(diversity_module.vendi_score, "vendi", "effective images", space, headline=8),
        Diversity(diversity_module.mean_pairwise_distance, "pairwise", "distance", space),
    ]


class Memorisation(OfAllFeatures):
    """Final: share of samples nearer to a training image than that image's own nearest training neighbour.

    Alaa et al. 2022, "How faithful is your synthetic data?", authenticity. The share of held-out real images stands
    beside it: new images of the same kind have it, copies have more, and less is no fault.
    """

    def __init__(self, space: FeatureSpace) -> None:
        spec = MetricSpec(
            name="memorisation",
            needs=KINDS["samples"][1],
            unit="share",
            direction="lower",
            lowest=0.0,
            highest=1.0,
            protocol=f"{_stem(space)}/train/samples",
            margin="0.02",
            averaged=False,  # samples that resemble nothing are no copies either
            of_real=True,
            space=space,
            question=questions.VARIETY,
            place=2,
        )
        super().__init__(spec, space, "samples")

    def score(self, context: Context) -> Score:
        if "train" not in context.splits or context.split == "train":
            raise UserError("needs a training split beside the one that is measured")
        made = self._collected.rows()
        reference = context.reference(self._space, "train")
        training = checked(made, reference, 2)
        radii = reference.statistic("radii-1", _own_distances)["radii"]
        training, radii = training.to(made.device), radii.to(made.device)

        def copied(rows: Tensor) -> Score:
            return Score.mean_of(neighbours.closer_than_own_neighbour(rows, training, radii).double().cpu())

        return copies_counted_once(made, copied)


def _own_distances(features: Tensor) -> Mapping[str, Tensor]:
    return {"radii": neighbours.nearest_distances(features, features, 1, same=True)}


def memorisation(features: str = "", classifier: str = "", inception: int = 2048) -> list[Metric]:
    """Share of samples nearer to a training image than its own neighbour, against the same of held-out images.

    ``features`` as for ``diversity``. In pixels, distances are of the whole image.
    """
    return [Memorisation(_space(features, classifier, inception))]
