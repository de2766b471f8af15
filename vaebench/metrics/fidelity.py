"""Measure how near the distribution of a model's images is to that of real images, in the features of a network."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Self

from torch import Tensor

from vaebench.core import questions
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Facet, Metric, MetricSpec, Refused, Score, SharedMeasurement
from vaebench.metrics.frechet import FrechetDistance, FrechetInfinity
from vaebench.metrics.functional import neighbours
from vaebench.metrics.functional.collected import KINDS, Collected, checked
from vaebench.metrics.functional.copies import copies, copies_counted_once
from vaebench.metrics.kernel import KernelDistance

Comparison = Callable[[Tensor, Tensor, int, Tensor], Mapping[str, Score]]
HEADLINE = 6  # the place of the Fréchet distance of samples among the report's headline metrics
RESIZE = "tf-resize"  # of Inception: bilinear without antialiasing, as TensorFlow 1 did it


def inception_space(width: int) -> FeatureSpace:
    """Return a layer of Inception by its width."""
    if width not in (64, 192, 768, 2048):
        raise UserError(f"Inception has no layer of {width} features: choose 64, 192, 768 or 2048")
    return FeatureSpace("inception", str(width))


class Neighbourhoods(SharedMeasurement):
    """Metric of two shares that come from the distances between a model's images and the real ones."""

    def __init__(self, compare: Comparison, space: FeatureSpace, kind: str, k: int) -> None:
        if k < 1:
            raise UserError(f"k = {k} nearest neighbours cannot be counted: give 1 or more")
        self.key = (compare.__name__, space, kind, k)
        self._compare, self._space, self._k, self._kind = compare, space, k, kind
        self._collected = Collected(kind)

    def update(self, batch: EvalBatch) -> None:
        self._collected.update(batch)

    def merge(self, other: Self) -> None:
        self._collected.merge(other._collected)

    def conclude(self, context: Context) -> Mapping[str, Score]:
        made, k = self._collected.rows(), self._k
        reference = context.reference(self._space, context.split)
        real = checked(made, reference, k + 1).to(made.device)
        kept = reference.statistic(f"radii-{k}", partial(_radii, k=k))["radii"]
        protocol = f"{self._space}/{RESIZE}/k={k}/n={len(made)}/{self._kind}"
        kept = kept.to(made.device)
        values = self._compare(real, made, k, kept)
        if self._kind == "samples" and copies(made) is not None:
            values = {name: copies_counted_once(made, partial(self._facet, name, real, kept)) for name in values}
        return {name: replace(score, protocol=protocol) for name, score in values.items()}

    def _facet(self, name: str, real: Tensor, radii: Tensor, made: Tensor) -> Score:
        return self._compare(real, made, min(self._k, len(made) - 1), radii)[name]


def _radii(features: Tensor, k: int) -> Mapping[str, Tensor]:
    return {"radii": neighbours.nearest_distances(features, features, k, same=True)}


def _precision_recall(real: Tensor, made: Tensor, k: int, radii: Tensor) -> Mapping[str, Score]:
    found = neighbours.precision_recall(real, made, k, real_radii=radii)
    recalled = Score.influenced(found.recall, found.recall_derivatives)
    return {"precision": Score.mean_of(found.precision_per_generated.cpu()), "recall": recalled}


def _density_coverage(real: Tensor, made: Tensor, k: int, radii: Tensor) -> Mapping[str, Score]:
    found = neighbours.density_coverage(real, made, k, real_radii=radii)
    covered = Score.influenced(found.coverage, found.coverage_derivatives)
    return {"density": Score.mean_of(found.density_per_generated.cpu()), "coverage": covered}


def fid(inception: int = 2048, infinity: bool = False) -> list[Metric]:
    """Fréchet Inception distance of samples and of reconstructions; ``infinity`` adds the extrapolation.

    The formula is :func:`vaebench.metrics.frechet.frechet_distance`. At a layer other than 2048, on which FID is
    defined, the distance is called ``fd``.

    Heusel et al. 2017, "GANs trained by a two time-scale update rule". Its bias falls with n and differs from model
    to model, so n stands in the protocol.
    """
    space, name = inception_space(inception), "fid" if inception == 2048 else "fd"
    plain: list[Metric] = [
        FrechetDistance(name, space, kind, RESIZE, headline=HEADLINE if kind == "samples" else 0, place=1)
        for kind in KINDS
    ]
    return plain + ([FrechetInfinity(name, space, kind, RESIZE, place=1) for kind in KINDS] if infinity else [])


def fcd(classifier: str = "") -> list[Metric]:
    """Fréchet distance in the features of the classifier that comes with the data (digits, MNIST, toy faces).

    ``classifier`` is ``NETWORK/LAYER``; by default the dataset's own.
    """
    shown = {kind: HEADLINE if kind == "samples" else 0 for kind in KINDS}
    if not classifier:
        return [
            Refused(
                "no classifier of these images comes with vaebench: name one with --set fcd.classifier=NETWORK/LAYER",
                MetricSpec(
                    name="fcd",
                    needs=need,
                    unit="squared distance",
                    direction="lower",
                    lowest=0.0,
                    protocol=f"classifier/{kind}",
                    question=questions.DISTRIBUTION,
                    place=2,
                    headline=shown[kind],
                    stands_in_for="fid",
                    column=kind,
                ),
            )
            for kind, (_, need) in KINDS.items()
        ]
    space = FeatureSpace.parse(classifier)
    return [FrechetDistance("fcd", space, kind, headline=shown[kind], place=2, stands_in="fid") for kind in KINDS]


def kid(inception: int = 2048, subsets: int = 100, size: int = 1000) -> list[Metric]:
    """Kernel Inception distance of samples and of reconstructions, over torch-fidelity's subsets.

    Where there are fewer images than ``size``, subsets hold all there are, and the protocol says so.
    """
    return [KernelDistance(inception_space(inception), kind, subsets, size, RESIZE) for kind in KINDS]


def _facets(name: str, compare: Comparison, inception: int, k: int, unit: str, margin: str, place: int) -> list[Metric]:
    space = inception_space(inception)
    return [
        Facet(
            Neighbourhoods(compare, space, kind, k),
            name,
            MetricSpec(
                name=name,
                needs=need,
                unit=unit,
                direction="higher",
                lowest=0.0,
                highest=1.0 if unit == "share" else None,
                protocol=f"{space}/{RESIZE}/k={k}/{kind}",
                margin=margin,
                space=space,
                question=questions.DISTRIBUTION,
                place=place,
                of_training_images=kind == "samples",
            ),
        )
        for kind, (_, need) in KINDS.items()
    ]


def precision(inception: int = 2048, k: int = 3) -> list[Metric]:
    """Share of generated images within the real images' manifold (Kynkäänniemi et al. 2019)."""
    return _facets("precision", _precision_recall, inception, k, "share", "0.02", 4)


def recall(inception: int = 2048, k: int = 3) -> list[Metric]:
    """Share of real images within the generated images' manifold (Kynkäänniemi et al. 2019)."""
    return _facets("recall", _precision_recall, inception, k, "share", "0.02", 5)


def density(inception: int = 2048, k: int = 5) -> list[Metric]:
    """How many real images' neighbourhoods a generated image lies in, over k (Naeem et al. 2020); may exceed 1."""
    return _facets("density", _density_coverage, inception, k, "ratio", "0.05", 6)


def coverage(inception: int = 2048, k: int = 5) -> list[Metric]:
    """Share of real images with a generated image in their neighbourhood (Naeem et al. 2020)."""
    return _facets("coverage", _density_coverage, inception, k, "share", "0.02", 7)
