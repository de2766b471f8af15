"""Write files so that they are whole or absent; lock folders; notice damage by digests."""

import filecmp
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vaebench.core.errors import Busy, UserError

try:
    import fcntl
except ImportError:  # Windows: temporary files have no lock, and leftovers stay
    fcntl = None  # type: ignore[assignment]


LOCK = ".lock"  # stays when it is no longer held: another process may wait for it


TEMPORARY = ".tmp"


JUST_BEGUN, ABANDONED = 5.0, 3600.0  # seconds since a temporary file was last written: with a lock, and without


SEAL = ".sha256"


_OF_SAFETENSORS = re.compile(r"\.tmp[A-Za-z0-9]{6}")  # what earlier versions' killed writes of tensors left


_ELSEWHERE = "choose another place (--out, VAEBENCH_RUNS, VAEBENCH_DATA, VAEBENCH_WEIGHTS or VAEBENCH_CACHE)"


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
    """Lock ``folder`` against other processes; the lock ends with its process, however that ends.

    The lock is on a file of its own, opened for writing: so it holds between the machines of an NFS server, too.

    Args:
        folder: a folder that exists.
        wait: whether to wait for a folder in use.

    Raises:
        Busy: the folder is in use, and ``wait`` is not set.
        UserError: the folder cannot be written to, or its file system has no locks.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  (40 ms that a start without locks does without)

    try:
        folder.stat()  # FileLock makes a folder that is gone
        held = FileLock(folder / LOCK, preserve_lock_file=True).acquire(blocking=wait)  # no lock that outlives a kill
    except Timeout as busy:
        raise Busy(f"another process is at work in {folder}: wait for it, or stop it") from busy
    except OSError as error:
        failed = f"cannot lock {folder / LOCK}" if error.filename is None else f"cannot write to {folder}"
        raise UserError(f"{failed} ({error.strerror or error}): {_ELSEWHERE}") from error
    with held:
        yield


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, then rename it into place.

    A reader sees the old file or the new one, never a part; a failed write leaves the old one. A file that would come
    out as it is stays as it is, its time included: what was made from it is not made again. What killed writes of this
    file have left behind is removed. Permissions are what the user's umask leaves of 0666.
    """
    make_dir(path.parent)
    if path.is_dir():
        raise UserError(f"cannot write {path} (it is a folder): choose another place")
    try:
        with _temporary_beside(path) as temporary:
            write(temporary)
            if not _equal(temporary, path):
                with temporary.open("rb") as handle:
                    os.fsync(handle.fileno())
                temporary.replace(path)
        remove_leftovers(path.parent, path.name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path} ({reason}): free some space or choose another place") from error


def _equal(new: Path, old: Path) -> bool:
    """Tell whether a regular file holds the same bytes as a new one."""
    if not old.is_file() or old.is_symlink() or new.stat().st_size != old.stat().st_size:
        return False
    return filecmp.cmp(new, old, shallow=False)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Create a locked temporary file ``.NAME.xxxxxxxx.tmp``; one without a lock is a leftover."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: leftovers stay there
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str = "") -> int:
    """Remove temporary files of killed writes in a folder, of one file or of all; return their bytes together.

    A file that another process is writing is locked, and stays. So does what is younger than a few seconds: between
    its making and its lock lies a moment.
    """
    if fcntl is None:
        return 0
    if not folder.is_dir():
        return 0
    freed = 0
    beginning, now = f".{name}." if name else ".", time.time()
    for path in folder.iterdir():
        ours = path.name.startswith(beginning) and path.name.endswith(TEMPORARY)
        if not (ours or _OF_SAFETENSORS.fullmatch(path.name)):
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                state = os.fstat(descriptor)
                if stat.S_ISREG(state.st_mode) and now - state.st_mtime > (JUST_BEGUN if ours else ABANDONED):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    freed += state.st_size
            finally:
                os.close(descriptor)
    return freed


def inside(folder: Path, name: str) -> Path:
    """Return ``folder/name`` after checking that it lies there: ``name`` may come from somebody else's file.

    Raises:
        UserError: it leads out of the folder, by its parts or by a link.
    """
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{target} leads out of {folder}: take the link away, or give another --out")
    return target


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with newlines as given."""
    # a file name that is no UTF-8 comes as lone surrogates: they are written as escapes
    write_atomic(path, lambda temporary: temporary.write_bytes(text.encode(errors="backslashreplace")))


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_sealed(path: Path, write: Callable[[Path], object]) -> None:
    """Write as :func:`write_atomic` does, with the content's sha256 beside it for :func:`is_sealed`."""
    write_atomic(path, write)
    seal(path)


def seal(path: Path, final: Path | None = None) -> None:
    """Write the sha256 of a file that was just made beside it, or beside its future name."""
    final = final or path
    write_text(final.with_name(final.name + SEAL), sha256_of(path) + "\n")


def is_sealed(path: Path) -> bool:
    """Tell whether the file exists undamaged; without a sha256 beside it that is not known."""
    beside = path.with_name(path.name + SEAL)
    try:
        if not (stat.S_ISREG(path.stat().st_mode) and stat.S_ISREG(beside.stat().st_mode)):
            return False
        return beside.stat().st_size < 100 and beside.read_text(encoding="ascii").strip() == sha256_of(path)
    except (OSError, ValueError):
        return False
