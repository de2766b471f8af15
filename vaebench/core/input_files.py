"""Files that someone else may have made: regular ones only, of bounded size, never through a link out of their folder.

A fifo or a device never ends, a file may be larger than memory, and a link in a folder that was handed on may lead to
what its maker never had. Everything that vaebench reads and did not write a moment ago is opened here.
"""

import os
import re
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from vaebench.core.errors import UserError, first_line

BOUND = "VAEBENCH_MAX_FILE_SIZE"  # bytes; set by --max-file-size, raises every bound below
MB = 10**6
SMALL = 16 * MB  # records, tables, lists
LOG = 256 * MB  # results, histories, attribute lists
LARGE = 16_000 * MB  # weights, per-image values, arrays
IMAGE = 512 * MB  # one image file
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_KINDS = {
    stat.S_ISFIFO: "a fifo",
    stat.S_ISDIR: "a folder",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


def is_there(path: Path) -> bool:
    """Tell whether something lies at a path; where that cannot be known, :func:`opened` will say why.

    Path.exists raises of names that are too long, and of folders that may not be read.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """Tell whether a folder lies at a path, as :func:`is_there` does."""
    return os.path.isdir(path)  # noqa: PTH112


def parse_size(text: str) -> int:
    """Read a size in bytes such as ``500MB``, ``20GB`` or ``1000000``.

    Raises:
        UserError: it is no size.
    """
    found = re.fullmatch(r"(\d{1,15})\s*([KMGT]B)?", text.strip().upper(), re.ASCII)
    if not found:
        raise UserError(f"--max-file-size {text!r} is no size: write e.g. --max-file-size 20GB")
    return int(found[1]) * _UNITS[found[2] or ""]


def bound(default: int) -> int:
    """Return how many bytes may be read where ``default`` is usual: more where ``--max-file-size`` says so."""
    given = os.environ.get(BOUND, "")
    return max(default, int(given)) if given.isdigit() else default


def check_size(what: str, size: int, most: int, remedy: str) -> None:
    """Refuse what is larger than ``most`` bytes, or than ``--max-file-size`` allows.

    Args:
        what: subject of the message, such as ``FILE holds``.
        size: in bytes, as a header or the file system states it.
        most: the usual bound in bytes.
        remedy: what to do instead, an imperative clause.

    Raises:
        UserError: it is larger.
    """
    allowed = bound(most)
    if size > allowed:
        ask = f"--max-file-size {-(-size // MB)}MB if it is meant to be that large"
        raise UserError(f"{what} {_size(size)}, more than the {_size(allowed)} that are read: {remedy}, or give {ask}")


def _size(count: int) -> str:
    return f"{count / MB:,.0f} MB" if count >= MB else f"{count:,} bytes"


def opened(path: Path, *, most: int, remedy: str, inside: Path | None = None) -> BinaryIO:
    """Open a file for reading once it is known to be a regular one of at most ``most`` bytes.

    Args:
        path: the file; links are followed, as far as ``inside`` allows.
        most: bound in bytes, see :func:`bound`.
        remedy: what to do where it cannot be read, an imperative clause for the message.
        inside: folder that links must not lead out of.

    Raises:
        FileNotFoundError: it does not exist.
        UserError: it is no regular file, too large, leads out of ``inside``, or cannot be read.
    """
    try:
        real = path.resolve(strict=True)
        if inside is not None and not real.is_relative_to(inside.resolve()):
            raise UserError(f"{path} is a link that leads out of {inside}: put the file itself there")
        _refuse_special(path, real.stat().st_mode, remedy)
        # not blocking, in case it became a fifo meanwhile; no link, in case it became one
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        handle = os.fdopen(os.open(real, flags), "rb")
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path} cannot be read ({reason}): {remedy}") from error
    try:
        state = os.fstat(handle.fileno())
        _refuse_special(path, state.st_mode, remedy)
        check_size(f"{path} holds", state.st_size, most, remedy)
    except UserError:
        handle.close()
        raise
    return handle


def _refuse_special(path: Path, mode: int, remedy: str) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS.items() if is_kind(mode)), "no file")
        raise UserError(f"{path} is {kind}, no regular file: {remedy}")


def read_bytes(path: Path, *, most: int, remedy: str, inside: Path | None = None) -> bytes:
    """Read a whole file; raises as :func:`opened` does."""
    with opened(path, most=most, remedy=remedy, inside=inside) as handle:
        try:
            return handle.read()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from error


def read_text(path: Path, *, most: int, remedy: str, inside: Path | None = None) -> str:
    """Read a whole file of UTF-8 text, with or without a byte-order mark; raises as :func:`opened` does."""
    try:
        return read_bytes(path, most=most, remedy=remedy, inside=inside).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read (byte {error.start} is no UTF-8 text): {remedy}") from error


def checked(path: Path, *, most: int, remedy: str, inside: Path | None = None) -> Path:
    """Return ``path`` for a reader that opens files by name, once it is known to be fit; raises as :func:`opened`."""
    opened(path, most=most, remedy=remedy, inside=inside).close()
    return path


def copy(source: Path, target: Path, *, inside: Path) -> None:
    """Copy a regular file of the folder ``inside``; raises as :func:`opened` does."""
    with opened(source, most=LARGE, remedy="move it away", inside=inside) as read, target.open("wb") as written:
        shutil.copyfileobj(read, written)
