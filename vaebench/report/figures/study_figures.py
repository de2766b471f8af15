"""Copy studies' figures beside the report's other figures, with their captions."""

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from PIL import Image

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import write_atomic
from vaebench.report.analysis.measured import Measured, Subject
from vaebench.runs.record import RunRecord
from vaebench.runs.study_figures import StudyFigure, folder_of, read_study_figures

log = logging.getLogger(__name__)


def take_up(measured: Measured, folder: Path, *, alone: bool = False) -> Mapping[str, str]:
    """Copy the study figures of a part into the report's figures; return file name -> caption.

    One that shows weights which have been replaced since, or that is damaged, is left out, and said; with ``alone``,
    of a report that holds some of the models only, one that shows others is left out without a word.
    """
    captions = {}
    source = _source(measured)
    runs = {f"{recipe}/seed-{seed}" for recipe, seed in measured.records}
    study_figures, refused = read_study_figures(source)
    for said in refused:
        log.warning("left out: %s", said)
    for study_figure in study_figures:
        if alone and not all(name in runs for name in study_figure.runs):
            continue
        stale = stale_runs(study_figure, measured.records)
        if stale:
            told = "%s shows weights of %s replaced since, or never measured: draw it again"
            log.warning(told, study_figure.name, ", ".join(stale))
            continue
        try:
            copy_files(study_figure, study_figure.files, source, folder)
        except UserError as error:
            log.warning("left out: %s", error)
            continue
        if (folder / study_figure.files[0]).exists():
            captions[study_figure.files[0]] = study_figure.caption + _beside(study_figure)
    return captions


def copy_files(study_figure: StudyFigure, names: Iterable[str], source: Path, target: Path) -> None:
    """Copy files of a study figure, all or none.

    Raises:
        UserError: one is no regular file of that folder, or a picture that is none.
    """
    there = [name for name in names if (source / name).exists()]
    for name in there:
        if name.endswith((".png", ".gif")):
            _check_picture(source / name, study_figure)
    for name in there:
        write_atomic(target / name, partial(input_files.copy, source / name, inside=source))


def _check_picture(path: Path, study_figure: StudyFigure) -> None:
    remedy = f"draw it again with 'vaebench {study_figure.name}'"
    with input_files.opened(path, most=input_files.IMAGE, remedy=remedy, inside=path.parent) as handle:
        try:
            with Image.open(handle, formats=["PNG", "GIF"]) as picture:
                picture.verify()
        except Exception as error:  # damaged files raise whatever Pillow's readers stumble over
            raise UserError(f"{path} is no picture ({first_line(error)}): {remedy}") from error


def _source(measured: Measured) -> Path:
    first = measured.results[0]
    return folder_of(f"{first.dataset}-{first.split}-{first.provenance.data_fingerprint[:12]}")


def stale_runs(study_figure: StudyFigure, records: Mapping[Subject, RunRecord]) -> list[str]:
    """List the runs that a study figure shows with other weights than their records have."""
    known = {f"{recipe}/seed-{seed}": record.weights_sha256 for (recipe, seed), record in records.items()}
    return [name for name, weights in study_figure.runs.items() if known.get(name) != weights]


def _beside(study_figure: StudyFigure) -> str:
    return f" Beside it: {', '.join(study_figure.files[1:])}." if len(study_figure.files) > 1 else ""
