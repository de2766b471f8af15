"""Exit codes, and the line that explains one."""

import traceback
from collections.abc import Callable
from typing import Any

import typer

from vaebench.core.errors import Elsewhere, Interrupted, UserError, first_line
from vaebench.core.interrupts import INTERRUPTED, Stopped, asked
from vaebench.core.own_code import fault_in

# typer's own usage errors, whichever click it builds on (newer ones carry their own)
UsageError: Any = typer.BadParameter.__mro__[1]
BAD_INPUT = 2
OWN_FAULT = 70  # never 1, which says that `check` found a regression

GOES_ON = "the same command goes on from there"
# what a stop leaves, by command, where the command itself has not said it
LEFT = {
    "train": "no training was under way; give the same command again, with --resume where one was begun before",
    "quickstart": f"what was trained and measured is saved; {GOES_ON}",
    "suite": f"what was trained and measured is saved; {GOES_ON}",
    "evaluate": "what was measured is saved; the same command measures what is missing",
    "report": "every file written so far is whole; the same command writes the rest",
    "fetch": f"what was prepared is kept; {GOES_ON}",
    "webcam": "what was fitted is kept",
    "cache": "what was removed is gone, the rest is there; give the same command again",
    **dict.fromkeys(("list", "doctor", "compare", "explain", "check"), "nothing was changed"),
}
# a name of other letters than the terminal's encoding has, or of bytes that are no UTF-8
NO_TEXT = "set a UTF-8 locale (LC_ALL=C.UTF-8, or PYTHONUTF8=1), or give a name of plain letters"
STUDY = "pictures written so far are whole; the same command draws the rest"
RESUME = {"train": "go on with the same command and --resume"}


def outcome(command: Callable[[], int | None], *, debug: bool, name: str = "") -> tuple[int, str]:
    """Run a command; return its exit code, and one line for the user if there is a problem.

    Codes 1 and 3 are the command's own answers. ``debug`` prints the traceback of an error. ``name`` is the command's.
    """
    code, problem = 0, ""
    try:
        code = command() or 0
    except UsageError as error:
        code, problem = BAD_INPUT, f"error: {error.format_message()}"
    except Elsewhere:
        code = BAD_INPUT
    except UserError as error:
        if debug:
            traceback.print_exc()
        code, problem = BAD_INPUT, f"error: {error}"
    except Interrupted as error:
        advice = error.goes_on or RESUME.get(name, GOES_ON)
        code, problem = INTERRUPTED, f"interrupted: {error}; {advice}" if str(error) else ""
    except (Stopped, KeyboardInterrupt, typer.Abort):
        code, problem = INTERRUPTED, f"interrupted: {LEFT.get(name, STUDY)}"
    except SystemExit:  # rich's answer to a reader that has seen enough, as in `vaebench list | head`
        code = 0
    except MemoryError as error:
        if debug:
            traceback.print_exc()
        code, problem = BAD_INPUT, f"error: memory is full ({error}): measure or train on less at a time"
    except Exception as error:
        if debug:
            traceback.print_exc()
        if asked():  # what a signal broke off raised this
            return INTERRUPTED, f"interrupted: {LEFT.get(name, STUDY)}"
        code, problem = _unexpected(error)
    return code, problem


def _unexpected(error: Exception) -> tuple[int, str]:
    """Say whose fault an error is that nobody has put into words: a user's or a plugin's code, or vaebench's."""
    if theirs := fault_in(error, "your own code"):
        return BAD_INPUT, f"error: {theirs}"
    if isinstance(error, UnicodeEncodeError):
        text = ascii(error.object)[:80]
        return BAD_INPUT, f"error: {text} cannot be written in {error.encoding}: {NO_TEXT}"
    reason = f"unexpected {type(error).__name__}: {first_line(error)}"
    return OWN_FAULT, f"{reason}: a fault of vaebench's; --debug shows where"
