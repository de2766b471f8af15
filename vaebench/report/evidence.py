"""Store evidence beside a report: the runs without their weights, so that anyone can make the report again.

``VAEBENCH_RUNS=reports/mnist/evidence vaebench report --out elsewhere`` writes the same tables.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from vaebench.core import input_files, results
from vaebench.core.errors import UserError
from vaebench.core.files import make_dir, write_atomic
from vaebench.core.results import Result
from vaebench.report.analysis.measured import LABELS, Measured, Subject, current, values_of
from vaebench.report.figures.galleries import CONTENTS, shown_images
from vaebench.report.figures.study_figures import copy_files, stale_runs
from vaebench.runs import per_image
from vaebench.runs.galleries import Pixels, gallery_file, load_gallery, save_gallery
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.runs.study_figures import folder_of, read_study_figures

FOLDER = "evidence"


def _write_plates(found: Sequence[Result], records: Mapping[Subject, RunRecord], folder: Path) -> None:
    """Copy studies' figures of the measured weights, except those of a user's own images."""
    places = {f"{line.dataset}-{line.split}-{line.provenance.data_fingerprint[:12]}" for line in found}
    for source in map(folder_of, sorted(places)):
        for study_figure in read_study_figures(source)[0]:
            if study_figure.own or stale_runs(study_figure, records):
                continue
            with suppress(UserError):  # the report has said so
                copy_files(
                    study_figure,
                    (*study_figure.files, f"{study_figure.name}.json"),
                    source,
                    folder / "studies" / source.name,
                )


def write_evidence(parts: Sequence[Measured], sources: Iterable[RunFolder], folder: Path) -> None:
    """Write what a report of ``parts`` was made from, laid out as runs are: results, per-image values, records,
    histories, labels, snapshots' results and the images that it shows.

    Results that ``parts`` lack stay behind, such as strata that the report leaves out. So do labels of images that may
    not be republished, and who is on them: strata cannot be made again from it, and intervals over persons become
    intervals over images.
    What stands in ``folder`` already and is not of these runs is left alone; ``folder`` may be where the runs lie.
    """
    kept = {line.key for part in parts for line in part.results}
    known: list[tuple[RunFolder, list[Result]]] = []
    records: dict[Subject, RunRecord] = {}
    for source in sources:
        with suppress(UserError):  # a damaged run stays behind, as in the report, which has said so
            record = source.read_record() if source.record_file.exists() else None
            found = [line for line in current(source, record) if line.key in kept]
            values_of(source, found)
            known.append((source, found))
            if found and record is not None:
                records[found[0].recipe, found[0].seed] = record
    _write_plates([line for _, found in known for line in found], records, folder)
    fingerprints = {line.provenance.data_fingerprint for _, found in known for line in found}
    shown = _shown(parts)
    for source, found in known:
        # real images of which nothing was measured still give the originals' pictures and the strata
        shows = {fingerprint for fingerprint in fingerprints if source.path.name.endswith(fingerprint[:12])}
        if not found and not ((source.path / LABELS).exists() and shows):
            continue
        values = values_of(source, found)  # read before anything is replaced
        target = RunFolder(folder / source.path.parent.name / source.path.name)
        make_dir(target.path)
        results.write_together(target.results, found)
        target.per_image.unlink(missing_ok=True)
        per_image.write(target.per_image, values)
        shows |= {line.provenance.data_fingerprint for line in found}
        galleries = sorted(gallery_file(source.path, fingerprint) for fingerprint in shows)
        originals = _originals(source.path, galleries)
        for path in (source.record_file, source.history, source.warnings, *originals):
            if path.exists():
                write_atomic(target.path / path.name, partial(input_files.copy, path, inside=source.path))
        _write_snapshots(source, target, _snapshots(parts, (found[0].recipe, found[0].seed)) if found else {})
        for path in () if originals else galleries:
            (target.path / path.name).unlink(missing_ok=True)
            if path in shown:
                save_gallery(target.path / path.name, shown[path], found[0].provenance.weights_sha256)


def _snapshots(parts: Iterable[Measured], subject: Subject) -> dict[int, list[Result]]:
    """Return what a report of ``parts`` shows of a run at steps of its training: the values over all images."""
    found: dict[int, list[Result]] = {}
    for part in parts:
        for one in part.snapshots.get(subject, ()):
            found.setdefault(one.record.steps, []).extend(line for line in one.results if line.stratum == "all")
    return found


def _write_snapshots(source: RunFolder, target: RunFolder, found: Mapping[int, Sequence[Result]]) -> None:
    """Write records and results of the snapshots that anything was found of, and remove those of an earlier writing."""
    if source.path.resolve() != target.path.resolve():
        for old in target.snapshots():
            if int(old.path.name) not in found:
                shutil.rmtree(old.path)
    for step, lines in found.items():
        if lines:
            record, folder = source.snapshot(step).record_file, target.snapshot(step)
            make_dir(folder.path)
            write_atomic(folder.record_file, partial(input_files.copy, record, inside=record.parent))
            results.write_together(folder.results, lines)


def _shown(parts: Iterable[Measured]) -> dict[Path, dict[str, Pixels]]:
    """Return the images that a report of ``parts`` shows, by the gallery that they are in."""
    found: dict[Path, dict[str, Pixels]] = {}
    for part in parts:
        files = part.gallery_files()
        for content in CONTENTS:
            for subject, images in shown_images(part.galleries, content):
                found.setdefault(files[subject], {})[content] = images
    return found


def _originals(folder: Path, galleries: Iterable[Path]) -> list[Path]:
    """List labels of real images, and their whole galleries; none of either where the images may not be shown."""
    found = []
    for path in galleries if (folder / LABELS).exists() else ():
        with suppress(UserError):
            found += [path] if load_gallery(path) else []
    return [*found, folder / LABELS] if found else []
