"""A training's trackers together: each gets what it lacks, one that fails is left out, all are closed.

``trackers.json`` in the run's folder notes up to which step each has the rows: a training that goes on gives it none
twice, and one that is tracked from later on gives it those from before.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vaebench.core import input_files, validation
from vaebench.core.errors import Interrupted, UserError, first_line
from vaebench.core.files import write_text
from vaebench.core.interrupts import Stopped
from vaebench.core.validation import Count, Text, Token
from vaebench.runs.history import Progress
from vaebench.trackers import Wanted
from vaebench.trackers.tracker import Outcome, TrackedRun, Tracker

log = logging.getLogger(__name__)

NOTE = "trackers.json"


@dataclass(slots=True)
class _Open:
    """A tracker at work, and the step of the last row that it has."""

    wanted: Wanted
    tracker: Tracker
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """``trackers.json``: of which training, and up to which step each tracker has its rows."""

    identity: Token
    steps: dict[Text, Count] = field(default_factory=dict)


class Tracking:
    """Final: passes what a training reports to its trackers. As a context manager it closes them, however it ends.

    Without a run and trackers it does nothing, so that the training's loop need not ask.
    """

    def __init__(self, run: TrackedRun | None = None, wanted: Sequence[Wanted] = ()) -> None:
        self._run, self._wanted = run, wanted if run else ()
        self._open: list[_Open] = []
        self._steps: Mapping[str, int] = {}  # as the note has them, of trackers that are not asked for now, too
        self._finished = False

    def begin(self, rows: Sequence[Progress]) -> None:
        """Open the trackers, and give each the rows that it lacks of those that the history has already."""
        self._steps = self._noted() if self._wanted else {}
        stands = rows[-1].step if rows else 0
        for wanted in self._wanted:
            known = self._steps.get(str(wanted))
            if known is None:
                self._opened(wanted, None, 0)
            else:
                self._opened(wanted, stands, min(known, stands) if wanted.kind.forgets else known)
        passed = [self._pass(row) for row in rows]
        if any(passed):
            self._write_note()

    def row(self, row: Progress) -> None:
        """Pass a row of the history to the trackers that lack it."""
        if self._pass(row):
            self._write_note()

    def _pass(self, row: Progress) -> bool:
        """Pass a row on; tell whether any tracker has got it."""
        values = {
            "epoch": row.epoch,
            "seconds": row.seconds,
            "images_per_second": row.images_per_second,
            **row.terms,
        }
        lacking = [each for each in self._open if each.last < row.step]
        for each in lacking:
            each.last = row.step
            self._try(each.wanted, partial(each.tracker.row, row.step, values))
        return any(each.last == row.step for each in self._open)

    def picture(self, step: int, draw: Callable[[], NDArray[np.uint8]]) -> None:
        """Pass a picture of samples to the trackers that have no later row; one that cannot be drawn is left out, and
        said.
        """
        wanting = [each for each in self._open if each.last <= step]
        if not wanting:
            return
        try:
            pixels = draw()
        except Exception as error:  # of a user's model, or no memory is left: the training goes on
            log.warning("trackers get no picture of samples (%s: %s)", type(error).__name__, first_line(error)[:200])
            return
        for each in wanting:
            self._try(each.wanted, partial(each.tracker.picture, step, pixels))

    def final(self, step: int, facts: Mapping[str, float]) -> None:
        """Pass the facts of the whole training, which is finished by that."""
        self._finished = True
        self._each(lambda tracker: tracker.final(step, facts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, Interrupted | Stopped | KeyboardInterrupt)
        outcome: Outcome = "finished" if self._finished else "interrupted" if stopped else "failed"
        closing, self._open = self._open, []  # one that cannot be closed is not closed again
        for each in closing:
            self._try(each.wanted, partial(each.tracker.close, outcome))

    def _opened(self, wanted: Wanted, after: int | None, last: int) -> None:
        run = self._run
        assert run is not None
        if self._try(wanted, lambda: self._open.append(_Open(wanted, wanted.opener()(run, wanted.where, after), last))):
            log.info("%s: tracked by %s: %s", run.name, wanted.name, self._open[-1].tracker.shown_by)

    def _each(self, act: Callable[[Tracker], object]) -> None:
        for each in tuple(self._open):
            self._try(each.wanted, partial(act, each.tracker))

    def _try(self, wanted: Wanted, act: Callable[[], object]) -> bool:
        """Let a tracker do something, silently; leave it out from now on if it cannot, and tell whether it could."""
        try:
            with _quiet():
                act()
            return True
        except Exception as error:
            assert self._run is not None
            reason = f"{type(error).__name__}: {first_line(error)[:200]}"
            log.warning(
                "%s is tracked no more by %s (%s): the training goes on, %s has every row",
                self._run.name,
                wanted,
                reason,
                self._run.folder / "history.csv",
            )
            for failed in [each for each in self._open if each.wanted == wanted]:
                self._open.remove(failed)
                with suppress(Exception), _quiet():
                    failed.tracker.close("failed")
            return False

    def _noted(self) -> Mapping[str, int]:
        """Return the step up to which each tracker has the rows; nothing of another training that lay here."""
        assert self._run is not None
        path = self._run.folder / NOTE
        try:
            content = input_files.read_bytes(path, most=input_files.SMALL, remedy="delete it", inside=path.parent)
            note = validation.from_json(content, _Note, str(path), "delete it")
        except (FileNotFoundError, UserError):
            return {}
        return note.steps if note.identity == self._run.identity else {}

    def _write_note(self) -> None:
        assert self._run is not None
        steps = {**self._steps} | {str(each.wanted): each.last for each in self._open}
        self._steps = steps
        note = _Note(identity=self._run.identity, steps=steps)
        with suppress(UserError):  # the disk is full: the checkpoint will say so
            write_text(self._run.folder / NOTE, json.dumps(asdict(note), indent=2, sort_keys=True) + "\n")


@contextmanager
def _quiet() -> Iterator[None]:
    """Context manager that drops what is printed and warned: trackers greet, and a line of progress is live."""
    dropped = io.StringIO()
    with redirect_stdout(dropped), redirect_stderr(dropped), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
