"""Feature blending: two images blended in each run's latent space, beside the classical ways in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.evaluation.pixel_blending import WAYS
from vaebench.report.figures.image_sheet import Strip, image_sheet
from vaebench.runs.galleries import to_pixels
from vaebench.runs.study_figures import StudyFigure
from vaebench.studies.opened_runs import OpenedRuns, Say, shown_pairs
from vaebench.studies.save import keep
from vaebench.studies.user_images import load_user_images

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Images (n, 2, c, h, w) uint8 and their names; ``shown``: whether they may be republished."""

    names: Sequence[tuple[str, str]]
    images: Tensor
    shown: bool
    own: bool = False  # whether they are a user's


def blend(opened_runs: OpenedRuns, pairs: Pairs, *, weights: Sequence[float] = WEIGHTS) -> tuple[StudyFigure, Path]:
    """Draw every pair blended by every run and every classical way.

    Classical blends at their ends are the images: of images that may not be republished only blends with a weight of
    0.25 to 0.75 are drawn, in which neither is itself. Raises :class:`UserError` for weights outside [0, 1].
    """
    if not weights or not all(0 <= weight <= 1 for weight in weights):
        raise UserError(f"--weights {', '.join(map(str, weights))}: give numbers from 0 to 1, e.g. 0,0.5,1")
    strips = []
    for (first, second), (left, right) in zip(pairs.names, to_float(pairs.images), strict=True):
        ways = {run.label: run.context.blend for run in opened_runs.runs}
        ways |= WAYS if pairs.shown else {}
        for position, (name, way) in enumerate(ways.items()):
            made = torch.cat([way(left[None], right[None], weight) for weight in weights])
            heading = f"{first} and {second}" if position == 0 else ""
            strips.append(Strip(label=name, pictures=to_pixels(made), heading=heading))
    caption = "Two images blended by the average of their latents in each model"
    if pairs.shown:
        caption += ", and by pixel average, Laplacian pyramid and Fourier mix of the images themselves"
    caption += "; over the columns the weight of the second."
    if not pairs.shown:
        caption += (
            " Classical blends are made of the images' own pixels, which may not be republished: they are measured in "
            "the table, and drawn for images of your own."
        )
    return keep(
        opened_runs,
        "blend",
        caption,
        image_sheet(strips, [f"{weight:g}" for weight in weights], stacks=2),
        own=pairs.own,
    )


def user_pairs(paths: Sequence[Path], opened_runs: OpenedRuns, say: Say) -> Pairs:
    """Pair two image files, or the images of two folders, first with first; surplus images are reported."""
    if len(paths) != 2:
        raise UserError(f"{len(paths)} --image given: blending takes two files, or two folders")
    (left, first), (right, second) = (load_user_images([path], opened_runs.data.image_shape, say) for path in paths)
    count = min(len(first), len(second))
    if len(first) != len(second):
        say(f"{paths[0]} has {len(first)} images, {paths[1]} has {len(second)}: {count} of each are blended")
    names = list(zip(first[:count], second[:count], strict=True))
    return Pairs(names=names, images=torch.stack([left[:count], right[:count]], dim=1), shown=True, own=True)


def chosen_pairs(data: ImageDataset, count: int, seed: int | None) -> Pairs:
    """Choose pairs of test images: those that figures show, or any by ``seed``."""
    rows = shown_pairs(data, count, seed)
    names = [(data.ids[a], data.ids[b]) for a, b in rows]
    return Pairs(names=names, images=data.images[torch.tensor(rows)], shown=data.redistributable)
