"""Pictures that studies draw of one run or several, with what must be known of them; the report takes them up.

They lie in ``VAEBENCH_RUNS/studies/<dataset>-<split>-<fingerprint>/``: ``NAME.png`` with its table or animation beside
it, and ``NAME.json``, which says what it shows and of which weights it was made.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.paths import runs_dir
from vaebench.core.validation import Name, Text, Token

FORMAT = 1
# a picture, or what lies beside one: nothing that a desktop would run when it is opened
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(png|gif|csv)\Z", max_length=validation.LONGEST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFigure:
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

    name: Name
    caption: Text
    files: Annotated[tuple[FileName, ...], Meta(min_length=1, max_length=100)]
    runs: Mapping[str, Token]
    data_fingerprint: Token
    versions: Mapping[str, Text]
    device: Text
    command: Text
    created: Text
    order: int = 0
    own: bool = False
    format: int = FORMAT


def folder_of(place: str) -> Path:
    """Where the plates of one split's images lie; ``place`` is its dataset, split and fingerprint."""
    return runs_dir() / "studies" / place


def study_folders() -> list[Path]:
    """List the folders of plates, one a split's images."""
    return sorted(path for path in (runs_dir() / "studies").glob("*") if path.is_dir())


def save_study_figure(folder: Path, study_figure: StudyFigure) -> None:
    """Write the record; the files it names lie there already."""
    write_text(folder / f"{study_figure.name}.json", json.dumps(asdict(study_figure), indent=2, sort_keys=True) + "\n")


def read_study_figures(folder: Path) -> tuple[list[StudyFigure], list[str]]:
    """Every plate of a folder in the order of the report; and what is wrong with records that cannot be read."""
    found, refused = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(_read(path))
        except UserError as error:
            refused.append(str(error))
    return sorted(found, key=lambda study_figure: (study_figure.order, study_figure.name)), refused


def _read(path: Path) -> StudyFigure:
    again = f" with 'vaebench {path.stem}'" if validation.is_name(path.stem) else ""
    remedy = f"move it away, and draw it again{again}"
    content = input_files.read_bytes(path, most=input_files.SMALL, remedy=remedy, inside=path.parent)
    study_figure = validation.from_json(content, StudyFigure, str(path), remedy)
    if study_figure.format != FORMAT or study_figure.name != path.stem:
        raise UserError(f"{path} is of another version: {remedy}")
    return study_figure
