"""Progress: a live line of a training (plain lines if there is no terminal), and log messages."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vaebench.core.validation import plain_line

if TYPE_CHECKING:
    from vaebench.runs.history import Progress as TrainingProgress

PLAIN_LINES = 10  # a training writes about this many where there is no terminal


def _terms(terms: Mapping[str, float]) -> str:
    """``reconstruction 131.2  kl 8.1``: without the phase's name where there is one phase only."""
    phases = {name.partition("/")[0] for name in terms}
    return "  ".join(
        f"{name.partition('/')[2] if len(phases) == 1 else name} {value:.4g}" for name, value in terms.items()
    )


def _warn(console: Console, title: str, row: "TrainingProgress") -> None:
    for text in row.warnings:
        console.print(f"{title}: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def shown(console: Console, title: str) -> Iterator[Callable[["TrainingProgress"], None]]:
    """Context manager of a live line; gives a function to call with each row of the training's history."""
    if not console.is_terminal:
        yield _plain(console, title)
        return
    columns = (
        TextColumn("{task.description}", style="bold", markup=False),  # settings stand in brackets, as markup does
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps  {task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as live:
        task = live.add_task(title, total=1, state="")  # the first row says how many

        def update(row: "TrainingProgress") -> None:
            _warn(console, title, row)
            state = f"{_terms(row.terms)}  {row.images_per_second:.0f} images/s"
            live.update(task, total=row.steps, completed=row.step, state=state)

        yield update


def _plain(console: Console, title: str) -> Callable[["TrainingProgress"], None]:
    shown_until = 0.0

    def update(row: "TrainingProgress") -> None:
        nonlocal shown_until
        _warn(console, title, row)
        if row.step / row.steps < shown_until and row.step < row.steps:
            return
        shown_until = row.step / row.steps + 1 / PLAIN_LINES
        left = (row.steps - row.step) * row.seconds / row.step
        console.print(
            f"{title}: step {row.step}/{row.steps}  epoch {row.epoch:.1f}  {_terms(row.terms)}"
            f"  {row.images_per_second:.0f} images/s  {left:.0f} s left",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    return update


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
