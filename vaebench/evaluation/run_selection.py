"""Choose the runs that an evaluation measures: rank 0 finds them, so that all processes measure the same ones."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.datasets import DATASETS
from vaebench.runs.find import find_runs, unfinished
from vaebench.runs.record import RunFolder, RunRecord

log = logging.getLogger(__name__)

Work = list[tuple[RunFolder, RunRecord]]


def runs_to_measure(
    names: Sequence[str],
    *,
    every: bool,
    dataset: str | None,
    snapshots: bool,
    say: Callable[[str], None],
    group: Group,
) -> Work:
    """Find the named runs of the dataset, or with ``every`` all finished ones; skipped runs are reported.
    With ``snapshots``, those of each run come before it.

    Raises :class:`UserError` where there is none, where a named one is not finished or was not trained here, and
    where a process of ``group`` does not see what the first one found.
    """
    found = group.led(partial(_found, names, every, dataset, snapshots, say))
    work: Work = []
    with suppress(UserError):
        work = [(folder, folder.read_record()) for folder in found]
    said = "processes do not all see the runs that the first one found: give all the same VAEBENCH_RUNS"
    group.agree(" ".join(record.weights_sha256 for _, record in work), said)
    return work


def _found(
    names: Sequence[str], every: bool, dataset: str | None, snapshots: bool, say: Callable[[str], None]
) -> list[RunFolder]:
    chosen = find_runs(names) if names else [RunFolder(path.parent) for path in _records()] if every else []
    untrained = [folder.path for folder in chosen if folder.results.exists() and not folder.record_file.exists()]
    if untrained:
        raise UserError(f"{untrained[0]} was not trained here: measure its images with --images and --name")
    work = [(folder, record) for folder in chosen if (record := _record(folder, every=every)) is not None]
    if dataset is not None and dataset not in {record.dataset for _, record in work}:  # a run's may be a user's own
        DATASETS.get(dataset)  # a misspelt name is said as such
    work = [(folder, record) for folder, record in work if dataset in (None, record.dataset)]
    for folder, record in [pair for pair in work if pair[1].status != "finished"]:
        if names:
            raise UserError(unfinished(folder, record))
        say(f"{folder.path}: not finished, passed over")
        work.remove((folder, record))
    if not work:
        raise UserError(
            "nothing to measure: name a RUN, or --all once something is trained ('vaebench train'); --images measures "
            "images, --model a model from elsewhere"
        )
    chosen = [folder for folder, _ in work]
    return [each for folder in chosen for each in (*(_readable(folder) if snapshots else ()), folder)]


def _readable(folder: RunFolder) -> list[RunFolder]:
    """List a run's snapshots without those that are damaged, which are reported."""
    found = []
    for place in folder.snapshots():
        record = _record(place, every=True)
        if record is not None and record.status == "finished":
            found.append(place)
    return found


def _record(folder: RunFolder, *, every: bool) -> RunRecord | None:
    """Read the run's record; if all runs are wanted, a damaged one is reported and skipped."""
    try:
        return folder.read_record()
    except UserError as error:
        if not every:
            raise
        log.warning("passed over: %s", error)
        return None


def _records() -> list[Path]:
    return sorted(runs_dir().glob("*/seed-*/run.json"))
