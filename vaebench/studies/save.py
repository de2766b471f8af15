"""Save a study's figure with its caption and record beside the runs, from where reports take it."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from vaebench.core.files import make_dir, write_atomic, write_text
from vaebench.core.machine import machine
from vaebench.evaluation.results_store import place_of
from vaebench.report.analysis.formatting import text_cell
from vaebench.report.figures.saving import save_figure
from vaebench.runs.galleries import Pixels
from vaebench.runs.provenance import command_line, now, package_versions
from vaebench.runs.study_figures import StudyFigure, folder_of, save_study_figure
from vaebench.studies.opened_runs import OpenedRuns

Write = Callable[[Path], object]
ORDER = ("sample", "reconstruct", "interpolate", "attributes", "correlate", "embed", "blend")  # in the report


def keep(
    opened_runs: OpenedRuns,
    name: str,
    caption: str,
    picture: Figure | Pixels,
    *,
    more: Mapping[str, str | Write] | None = None,
    own: bool = False,
) -> tuple[StudyFigure, Path]:
    """Write ``NAME.png``, further files (``more``: suffix -> text, or a function that writes one), and the record.

    Returns the record and the picture's path. ``own``: it shows a user's own images.
    """
    folder = make_dir(folder_of(place_of(opened_runs.data)))
    path = folder / f"{name}.png"
    if isinstance(picture, Figure):
        save_figure(picture, path, picture.dpi)
    else:
        # a mosaic of thumbnails in full colour would weigh megabytes, in every page that shows it
        small = Image.fromarray(picture).quantize(256, method=Image.Quantize.MEDIANCUT)
        write_atomic(path, lambda file: small.save(file, format="PNG", optimize=True))
    for old in (folder / f"{name}{ending}" for ending in (".gif", ".csv")):
        old.unlink(missing_ok=True)  # of an earlier picture by this name
    files = [path.name]
    for suffix, content in (more or {}).items():
        beside = folder / f"{name}{suffix}"
        if isinstance(content, str):
            write_text(beside, content)
        else:
            write_atomic(beside, content)
        files.append(beside.name)
    study_figure = StudyFigure(
        name=name,
        caption=caption,
        files=tuple(files),
        runs={run.name: run.record.weights_sha256 for run in opened_runs.runs},
        data_fingerprint=opened_runs.data.fingerprint,
        versions=package_versions(),
        device=machine(opened_runs.device),
        command=command_line(),
        created=now(),
        order=ORDER.index(name),
        own=own,
    )
    save_study_figure(folder, study_figure)
    return study_figure, path


def matrix_csv(names: Sequence[str], rows: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Format square matrices as one CSV: ``matrix, attribute`` and a column per attribute."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["matrix", "attribute", *map(text_cell, names)])
    for title, matrix in rows.items():
        for name, row in zip(names, matrix, strict=True):
            writer.writerow(
                [text_cell(title), text_cell(name), *("" if math.isnan(cell) else f"{cell:.6g}" for cell in row)]
            )
    return out.getvalue()
