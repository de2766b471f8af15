"""Tell errors in code that a user or a plugin brought from faults of vaebench's own, and say where they happened."""

import inspect
from pathlib import Path
from types import FrameType
from typing import Any

from vaebench.core.errors import UserError, first_line

_PACKAGE = Path(__file__).resolve().parents[1]
_folders: set[Path] = set()  # of files that the user has named and that were imported; what lies beside them is theirs
_packages: set[str] = set()  # top-level packages of plugins that were imported


def note_file(path: Path) -> None:
    """Note that the file is the user's own, and with it what lies beside it."""
    _folders.add(path.resolve().parent)


def note_plugin(module: str) -> None:
    """Note that the module is of a plugin's package."""
    _packages.add(module.partition(".")[0])


def place_of(error: BaseException, *made: object) -> str:
    """Say where an error happened in a user's or a plugin's code.

    Args:
        error: with its traceback.
        made: classes and functions whose use raised it, for errors that no line of theirs raises: an abstract class
            cannot be instantiated.

    Returns:
        ``FILE:LINE`` of the innermost such line; empty if there is none.
    """
    place, trace = "", error.__traceback__
    while trace is not None:
        if _is_own(trace.tb_frame):
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place or next((found for found in map(_defined, made) if found), "")


def fault_in(error: Exception, what: str, *made: object) -> UserError | None:
    """Say an error in a user's or a plugin's code in one line; None if it is not in theirs.

    Args:
        error: what was raised.
        what: the subject of the sentence, such as ``the model of mine-digits``.
        made: as for :func:`place_of`.
    """
    place = place_of(error, *made)
    if not place:
        return None
    reason = f"{type(error).__name__}: {first_line(error)[:200]}"
    return UserError(f"{what} fails ({reason}, {place}): mend it; --debug shows the traceback")


def _is_own(frame: FrameType) -> bool:
    return _is_of(frame.f_code.co_filename, str(frame.f_globals.get("__name__", "")))


def _is_of(file: str, module: str) -> bool:
    if module.partition(".")[0] in _packages:
        return True
    path = Path(file)
    if not path.is_file() or "site-packages" in path.parts or "dist-packages" in path.parts:
        return False
    resolved = path.resolve()
    return _PACKAGE not in resolved.parents and any(folder in resolved.parents for folder in _folders)


def _defined(made: Any) -> str:
    """Say where a class or function of the user's or a plugin's is defined; empty for others."""
    made = getattr(made, "func", made)  # of a partial
    try:
        file, (_, line) = inspect.getsourcefile(made) or "", inspect.getsourcelines(made)
    except (TypeError, OSError):
        file, line = inspect.getfile(made) if inspect.isfunction(made) else "", 0
    return f"{file}:{line}" if file and _is_of(file, str(getattr(made, "__module__", ""))) else ""
