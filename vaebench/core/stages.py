"""Tell whoever watches how far long work has come; where nobody watches, nothing happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[str, int, int], None]  # what is done, how much of it, of how much; 0 where that is unknown

_watcher: ContextVar[Watcher | None] = ContextVar("watcher of long work", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Context manager within which ``watcher`` is told of long work."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def tell(what: str, done: int = 0, total: int = 0) -> None:
    """Tell the watcher, if there is one.

    Args:
        what: the stage, such as ``vae-mnist/seed-0: images``.
        done, total: units of it; a ``total`` of 0 says that nobody knows.
    """
    watcher = _watcher.get()
    if watcher is not None:
        watcher(what, done, total)
