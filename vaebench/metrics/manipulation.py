"""Measure effects of adding an attribute's direction to latents: on that attribute, the others, identity and
background.

Hou et al. 2017, section 4.3.2, and Hou et al. 2019, section 3.2, show pictures of it. Here a classifier that no model
has seen (:mod:`vaebench.evaluation.judges`) reads them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from vaebench.core import questions, seeding
from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
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
from vaebench.core.perceptual import TRAINED
from vaebench.metrics.probes.attribute_vectors import attribute_vector, chosen_attributes, position_of
from vaebench.metrics.probes.latent_classifiers import balanced

IMAGES = 200  # test images without an attribute that it is added to
FACTOR = 1.0
COMPONENTS, FITTED_ON = 100, 4_000  # of the eigenfaces, and training images that they are fitted on at most
ALIKE = 1 / 255  # images that differ by less, root mean square, are taken for the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Effects on each image, (n,) float64.

    Attributes:
        effect: what the judge's probability of the wanted attribute gained, -1 to 1.
        leakage: mean absolute change of its probabilities of the other attributes, 0 to 1.
        identity: distance of the face before and after, by eigenfaces; 1 is that of two persons as the model draws
            them.
        background: change of the pixels outside the picture's ellipse; 1 is that between two images as it draws them.

    The last two are NaN where the model draws all images, or all their corners, alike.
    """

    effect: Tensor
    leakage: Tensor
    identity: Tensor
    background: Tensor


def change(
    before: Tensor, after: Tensor, judged: tuple[Tensor, Tensor], column: int, eigenfaces: "Eigenfaces"
) -> Change:
    """Compute the effects from images before and after, two (n, c, h, w), n >= 2, and the judge's logits of them, two
    (n, a).
    """
    gained = torch.sigmoid(judged[1].double()) - torch.sigmoid(judged[0].double())
    if gained.shape[1] < 2:
        raise UserError("the images have one attribute: there is no other for it to leak into")
    others = [other for other in range(gained.shape[1]) if other != column]
    outside = corners(before.shape[-2], before.shape[-1])
    moved = (after - before)[..., outside].double().flatten(1).square().mean(dim=1).sqrt()
    apart = (before.roll(1, 0) - before)[..., outside].double().flatten(1).square().mean(dim=1).sqrt().mean()
    faces = eigenfaces(before)
    strangers = (faces.roll(1, 0) - faces).norm(dim=1).mean()
    apart_whole = (before.roll(1, 0) - before).double().flatten(1).square().mean(dim=1).sqrt().mean()
    return Change(
        effect=gained[:, column],
        leakage=gained[:, others].abs().mean(dim=1),
        identity=torch.where(apart_whole < ALIKE, math.nan, (eigenfaces(after) - faces).norm(dim=1) / strangers),
        background=torch.where(apart < ALIKE, math.nan, moved / apart),
    )


def corners(height: int, width: int) -> Tensor:
    """Where a face-filling picture shows background: outside the ellipse that touches its sides, bool (h, w)."""
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None]
    outside: Tensor = y.square() + x.square() > 1
    return outside


class Eigenfaces:
    """Whitened principal components of pixels (Turk and Pentland 1991, "Eigenfaces for recognition").

    A stand-in for a face recogniser that needs no weights: crude, but of the data's own faces, and blind to no part of
    the picture.
    """

    def __init__(self, images: Tensor) -> None:
        rows = to_float(images[:: max(1, -(-len(images) // FITTED_ON))]).flatten(1)
        self.mean = rows.mean(dim=0)
        rows = rows - self.mean
        size = min(COMPONENTS, *(side - 1 for side in rows.shape))
        with seeding.isolated(0, "eigenfaces"):
            _, deviations, components = torch.svd_lowrank(rows, q=min(size + 20, *rows.shape), niter=4)
        kept = deviations[:size] > 1e-4 * deviations[0]  # the rest is rounding, which whitening would blow up
        self.projection = components[:, :size][:, kept] / (deviations[:size][kept] / len(rows) ** 0.5)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] -> (n, components) float64."""
        projected: Tensor = (images.flatten(1) - self.mean) @ self.projection
        return projected.double()


class Manipulation(SharedMeasurement):
    """Each attribute added to the latents of test images that lack it; means over the attributes, each a part."""

    def __init__(self, space: FeatureSpace, attributes: tuple[str, ...], factor: float, images: int) -> None:
        if images < 2:
            raise UserError(f"manipulation is measured on 2 images or more, not {images}")
        self.key = ("manipulation", space, attributes, factor, images)
        self._space, self._attributes, self._factor, self._images = space, attributes, factor, images

    def update(self, batch: EvalBatch) -> None:
        """Do nothing: whole splits are read when the score is taken."""

    def merge(self, other: Self) -> None:
        """Do nothing: whole splits are read when the score is taken."""

    def conclude(self, context: Context) -> Mapping[str, Score]:
        if "train" not in context.splits:
            raise UserError("there is no training split to take attributes' directions from")
        data, training = context.data(context.split), context.data("train")
        eigenfaces = Eigenfaces(training.images)
        parts: dict[str, dict[str, Score]] = {}
        skipped = []
        if data.attributes is None:
            raise UserError("the images have no attributes")
        for name in chosen_attributes(self._attributes, data.attribute_names):
            try:
                found, ids = self._manipulated(context, data, training, name, eigenfaces)
            except UserError as error:
                skipped.append(str(error))
                continue
            note = self._trust(context, data, name)
            for part in ("effect", "leakage", "identity", "background"):
                parts.setdefault(part, {})[f"attribute={name}"] = _scored(getattr(found, part), ids, note)
        if not parts:
            raise UserError("; ".join(skipped) or "the images have none of the attributes")
        return {part: mean_over(named, "; ".join(skipped)) for part, named in parts.items()}

    def _trust(self, context: Context, data: ImageDataset, name: str) -> str:
        """Measure how well the judge tells the attribute on real test images, classes weighted alike."""
        assert data.attributes is not None
        column = position_of(name, data.attribute_names)
        truth = data.attributes[:, column].long()
        says = context.reference(self._space, context.split).features[:, column] > 0
        score = balanced((says == truth.bool()).double(), truth)
        return "" if score.value is None else f"the judge's own balanced accuracy {100 * score.value:.1f} %"

    def _manipulated(
        self, context: Context, data: ImageDataset, training: ImageDataset, name: str, eigenfaces: Eigenfaces
    ) -> tuple[Change, list[str]]:
        assert data.attributes is not None and training.attributes is not None
        names = training.attribute_names
        vector = attribute_vector(name, context.latents("train", "whole"), training.attributes, names)
        column = position_of(name, names)
        lacking = (~data.attributes[:, column]).nonzero()[:, 0]
        if len(lacking) < 2:
            raise UserError(f"{name}: {len(lacking)} test images lack it, too few to add it to")
        rows = lacking[torch.randperm(len(lacking), generator=seeding.generator(0, f"to be given {name}"))]
        rows = rows[: self._images].sort().values
        latents = context.latents(context.split, "whole")[rows]
        before, after = context.decode(latents), context.decode(latents + self._factor * vector.direction)
        judged = context.features(self._space, before), context.features(self._space, after)
        return change(before, after, judged, column, eigenfaces), [data.ids[row] for row in rows.tolist()]


def _scored(values: Tensor, ids: list[str], note: str) -> Score:
    if values.isnan().any():
        return Score(value=None, n=len(values), note="the model draws all images, or all their corners, alike")
    return replace(Score.mean_of(values, ids), note=note)


def mean_over(parts: Mapping[str, Score], note: str = "") -> Score:
    """Mean of parts taken of different, overlapping images; the error from what each image contributes to it.

    An image adds, for each part it is in, what it has above the part's mean, over the part's size and their number.
    """
    lacking = [part for part in parts.values() if part.value is None]
    if lacking:
        return replace(lacking[0], parts=parts)
    ids = sorted({name for part in parts.values() for name in part.ids})
    place = {name: row for row, name in enumerate(ids)}
    derivatives = torch.zeros(len(ids), dtype=torch.float64)
    for part in parts.values():
        assert part.per_image is not None and part.value is not None
        rows = torch.tensor([place[name] for name in part.ids])
        derivatives[rows] += (part.per_image - part.value) * len(ids) / (part.n * len(parts))
    value = sum(part.value or 0.0 for part in parts.values()) / len(parts)
    return replace(Score.influenced(value, derivatives, ids=ids), parts=parts, note=note)


_UNITS: Mapping[str, tuple[str, Direction, str]] = {
    "effect": ("probability", "higher", "0.02"),
    "leakage": ("probability", "lower", "0.005"),
    "identity": ("share of the distance between persons", "lower", "0.02"),
    "background": ("share of the difference between images", "lower", "0.02"),
}


def _facets(
    part: str,
    judge: str = "",
    attributes: bool = False,
    wanted: tuple[str, ...] = (),
    factor: float = FACTOR,
    images: int = IMAGES,
) -> list[Metric]:
    """One part of :class:`Change`, mean over the ``wanted`` attributes added ``factor`` times to ``images`` each."""
    unit, direction, margin = _UNITS[part]
    reader = "judge" if judge.startswith(TRAINED) or not judge else judge
    spec = MetricSpec(
        name=f"manipulation_{part}",
        needs=Need.CODE | Need.ATTRIBUTES,
        unit=unit,
        direction=direction,
        protocol="/".join([reader, f"factor={factor:g}", f"images={images}", *(["+".join(wanted)] if wanted else [])]),
        question=questions.MANIPULATION,
        place=list(_UNITS).index(part),
        ranked=False,  # an effect and what it costs: neither is quality by itself
        averaged=False,
        study="manipulation",
        column=part,
    )
    if not (judge and attributes):
        return [Refused("needs faces with attributes, and a classifier of them", spec)]
    space = FeatureSpace(judge, "logits")
    study = Manipulation(space, wanted, factor, images)
    return [Facet(study, part, replace(spec, margin=margin, space=space))]


manipulation_effect = partial(_facets, "effect")
manipulation_leakage = partial(_facets, "leakage")
manipulation_identity = partial(_facets, "identity")
manipulation_background = partial(_facets, "background")
