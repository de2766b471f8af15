"""Figures that studies drew, taken up into the report: copied beside the others, with their captions."""

import logging
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vaebench.core.places import write_atomic
from vaebench.plates import Plate, folder_of, read_plates
from vaebench.record import RunRecord
from vaebench.report.collect import Measured, Subject

log = logging.getLogger(__name__)


def take_up(measured: Measured, folder: Path) -> Mapping[str, str]:
    """Copy the plates of a part into the report's figures; file name -> caption.

    One that shows weights which have been replaced since is left out, and said.
    """
    captions = {}
    source = _source(measured)
    for plate in read_plates(source):
        stale = stale_runs(plate, measured.records)
        if stale:
            told = "%s shows weights of %s replaced since, or never measured: draw it again"
            log.warning(told, plate.name, ", ".join(stale))
            continue
        for name in plate.files:
            if (source / name).exists():
                write_atomic(folder / name, partial(shutil.copyfile, source / name))
        if (folder / plate.files[0]).exists():
            captions[plate.files[0]] = plate.caption + _beside(plate)
    return captions


def _source(measured: Measured) -> Path:
    first = measured.results[0]
    return folder_of(f"{first.dataset}-{first.split}-{first.provenance.data_fingerprint[:12]}")


def stale_runs(plate: Plate, records: Mapping[Subject, RunRecord]) -> list[str]:
    """The runs that a plate shows with other weights than their records have."""
    known = {f"{recipe}/seed-{seed}": record.weights_sha256 for (recipe, seed), record in records.items()}
    return [name for name, weights in plate.runs.items() if known.get(name) != weights]


def _beside(plate: Plate) -> str:
    return f" Beside it: {', '.join(plate.files[1:])}." if len(plate.files) > 1 else ""
