"""Where runs, data, weights and caches lie, and how a file is written so that it is whole or absent."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from vaebench.core.errors import Busy, UserError

LOCK = ".lock"  # stays when it is no longer held: another process may wait for it
_ELSEWHERE = "choose another place (--out, VAEBENCH_RUNS, VAEBENCH_DATA, VAEBENCH_WEIGHTS or VAEBENCH_CACHE)"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaebench"


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser()


def runs_dir() -> Path:
    """Folder of trained runs: ``VAEBENCH_RUNS``, by default ``runs`` in the working directory."""
    return _place("VAEBENCH_RUNS", Path("runs"))


def data_dir() -> Path:
    """Folder of datasets: ``VAEBENCH_DATA``, by default under the user's cache directory."""
    return _place("VAEBENCH_DATA", _user_cache() / "data")


def weights_dir() -> Path:
    """Folder of downloaded or imported weights: ``VAEBENCH_WEIGHTS``."""
    return _place("VAEBENCH_WEIGHTS", _user_cache() / "weights")


def hub_dir() -> Path:
    """Torch hub's checkpoint directory, where torchvision keeps what it downloads; found without importing torch."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    return _place("TORCH_HOME", default) / "hub" / "checkpoints"


def cache_dir() -> Path:
    """Folder of what can be made again: ``VAEBENCH_CACHE``."""
    return _place("VAEBENCH_CACHE", _user_cache() / "cache")


def make_dir(path: Path) -> Path:
    """Create ``path`` with its parents; a :class:`UserError` says why it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write to {path} ({reason}): {_ELSEWHERE}") from error
    if not os.access(path, os.W_OK):
        raise UserError(f"cannot write to {path} (permission denied): {_ELSEWHERE}")
    return path


@contextmanager
def exclusive(folder: Path, *, wait: bool) -> Iterator[None]:
    """Keep other processes that ask for it out of ``folder``; a lock dies with its process, however that ends.

    The lock is on a file of its own, opened for writing: so it holds between the machines of an NFS server, too.
    Without ``wait``, a folder in use is :class:`Busy`. Where the system has no flock (Windows), no lock; where the
    file system has none, :class:`UserError`.
    """
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:
        yield
        return
    with _opened_lock(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as busy:
            raise Busy(f"another process is at work in {folder}: wait for it, or stop it") from busy
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"cannot lock {handle.name} ({reason}): {_ELSEWHERE}") from error
        yield


def _opened_lock(folder: Path) -> IO[str]:
    try:
        return (folder / LOCK).open("a", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror or error}): {_ELSEWHERE}") from error


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, then rename it into place.

    A reader sees the old file or the new one, never a part; a failed write leaves the old one.
    """
    make_dir(path.parent)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False) as handle:
            temporary = Path(handle.name)
        try:
            write(temporary)
            temporary.chmod(0o644)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path} ({reason}): free some space or choose another place") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with newlines as given."""
    write_atomic(path, lambda temporary: temporary.write_bytes(text.encode()))


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
