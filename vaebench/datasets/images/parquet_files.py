"""Images in parquet files, as Hugging Face's datasets write them."""

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaebench.core.errors import UserError, first_line
from vaebench.datasets.images.file_hashes import hash_of
from vaebench.datasets.images.image_files import MOST_CLASSES, ImageFiles, contents_hashed, digest_of_hashes
from vaebench.datasets.images.recognising import readable

IMAGE_COLUMNS = ("image", "img", "picture", "png", "jpg", "jpeg", "webp")
LABEL_COLUMNS = ("label", "labels", "class", "cls", "fine_label")
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
            except Exception as error:  # pyarrow raises errors of its own, ValueError, OSError
                reason = f"{path} is no readable parquet file ({first_line(error)})"
                raise UserError(f"{reason}: write it anew with datasets.to_parquet") from error
        self.column, self.nested = _image_column(self.files[0].schema_arrow, files[0])
        self.groups = [
            (file, group, file.metadata.row_group(group).num_rows)
            for file in self.files
            for group in range(file.metadata.num_row_groups)
        ]
        self._kept: OrderedDict[int, list[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def places(self) -> list[tuple[int, int]]:
        """List (row group, row in it) of all rows."""
        return [(group, row) for group, (_, _, rows) in enumerate(self.groups) for row in range(rows)]

    def read(self, group: int, row: int) -> bytes:
        """Read one image's bytes; OSError where there are none."""
        with self._lock:
            if group not in self._kept:
                file, inside, _ = self.groups[group]
                try:
                    table = file.read_row_group(inside, columns=[self.column])
                except Exception as error:
                    raise OSError(f"damaged in the parquet file: {first_line(error)}") from error
                self._kept[group] = table.column(0).combine_chunks()
                while len(self._kept) > GROUPS_KEPT:
                    self._kept.popitem(last=False)
            value = self._kept[group][row].as_py()
        content = value.get("bytes") if self.nested and value is not None else value
        if not isinstance(content, bytes):
            raise OSError("the parquet file holds no bytes of it, only a path: write it with its images embedded")
        return content

    def column_of(self, name: str) -> list[Any]:
        """Read a whole column of small values."""
        return [value for file in self.files for value in file.read(columns=[name]).column(0).to_pylist()]


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

    return ImageFiles(
        path=path,
        names=names,
        read=read,
        hashes=lambda: contents_hashed(names, read),
        identity=digest_of_hashes({file.name: hash_of(file) for file in files}),
        labels=labels,
        classes=classes,
    )


def _image_column(schema: Any, path: Path) -> tuple[str, bool]:
    """Return the name of the column of images, and whether it is a struct of bytes and path."""
    import pyarrow as pa  # noqa: PLC0415

    def is_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

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
    if rows.nested:
        for file in rows.files:
            if f"{rows.column}.path" in [file.schema.column(place).path for place in range(len(file.schema.names))]:
                found = file.read(columns=[f"{rows.column}.path"]).column(0).to_pylist()
                stated += [None if value is None else value.get("path") for value in found]
    names = [readable(value) for value in stated if isinstance(value, str) and value]
    if len(names) == count and len(set(names)) == count:
        return names
    return [f"{row:06d}" for row in range(count)]


def _labels(rows: _Rows) -> tuple[list[int] | None, list[str]]:
    """Read labels from a column of integers, and the classes' names where Hugging Face's metadata state them."""
    schema = rows.files[0].schema_arrow
    name = next((name for name in LABEL_COLUMNS if name in schema.names), None)
    if name is None:
        return None, []
    values = rows.column_of(name)
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values):
        return None, []
    if len(set(values)) > MOST_CLASSES:
        return None, []
    try:
        stated = json.loads(schema.metadata[b"huggingface"])["info"]["features"][name]["names"]
        classes = [str(each) for each in stated]
    except (TypeError, KeyError, ValueError):
        classes = []
    return values, classes
