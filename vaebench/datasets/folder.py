"""Load a user's own images: a folder of them, of whatever sizes and formats, optionally with a table of attributes."""

import csv
import hashlib
import io
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of, write_text
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores
from vaebench.datasets.image_cache import Pictures, prepare
from vaebench.datasets.images.files import centre_square, digest_of, files_under, read_image, split_of

SMALLEST = 16
ENOUGH = 60  # distinct images, of which some fall into each split almost surely: 0.9**60 = 0.2%
TRUTH = {"1": True, "true": True, "0": False, "-1": False, "false": False}
_IDENTIFIED_ONLY = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow knows these formats but does not decode them
_SET_PATH = "--set dataset.path=DIR"
log = logging.getLogger(__name__)


class Folder(DatasetSource):
    """A folder's images, cropped to the centred square and scaled by Pillow's bicubic filter, which is antialiased.

    Args:
        path: the folder; its subfolders belong to it, hidden files and links to folders do not.
        size: height and width of the prepared images, 16 or more.
        attributes: a CSV whose first column names files (relative to the folder, or the bare name where only one
            file has it) and whose other columns, named in its first line, hold 0 or 1, -1 or 1, true or false.

    An image's split follows from its content: 80% to train, 10% to validate, 10% to test. Copies fall together,
    and more images move none.
    """

    name = "folder"
    splits = ("train", "valid", "test")

    def __init__(self, path: str = "", size: int = 64, attributes: str = "") -> None:
        if size < SMALLEST:
            raise UserError(f"dataset.size={size} is too small: give {SMALLEST} or more")
        self.path, self.size, self.attributes = path, size, attributes

    def load(self, split: str) -> ImageDataset:
        """Load images whose ids are their POSIX paths in the folder, sorted. They are prepared once, into the cache."""
        if not self.path:
            raise UserError(f"folder needs a path: add {_SET_PATH}")
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder: give one that holds images, {_SET_PATH}")
        hashes = _hashes(folder, _image_files(folder))
        columns, rows = _table(Path(self.attributes).expanduser(), hashes) if self.attributes else ([], None)
        here = [name for name in hashes if rows is None or name in rows]
        wanted = [name for name in here if split_of(hashes[name]) == split]
        if not wanted:
            counted = f"{folder} holds {_count(len(here), 'image')}{'' if rows is None else ' with attributes'}"
            raise UserError(f"{counted}, none in the {split} split: add more ({ENOUGH} or so fill every split)")
        made = prepare(
            Pictures(
                name=f"{self.name}/{split}",
                names=wanted,
                identity=f"folder centre square bicubic {digest_of(wanted, hashes)}",
                size=(self.size, self.size),
                read=lambda name: read_image(folder / name),
                fit=partial(centre_square, size=self.size),
            )
        )
        return ImageDataset(
            name=self.name,
            split=split,
            images=made.images,
            ids=made.names,
            attributes=_gathered(rows, made.names, len(columns)),
            attribute_names=columns,
            note=f"{_count(len(made.names), 'image')} of {folder.resolve().name}",
        )

    def fetch(self, source: Path | None) -> str:
        """Raise a :class:`UserError` that says how to name the folder: there is nothing to fetch."""
        given = _SET_PATH if source is None else f"--set dataset.path={source}"
        raise UserError(f"a folder is used where it lies, not fetched: add {given} to the command that uses it")


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _gathered(rows: Mapping[str, list[bool]] | None, names: Iterable[str], columns: int) -> Tensor | None:
    """Collect the attributes, bool (n, columns)."""
    if rows is None:
        return None
    return torch.tensor([rows[name] for name in names], dtype=torch.bool).view(-1, columns)


def _image_files(folder: Path) -> dict[str, os.stat_result]:
    """List the files whose suffix Pillow reads, by POSIX path; a name that is not UTF-8 cannot be an id."""
    formats = Image.registered_extensions()
    readable = {suffix for suffix, name in formats.items() if name in Image.OPEN and name not in _IDENTIFIED_ONLY}
    pictures = {name: state for name, state in files_under(folder).items() if Path(name).suffix.lower() in readable}
    if not pictures:
        raise UserError(f"{folder} holds no image files: give a folder that does, {_SET_PATH}")
    odd = {name for name in pictures if any("\ud800" <= letter <= "\udfff" for letter in name)}
    if odd:
        counted = _count(len(odd), "name")
        log.warning("%s: %s no UTF-8: the images are left out, e.g. %a", folder, counted, min(odd))
    return {name: state for name, state in pictures.items() if name not in odd}


def _hashes(folder: Path, pictures: Mapping[str, os.stat_result]) -> dict[str, str]:
    """Hash each file's bytes by SHA-256; hashes are cached, so that only files that are new or changed are read."""
    place = f"{folder.name}-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.json"
    kept = cache_dir() / "hashes" / place
    known = _kept_hashes(kept)
    states = {name: (state.st_size, state.st_mtime_ns) for name, state in pictures.items()}
    changed = [name for name in pictures if known.get(name, [])[:2] != [*states[name]]]
    if changed:
        log.info("%s: hashing %s, once", folder, _count(len(changed), "image"))
    with ThreadPoolExecutor(cores()) as pool:
        fresh = dict(zip(changed, pool.map(partial(_hash, folder), changed), strict=True))
    hashes = {name: fresh[name] if name in fresh else known[name][2] for name in pictures}
    if changed or known.keys() - pictures.keys():
        entries = {name: [*states[name], hashes[name]] for name in pictures}
        write_text(kept, json.dumps({"files": entries, "sha256": _digest(entries)}))
    return hashes


def _hash(folder: Path, name: str) -> str:
    try:
        return sha256_of(folder / name)
    except OSError as error:
        reason = f"{folder / name} cannot be read ({error.strerror})"
        raise UserError(f"{reason}: make it readable or take it away") from error


def _digest(entries: object) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _kept_hashes(kept: Path) -> dict[str, list[Any]]:
    """Read path -> size, time of change, hash; empty if there are none yet or the file is damaged."""
    try:
        noted = json.loads(kept.read_text(encoding="utf-8"))
        entries = dict(noted["files"])
        if _digest(entries) == noted["sha256"]:
            return entries
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def _table(path: Path, images: Iterable[str]) -> tuple[list[str], dict[str, list[bool]]]:
    """Read attribute names, and the values of each image that has a row; what lacks the other is counted in a
    warning.
    """
    lines = _lines(path)
    _, header = next(lines, (1, []))
    columns = [column.strip() for column in header[1:]]
    if not columns or "" in columns or len(set(columns)) < len(columns):
        raise UserError(f"{path}, line 1: name every column, and each but once: the file's first, then attributes")
    full, bare = set(images), defaultdict(list)
    for name in full:
        bare[name.rpartition("/")[2]].append(name)
    rows: dict[str, list[bool]] = {}
    seen: dict[str, int] = {}
    strays = []
    for line, row in lines:
        if len(row) != len(header):
            raise UserError(f"{path}, line {line}: {len(row)} columns, not {len(header)} as in line 1: mend it")
        name = row[0] if row[0] in full else row[0].strip().removeprefix("./")
        meant = [name] if name in full else bare.get(name, [])
        if len(meant) > 1:
            raise UserError(f"{path}, line {line}: {len(meant)} images are named {name}: give the path in the folder")
        if meant and meant[0] in rows:
            raise UserError(f"{path}, line {line}: {meant[0]} has a row in line {seen[meant[0]]} already: keep one")
        values = _truths(row[1:], columns, f"{path}, line {line}")
        if meant:
            rows[meant[0]], seen[meant[0]] = values, line
        else:
            strays.append(name)
    if not rows:
        raise UserError(f"{path}: no row after line 1 names an image of the folder: give the images' paths in it")
    _report(path, strays, sorted(full - rows.keys()))
    return columns, rows


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that is not blank."""
    remedy = "give a CSV, --set dataset.attributes=CSV"
    try:
        text = input_files.read_bytes(path, most=input_files.LOG, remedy=remedy).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""))
        for row in reader:
            if row:
                yield reader.line_num, row
        if not reader.line_num:
            raise UserError(f"{path} is empty: its first line names the columns, the file's first")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read as a CSV ({reason}): {remedy}") from error


def _truths(cells: list[str], columns: list[str], where: str) -> list[bool]:
    values = []
    for cell, column in zip(cells, columns, strict=True):
        value = TRUTH.get(cell)
        if value is None:
            value = TRUTH.get(cell.strip().lower())
        if value is None:
            raise UserError(f"{where}: {column} is {cell!r}: give 0 or 1, -1 or 1, true or false")
        values.append(value)
    return values


def _report(path: Path, strays: list[str], without: list[str]) -> None:
    for names, what in (
        (strays, "{} rows name no image of the folder and are passed over"),
        (without, "{} images have no row and are left out"),
    ):
        if names:
            more = " …" if len(names) > 3 else ""
            log.warning("%s: %s: %s%s", path, what.format(f"{len(names):,}"), ", ".join(names[:3]), more)
