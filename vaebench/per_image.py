"""Per-image values beside a run's results, as Parquet: any two runs can be compared pair by pair later."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaebench.core.errors import UserError
from vaebench.core.places import write_atomic

PERSON = "person"  # column of a split's labels: a number for who is on the image, where that is known
_KEY = ["dataset", "split", "data_fingerprint", "metric", "protocol", "stratum"]


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """What one series of per-image values measures."""

    dataset: str
    split: str
    data_fingerprint: str
    metric: str
    protocol: str
    stratum: str = "all"  # else what the values are one part of: ``attribute=NAME``, ``condition=…``


@dataclass(frozen=True, slots=True)
class PerImageValues:
    """Image ids and their values in the order of the dataset, kept with float32's precision.

    ``influence``: what each image contributes to a value of all together (:class:`vaebench.core.metric.Score`).
    """

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    influence: bool = False


def write(path: Path, fresh: Mapping[Series, PerImageValues], gone: Collection[Series] = ()) -> None:
    """Add series to the file; one that stands there is replaced by its new measurement, one that is gone taken out."""
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
    write_atomic(path, lambda temporary: table.to_parquet(temporary, index=False, compression="zstd", **coding))


def read(path: Path) -> dict[Series, PerImageValues]:
    """Every series in the file; :class:`UserError` where it cannot be read."""
    table = _read_table(path)
    if "stratum" not in table.columns:  # as vaebench wrote it before attributes had values of their own
        table = table.assign(stratum="all", influence=False)
    return {
        Series(*(str(part) for part in key)): PerImageValues(
            tuple(group["image_id"].astype(str)), group["value"].to_numpy(np.float64), bool(group["influence"].iloc[0])
        )
        for key, group in table.groupby(_KEY, sort=True, observed=True)
    }


def write_labels(path: Path, ids: Sequence[str], columns: Mapping[str, Sequence[int]]) -> None:
    """Labels and attributes of a split's images, which strata are cut by."""
    table = pd.DataFrame({"image_id": list(ids), **columns})
    write_atomic(path, lambda temporary: table.to_parquet(temporary, index=False))


def read_labels(path: Path) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """What :func:`write_labels` wrote."""
    table = _read_table(path)
    columns = {str(name): table[name].tolist() for name in table.columns if name != "image_id"}
    return tuple(table["image_id"].astype(str)), columns


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read ({reason}): move it away, then evaluate the run again") from error
