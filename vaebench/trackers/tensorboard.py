"""TensorBoard: event files in the run's folder, or under a folder that is named. It runs on this machine alone."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from vaebench.trackers.tracker import Outcome, TrackedRun

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|])")


class _TensorBoard:
    def __init__(self, writer: SummaryWriter, folder: Path) -> None:
        self._writer = writer
        self.shown_by = f"tensorboard --logdir {shlex.quote(str(folder))}"

    def row(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a training may be killed, and rows are rare

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self._writer.add_image("samples", pixels, step, dataformats="HWC")
        self._writer.flush()

    def final(self, step: int, facts: Mapping[str, float]) -> None:
        for name, value in facts.items():
            self._writer.add_scalar(f"final/{name}", value, step)

    def close(self, outcome: Outcome) -> None:
        self._writer.close()


def open_tracker(run: TrackedRun, where: str, after: int | None) -> _TensorBoard:
    """Open event files in ``RUN/tensorboard``, or in ``WHERE/RECIPE/seed-K``.

    What a run has beyond ``after`` is marked as void, and is written again as the training comes by; of a run that is
    new, everything that another training left in the folder.
    """
    folder = Path(where).expanduser() / run.name if where else run.folder / "tensorboard"
    begins = 0 if after is None else after + 1
    writer = SummaryWriter(str(folder), purge_step=begins)
    if after is None:
        rows = "".join(f"| {_escaped(name)} | {_escaped(str(value))} |\n" for name, value in run.settings.items())
        writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)
        writer.flush()
    return _TensorBoard(writer, folder)


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
