"""Per-image values beside a run's results, as Parquet, so that any two runs can be compared pair by pair later.

A file's metadata hold a digest of its content as it is read back: Parquet itself notices few flipped bits.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
    known = {**old, **fresh}
    if not known:
        path.unlink(missing_ok=True)
        return
    frames = [
        pd.DataFrame(
            {
                "image_id": content.ids,
                **{column: getattr(series, column) for column in _KEY},
                "influence": content.influence,
                "value": content.values.astype(np.float32),
            }
        )
        for series, content in sorted(known.items())
    ]
    table = pd.concat(frames, ignore_index=True).astype(dict.fromkeys(["image_id", *_KEY], "category"))
    # mantissas do not repeat: split by byte they shrink to half of what a dictionary makes of them
    coding: dict[str, Any] = {"use_byte_stream_split": ["value"], "use_dictionary": ["image_id", *_KEY]}
    _write_table(path, table, compression="zstd", **coding)


def read(path: Path) -> dict[Series, PerImageValues]:
    """Read every series in the file; :class:`UserError` if it cannot be read or is damaged."""
    table = _read_table(path, ["image_id", *_KEY[:5], "value"])
    if "stratum" not in table.columns:  # as vaebench wrote it before attributes had values of their own
        table = table.assign(stratum="all", influence=False)
    if table["value"].dtype.kind != "f":
        raise UserError(f"{path} cannot be read (its values are {table['value'].dtype}): {REMEDY}")
    codes, names = pd.factorize(table["image_id"])
    ids = np.array([str(name) for name in names], dtype=object)[codes]  # once: a table's strings are slow to take out
    values, influence = table["value"].to_numpy(np.float64), table["influence"].to_numpy(bool)
    return {
        _series(key, path): PerImageValues(tuple(ids[rows].tolist()), values[rows], bool(influence[rows[0]]))
        for key, rows in table.groupby(_KEY, sort=True, observed=True).indices.items()
    }


def _series(key: Any, path: Path) -> Series:
    made: Series = validation.converted(dict(zip(_KEY, map(str, key), strict=True)), Series, str(path), REMEDY)
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
    _write_table(path, pd.DataFrame({"image_id": list(ids), **columns}))


def read_labels(path: Path) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Read what :func:`write_labels` wrote."""
    table = _read_table(path, ["image_id"])
    columns = {str(name): table[name] for name in table.columns if name != "image_id"}
    for name, column in columns.items():
        if column.dtype.kind not in "iu":
            raise UserError(
                f"{path} cannot be read (column {validation.plain_line(name)} is no whole numbers): {REMEDY}"
            )
    return tuple(map(str, table["image_id"].tolist())), {name: column.tolist() for name, column in columns.items()}


def _write_table(path: Path, frame: pd.DataFrame, **coding: Any) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _DIGEST: _digest(frame).encode()})
    write_atomic(path, lambda temporary: parquet.write_table(table, temporary, **coding))


def _read_table(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    try:
        input_files.checked(path, most=input_files.LARGE, remedy=REMEDY, inside=path.parent)
        with parquet.ParquetFile(path) as opened:
            if opened.metadata.num_rows > ROWS:
                raise ValueError(f"{opened.metadata.num_rows:,} rows")
            known = opened.schema_arrow.metadata or {}
            frame: pd.DataFrame = opened.read().to_pandas()
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        if _DIGEST in known and known[_DIGEST] != _digest(frame).encode():
            raise ValueError("its digest is not that of its content")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: evaluate the run again with --again") from error
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}): {REMEDY}") from error
    return frame


def _digest(frame: pd.DataFrame) -> str:
    """Compute a SHA-256 over every column's name and values in order, however the file packs them."""
    digest = hashlib.sha256(str(len(frame)).encode())
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "biuf":
            values = column.to_numpy()
            digest.update(f"\n{name} {values.dtype}\n".encode())
        else:
            values, known = pd.factorize(column.astype("category"), sort=True)
            digest.update(f"\n{name}\n".encode() + "\0".join(map(str, known)).encode())
            values = values.astype(np.int64)
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
