"""Pictures that studies draw of one run or several, with what must be known of them; the report takes them up.

They lie in ``VAEBENCH_RUNS/studies/<dataset>-<split>-<fingerprint>/``: ``NAME.png`` with its table or animation beside
it, and ``NAME.json``, which says what it shows and of which weights it was made.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaebench.core.errors import UserError
from vaebench.core.places import runs_dir, write_text

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """What stands in ``NAME.json``.

    Attributes:
        name: of the files, and of the figure in the report.
        caption: what the picture shows, and how.
        files: names of all files, the picture first.
        runs: ``recipe/seed-k`` -> hash of the weights that were looked at.
        data_fingerprint: of the split whose images were looked at.
        versions, device, command, created: where it came from.
        order: place among the report's figures.
        own: whether a user's own images are shown, which evidence leaves out.
    """

    name: str
    caption: str
    files: Sequence[str]
    runs: Mapping[str, str]
    data_fingerprint: str
    versions: Mapping[str, str]
    device: str
    command: str
    created: str
    order: int = 0
    own: bool = False
    format: int = FORMAT


def folder_of(place: str) -> Path:
    """Where the plates of one split's images lie; ``place`` is its dataset, split and fingerprint."""
    return runs_dir() / "studies" / place


def save_plate(folder: Path, plate: Plate) -> None:
    """Write the record; the files it names lie there already."""
    write_text(folder / f"{plate.name}.json", json.dumps(asdict(plate), indent=2, sort_keys=True) + "\n")


def read_plates(folder: Path) -> list[Plate]:
    """Every plate of a folder in the order of the report; :class:`UserError` for a record that cannot be read."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda plate: (plate.order, plate.name))


def _read(path: Path) -> Plate:
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        plate = Plate(**fields)
        inside = all(Path(name).name == name for name in plate.files)
    except (OSError, ValueError, TypeError) as error:
        reason = f"{path} cannot be read ({str(error).splitlines()[0]})"
        raise UserError(f"{reason}: move it away, and draw it again with 'vaebench {path.stem}'") from error
    if plate.format != FORMAT or plate.name != path.stem or not inside or not plate.files:
        raise UserError(f"{path} is of another version: move it away, and draw it again with 'vaebench {path.stem}'")
    return plate
