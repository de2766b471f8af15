"""Image files in a zip or a tar: nothing is unpacked beside it."""

import bz2
import errno
import gzip
import lzma
import posixpath
import shutil
import tarfile
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import make_dir
from vaebench.core.paths import cache_dir
from vaebench.datasets.images.file_hashes import hash_of
from vaebench.datasets.images.image_files import ImageFiles, recognised_files
from vaebench.datasets.images.recognising import HEAD, is_hidden, readable, recognise

_OTHER = "give another archive, or the folder unpacked from it"
_NO_ROOM = "needs more space, unpacked, than VAEBENCH_CACHE has: free some space or set VAEBENCH_CACHE=DIR"
_TAKE_OUT = "take it out of the archive"
_UNPACKERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STEPS = 40  # from link to link, as far as Linux goes


def in_zip(path: Path) -> ImageFiles:
    """Find the images in a zip.

    Raises:
        UserError: it is no zip, or holds no images.
    """
    try:
        opened = ZipFile(path)
        members = {_within(info.filename): info for info in _files(opened)}
    except Exception as error:  # damaged ones raise whatever zipfile stumbles over
        raise UserError(f"{path} is no readable zip ({first_line(error)}): {_OTHER}") from error
    counted = Counter(_within(info.filename) for info in _files(opened))
    twice = next((name for name, count in counted.items() if count > 1 and not is_hidden(name)), None)
    if twice is not None:
        raise UserError(f"{path} holds {twice} twice: take one out of the archive")
    lock = threading.Lock()  # reading holds the interpreter anyway; decoding, which does not, lies outside

    def read(name: str) -> bytes:
        try:
            with lock:
                content: bytes = opened.read(members[name])
        except Exception as error:  # damaged or encrypted ones raise whatever zipfile and its unpackers stumble over
            raise OSError(f"damaged in the archive: {first_line(error)}") from error
        return content

    def head(name: str) -> bytes:
        try:
            with opened.open(members[name]) as member:
                return member.read(HEAD)
        except Exception:  # it will be refused if it is read
            return b""

    for name, info in members.items():
        input_files.check_size(f"{path}: {name} holds", info.file_size, input_files.IMAGE, _TAKE_OUT)
    return recognised_files(path, recognise(members, head), read, identity=lambda: hash_of(path))


def _files(opened: ZipFile) -> list[ZipInfo]:
    """List the members that are no folders; ZipInfo.is_dir raises of a name without letters."""
    return [info for info in opened.infolist() if not info.filename.endswith("/")]


def _within(name: str) -> str:
    """Return a member's path as it would lie in a folder."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def in_tar(path: Path) -> ImageFiles:
    """Find the images in a tar; a compressed one is unpacked into a temporary file, to be read at any place.

    Raises:
        UserError: it is no tar, or holds no images.
    """
    try:
        archive = _opened_tar(path)
        members, strays = _tar_members(archive)
        require_end(archive)
    except UserError:
        raise
    except Exception as error:  # damaged ones raise whatever tarfile and the unpackers stumble over
        raise UserError(f"{path} is no readable tar ({first_line(error)}): {_OTHER}") from error
    lock = threading.Lock()

    def read(name: str, most: int = -1) -> bytes:
        try:
            with lock:
                member = archive.extractfile(members[name])
                assert member is not None
                content = member.read(most) if most >= 0 else member.read()
        except Exception as error:
            raise OSError(f"damaged in the archive: {first_line(error)}") from error
        if most < 0 and len(content) < members[name].size:
            raise OSError("damaged in the archive: it ends early")
        return content

    def head(name: str) -> bytes:
        try:
            return read(name, HEAD)
        except OSError:
            return b""

    for name, info in members.items():
        input_files.check_size(f"{path}: {name} holds", info.size, input_files.IMAGE, _TAKE_OUT)
    beside = recognise(strays, lambda name: b"")
    found = recognise(members, head, beside.hidden)
    found = replace(found, others=[*found.others, *beside.images, *beside.not_read, *beside.others])
    made = recognised_files(path, found, read, identity=lambda: hash_of(path))
    return replace(made, no_files=[readable(name) for name in beside.images])


def _opened_tar(path: Path) -> tarfile.TarFile:
    """Open a tar, whose file is closed when nothing refers to it any more."""
    content = _uncompressed(path)
    with ExitStack() as undo:
        undo.callback(content.close)
        archive = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115  (it is returned)
        weakref.finalize(archive, content.close)
        undo.pop_all()
    return archive


def _tar_members(archive: tarfile.TarFile) -> tuple[dict[str, tarfile.TarInfo], list[str]]:
    """Find the files of a tar by name, links to some among them as these; and what is neither file nor folder.

    Raises:
        ReadError: a damaged header leads backwards, where tarfile would go round in circles.
    """
    files: dict[str, tarfile.TarInfo] = {}
    links: dict[str, str] = {}
    strays, reached = [], -1
    for info in archive:
        if info.size < 0 or archive.offset <= reached:
            raise tarfile.ReadError("a damaged header")
        reached, name = archive.offset, _within(info.name)
        if info.isreg():
            files[name] = info
        elif info.islnk():
            links[name] = _within(info.linkname)
        elif info.issym():
            links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), info.linkname))
        elif not info.isdir():
            strays.append(name)
    found = dict(files)
    for name in links.keys() - files.keys():
        target = links[name]
        for _ in range(_STEPS):
            target = target if target in files else links.get(target, "")
        if target in files:
            found[name] = files[target]
        else:
            strays.append(name)
    return found, sorted(strays)


def _uncompressed(path: Path) -> IO[bytes]:
    """Open a tar, or a temporary file with what a compressed one holds, which vanishes when it is closed."""
    handle = input_files.opened(path, most=2**62, remedy=_OTHER)
    head = handle.read(6)
    handle.seek(0)
    unpack = next((each for signature, each in _UNPACKERS.items() if head.startswith(signature)), None)
    if unpack is None:
        return handle
    spooled: IO[bytes] = tempfile.TemporaryFile(dir=make_dir(cache_dir()))  # noqa: SIM115  (it is returned)
    with ExitStack() as undo:
        undo.callback(spooled.close)
        with handle, unpack(handle) as content:
            _unpack(content, spooled, path)
        undo.pop_all()
    spooled.seek(0)
    return spooled


def _unpack(content: IO[bytes], spooled: IO[bytes], path: Path) -> None:
    """Copy what is unpacked; :class:`UserError` where the cache's disk has no room for it."""
    room = shutil.disk_usage(cache_dir()).free
    try:
        while piece := content.read(2**24):
            room -= len(piece)
            if room < 0:
                raise OSError(errno.ENOSPC, "no room")
            spooled.write(piece)
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(f"{path} {_NO_ROOM}") from error
        raise


def require_end(opened: tarfile.TarFile) -> None:
    """Check that a tar ends in zeros, and its checksum if it is compressed: tarfile takes a damaged header for the end.

    Args:
        opened: a tar whose members were all listed.

    Raises:
        tarfile.ReadError: it goes on.
    """
    assert opened.fileobj is not None
    while piece := opened.fileobj.read(2**20):
        if any(piece):
            raise tarfile.ReadError("a damaged header")
