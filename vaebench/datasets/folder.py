"""Load a user's own images: a folder of them, of whatever sizes and formats, optionally with a table of attributes."""

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.validation import plain_line
from vaebench.datasets.image_cache import Pictures, prepare
from vaebench.datasets.images.arrays import ImageArray
from vaebench.datasets.images.decoding import VERSION
from vaebench.datasets.images.files import digest_of, split_of
from vaebench.datasets.images.image_files import ImageFiles
from vaebench.datasets.images.loading import array_files, open_images
from vaebench.datasets.images.preparation import centre_square
from vaebench.datasets.images.recognising import readable, some

SMALLEST = 16
ENOUGH = 60  # distinct images, of which some fall into each split almost surely: 0.9**60 = 0.2%
TRUTH = {"1": True, "true": True, "0": False, "-1": False, "false": False}
_SET_PATH = "--set dataset.path=DIR"
log = logging.getLogger(__name__)


class Folder(DatasetSource):
    """A folder's images, cropped to the centred square and scaled by Pillow's bicubic filter, which is antialiased.

    Args:
        path: the folder; its subfolders belong to it, and are labels where every image lies in one; hidden files and
            links to folders do not. Or a zip, tar, npz, npy or parquet file of images.
        size: height and width of the prepared images, 16 or more.
        attributes: a CSV whose first column names files (relative to the folder, or the bare name where only one
            file has it) and whose other columns, named in its first line, hold 0 or 1, -1 or 1, true or false.

    An image's split follows from its content: 80% to train, 10% to validate, 10% to test. Copies fall together,
    and more images move none.
    """

    name = "folder"
    published = False
    splits = ("train", "valid", "test")

    def __init__(self, path: str = "", size: int = 64, attributes: str = "") -> None:
        if size < SMALLEST:
            raise UserError(f"dataset.size={size} is too small: give {SMALLEST} or more")
        self.path, self.size, self.attributes = path, size, attributes

    def load(self, split: str) -> ImageDataset:
        """Load images whose ids are their POSIX paths in the folder, sorted. They are prepared once, into the cache."""
        files = self._files()
        hashes = files.hashes()
        columns, rows = _table(Path(self.attributes).expanduser(), hashes) if self.attributes else ([], None)
        here = [name for name in sorted(files.names) if rows is None or name in rows]
        wanted = [name for name in here if split_of(hashes[name]) == split]
        if not wanted:
            counted = f"{files.path} holds {_count(len(here), 'image')}{'' if rows is None else ' with attributes'}"
            raise UserError(f"{counted}, none in the {split} split: add more ({ENOUGH} or so fill every split)")
        made = prepare(
            Pictures(
                name=f"{self.name}/{split}",
                names=wanted,
                identity=f"folder centre square bicubic, decoder {VERSION}: {digest_of(wanted, hashes)}",
                size=(self.size, self.size),
                read=files.read,
                fit=partial(centre_square, size=self.size),
            )
        )
        labels = dict(zip(files.names, files.labels, strict=True)) if files.labels and rows is None else None
        return ImageDataset(
            name=self.name,
            split=split,
            images=made.images,
            ids=made.names,
            labels=None if labels is None else torch.tensor([labels[name] for name in made.names]),
            attributes=_gathered(rows, made.names, len(columns)),
            attribute_names=columns,
            note=_note(files, len(made.names), labels is not None),
        )

    def _files(self) -> ImageFiles:
        """Find the images, and say what lies there beside them."""
        if not self.path:
            raise UserError(f"folder needs a path: add {_SET_PATH}")
        path = Path(self.path).expanduser()
        if not input_files.is_there(path):
            raise UserError(f"{path} is no folder: give one that holds images, {_SET_PATH}")
        try:
            found = open_images(path)
        except UserError as error:
            raise UserError(f"{error}, {_SET_PATH}") from error
        files = array_files(path, found) if isinstance(found, ImageArray) else found
        if files.not_read:
            counted = f"{_count(len(files.not_read), 'image')} of a format that Pillow does not read here"
            log.warning("%s: %s are left out (%s): convert them", path, counted, some(files.not_read))
        if files.passed_over:
            log.info("%s: passed over %s", path, files.passed_over)
        return files

    def fetch(self, source: Path | None) -> str:
        """Raise a :class:`UserError` that says how to name the folder: there is nothing to fetch."""
        given = _SET_PATH if source is None else f"--set dataset.path={source}"
        raise UserError(f"a folder is used where it lies, not fetched: add {given} to the command that uses it")


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _note(files: ImageFiles, here: int, labelled: bool) -> str:
    """Say whose images these are, and what their labels mean."""
    note = f"{_count(here, 'image')} of {plain_line(readable(files.path.resolve().name))}"
    if labelled and files.classes:
        note += "; labels are " + ", ".join(f"{label} {name}" for label, name in enumerate(files.classes))
    return note


def _gathered(rows: Mapping[str, list[bool]] | None, names: Iterable[str], columns: int) -> Tensor | None:
    """Collect the attributes, bool (n, columns)."""
    if rows is None:
        return None
    return torch.tensor([rows[name] for name in names], dtype=torch.bool).view(-1, columns)


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
