"""Test images laid out by their latents: t-SNE (or UMAP), snapped to a grid, each image in a cell of its own."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.metrics.probes.attribute_vectors import position_of
from vaebench.runs.galleries import Pixels, to_pixels
from vaebench.runs.study_figures import StudyFigure
from vaebench.studies.arrangement import agreement, embedded, mosaic, snapped, trustworthiness
from vaebench.studies.opened_runs import OpenedRuns, Say
from vaebench.studies.save import keep

COUNT = 1_600  # Hou et al. 2017, section 4.3.4
SIDE = 24  # pixels of an image in the mosaic
_PALETTE = np.array(  # Okabe and Ito's: with and without an attribute, or a colour a class
    [
        *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233)),
        *((213, 94, 0), (240, 228, 66), (140, 80, 220), (153, 153, 153), (120, 60, 0)),
    ],
    dtype=np.uint8,
)


def embed(
    opened_runs: OpenedRuns,
    *,
    count: int = COUNT,
    attribute: str = "",
    method: Literal["tsne", "umap"] = "tsne",
    seed: int = 0,
    side: int = SIDE,
    say: Say,
) -> tuple[StudyFigure, Path]:
    """Draw the mosaic of one run, of ``count`` test images chosen by ``seed`` and shown ``side`` pixels high.

    Images that may not be republished are shown by their reconstructions. ``attribute`` frames images by whether they
    have it; digits are framed by their class.
    """
    if len(opened_runs.runs) != 1:
        raise UserError("embed lays out one run: name one RUN")
    run, data = opened_runs.runs[0], opened_runs.data
    rows = torch.randperm(len(data), generator=seeding.generator(seed, "images to embed"))[:count]
    columns = math.isqrt(len(rows))
    rows = rows[: columns * columns]  # a full square
    if columns < 4:
        raise UserError(f"{len(rows)} images make no mosaic: ask for 16 or more of the {len(data):,} test images")
    say(f"{run.name}: arranging {len(rows):,} images")
    latents = run.latents(data.split)[rows].numpy()
    cells = snapped(embedded(latents, method=method, seed=seed), columns, columns)
    shown = data.images[rows] if data.redistributable else run.context.decode(run.latents(data.split)[rows])
    frames, said = _frames(opened_runs, rows, cells, columns, attribute)
    picture = mosaic(_small(to_pixels(shown), side), cells, columns, columns, frames)
    what = "test images" if data.redistributable else "reconstructions of test images"
    name = "t-SNE" if method == "tsne" else "UMAP"
    trust = trustworthiness(latents, cells, columns, neighbours=min(10, (len(rows) - 1) // 2 - 1))
    caption = (
        f"{len(rows):,} {what} by {run.name}'s latents: {name}, snapped to a grid of {columns} x {columns} so that no "
        f"two lie over each other. Trustworthiness of the grid {trust:.3f} (1: all neighbours are neighbours in latent "
        f"space; 0.5: chance).{said}"
    )
    return keep(opened_runs, "embed", caption, picture)


def _frames(
    opened_runs: OpenedRuns,
    rows: torch.Tensor,
    cells: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]",
    columns: int,
    name: str,
) -> tuple[Pixels | None, str]:
    """Choose a frame colour per image, and say how far neighbours agree."""
    data = opened_runs.data
    if name and data.attributes is None:
        raise UserError(f"{data.name} has no attributes: leave --attribute away")
    if name and data.attributes is not None:
        has = data.attributes[:, position_of(name, data.attribute_names)][rows].numpy()
        found = agreement(cells, columns, has)
        return _PALETTE[np.where(has, 1, 0)], (
            f" Frames: orange with {name.replace('_', ' ')}, blue without; neighbouring cells agree in "
            f"{100 * found.share:.1f} %, by chance {100 * found.chance:.1f} %."
        )
    if data.labels is not None:
        return _PALETTE[data.labels[rows].numpy() % len(_PALETTE)], " Frames: a colour a class."
    return None, ""


def _small(pixels: Pixels, side: int) -> Pixels:
    """Images of at most ``side`` pixels a side, antialiased."""
    if pixels.shape[1] <= side:
        return pixels
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    return to_pixels(resized / 255)
