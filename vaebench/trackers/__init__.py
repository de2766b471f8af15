"""The trackers that ``train --log`` knows. A tracker is a file here with ``open_tracker``, and a line in this table.

They are read-only to a training: they see the rows that ``history.csv`` gets, and nothing that they do or fail to do
changes it.
"""

import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean
from vaebench.trackers.tracker import OpenTracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One line of the table.

    Attributes:
        module: has ``open_tracker``, and imports the package.
        package: what must be installed, by its name for ``pip install`` and for ``import``.
        forgets: whether an open tracker can void what a run that goes on had beyond its last checkpoint.
        environment: variables that are set before the package is imported, unless the user has: no tracker reports
            of itself to those who made it, and none waits for a server for minutes.
    """

    module: str
    package: str
    forgets: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


TRACKERS: Mapping[str, Kind] = {
    "tensorboard": Kind(module="vaebench.trackers.tensorboard", package="tensorboard", forgets=True),
    "wandb": Kind(module="vaebench.trackers.wandb", package="wandb", environment={"WANDB_ERROR_REPORTING": "false"}),
    "mlflow": Kind(
        module="vaebench.trackers.mlflow",
        package="mlflow",
        environment={
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        },
    ),
    "trackio": Kind(
        module="vaebench.trackers.trackio", package="trackio", environment={"GRADIO_ANALYTICS_ENABLED": "False"}
    ),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tracker that the user asks for: its name, and where it keeps what it gets; empty for its usual place."""

    name: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.where}" if self.where else self.name

    @property
    def kind(self) -> Kind:
        """Its line of the table."""
        return TRACKERS[self.name]

    def opener(self) -> OpenTracker:
        """Import the tracker's package; return the function that opens it."""
        for name, value in self.kind.environment.items():
            os.environ.setdefault(name, value)
        found: OpenTracker = importlib.import_module(self.kind.module).open_tracker
        return found


def read_wanted(texts: Sequence[str]) -> tuple[Wanted, ...]:
    """Read what ``--log`` names.

    Args:
        texts: of each use of the option: ``tensorboard``, ``mlflow:sqlite:///all.db``, or several with commas between
            them.

    Raises:
        UserError: a name is unknown or comes twice, or its package is not installed.
    """
    found: list[Wanted] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, _, where = part.partition(":")
        if name not in TRACKERS:
            raise UserError(f"--log {part!r}: no tracker is named '{name}': {did_you_mean(name, TRACKERS)}")
        if name in (each.name for each in found):
            raise UserError(f"--log names {name} twice: give it once")
        package = TRACKERS[name].package
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--log {name} needs the package {package}, which is not installed: pip install {package}")
        found.append(Wanted(name, where))
    return tuple(found)
