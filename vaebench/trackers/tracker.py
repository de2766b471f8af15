"""What every tracker does: it takes a training's rows, pictures and final facts, and is closed however it ends."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["finished", "interrupted", "failed"]
Setting = str | int | float | bool

_ODD = re.compile(r"[^\w\-. /]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """The run that is tracked.

    Attributes:
        name: ``vae-digits/seed-0``, as messages have it.
        group: the recipe, which the run shares with those of other seeds.
        identity: 16 hexadecimal digits of this training, the same after each resume, another one if the run was moved
            away and is trained anew.
        folder: the run's own.
        root: the folder of all runs.
        settings: what decides the training, by name.
    """

    name: str
    group: str
    identity: str
    folder: Path
    root: Path
    settings: Mapping[str, Setting]

    @property
    def unique_name(self) -> str:
        """Name the training for trackers that tell runs apart by nothing else; it holds no slash."""
        return f"{_ODD.sub('_', self.name).replace('/', '-')}-{self.identity[:8]}"


class Tracker(Protocol):
    """An open tracker of one run. Steps never fall; any method may raise, and is then called no more but ``close``.

    Attributes:
        shown_by: the command that shows what it keeps, or an address.
    """

    shown_by: str

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Take a row of the history: its columns by name, without the step."""

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """Take a picture of samples: uint8 (height, width, 1 or 3)."""

    def final(self, step: int, facts: Mapping[str, float]) -> None:
        """Take the facts of the whole training, once it is finished."""

    def close(self, outcome: Outcome) -> None:
        """Write what is not written yet, and say how the training ended."""


class OpenTracker(Protocol):
    """How a tracker is opened: the function ``open_tracker`` of its module."""

    def __call__(self, run: TrackedRun, where: str, after: int | None) -> Tracker:
        """Open the tracker of a run.

        Args:
            run: what is tracked.
            where: what stands behind the colon of ``--log``; empty for the tracker's usual place.
            after: None of a run that this tracker has not met; else the step of the last row that stands: a tracker
                that can forget what came later does.
        """


def plain_metric(name: str) -> str:
    """Return a name without the signs that trackers refuse; those of vaebench's own losses stay as they are."""
    return _ODD.sub("_", name)
