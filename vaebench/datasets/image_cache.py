"""Decode image files once, into a memory-mapped uint8 cache that is made in parallel, resumable and verified.

Lies under ``VAEBENCH_CACHE/images``: ``pixels.uint8`` holds the images one after another, (n, 3, h, w), and
``manifest.json``, written last, says what they are. Without a manifest the pixels are a beginning, and the
next call goes on from it. Other files or another preparation get a folder of their own; old ones may be deleted.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaebench.core import content_cache
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import LOCK, exclusive, make_dir, sha256_of, write_text
from vaebench.core.mapped import map_tensor
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores
from vaebench.datasets.images.decoding import decode_with_remarks
from vaebench.datasets.images.image_files import Content

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK, CHUNK_BYTES = 512, 2**26  # images between two entries in the journal: so many, or what fills so many bytes
NAMED = 5  # unreadable files that a warning names; it counts them all
STATED = 1_000  # images; preparing fewer is not worth a message
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures to be decoded, and how.

    Attributes:
        name: of the dataset and split, for people: ``celeba/train``.
        names: of the images, in the order in which they will lie.
        identity: changes when the files or their preparation do.
        size: height and width of the prepared images.
        read: image name -> the file's bytes, or a picture where pixels lie bare; called from several threads. An
            OSError with an errno (no permission) ends the preparation, one without (damaged in the archive) leaves
            the image out.
        fit: a decoded RGB picture -> one of ``size``; ValueError leaves it out.
        all_needed: whether an image that cannot be read ends the preparation, instead of being left out.
        where: the pictures lie, for messages; empty for ``name``.
    """

    name: str
    names: Sequence[str]
    identity: str
    size: tuple[int, int]
    read: Callable[[str], Content]
    fit: Callable[[Image.Image], Image.Image]
    all_needed: bool = False
    where: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder that caches them."""
        return content_cache.entry(f"images/{self.name}", [self.identity, self.size, list(self.names)], length=16)

    @property
    def bytes_each(self) -> int:
        """Return the bytes of one prepared image."""
        return 3 * self.size[0] * self.size[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Decoded images.

    Attributes:
        images: uint8 (n, 3, h, w), in a memory map.
        names: of each.
        unreadable: files that could not be read, with the reason.
        sha256: of the pixels.
        grey: whether the three channels of every image are equal.
        remarks: what was chosen in decoding -> of how many images.
    """

    images: Tensor
    names: list[str]
    unreadable: Mapping[str, str]
    sha256: str
    grey: bool
    remarks: Mapping[str, int]


def prepare(pictures: Pictures) -> Prepared:
    """Return the pictures as pixels, read from the cache or decoded into it.

    Raises :class:`UserError` where there is too little disk space or no image can be read. Files that cannot be
    decoded are left out, named and counted in a warning.
    """
    folder = make_dir(pictures.folder)
    with exclusive(folder, wait=True):
        found = _open(pictures, folder)
        if found is None:
            _decode_all(pictures, folder)
            found = _open(pictures, folder)
    if found is None:
        raise UserError(f"{folder} does not read back as it was written: check the disk or set VAEBENCH_CACHE=DIR")
    if found.unreadable:
        log.warning("%s: %s", pictures.name, _left_out(found.unreadable, len(pictures.names)))
    return found


def _left_out(unreadable: Mapping[str, str], total: int) -> str:
    shown = ", ".join(f"{name} ({reason})" for name, reason in list(unreadable.items())[:NAMED])
    more = f" and {len(unreadable) - NAMED:,} more" if len(unreadable) > NAMED else ""
    return f"{len(unreadable):,} of {total:,} images cannot be read and are left out: {shown}{more}"


def _with_digest(facts: Mapping[str, Any]) -> str:
    """Format facts as JSON with a digest: whether images are grey decides what is measured."""
    return json.dumps({**facts, "digest": _digest(facts)})


def _verified(text: str) -> dict[str, Any]:
    """Read what :func:`_with_digest` wrote; ValueError where that is not whole."""
    facts = dict(json.loads(text))
    if facts.pop("digest", None) != _digest(facts):
        raise ValueError("its digest differs")
    return facts


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)


def _open(pictures: Pictures, folder: Path) -> Prepared | None:
    """Open and verify the cache; ``None`` if there is none, or it is damaged."""
    pixels = folder / "pixels.uint8"
    try:
        described = _verified((folder / "manifest.json").read_text(encoding="utf-8"))
        names, unreadable = list(described["names"]), dict(described["unreadable"])
        if not names or names != [name for name in pictures.names if name not in unreadable]:
            raise ValueError("names differ")
        if sha256_of(pixels) != described["sha256"]:
            raise ValueError("sha256 differs")
        flat = map_tensor(pixels, torch.uint8, len(names) * pictures.bytes_each)
        grey, remarks = bool(described.get("grey", False)), dict(described.get("remarks", {}))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if not (folder / "manifest.json").exists():
            return None
        log.warning("%s: the prepared images in %s are damaged (%s) and are made anew", pictures.name, folder, error)
        _clear(folder)
        return None
    return Prepared(
        images=flat.view(-1, 3, *pictures.size),
        names=names,
        unreadable=unreadable,
        sha256=described["sha256"],
        grey=grey,
        remarks=remarks,
    )


def _decode_all(pictures: Pictures, folder: Path) -> None:
    """Fill the cache, resuming where an interrupted call stopped; if the disk is full, leave nothing."""
    try:
        described = _fill(pictures, folder)
        if not described["names"]:
            _clear(folder)
            reason = _left_out(described["unreadable"], len(pictures.names))
            raise UserError(f"{pictures.name}: no image is left ({reason}): check the files")
        write_text(folder / "manifest.json", _with_digest(described))
        (folder / "journal.json").unlink()
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if pictures.all_needed or (isinstance(cause, OSError) and cause.errno in FULL):
            _clear(folder)
        if isinstance(error, UserError):
            raise
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {folder} ({reason}): free some space or set VAEBENCH_CACHE=DIR") from error


@dataclass(slots=True)
class _Progress:
    """What is known of the pictures that are decoded already; the journal keeps it."""

    done: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    grey: bool = True
    remarks: dict[str, int] = field(default_factory=dict)
    digest: "_Hash" = field(default_factory=hashlib.sha256)

    def add(self, name: str, made: "_Decoded | str") -> bytes:
        """Take in a picture, or why there is none; return its pixels."""
        self.done += 1
        if isinstance(made, str):
            self.unreadable[name] = made
            return b""
        self.digest.update(made.pixels)
        self.grey = self.grey and made.grey
        for remark in made.remarks:
            self.remarks[remark] = self.remarks.get(remark, 0) + 1
        return made.pixels

    def noted(self) -> dict[str, Any]:
        """Describe it for the journal or the manifest."""
        facts = {"unreadable": self.unreadable, "grey": self.grey, "remarks": self.remarks}
        return {**facts, "done": self.done, "sha256": self.digest.hexdigest()}


def _fill(pictures: Pictures, folder: Path) -> dict[str, Any]:
    """Decode chunk by chunk, each noted in the journal; the manifest's content."""
    pixels, journal = folder / "pixels.uint8", folder / "journal.json"
    progress = _resume(pixels, journal, pictures)
    total, each = len(pictures.names), max(1, min(CHUNK, CHUNK_BYTES // pictures.bytes_each))
    _require_space(folder, pictures, total - progress.done)
    left, stated = f"{total - progress.done:,}", total - progress.done >= STATED
    if stated:
        log.info("%s: preparing %s images, once; they are kept in %s", pictures.name, left, folder)
    Image.init()  # readers that register while another thread looks for one would be overlooked
    with pixels.open("ab") as out, ThreadPoolExecutor(cores()) as pool:
        for start in range(progress.done, total, each):
            chunk = pictures.names[start : start + each]
            for name, made in zip(chunk, pool.map(lambda name: _decoded(pictures, name), chunk), strict=True):
                out.write(progress.add(name, made))
            out.flush()
            os.fsync(out.fileno())
            write_text(journal, _with_digest(progress.noted()))
            if stated and (start // each) % max(1, total // each // 10) == 0:
                log.info("%s: %s of %s images prepared", pictures.name, f"{start + len(chunk):,}", f"{total:,}")
    kept = [name for name in pictures.names if name not in progress.unreadable]
    return {**progress.noted(), "names": kept}


def _resume(pixels: Path, journal: Path, pictures: Pictures) -> _Progress:
    """Return what an interrupted call had done; cut off what the journal does not list."""
    try:
        noted = _verified(journal.read_text(encoding="utf-8"))
        done, unreadable = int(noted["done"]), dict(noted["unreadable"])
        os.truncate(pixels, (done - len(unreadable)) * pictures.bytes_each)
        with pixels.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256")
        if digest.hexdigest() == noted["sha256"]:
            return _Progress(done, unreadable, bool(noted["grey"]), dict(noted["remarks"]), digest)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    pixels.unlink(missing_ok=True)
    return _Progress()


def _require_space(folder: Path, pictures: Pictures, count: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    free, needed = shutil.disk_usage(folder).free, count * pictures.bytes_each
    if needed > free:
        _clear(folder)
        height, width = pictures.size
        what = f"{count:,} images of {pictures.name} at {width} x {height} pixels"
        reason = f"{needed / 1e9:,.2f} GB are needed in {cache_dir()} for {what}, {free / 1e9:,.2f} GB are free"
        raise UserError(f"{reason}: free some space or set VAEBENCH_CACHE=DIR")


class _Decoded(NamedTuple):
    pixels: bytes  # of (3, h, w)
    grey: bool
    remarks: frozenset[str]


def _decoded(pictures: Pictures, name: str) -> _Decoded | str:
    """Return the image's pixels, or why it cannot be read."""
    try:
        content = pictures.read(name)
        given, remarks = decode_with_remarks(content) if isinstance(content, bytes) else (content, frozenset[str]())
        fitted = pictures.fit(given)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"{name} cannot be read ({error.strerror})"
            raise UserError(f"{pictures.where or pictures.name}: {reason}: make it readable or take it away") from error
        if pictures.all_needed:
            reason = f"{name} is no readable image ({first_line(error)})"
            raise UserError(f"{pictures.where or pictures.name}: {reason}: repair it or take it out") from error
        return first_line(error)
    assert fitted.size == pictures.size[::-1]
    array = np.asarray(fitted)
    grey = bool((array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all())
    return _Decoded(array.transpose(2, 0, 1).tobytes(), grey, remarks)
