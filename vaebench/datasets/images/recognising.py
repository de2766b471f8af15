"""Tell images from everything else that lies beside them, and order them as people do."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from PIL import Image

from vaebench.core.validation import plain_line

_IDENTIFIED_ONLY = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow knows these formats but does not decode them
_NO_PICTURES = {".pdf", ".eps", ".ps", ".fits", ".fit"}  # documents and data, though Pillow registers them
# images all the same: who has them beside others must know that they are not read
_NOT_READ = {".heic", ".heif", ".jxl", ".exr", ".hdr", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".svg"}
_SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
HEAD = 16  # bytes that tell a format
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """Names of files, told apart.

    Attributes:
        images: in natural order: ``2.png`` before ``10.png``.
        not_read: images of formats that Pillow does not read here.
        hidden: how many hidden and system files there are.
        others: files that are no images.
    """

    images: list[str]
    not_read: list[str]
    hidden: int
    others: list[str]

    def passed_over(self) -> str:
        """Say what is not among the images: ``2 hidden or system files and 1 other file (notes.txt)``, or nothing."""
        said = []
        if self.hidden:
            said.append(f"{self.hidden:,} hidden or system file{'s' * (self.hidden != 1)}")
        if self.others:
            said.append(f"{len(self.others):,} other file{'s' * (len(self.others) != 1)} ({some(self.others)})")
        return " and ".join(said)


def some(names: Collection[str]) -> str:
    """Name the first few of some names, each as one printable line."""
    shown = ", ".join(plain_line(readable(name)) for name in list(names)[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of files that Pillow decodes here, such as ``.png``."""
    known = Image.registered_extensions()
    return frozenset(
        suffix for suffix, name in known.items() if name in Image.OPEN and name not in _IDENTIFIED_ONLY
    ) - frozenset(_NO_PICTURES)


def recognise(names: Iterable[str], head: Callable[[str], bytes], hidden: int = 0) -> Recognised:
    """Tell images from other files by their suffixes, or where they have none, by how their content begins.

    Args:
        names: POSIX paths.
        head: path -> the file's first ``HEAD`` bytes.
        hidden: files that were passed over before.
    """
    images, not_read, others = [], [], []
    for name in names:
        if is_hidden(name):
            hidden += 1
            continue
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in image_suffixes():
            images.append(name)
        elif suffix in _NOT_READ:
            not_read.append(name)
        elif not suffix and _begins_as_an_image(head(name)):
            images.append(name)
        else:
            others.append(name)
    return Recognised(images=sorted(images, key=natural), not_read=sorted(not_read), hidden=hidden, others=others)


def is_hidden(name: str) -> bool:
    """Tell whether a part of a path is hidden or belongs to an operating system."""
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in name.split("/"))


def _begins_as_an_image(content: bytes) -> bool:
    return content.startswith(_SIGNATURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def natural(name: str) -> list[tuple[int, str]]:
    """Make a key that sorts ``2.png`` before ``10.png``."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part[:4000]), part) if part.isascii() and part.isdigit() else (-1, part) for part in parts]


def readable(name: str) -> str:
    """Return a file's name as UTF-8 text: bytes that are none become escapes such as ``\\udcff``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def stem(name: str) -> str:
    """Return the path without the suffix of an image file, its letters composed (NFC), as pairs are named."""
    path = PurePosixPath(name)
    bare = name[: -len(path.suffix)] if path.suffix.lower() in image_suffixes() | _NOT_READ else name
    return unicodedata.normalize("NFC", bare)
