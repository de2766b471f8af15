"""Image files in a zip or a tar: nothing is unpacked beside it."""

import bz2
import gzip
import lzma
import shutil
import tarfile
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import make_dir
from vaebench.core.paths import cache_dir
from vaebench.datasets.images.file_hashes import hash_of
from vaebench.datasets.images.image_files import ImageFiles, recognised_files
from vaebench.datasets.images.recognising import HEAD, recognise

_OTHER = "give another archive, or the folder unpacked from it"
_TAKE_OUT = "take it out of the archive"
_UNPACKERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_DAMAGED: Any = (  # what zipfile raises of damaged members; RuntimeError: encrypted
    *(BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, ValueError, KeyError),
)


def in_zip(path: Path) -> ImageFiles:
    """Find the images in a zip.

    Raises:
        UserError: it is no zip, or holds no images.
    """
    try:
        opened = ZipFile(path)
        members = {_within(info.filename): info for info in opened.infolist() if not info.is_dir()}
    except (OSError, *_DAMAGED) as error:
        raise UserError(f"{path} is no readable zip ({first_line(error)}): {_OTHER}") from error
    lock = threading.Lock()  # reading holds the interpreter anyway; decoding, which does not, lies outside

    def read(name: str) -> bytes:
        try:
            with lock:
                content: bytes = opened.read(members[name])
        except _DAMAGED as error:
            raise OSError(f"damaged in the archive: {first_line(error)}") from error
        return content

    def head(name: str) -> bytes:
        try:
            with opened.open(members[name]) as member:
                return member.read(HEAD)
        except (OSError, *_DAMAGED):
            return b""

    for name, info in members.items():
        input_files.check_size(f"{path}: {name} holds", info.file_size, input_files.IMAGE, _TAKE_OUT)
    return recognised_files(path, recognise(members, head), read, identity=lambda: hash_of(path))


def _within(name: str) -> str:
    """Return a member's path as it would lie in a folder."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def in_tar(path: Path) -> ImageFiles:
    """Find the images in a tar; a compressed one is unpacked into a temporary file, to be read at any place.

    Raises:
        UserError: it is no tar, or holds no images.
    """
    try:
        content = _uncompressed(path)
        archive = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115  (read from for as long as it is referred to)
        weakref.finalize(archive, content.close)
        members = {_within(info.name): info for info in archive if info.isreg()}
        _require_end(archive)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError) as error:
        raise UserError(f"{path} is no readable tar ({first_line(error)}): {_OTHER}") from error
    lock = threading.Lock()

    def read(name: str, most: int = -1) -> bytes:
        with lock:
            member = archive.extractfile(members[name])
            assert member is not None
            content = member.read(most) if most >= 0 else member.read()
        if most < 0 and len(content) < members[name].size:
            raise OSError("damaged in the archive: it ends early")
        return content

    for name, info in members.items():
        input_files.check_size(f"{path}: {name} holds", info.size, input_files.IMAGE, _TAKE_OUT)
    found = recognise(members, lambda name: read(name, HEAD))
    return recognised_files(path, found, read, identity=lambda: hash_of(path))


def _uncompressed(path: Path) -> IO[bytes]:
    """Open a tar, or a temporary file with what a compressed one holds, which vanishes when it is closed."""
    handle = input_files.opened(path, most=2**62, remedy=_OTHER)
    head = handle.read(6)
    handle.seek(0)
    unpack = next((each for signature, each in _UNPACKERS.items() if head.startswith(signature)), None)
    if unpack is None:
        return handle
    spooled: IO[bytes] = tempfile.TemporaryFile(dir=make_dir(cache_dir()))  # noqa: SIM115  (it is returned)
    with handle, unpack(handle) as content:
        room = shutil.disk_usage(cache_dir()).free
        while piece := content.read(2**24):
            room -= len(piece)
            if room < 0:
                raise OSError("unpacked it needs more space than VAEBENCH_CACHE has")
            spooled.write(piece)
    spooled.seek(0)
    return spooled


def _require_end(opened: tarfile.TarFile) -> None:
    """Check that a tar ends in zeros: tarfile takes a damaged header for the end."""
    assert opened.fileobj is not None
    while piece := opened.fileobj.read(2**20):
        if any(piece):
            raise tarfile.ReadError("a damaged header")
