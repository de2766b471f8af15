"""SIGINT and SIGTERM: answered from the first moment on, once, without a traceback.

Files are written whole or not at all, so a command may be stopped anywhere; what it leaves is said by
:mod:`vaebench.cli.exit_codes`. What has something to save, as a training has, is told of a signal instead. Imports
nothing large: a signal may come while the rest is being imported.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Asked to stop by a signal. No KeyboardInterrupt, which command line libraries answer with lines of their own."""


_asked: list[int] = []


def answer_at_once() -> None:
    """Let a signal end the process with one line, since nothing has begun yet."""
    for number in SIGNALS:
        signal.signal(number, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("interrupted: nothing was begun\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


@contextmanager
def raising() -> Iterator[None]:
    """Context manager in which a signal raises :class:`Stopped`; a second one ends the process at once."""
    _asked.clear()
    if threading.current_thread() is not threading.main_thread():  # only the main one is told of signals
        yield
        return
    before = {number: signal.signal(number, _raise) for number in SIGNALS}
    told = sys.unraisablehook

    def unraisable(lost: "sys.UnraisableHookArgs") -> None:
        if lost.exc_type is not Stopped:  # in a destructor or callback Python drops it, with a traceback of its own
            told(lost)

    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = told
        ours = before[signal.SIGINT] is _leave  # a process of its own, which is about to end
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ours else handler)


def _imports(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported: an exception there aborts torch's C++, or is dropped in a callback."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _raise(number: int, frame: FrameType | None) -> None:
    if _asked:
        os._exit(INTERRUPTED)
    if _imports(frame):
        sys.stderr.write("interrupted: while loading; the same command begins again\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    _asked.append(number)
    raise Stopped


@contextmanager
def noted(tell: Callable[[int], object] = lambda number: None) -> Iterator[Callable[[], bool]]:
    """Context manager in which a signal is noted and passed to ``tell``; a second SIGINT raises.

    What is yielded says whether one came. So it does from the start where :class:`Stopped` was raised before and got
    lost, as an exception does in a destructor or in a callback from C.
    """
    came = list(_asked)
    for number in came:
        tell(number)

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        tell(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():  # only the main one is told of signals
        yield lambda: bool(came)
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def asked() -> bool:
    """Tell whether a signal came: an error may be only its echo, such as that of an interrupted import."""
    return bool(_asked)
