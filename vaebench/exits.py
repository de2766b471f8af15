"""Exit codes, as INTERFACE.md fixes them: what became of a command, and the line that says so."""

import traceback
from collections.abc import Callable
from typing import Any

import typer

from vaebench.core.errors import Elsewhere, Interrupted, UserError

# typer's own usage errors, whichever click it builds on (newer ones carry their own)
UsageError: Any = typer.BadParameter.__mro__[1]
BAD_INPUT, INTERRUPTED = 2, 130
OWN_FAULT = 70  # never 1, which says that `check` found a regression


def outcome(command: Callable[[], int | None], *, debug: bool) -> tuple[int, str]:
    """Run a command: its exit code, and one line for the user where there is a problem.

    Codes 1 and 3 are the command's own answers. ``debug`` prints the traceback of an error.
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
        code, problem = INTERRUPTED, f"interrupted: {error}; go on with --resume" if str(error) else ""
    except (KeyboardInterrupt, typer.Abort):
        code, problem = INTERRUPTED, "interrupted"
    except SystemExit:  # rich's answer to a reader that has seen enough, as in `vaebench list | head`
        code = 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, problem = (
            OWN_FAULT,
            f"unexpected {type(error).__name__}: {error}: a fault of vaebench's; --debug shows where",
        )
    return code, problem
