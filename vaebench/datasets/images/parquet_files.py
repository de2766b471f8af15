"""Images in parquet files, as Hugging Face's datasets write them."""

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.datasets.images.file_hashes import hash_of
from vaebench.datasets.images.files import digest_of
from vaebench.datasets.images.image_files import MOST_CLASSES, ImageFiles, contents_hashed
from vaebench.datasets.images.recognising import readable

IMAGE_COLUMNS = ("image", "img", "picture", "png", "jpg", "jpeg", "webp")
LABEL_COLUMNS = ("label", "labels", "class", "cls", "fine_label")
GROUP = 2_000 * input_files.MB  # of images in a row group, which is read as a whole
GROUPS_KEPT = 2  # row groups in memory: threads that read one after another may straddle two
_WANTED = "a column 'image' of {bytes, path} or of bytes, as datasets.to_parquet writes it"


class _Rows:
    """Rows of several parquet files, read by row group."""

    def __init__(self, files: Sequence[Path]) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415  (a fifth of a second that folders do without)

        self.files = []
        for path in files:
            try:
                self.files.append(pq.ParquetFile(path))
                kind = _image_column(self.files[-1].schema_arrow, path)
                _check_rows(path, self.files[-1].metadata, kind[0])
            except UserError:
                raise
            except Exception as error:  # pyarrow raises errors of its own, ValueError, OSError
                raise _damaged(path, error) from error
            if len(self.files) == 1:
                self.column, self.nested = kind
            elif kind != (self.column, self.nested):
                shown = f"{files[0]} holds its images in '{self.column}', {path} holds others in '{kind[0]}'"
                raise UserError(f"{shown}: give files whose columns are alike")
        self.paths = files
        self.groups = [
            (file, group, file.metadata.row_group(group).num_rows)
            for file in self.files
            for group in range(file.metadata.num_row_groups)
        ]
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def places(self) -> list[tuple[int, int]]:
        """List (row group, row in it) of all rows."""
        return [(group, row) for group, (_, _, rows) in enumerate(self.groups) for row in range(rows)]

    def read(self, group: int, row: int) -> bytes:
        """Read one image's bytes; OSError where there are none."""
        try:
            with self._lock:
                value = self._images(group)[row].as_py()
        except Exception as error:
            raise OSError(f"damaged in the parquet file: {first_line(error)}") from error
        content = value.get("bytes") if self.nested and value is not None else value
        if not isinstance(content, bytes):
            raise OSError("the parquet file holds no bytes of it, only a path: write it with its images embedded")
        return content

    def _images(self, group: int) -> Any:
        """Return the column of images of a row group, in chunks, since one array holds 2 GB at most."""
        if group not in self._kept:
            file, inside, _ = self.groups[group]
            self._kept[group] = file.read_row_group(inside, columns=[self.column]).column(0)
            while len(self._kept) > GROUPS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[group]

    def column_of(self, name: str) -> list[Any]:
        """Read a whole column of small values, or a part of one."""
        values: list[Any] = []
        for path, file in zip(self.paths, self.files, strict=True):
            try:
                values += file.read(columns=[name]).column(0).to_pylist()
            except Exception as error:
                raise _damaged(path, error) from error
        return values


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is no readable parquet file ({first_line(error)}): write it anew with datasets.to_parquet"
    )


def _check_rows(path: Path, metadata: Any, column: str) -> None:
    """Refuse what would fill memory: rows that cannot be there, and row groups as large as they may be."""
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if any(group.num_rows < 0 for group in groups) or rows > path.stat().st_size:
        raise _damaged(path, ValueError(f"it states {rows:,} rows"))
    for group in groups:
        chunks = [group.column(place) for place in range(group.num_columns)]
        size = sum(
            each.total_uncompressed_size for each in chunks if f"{each.path_in_schema}.".startswith(f"{column}.")
        )
        remedy = "write it with smaller ones, such as row_group_size=1000"
        input_files.check_size(f"{path}: a row group holds", size, GROUP, remedy)


def in_parquet(path: Path, files: Sequence[Path]) -> ImageFiles:
    """Find the images in parquet files; ids are the paths that they state where these are unique, else row numbers.

    Args:
        path: what the user named, a file or a folder.
        files: the parquet files, in order.

    Raises:
        UserError: one is no parquet file, or has no column of images.
    """
    rows = _Rows(files)
    places = rows.places()
    if not places:
        raise UserError(f"{path} holds no rows: give parquet files that hold images")
    names = _names(rows, len(places))
    at = dict(zip(names, places, strict=True))
    labels, classes = _labels(rows)

    def read(name: str) -> bytes:
        return rows.read(*at[name])

    hashes = {_place(file, path): hash_of(file) for file in files}
    return ImageFiles(
        path=path,
        names=names,
        read=read,
        hashes=lambda: contents_hashed(names, read),
        identity=digest_of(hashes, hashes),
        labels=labels,
        classes=classes,
    )


def _place(file: Path, path: Path) -> str:
    """Return where a file lies: two in different folders may have one name."""
    return file.name if file == path else file.relative_to(path).as_posix()


def _image_column(schema: Any, path: Path) -> tuple[str, bool]:
    """Return the name of the column of images, and whether it is a struct of bytes and path."""
    import pyarrow as pa  # noqa: PLC0415

    def is_bytes(kind: Any) -> bool:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))

    structs = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and any(part.name == "bytes" and is_bytes(part.type) for part in field.type)
    ]
    flat = [field.name for field in schema if is_bytes(field.type)]
    for candidates, nested in ((structs, True), (flat, False)):
        named = [name for name in IMAGE_COLUMNS if name in candidates]
        if named or len(candidates) == 1:
            return (named or candidates)[0], nested
    held = ", ".join(schema.names) or "nothing"
    raise UserError(f"{path} holds the columns {held}: it needs {_WANTED}")


def _names(rows: _Rows, count: int) -> list[str]:
    """Name the rows by the paths that their images state, where each has one of its own."""
    stated: list[Any] = []
    part = f"{rows.column}.path"
    if rows.nested and all(part in _leaves(file) for file in rows.files):
        stated = [None if value is None else value.get("path") for value in rows.column_of(part)]
    names = [readable(value) for value in stated if isinstance(value, str) and value]
    if len(names) == count and len(set(names)) == count:
        return names
    return [f"{row:06d}" for row in range(count)]


def _leaves(file: Any) -> list[str]:
    """List the paths of a file's columns, parts of nested ones each."""
    return [file.schema.column(place).path for place in range(len(file.schema.names))]


def _labels(rows: _Rows) -> tuple[list[int] | None, list[str]]:
    """Read labels from a column of integers, and the classes' names where Hugging Face's metadata state them."""
    schema = rows.files[0].schema_arrow
    everywhere = set.intersection(*(set(file.schema_arrow.names) for file in rows.files))
    name = next((name for name in LABEL_COLUMNS if name in everywhere), None)
    if name is None:
        return None, []
    values = rows.column_of(name)
    if not all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 for value in values):
        return None, []
    if len(set(values)) > MOST_CLASSES:
        return None, []
    try:
        stated = json.loads(schema.metadata[b"huggingface"])["info"]["features"][name]["names"]
        classes = [str(each) for each in stated]
    except (TypeError, KeyError, ValueError, RecursionError):
        classes = []
    return values, classes
