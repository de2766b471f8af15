"""Weights & Biases. ``WANDB_MODE``, ``WANDB_DIR``, ``WANDB_PROJECT`` and ``WANDB_ENTITY`` count as everywhere."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import wandb
from numpy.typing import NDArray

from vaebench.core.files import make_dir
from vaebench.trackers.tracker import Outcome, TrackedRun

PROJECT = "vaebench"
PATIENCE = 30  # seconds until a server that does not answer is given up


class _Wandb:
    def __init__(self, run: Any) -> None:
        self._run = run
        self.shown_by = run.url or f"wandb sync --append {shlex.quote(str(Path(run.dir).parent))}"

    def row(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        image = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        self._run.log({"samples": wandb.Image(image)}, step=step)

    def final(self, step: int, facts: Mapping[str, float]) -> None:
        self._run.summary.update({f"final/{name}": value for name, value in facts.items()})

    def close(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=0 if outcome == "finished" else 1)


def open_tracker(run: TrackedRun, where: str, after: int | None) -> _Wandb:
    """Open the run ``run.identity`` of the project ``[ENTITY/]PROJECT``, or go on with it.

    Offline, each sitting of a training has a folder of its own, to be uploaded one after the other. Who is not logged
    in and has not said how (``WANDB_MODE``) is tracked offline, since a training must not stop to ask for a key.
    """
    entity, _, project = where.rpartition("/")
    settings = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, init_timeout=PATIENCE)
    mode: Literal["offline"] | None
    mode = None if "WANDB_MODE" in os.environ or wandb.login(prompt=False, verify=False) else "offline"
    opened = wandb.init(
        entity=entity or None,
        project=project or os.environ.get("WANDB_PROJECT", PROJECT),
        id=run.identity,
        name=run.name,
        group=run.group,
        config=dict(run.settings),
        resume="allow",
        reinit="create_new",
        dir=None if "WANDB_DIR" in os.environ else str(make_dir(run.root)),
        mode=mode,
        settings=settings,
    )
    return _Wandb(opened)
