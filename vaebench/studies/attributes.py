"""Attribute manipulation: the direction of an attribute, times a factor, added to faces' latents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.metrics.probes.attribute_vectors import (
    EXAMPLES,
    SIX,
    AttributeVector,
    attribute_vector,
    chosen_attributes,
    position_of,
)
from vaebench.metrics.probes.novelty import Strangeness
from vaebench.report.figures.image_sheet import Strip, image_sheet
from vaebench.runs.galleries import to_pixels
from vaebench.runs.study_figures import StudyFigure
from vaebench.studies.opened_runs import OpenedRun, OpenedRuns, Say
from vaebench.studies.save import keep

FACTORS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Faces (n, c, h, w) uint8 to manipulate, and a name for each."""

    names: Sequence[str]
    images: Tensor


def attributes(
    opened_runs: OpenedRuns,
    wanted: Sequence[str],
    given: Faces | None,
    *,
    factors: Sequence[float] = FACTORS,
    examples: int = EXAMPLES,
    rows: int = 1,
    seed: int = 0,
    say: Say,
) -> tuple[StudyFigure, Path]:
    """Draw every attribute at every factor on each face, by every run; a negative factor takes it away.

    ``given`` faces get all attributes; without them ``rows`` test faces are chosen for each attribute, such as lack it
    (or have it, where it is taken away). Each strip says how strange its face is to the run.
    """
    training = opened_runs.split.split("train")
    names = usual_attributes(training, wanted)
    if not all(-10 <= factor <= 10 for factor in factors) or not factors:
        raise UserError(f"--factors {', '.join(map(str, factors))}: give numbers from -10 to 10, e.g. 0,0.5,1")
    strips = []
    shown = given is not None or opened_runs.data.redistributable
    for number, name in enumerate(names):
        faces = given or _suitable(opened_runs.data, name, rows, seed, turn=number, has=min(factors) < 0)
        for position, face in enumerate(faces.images):
            for turn, run in enumerate(opened_runs.runs):
                vector = direction(run, training, name, examples, seed, say if (position, turn) == (0, 0) else None)
                heading = f"{name.replace('_', ' ')}, {faces.names[position]}" if turn == 0 else ""
                strips.append(_strip(run, face[None], vector, factors, heading, shown=shown))
    columns = [*(["image"] if shown else []), *(f"{factor:+g}" if factor else "0" for factor in factors)]
    signs = [*(["taken away"] if min(factors) < 0 else []), *(["added"] if max(factors) > 0 else [])]
    caption = (
        f"Attributes {' and '.join(signs) or 'left alone'}: the face's posterior mean plus a factor times the "
        f"difference of the mean latents of up to {examples:,} training images with and without the attribute. Before "
        "each strip, how strange the face is to the run: the shares of test faces with a smaller reconstruction error "
        "and a smaller latent norm."
    )
    return keep(opened_runs, "attributes", caption, image_sheet(strips, columns, stacks=2), own=given is not None)


def usual_attributes(data: ImageDataset, wanted: Sequence[str], usual: Sequence[str] = SIX) -> list[str]:
    """Choose the attributes to show, the usual ones by default; :class:`UserError` for images without attributes."""
    if data.attributes is None:
        raise UserError(f"{data.name} has no attributes: choose runs of celeba or toyfaces, or give your folder some")
    return chosen_attributes(wanted, data.attribute_names, usual)


def direction(
    run: OpenedRun, training: ImageDataset, name: str, examples: int, seed: int, say: Say | None
) -> AttributeVector:
    """Compute an attribute's direction in a run's latent space; fewer examples than asked for are reported."""
    assert training.attributes is not None
    vector = attribute_vector(
        name, run.latents("train"), training.attributes, training.attribute_names, examples=examples, seed=seed
    )
    if say is not None and min(vector.with_it, vector.without_it) < examples:
        counts = f"{vector.with_it:,} training images with it and {vector.without_it:,} without"
        say(f"{name}: its direction is of {counts}, fewer than {examples:,} of a kind")
    return vector


def _suitable(data: ImageDataset, name: str, rows: int, seed: int, *, turn: int, has: bool) -> Faces:
    """Choose test faces without the attribute, or with it; with seed 0 those that figures show first, from ``turn``
    on.
    """
    assert data.attributes is not None
    fitting = data.attributes[:, position_of(name, data.attribute_names)] == has
    shown = [row for row in data.showcase_indices() if fitting[row]] if seed == 0 else []
    first = shown[turn % len(shown) :] + shown[: turn % len(shown)] if shown else []
    order = torch.randperm(len(data), generator=seeding.generator(seed, f"faces for {name}")).tolist()
    chosen = list(dict.fromkeys([*first, *(row for row in order if fitting[row])]))[:rows]
    if not chosen:
        raise UserError(f"no test image is {'with' if has else 'without'} {name}: choose another attribute")
    return Faces(names=[data.ids[row] for row in chosen], images=data.images[chosen])


def _strip(
    run: OpenedRun, face: Tensor, vector: AttributeVector, factors: Sequence[float], heading: str, *, shown: bool
) -> Strip:
    """Draw the face at every factor, after the image itself if it may be shown."""
    images = to_float(face)
    mean = run.context.encode(images)
    moved = torch.cat([mean + factor * vector.direction for factor in factors])
    strange = run.familiar.judge(images, run.context.decode(mean), mean)
    label = f"{run.label}\n{strangeness_said(strange, 0)}"
    pictures = to_pixels(run.context.decode(moved))
    if not shown:
        return Strip(label=label, pictures=pictures, heading=heading)
    return Strip(label=label, pictures=np.concatenate([to_pixels(face), pictures]), heading=heading, apart=(0,))


def strangeness_said(strange: Strangeness, row: int) -> str:
    """Format the two shares of one image, with a warning if it is unlike what the run knows."""
    said = f"error {100 * strange.error[row]:.0f} %, norm {100 * strange.norm[row]:.0f} %"
    return f"{said}\nUNLIKE THE DATA" if strange.outside[row] else said
