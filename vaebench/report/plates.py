"""Figures that studies drew, taken up into the report: copied beside the others, with their captions."""

import logging
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vaebench.core.places import write_atomic
from vaebench.plates import Plate, folder_of, read_plates
from vaebench.report.collect import Measured

log = logging.getLogger(__name__)


def take_up(measured: Measured, folder: Path) -> Mapping[str, str]:
    """Copy the plates of a part into the report's figures; file name -> caption.

    One that shows weights which have been replaced since is left out, and said.
    """
    captions = {}
    source = _source(measured)
    for plate in read_plates(source):
        stale = _stale(plate, measured)
        if stale:
            log.warning("%s shows weights of %s that were replaced: draw it again", plate.name, ", ".join(stale))
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


def _stale(plate: Plate, measured: Measured) -> list[str]:
    known = {f"{recipe}/seed-{seed}": record.weights_sha256 for (recipe, seed), record in measured.records.items()}
    return [name for name, weights in plate.runs.items() if known.get(name, weights) != weights]


def _beside(plate: Plate) -> str:
    return f" Beside it: {', '.join(plate.files[1:])}." if len(plate.files) > 1 else ""
