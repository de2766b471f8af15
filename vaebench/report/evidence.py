"""What a report was made from, beside it: runs without their weights, so that anyone can make it again.

``VAEBENCH_RUNS=reports/mnist/evidence vaebench report --out elsewhere`` writes the same tables.
"""

import shutil
from functools import partial
from pathlib import Path

from vaebench import per_image
from vaebench.checkpoints import RunFolder
from vaebench.core import results
from vaebench.core.places import make_dir, write_atomic
from vaebench.pictures import gallery_file
from vaebench.report.collect import LABELS, Measured, Subject

FOLDER = "evidence"


def write_evidence(measured: Measured, folder: Path) -> None:
    """Results that count and per-image values, records, histories, labels and galleries, laid out as the runs are.

    Labels of images that may not be republished stay behind: their strata cannot be made again from it.
    What stands in ``folder`` already and is not of these runs is left alone.
    """
    for subject, path in measured.folders.items():
        _write_subject(measured, subject, RunFolder(path), RunFolder(folder / _place(path)))
    for fingerprint, path in measured.originals.items():
        # where the images may not be shown, and so have no gallery, their labels may not be handed on either
        if gallery_file(path, fingerprint).exists():
            _copy(path / LABELS, folder / _place(path) / LABELS)


def _place(path: Path) -> Path:
    """A run's folder within the runs folder: what it is, and which."""
    return Path(path.parent.name) / path.name


def _write_subject(measured: Measured, subject: Subject, source: RunFolder, target: RunFolder) -> None:
    lines = [line for line in measured.results if (line.recipe, line.seed) == subject]
    make_dir(target.path)
    target.results.unlink(missing_ok=True)  # they are appended to, and these are all
    results.append(target.results, lines)
    target.per_image.unlink(missing_ok=True)
    per_image.write(target.per_image, measured.values.get(subject, {}))
    galleries = {gallery_file(source.path, line.provenance.data_fingerprint) for line in lines}
    for path in (source.record_file, source.history, source.warnings, *sorted(galleries)):
        if path.exists():
            _copy(path, target.path / path.name)


def _copy(source: Path, target: Path) -> None:
    make_dir(target.parent)
    write_atomic(target, partial(shutil.copyfile, source))
