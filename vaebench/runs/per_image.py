"""Per-image values beside a run's results, as Parquet, so that any two runs can be compared pair by pair later.

A file's metadata hold a digest of its content as it is read back: Parquet itself notices few flipped bits.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import write_atomic
from vaebench.core.validation import Name, Text, Token

REMEDY = "move it away, then evaluate the run again with --again"
ROWS = 200_000_000  # that a file may have
_DIGEST = b"vaebench.sha256"
PERSON = "person"  # column of a split's labels: a number for who is on the image, where that is known
_KEY = ["dataset", "split", "data_fingerprint", "metric", "protocol", "stratum"]


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """Identity of one series of per-image values: data, metric, protocol, stratum."""

    dataset: Name
    split: Name
    data_fingerprint: Token
    metric: Name
    protocol: Text
    stratum: Text = "all"  # else what the values are one part of: ``attribute=NAME``, ``condition=…``


@dataclass(frozen=True, slots=True)
class PerImageValues:
    """Image ids and their values in the order of the dataset, stored as float32.

    ``influence``: what each image contributes to a value of all together (:class:`vaebench.core.metric.Score`).
    """

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    influence: bool = False


def write(path: Path, fresh: Mapping[Series, PerImageValues], gone: Collection[Series] = ()) -> None:
    """Write series into the file: new ones replace old ones of the same identity, those in ``gone`` are removed."""
    old = {series: content for series, content in (read(path) if path.exists() else {}).items() if series not in gone}
    known = sorted({**old, **fresh}.items())
    if not known:
        path.unlink(missing_ok=True)
        return
    sizes = [len(content.ids) for _, content in known]
    keys = {column: _Texts.repeated([getattr(series, column) for series, _ in known], sizes) for column in _KEY}
    columns: dict[str, _Column] = {
        "image_id": _Texts.of([name for _, content in known for name in content.ids]),
        **keys,
        "influence": np.repeat([content.influence for _, content in known], sizes),
        "value": np.concatenate([content.values.astype(np.float32) for _, content in known]),
    }
    # mantissas do not repeat: split by byte they shrink to half of what a dictionary makes of them. Ids come in the
    # same order in each series: letters repeat, places in a dictionary straddle bytes and take thrice as much
    coding: dict[str, Any] = {
        "column_encoding": {"image_id": "DELTA_LENGTH_BYTE_ARRAY", "value": "BYTE_STREAM_SPLIT"},
        "use_dictionary": list(_KEY),
    }
    _write_table(path, columns, plain=["image_id"], compression="zstd", compression_level=15, **coding)


def read(path: Path) -> dict[Series, PerImageValues]:
    """Read every series in the file; :class:`UserError` if it cannot be read or is damaged."""
    columns = _read_table(path, ["image_id", *_KEY[:5], "value"])
    values = columns["value"]
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise UserError(f"{path} cannot be read (its values are no numbers with a point): {REMEDY}")
    if "stratum" not in columns:  # as vaebench wrote it before attributes had values of their own
        columns |= {"stratum": _Texts.repeated(["all"], [len(values)]), "influence": np.zeros(len(values), bool)}
    texts = [columns[name] for name in ("image_id", *_KEY)]
    influence = columns.get("influence")
    ids, *keys = [column for column in texts if isinstance(column, _Texts)]
    if len(keys) < len(_KEY) or not isinstance(influence, np.ndarray):
        raise UserError(f"{path} cannot be read (columns of other kinds than vaebench writes): {REMEDY}")
    names = np.array(ids.known, dtype=object)[ids.codes]  # once: a table's strings are slow to take out
    found = {}
    for rows in _equal_rows(np.stack([key.codes for key in keys])):
        series = _series([key.known[key.codes[rows[0]]] for key in keys], path)
        kept = values[rows].astype(np.float64)
        found[series] = PerImageValues(tuple(names[rows].tolist()), kept, bool(influence[rows[0]]))
    return dict(sorted(found.items()))


def _equal_rows(codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Group the columns of ``codes`` (k, n): positions of equal ones, in order. Neighbours are equal as a rule."""
    found: dict[tuple[int, ...], list[NDArray[np.int64]]] = {}
    changes = np.flatnonzero((codes[:, 1:] != codes[:, :-1]).any(axis=0)) + 1
    for rows in np.split(np.arange(codes.shape[1]), changes) if codes.shape[1] else ():
        found.setdefault(tuple(codes[:, rows[0]].tolist()), []).append(rows)
    return [np.concatenate(parts) for parts in found.values()]


def _series(key: Sequence[str], path: Path) -> Series:
    made: Series = validation.converted(dict(zip(_KEY, key, strict=True)), Series, str(path), REMEDY)
    return made


def has_digest(path: Path) -> bool:
    """Tell whether the file has a digest of its content; earlier versions wrote none."""
    try:
        input_files.checked(path, most=input_files.LARGE, remedy=REMEDY, inside=path.parent)
        return _DIGEST in (parquet.read_schema(path).metadata or {})
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}): {REMEDY}") from error


def write_labels(path: Path, ids: Sequence[str], columns: Mapping[str, Sequence[int]]) -> None:
    """Write labels and attributes of a split's images, from which strata are made."""
    numbers = {name: np.array(column, dtype=np.int64) for name, column in columns.items()}
    _write_table(path, {"image_id": _Texts.of(ids), **numbers})


def read_labels(path: Path) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Read what :func:`write_labels` wrote."""
    columns = _read_table(path, ["image_id"])
    ids = columns.pop("image_id")
    found = {}
    for name, column in columns.items():
        if not isinstance(column, np.ndarray) or column.dtype.kind not in "iu":
            raise UserError(
                f"{path} cannot be read (column {validation.plain_line(name)} is no whole numbers): {REMEDY}"
            )
        found[name] = column.tolist()
    return tuple(ids.as_list()) if isinstance(ids, _Texts) else tuple(map(str, ids.tolist())), found


@dataclass(frozen=True, slots=True)
class _Texts:
    """A column of texts: the different ones, sorted, and each row's place among them."""

    known: list[str]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Texts":
        known = sorted(set(texts))
        places = {text: place for place, text in enumerate(known)}
        return cls(known, np.fromiter((places[text] for text in texts), np.int64, len(texts)))

    @classmethod
    def repeated(cls, texts: Sequence[str], times: Sequence[int]) -> "_Texts":
        found = cls.of(texts)
        return cls(found.known, np.repeat(found.codes, times))

    def as_list(self) -> list[str]:
        return [self.known[code] for code in self.codes]


_Column = _Texts | NDArray[Any]


def _write_table(path: Path, columns: Mapping[str, _Column], plain: Collection[str] = (), **coding: Any) -> None:
    """Write columns with their digest; texts of those in ``plain`` without Arrow's dictionary."""
    made = {name: _to_arrow(column) for name, column in columns.items()}
    arrays = [array.dictionary_decode() if name in plain else array for name, array in made.items()]
    table = pa.Table.from_arrays(arrays, names=list(columns), metadata={_DIGEST: _digest(columns).encode()})
    write_atomic(path, lambda temporary: parquet.write_table(table, temporary, **coding))


def _read_table(path: Path, wanted: Sequence[str]) -> dict[str, _Column]:
    try:
        input_files.checked(path, most=input_files.LARGE, remedy=REMEDY, inside=path.parent)
        with parquet.ParquetFile(path) as opened:
            if opened.metadata.num_rows > ROWS:
                raise ValueError(f"{opened.metadata.num_rows:,} rows")
            known = opened.schema_arrow.metadata or {}
            table = opened.read()
        table.validate(full=True)  # of what a stranger wrote: places in a dictionary that has fewer
        if len(set(table.column_names)) < len(table.column_names):
            raise ValueError("a column comes twice")
        columns = {str(name): _from_arrow(table.column(name), name) for name in table.column_names}
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        if _DIGEST in known and known[_DIGEST] != _digest(columns).encode():
            raise ValueError("its digest is not that of its content")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: evaluate the run again with --again") from error
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}): {REMEDY}") from error
    return columns


# Arrow's own conversions from and to numpy import pandas, which takes longer than all that is read here: buffers do not


def _to_arrow(column: _Column) -> pa.Array:
    if isinstance(column, _Texts):
        encoded = [text.encode() for text in column.known]
        ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
        texts = pa.Array.from_buffers(pa.string(), len(encoded), buffers)
        return pa.DictionaryArray.from_arrays(_to_arrow(column.codes.astype(np.int32)), texts)
    if column.dtype == bool:
        packed = np.packbits(column, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(column), [None, pa.py_buffer(packed)])
    contiguous = np.ascontiguousarray(column)
    return pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [None, pa.py_buffer(contiguous)])


def _from_arrow(chunked: pa.ChunkedArray, name: str) -> _Column:
    """Convert a column: numbers to an array, all else to texts; ``ValueError`` where values are missing."""
    if chunked.null_count and not pa.types.is_floating(chunked.type):
        raise ValueError(f"column {validation.plain_line(name)} lacks values")
    kind = chunked.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        parts = [_numbers(part) for part in chunked.chunks]
        return np.concatenate(parts) if parts else np.empty(0, kind.to_pandas_dtype())
    encoded = chunked if pa.types.is_dictionary(kind) else chunked.dictionary_encode()
    texts, codes = [], []
    for part in encoded.chunks:
        texts.append([str(text) for text in part.dictionary.to_pylist()])
        codes.append(_numbers(part.indices))
    used = sorted({known[code] for known, column in zip(texts, codes, strict=True) for code in np.unique(column)})
    place = {text: number for number, text in enumerate(used)}
    moved = [
        np.array([place.get(text, -1) for text in known], np.int64)[column]
        for known, column in zip(texts, codes, strict=True)
    ]
    return _Texts(used, np.concatenate(moved) if moved else np.empty(0, np.int64))


def _numbers(array: pa.Array) -> NDArray[Any]:
    """Return numbers, or true and false; a missing number is not a number, as earlier versions wrote such values."""
    present, content = array.buffers()
    if pa.types.is_boolean(array.type):
        return _bits(content, array)
    dtype = np.dtype(array.type.to_pandas_dtype())
    numbers = np.frombuffer(content or b"", dtype)[array.offset : array.offset + len(array)]
    return np.where(_bits(present, array), numbers, dtype.type(np.nan)) if array.null_count else numbers


def _bits(buffer: pa.Buffer | None, array: pa.Array) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(buffer or b"", np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(bool)


def _digest(columns: Mapping[str, _Column]) -> str:
    """Compute a SHA-256 over every column's name and values in order, however the file packs them."""
    rows = next((len(column.codes if isinstance(column, _Texts) else column) for column in columns.values()), 0)
    digest = hashlib.sha256(str(rows).encode())
    for name, column in columns.items():
        if isinstance(column, _Texts):
            digest.update(f"\n{name}\n".encode() + "\0".join(column.known).encode())
            digest.update(column.codes.tobytes())
        else:
            digest.update(f"\n{name} {column.dtype}\n".encode())
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
