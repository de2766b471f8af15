"""Measure whether blended faces are realistic: blends of pairs of test images against the real images around them.

Salomon Ruiz and Lipson, "Feature blending with VAEs and GANs", blend "to produce more realistic images" than averages
of pixels, Laplacian pyramids or Fourier mixes, and end without having blended. Here the claim is measured: the same
pairs, blended by each run and by each classical way (``baseline/pixel-average`` and so on).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from vaebench.core import questions, seeding
from vaebench.core.context import Context, FeatureSpace
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
from vaebench.core.perceptual import TRAINED
from vaebench.metrics.functional.distances import mean_row, squared
from vaebench.metrics.functional.neighbours import nearest_distances
from vaebench.metrics.interpolation import pair_ids

HALF = 0.5
SIDES = (0.25, 0.75)  # further weights of the second image, as parts
PAIRS = 500
NEIGHBOURS = 3
REFERENCES = 5_000  # real images that blends are held against, at most
_BATCH = 100


def realism(points: Tensor, references: Tensor, radii: Tensor, left_out: Tensor) -> Tensor:
    """Compute the realism of each point: the largest ratio of a reference's radius to its distance, float64 (n,).

    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models", eq. 3: 1 or more
    lies within the real images' manifold. ``points`` (n, d); ``references`` (m, d) with their distances to the k-th
    nearest neighbour, ``radii`` (m,); of those the half with the smaller radii counts, as there. ``left_out`` int64
    (n, j): references that a point may not lean on, the images it was blended of; -1 for none.
    """
    kept = radii <= radii.median()
    origin = mean_row(references)  # seen from there, least is lost where squares cancel
    distances = squared(points.double() - origin, references.double() - origin).clamp(min=0).sqrt()
    ratios = radii / distances.clamp(min=1e-12)
    allowed = kept.expand(len(points), -1).clone()
    for column in left_out.T:
        rows = (column >= 0).nonzero()[:, 0]
        allowed[rows, column[rows]] = False
    return torch.where(allowed, ratios, 0.0).amax(dim=1)


class Blends(SharedMeasurement):
    """Metric of seeded pairs of test images blended at three weights: realism, and what the run's own adversary says.

    The facet ``adversary`` is, of each blend, the share of real test images that the run's discriminator or critic
    takes less for real; 0.5 is as real as the median real image.
    """

    def __init__(self, space: FeatureSpace | None, pairs: int) -> None:
        if pairs < 2:
            raise UserError(f"blends are measured on 2 pairs or more, not {pairs}")
        self.key = ("blends", space, pairs)
        self._space, self._pairs = space, pairs

    def update(self, batch: EvalBatch) -> None:
        """Do nothing: pairs are drawn from the whole split when the score is taken."""

    def merge(self, other: Self) -> None:
        """Do nothing: pairs are drawn from the whole split when the score is taken."""

    def conclude(self, context: Context) -> Mapping[str, Score]:
        data = context.data(context.split)
        if len(data) <= NEIGHBOURS + 2:
            raise UserError(f"{len(data)} images are too few to blend and to hold the blends against")
        pairs = random_pairs(len(data), self._pairs)
        ids = pair_ids(list(data.ids), pairs)
        made = {weight: self._blended(context, pairs, weight) for weight in (HALF, *SIDES)}
        scores = {}
        for part, take in (("realism", self._realism), ("adversary", self._adversary)):
            try:
                scores[part] = self._with_parts(take(context, made, pairs), ids)
            except UserError as error:
                scores[part] = Score(value=None, n=0, note=str(error))
        return scores

    def _adversary(self, context: Context, made: Mapping[float, Tensor], pairs: Tensor) -> dict[float, Tensor]:
        if context.adversary is None:
            raise UserError("the run has no discriminator or critic")
        known = context.adversary(to_float(context.data(context.split).images)).double().sort().values
        return {weight: share_below(known, context.adversary(images)) for weight, images in made.items()}

    def _with_parts(self, values: Mapping[float, Tensor], ids: Sequence[str]) -> Score:
        parts = {f"condition=weight {weight}": Score.mean_of(values[weight], ids) for weight in SIDES}
        return replace(Score.mean_of(values[HALF], ids), parts=parts)

    def _blended(self, context: Context, pairs: Tensor, weight: float) -> Tensor:
        images = context.data(context.split).images
        return torch.cat(
            [
                context.blend(to_float(images[part[:, 0]]), to_float(images[part[:, 1]]), weight).cpu()
                for part in pairs.split(_BATCH)
            ]
        )

    def _realism(self, context: Context, made: Mapping[float, Tensor], pairs: Tensor) -> dict[float, Tensor]:
        space = self._space
        if space is None:
            raise UserError("no classifier knows these images")
        data = context.data(context.split)
        rows, places = distinct(data.images)
        if len(rows) <= NEIGHBOURS + 2:
            raise UserError(f"{len(rows)} different images are too few to hold blends against")
        step = -(-len(rows) // REFERENCES)
        references = context.reference(space, context.split).features[rows[::step]].clone()
        radii = nearest_distances(references, references, NEIGHBOURS, same=True)
        own = places[pairs]
        parents = torch.where(own % step == 0, own // step, -1)
        return {
            weight: torch.cat(
                [
                    realism(context.features(space, images[part]), references, radii, parents[part])
                    for part in torch.arange(len(images)).split(_BATCH)
                ]
            )
            for weight, images in made.items()
        }


def distinct(images: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first row of each set of equal images (m,), and for each image which of them it equals (n,)."""
    seen: dict[bytes, int] = {}
    rows: list[int] = []
    places: list[int] = []
    for row, image in enumerate(images.numpy()):
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in seen:
            seen[key] = len(rows)
            rows.append(row)
        places.append(seen[key])
    return torch.tensor(rows), torch.tensor(places)


def share_below(known: Tensor, values: Tensor) -> Tensor:
    """Compute the share of the known values (m,), sorted, that are smaller than each value; equal ones count half.

    Raises :class:`UserError` for values that are not finite.
    """
    if not (known.isfinite().all() and values.isfinite().all()):
        raise UserError("the run's discriminator or critic gives values that are not finite")
    values = values.to(known.dtype)
    low, high = torch.searchsorted(known, values), torch.searchsorted(known, values, right=True)
    return (low + high).double() / (2 * len(known))


def random_pairs(n: int, count: int) -> Tensor:
    """Draw ``count`` pairs of ``n`` images, int64 (count, 2), or as many as there are; the same for every model.

    No image is in two pairs: what is measured of pairs counts as independent.
    """
    order = torch.randperm(n, generator=seeding.generator(0, "pairs of images to blend"))
    return order[: n // 2 * 2].view(-1, 2)[:count]


def _space_of(features: str, judge: str) -> FeatureSpace | None:
    if features:
        return FeatureSpace.parse(features)
    return FeatureSpace(judge, "dense") if judge else None


def _facets(part: str, unit: str, direction: Direction, features: str, judge: str, pairs: int) -> list[Metric]:
    realism, space = part == "realism", _space_of(features, judge)
    spec = MetricSpec(
        name=f"blend_{part}",
        needs=Need.BLEND,
        unit=unit,
        direction=direction,
        protocol=f"features/pairs={pairs}" if realism else f"own adversary/pairs={pairs}",
        question=questions.MANIPULATION,
        place=5 if realism else 6,
        ranked=realism,
        averaged=False,  # whatever averages is realistic
        study="blending",
        column=part,
    )
    if space is None and realism:
        reason = f"no classifier knows these images: name a feature space with --set {spec.name}.features=NETWORK/LAYER"
        return [Refused(reason, spec)]
    if space is not None and realism:
        named = f"{_name_of(space)}/k={NEIGHBOURS}/pairs={pairs}"
        spec = replace(spec, protocol=named, space=space, of_baselines=True, of_real=True)
    return [Facet(Blends(space, pairs), part, replace(spec, margin="0.02"))]


def _name_of(space: FeatureSpace) -> str:
    """Name a judge that was trained for the data by its role; the extractor's hash says which one it is."""
    return f"judge-{space.layer}" if space.network.startswith(TRAINED) else str(space)


def blend_realism(features: str = "", judge: str = "", pairs: int = PAIRS) -> list[Metric]:
    """Realism score of images blended half and half (Kynkäänniemi et al. 2019): 1 lies among the real images.

    Its direction is ``target``: whatever averages lies nearer to the middle of the real images than they do themselves,
    and scores higher than they; a blend as realistic as a real image has a real image's value. ``features`` is
    ``NETWORK/LAYER`` or ``pixels``; by default those of the data's own classifier.
    """
    return _facets("realism", "ratio of distances", "target", features, judge, pairs)


def blend_adversary(features: str = "", judge: str = "", pairs: int = PAIRS) -> list[Metric]:
    """Share of real images that the run's own discriminator or critic takes less for real than a blend.

    Every run has an adversary of its own, so that this says how a model's blends fare with it, and ranks no models.
    """
    return _facets("adversary", "share", "higher", features, judge, pairs)
