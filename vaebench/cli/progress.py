"""Show progress: a live line of a training or of an evaluation's stages, plain lines where there is no terminal."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from vaebench.core import stages
from vaebench.core.validation import plain_line

if TYPE_CHECKING:
    from vaebench.runs.history import Progress as TrainingProgress

PLAIN_LINES = 10  # a training writes about this many where there is no terminal
PLAIN_EVERY = 30.0  # seconds between the lines of an evaluation where there is no terminal
NAME = 28  # characters of a run's name in a live line


def left(seconds: float) -> str:
    """Say how long something will still take: ``8 s``, ``3:20``, ``1:02:00``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s left"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def _terms(terms: Mapping[str, float]) -> str:
    """``reconstruction 131.2  kl 8.1``: without the phase's name where there is one phase only."""
    phases = {name.partition("/")[0] for name in terms}
    return "  ".join(
        f"{name.partition('/')[2] if len(phases) == 1 else name} {value:.4g}" for name, value in terms.items()
    )


def _warn(console: Console, title: str, row: "TrainingProgress") -> None:
    for text in row.warnings:
        console.print(f"{title}: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)


class _Left(ProgressColumn):
    """Column of the time left by the task's own field, which is known from the whole training and not a moment."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the time left; nothing before the first row."""
        seconds = task.fields.get("left")
        return Text("" if seconds is None or task.finished else left(seconds), style="progress.remaining")


def _live(console: Console, *, rest: bool) -> Progress:
    """Make a live line: what is narrow and needed first, then what fills the rest of the terminal."""
    columns = [
        TextColumn("{task.fields[name]}", style="bold", markup=False, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[count]}", markup=False, table_column=Column(no_wrap=True, justify="right")),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6, max_width=20)),
        _Left(table_column=Column(no_wrap=True, min_width=9)),
    ]
    if rest:
        terms = Column(ratio=3, no_wrap=True, overflow="ellipsis")
        columns.append(TextColumn("{task.fields[state]}", markup=False, table_column=terms))
    return Progress(*columns, console=console, expand=True)


def _short(name: str) -> str:
    from vaebench.cli.tables import shortened

    return shortened(plain_line(name), NAME, "middle")


@contextmanager
def shown(
    console: Console, title: str, place: str = "", after: Callable[[float], float | None] = lambda rate: None
) -> Iterator[Callable[["TrainingProgress"], None]]:
    """Context manager of a live line; gives a function to call with each row of the training's history.

    Args:
        console: where it is shown.
        title: the run's name.
        place: which of several it is, such as ``2/4``.
        after: images per second of this training -> seconds that the trainings behind it will take, or None where
            nobody knows.
    """
    if not console.is_terminal:
        yield _plain(console, title)
        return
    with _live(console, rest=True) as live:
        name = " ".join(filter(None, [place, _short(title)]))
        task = live.add_task("", total=None, name=name, count="", state="", left=None)  # the first row says how many

        def update(row: "TrainingProgress") -> None:
            _warn(console, title, row)
            remaining = (row.steps - row.step) * row.seconds / max(row.step, 1)
            behind = after(row.images_per_second)
            whole = f"all {left(remaining + behind)}" if behind else ""
            rate = f"{row.images_per_second:.0f} images/s"
            live.update(
                task,
                total=row.steps,
                completed=row.step,
                count=f"{row.step:,}/{row.steps:,}",
                left=remaining,
                state="  ".join(filter(None, [rate, whole, _terms(row.terms)])),
            )

        yield update


def _plain(console: Console, title: str) -> Callable[["TrainingProgress"], None]:
    shown_until = 0.0

    def update(row: "TrainingProgress") -> None:
        nonlocal shown_until
        _warn(console, title, row)
        if row.step / row.steps < shown_until and row.step < row.steps:
            return
        shown_until = row.step / row.steps + 1 / PLAIN_LINES
        remaining = (row.steps - row.step) * row.seconds / row.step
        console.print(
            f"{title}: step {row.step}/{row.steps}  epoch {row.epoch:.1f}  {_terms(row.terms)}"
            f"  {row.images_per_second:.0f} images/s  {remaining:.0f} s left",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    return update


@contextmanager
def stages_shown(console: Console) -> Iterator[None]:
    """Context manager within which stages of long work are shown: a live line, or a line now and then."""
    if not console.is_terminal:
        with stages.watched(_now_and_then(console)):
            yield
        return
    with _live(console, rest=False) as live:
        task = live.add_task("", total=None, name="", count="", left=None, visible=False)
        stage, began = "", time.monotonic()

        def watch(what: str, done: int, total: int) -> None:
            nonlocal stage, began
            if what.partition(": ")[0] != stage:
                stage, began = what.partition(": ")[0], time.monotonic()
            run, _, part = what.partition(": ")
            live.update(
                task,
                visible=True,
                total=total or None,
                completed=done,
                name=_short(run),
                count=f"{part} {done:,}/{total:,}" if total else part,
                left=_remaining(part, began, done, total),
            )

        with stages.watched(watch):
            yield
        live.update(task, visible=False)


def _remaining(part: str, began: float, done: int, total: int) -> float | None:
    """Estimate the seconds that images will still take; scores take unlike times, which nobody can tell."""
    if part != "images" or not 0 < done <= total:
        return None
    return (total - done) * (time.monotonic() - began) / done


def _now_and_then(console: Console) -> stages.Watcher:
    spoke = time.monotonic()

    def watch(what: str, done: int, total: int) -> None:
        nonlocal spoke
        if time.monotonic() - spoke < PLAIN_EVERY:
            return
        spoke = time.monotonic()
        count = f" {done:,} of {total:,}" if total else ""
        console.print(f"{plain_line(what)}{count}", highlight=False, markup=False, soft_wrap=True)

    return watch


class _Messages(logging.Handler):
    """Progress as it is, warnings marked."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        warns = record.levelno >= logging.WARNING
        text = plain_line(f"warning: {record.getMessage()}" if warns else record.getMessage())
        if warns and text in self._shown:  # several datasets' reports meet the same damaged file
            return
        self._shown.add(text)
        self._console.print(text, style="yellow" if warns else "", highlight=False, markup=False, soft_wrap=True)


def show_messages(console: Console) -> None:
    """Show what vaebench's modules log on ``console``."""
    logger = logging.getLogger("vaebench")
    logger.handlers = [_Messages(console)]
    logger.setLevel(logging.INFO)
