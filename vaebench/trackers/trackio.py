"""Trackio: its local folder (``TRACKIO_DIR``), or the Space that ``TRACKIO_SPACE_ID`` names."""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import trackio
from numpy.typing import NDArray

from vaebench.trackers.tracker import Outcome, TrackedRun

PROJECT = "vaebench"


class _Trackio:
    def __init__(self, run: Any, project: str) -> None:
        self._run = run
        self.shown_by = f"trackio show --project {shlex.quote(project)}"

    def row(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        colours = pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels
        self._run.log({"samples": trackio.Image(colours)}, step=step)

    def final(self, step: int, facts: Mapping[str, float]) -> None:
        self._run.log({f"final/{name}": value for name, value in facts.items()}, step=step)

    def close(self, outcome: Outcome) -> None:
        trackio.finish()  # and not the run's own, which trackio would end once more as the process ends


def open_tracker(run: TrackedRun, where: str, after: int | None) -> _Trackio:
    """Open the run ``RECIPE-seed-K-IDENTITY`` of a project, ``vaebench`` by default, or go on with it."""
    project = where or PROJECT
    opened = trackio.init(
        project=project,
        name=run.unique_name,
        group=run.group,
        config=dict(run.settings),
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return _Trackio(opened, project)
