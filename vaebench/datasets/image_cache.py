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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaebench.core import content_cache
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import LOCK, exclusive, make_dir, sha256_of, write_text
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores
from vaebench.datasets.images.files import decode

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK, CHUNK_BYTES = 512, 2**26  # images between two entries in the journal: so many, or what fills so many bytes
NAMED = 5  # unreadable files that a warning names; it counts them all
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
        read: image name -> the file's bytes; called from several threads. An OSError with an errno (no permission)
            ends the preparation, one without (damaged in the archive) leaves the image out.
        fit: a decoded RGB picture -> one of ``size``; ValueError refuses it.
    """

    name: str
    names: Sequence[str]
    identity: str
    size: tuple[int, int]
    read: Callable[[str], bytes]
    fit: Callable[[Image.Image], Image.Image]

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
    """uint8 images (n, 3, h, w) in a memory map, their names, and files that could not be read, with the reason."""

    images: Tensor
    names: list[str]
    unreadable: Mapping[str, str]


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


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)


def _open(pictures: Pictures, folder: Path) -> Prepared | None:
    """Open and verify the cache; ``None`` if there is none, or it is damaged."""
    pixels = folder / "pixels.uint8"
    try:
        described = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        names, unreadable = list(described["names"]), dict(described["unreadable"])
        if not names or names != [name for name in pictures.names if name not in unreadable]:
            raise ValueError("names differ")
        if sha256_of(pixels) != described["sha256"]:
            raise ValueError("sha256 differs")
        flat = torch.from_file(str(pixels), shared=False, size=len(names) * pictures.bytes_each, dtype=torch.uint8)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if not (folder / "manifest.json").exists():
            return None
        log.warning("%s: the prepared images in %s are damaged (%s) and are made anew", pictures.name, folder, error)
        _clear(folder)
        return None
    return Prepared(images=flat.view(-1, 3, *pictures.size), names=names, unreadable=unreadable)


def _decode_all(pictures: Pictures, folder: Path) -> None:
    """Fill the cache, resuming where an interrupted call stopped; if the disk is full, leave nothing."""
    try:
        described = _fill(pictures, folder)
        if not described["names"]:
            _clear(folder)
            reason = _left_out(described["unreadable"], len(pictures.names))
            raise UserError(f"{pictures.name}: no image is left ({reason}): check the files")
        write_text(folder / "manifest.json", json.dumps(described))
        (folder / "journal.json").unlink()
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL:
            _clear(folder)
        if isinstance(error, UserError):
            raise
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {folder} ({reason}): free some space or set VAEBENCH_CACHE=DIR") from error


def _fill(pictures: Pictures, folder: Path) -> dict[str, Any]:
    """Decode chunk by chunk, each noted in the journal; the manifest's content."""
    pixels, journal = folder / "pixels.uint8", folder / "journal.json"
    done, unreadable, digest = _resume(pixels, journal, pictures)
    total, each = len(pictures.names), max(1, min(CHUNK, CHUNK_BYTES // pictures.bytes_each))
    _require_space(folder, (total - done) * pictures.bytes_each)
    log.info("%s: preparing %s images, once; they are kept in %s", pictures.name, f"{total - done:,}", folder)
    Image.init()  # readers that register while another thread looks for one would be overlooked
    with pixels.open("ab") as out, ThreadPoolExecutor(cores()) as pool:
        for start in range(done, total, each):
            chunk = pictures.names[start : start + each]
            for name, made in zip(chunk, pool.map(lambda name: _decoded(pictures, name), chunk), strict=True):
                if isinstance(made, str):
                    unreadable[name] = made
                else:
                    digest.update(made)
                    out.write(made)
            out.flush()
            os.fsync(out.fileno())
            noted = {"done": start + len(chunk), "unreadable": unreadable, "sha256": digest.hexdigest()}
            write_text(journal, json.dumps(noted))
            if (start // each) % max(1, total // each // 10) == 0:
                log.info("%s: %s of %s images prepared", pictures.name, f"{start + len(chunk):,}", f"{total:,}")
    kept = [name for name in pictures.names if name not in unreadable]
    return {"names": kept, "unreadable": unreadable, "sha256": digest.hexdigest()}


def _resume(pixels: Path, journal: Path, pictures: Pictures) -> tuple[int, dict[str, str], "_Hash"]:
    """Return images done, unreadable files and the pixels' hash so far; cut off what the journal does not list."""
    try:
        noted = json.loads(journal.read_text(encoding="utf-8"))
        done, unreadable = int(noted["done"]), dict(noted["unreadable"])
        os.truncate(pixels, (done - len(unreadable)) * pictures.bytes_each)
        with pixels.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256")
        if digest.hexdigest() == noted["sha256"]:
            return done, unreadable, digest
    except (OSError, ValueError, KeyError, TypeError):
        pass
    pixels.unlink(missing_ok=True)
    return 0, {}, hashlib.sha256()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        _clear(folder)
        reason = f"{needed / 1e9:.2f} GB are needed in {cache_dir()}, {free / 1e9:.2f} GB are free"
        raise UserError(f"{reason}: free some space or set VAEBENCH_CACHE=DIR")


def _decoded(pictures: Pictures, name: str) -> bytes | str:
    """Return the image as bytes of (3, h, w), or why it cannot be read."""
    try:
        fitted = pictures.fit(decode(pictures.read(name)))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"{name} cannot be read ({error.strerror})"
            raise UserError(f"{pictures.name}: {reason}: make it readable or take it away") from error
        return first_line(error)
    assert fitted.size == pictures.size[::-1]
    return np.asarray(fitted).transpose(2, 0, 1).tobytes()
