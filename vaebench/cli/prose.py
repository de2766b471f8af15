"""Print prose on a terminal: a line whose beginning stands out, and texts under a label, broken to its width."""

import textwrap
from contextlib import AbstractContextManager, nullcontext

from rich.text import Text

from vaebench.cli.console import for_machines, form, out
from vaebench.core.validation import plain_line

WIDEST = 100  # characters of a line, however wide the terminal is
LABEL = 14  # characters of a label before a sentence
LEAST = 20  # of a line of it, however narrow the terminal is
FAINT = "dim"


def working(what: str) -> AbstractContextManager[object]:
    """Return a context manager that shows what is being done on a terminal, and nothing elsewhere."""
    shown = out.is_terminal and not for_machines()
    return out.status(f"{plain_line(what)} ...", spinner="dots") if shown else nullcontext()


def emphasised(head: str, rest: str, style: str = "bold") -> None:
    """Print a line whose beginning stands out."""
    line = Text(plain_line(head), style=style)
    line.append(plain_line(rest), style="not bold default")
    out.print(line, soft_wrap=True, highlight=False)


def say_faintly(text: str) -> None:
    """Print an explanation, dim where the terminal can."""
    out.print(textwrap.fill(text, min(width(), WIDEST)), style=FAINT, highlight=False, markup=False, soft_wrap=True)


def labelled(label: str, text: str, style: str = "") -> None:
    """Print a label and a text beside it, its further lines indented; commands and paths are not broken."""
    room = max(min(width(), WIDEST) - LABEL, LEAST)
    unbroken = label in ("next", "page") or form() == "plain" or not out.is_terminal
    lines = [text] if unbroken else textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        head = f"{label:<{LABEL - 1}} " if not place else " " * LABEL
        emphasised(head, line, style or "bold")


def width() -> int:
    """Return how many characters a line of the terminal has."""
    return out.width if out.is_terminal else WIDEST
