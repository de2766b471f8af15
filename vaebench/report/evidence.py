"""What a report was made from, beside it: runs without their weights, so that anyone can make it again.

``VAEBENCH_RUNS=reports/mnist/evidence vaebench report --out elsewhere`` writes the same tables.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vaebench import per_image
from vaebench.core import results
from vaebench.core.places import make_dir, write_atomic
from vaebench.core.results import Result
from vaebench.pictures import gallery_file
from vaebench.plates import folder_of, read_plates
from vaebench.record import RunFolder, RunRecord
from vaebench.report.collect import LABELS, Subject, current, values_of
from vaebench.report.plates import stale_runs

FOLDER = "evidence"


def _counting(dataset: str, source: RunFolder) -> list[Result]:
    record = source.read_record() if source.record_file.exists() else None
    return [line for line in current(source, record) if line.dataset == dataset]


def _write_plates(found: Sequence[Result], records: Mapping[Subject, RunRecord], folder: Path) -> None:
    """Studies' figures of the measured weights as they lie beside the runs, but for those of a user's own images."""
    places = {f"{line.dataset}-{line.split}-{line.provenance.data_fingerprint[:12]}" for line in found}
    for source in map(folder_of, sorted(places)):
        for plate in read_plates(source):
            if plate.own or stale_runs(plate, records):
                continue
            for name in (f"{plate.name}.json", *plate.files):
                if (source / name).exists():
                    write_atomic(folder / "studies" / source.name / name, partial(shutil.copyfile, source / name))


def write_evidence(dataset: str, sources: Iterable[RunFolder], folder: Path) -> None:
    """Results that count and per-image values, records, histories, labels and galleries, laid out as the runs are.

    Labels of images that may not be republished stay behind, and who is on them: strata cannot be made again from it,
    and intervals over persons become intervals over images.
    What stands in ``folder`` already and is not of these runs is left alone.
    """
    known = [(source, _counting(dataset, source)) for source in sources]
    records = {
        (found[0].recipe, found[0].seed): source.read_record()
        for source, found in known
        if found and source.record_file.exists()
    }
    _write_plates([line for _, found in known for line in found], records, folder)
    fingerprints = {line.provenance.data_fingerprint for _, found in known for line in found}
    for source, found in known:
        # real images of which nothing was measured still give the originals' pictures and the strata
        shows = {fingerprint for fingerprint in fingerprints if source.path.name.endswith(fingerprint[:12])}
        if not found and not ((source.path / LABELS).exists() and shows):
            continue
        target = RunFolder(folder / source.path.parent.name / source.path.name)
        make_dir(target.path)
        target.results.unlink(missing_ok=True)  # they are appended to, and these are all
        results.append(target.results, found)
        target.per_image.unlink(missing_ok=True)
        per_image.write(target.per_image, values_of(source, found))
        shows |= {line.provenance.data_fingerprint for line in found}
        galleries = sorted(gallery_file(source.path, fingerprint) for fingerprint in shows)
        # where the images may not be shown, and so have no gallery, their labels may not be handed on either
        labels = [source.path / LABELS] if any(gallery.exists() for gallery in galleries) else []
        for path in (source.record_file, source.history, source.warnings, *galleries, *labels):
            if path.exists():
                write_atomic(target.path / path.name, partial(shutil.copyfile, path))
