"""Displace faces (moved, scaled or turned), and realign them by their eyes.

The replication of Hou et al. 2017 by Eteke et al. (section V) found its model to fail on faces from a camera, and named
the face's position as the first reason. These are the faces to test that on.
"""

import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vaebench.core import content_cache, seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.datasets.images.face_detection import aligned, measure_framing

UNTOUCHED = "untouched"
_VERSION = 1  # part of the key: change it with anything that changes the faces
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Displacement:
    """How far each face is moved (share of the side), by what it is scaled, how far it is turned (degrees)."""

    shift: float = 0.0
    scale: float = 1.0
    turn: float = 0.0


# of 64 pixels: 4, 8 and 16
CONDITIONS: Mapping[str, Displacement] = {
    UNTOUCHED: Displacement(),
    "shift 1/16": Displacement(shift=1 / 16),
    "shift 1/8": Displacement(shift=1 / 8),
    "shift 1/4": Displacement(shift=1 / 4),
    "scale 0.75": Displacement(scale=0.75),
    "scale 1.33": Displacement(scale=4 / 3),
    "turn 15": Displacement(turn=15),
    "turn 30": Displacement(turn=30),
}


def displaced(images: Tensor, by: Displacement, seed: int = 0) -> Tensor:
    """Displace images uint8 (n, c, h, w) about their middle by bicubic interpolation, the border repeated.

    Each is moved to the left, the right, up or down, and turned one way or the other, as ``seed`` says.
    """
    n = len(images)
    ways = torch.randint(4, (n,), generator=seeding.generator(seed, "ways to move"))
    sense = torch.randint(2, (n,), generator=seeding.generator(seed, "ways to turn")) * 2.0 - 1
    directions = torch.tensor([(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])[ways]
    angle = sense * math.radians(by.turn)
    # from places in the new image to places in the old one, both from -1 to 1
    rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=1).view(n, 2, 2) / by.scale
    height, width = images.shape[2:]
    rotation = rotation * torch.tensor([[1.0, height / width], [width / height, 1.0]])  # a turn is one of pixels
    offset = -(rotation @ (2 * by.shift * directions)[:, :, None])
    places = functional.affine_grid(torch.cat([rotation, offset], dim=2), list(images.shape), align_corners=False)
    moved = functional.grid_sample(to_float(images), places, mode="bicubic", padding_mode="border", align_corners=False)
    return moved.clamp(0, 1).mul(255).round().to(torch.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The same faces under one condition: displaced, then put back where eyes were found, uint8 (n, c, h, w) both."""

    displaced: Tensor
    realigned: Tensor
    found: Tensor  # bool (n,)


def faces_out_of_place(data: ImageDataset, training: ImageDataset, rows: Tensor) -> dict[str, Faces]:
    """Displace some of a split's faces under every condition, by name, and realign them.

    Eyes are looked for once; what was put back is kept in ``VAEBENCH_CACHE/realigned`` by content. Raises
    :class:`UserError` where the training images show no faces
    (:func:`vaebench.datasets.images.face_detection.measure_framing`).
    """
    images = data.images[rows]
    moved = {name: displaced(images, by) for name, by in CONDITIONS.items()}

    def realign() -> dict[str, tuple[Tensor, Tensor]]:
        log.info("%s: looking for the eyes of %d faces, once", data.name, len(rows) * len(moved))
        framing = measure_framing(training.images)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # OpenCV works outside the interpreter's lock
            done = list(pool.map(lambda part: aligned(part, framing), moved.values()))
        return dict(zip(moved, done, strict=True))

    parts: list[content_cache.Part] = [_VERSION, data.fingerprint, training.fingerprint, [int(row) for row in rows]]
    path = content_cache.entry("realigned", parts, ".npz")
    kept = content_cache.read_or_make(path, _RealignedFile(images.shape), realign)
    return {name: Faces(displaced=moved[name], realigned=kept[name][0], found=kept[name][1]) for name in moved}


@dataclass(frozen=True)
class _RealignedFile:
    """Reads and writes realigned images, each of ``shape``, and where eyes were found, by condition."""

    shape: torch.Size

    def read(self, path: Path) -> dict[str, tuple[Tensor, Tensor]] | None:
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
                found = {
                    name: (torch.from_numpy(archive[f"image {name}"]), torch.from_numpy(archive[f"found {name}"]))
                    for name in CONDITIONS
                }
        except Exception:  # numpy and zipfile each raise their own; what cannot be read is made again
            return None
        return found if all(images.shape == self.shape for images, _ in found.values()) else None

    def write(self, path: Path, value: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        arrays = {f"image {name}": images.numpy() for name, (images, _) in value.items()}
        arrays |= {f"found {name}": found.numpy() for name, (_, found) in value.items()}
        with path.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]  # numpy types **kwds as bool
