"""Read what was measured on one dataset from the runs folder: results, per-image values, records and pictures."""

import json
import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.core.results import Facts, Result
from vaebench.core.setting_names import order_of
from vaebench.core.strata import strata
from vaebench.core.subjects import EXTERNAL, REAL, is_baseline, is_model, is_real
from vaebench.metrics import facts_of
from vaebench.runs import history, per_image
from vaebench.runs.galleries import Pixels, gallery_file, load_gallery
from vaebench.runs.per_image import PerImageValues, Series
from vaebench.runs.record import RunFolder, RunRecord

log = logging.getLogger(__name__)

LABELS = "images.parquet"
Subject = tuple[str, int | None]  # recipe and seed; the real images and external ones have no seed
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A model in the course of its training: the record of a training that long, and what was measured of it."""

    record: RunRecord
    results: Sequence[Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All results, values, records and pictures of the runs on one dataset."""

    dataset: str
    results: Sequence[Result]
    values: Mapping[Subject, Mapping[Series, PerImageValues]]
    strata: Mapping[str, Mapping[str, Mask]]  # data fingerprint -> stratum -> which images
    labels: Mapping[str, Mapping[str, Sequence[int]]]  # data fingerprint -> column -> values
    people: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict
    )  # data fingerprint -> image id -> who is on it
    galleries: Mapping[Subject, Mapping[str, Pixels]] = field(default_factory=dict)
    records: Mapping[Subject, RunRecord] = field(default_factory=dict)
    warnings: Mapping[Subject, Sequence[str]] = field(default_factory=dict)
    folders: Mapping[Subject, Path] = field(default_factory=dict)
    originals: Mapping[str, Path] = field(default_factory=dict)  # data fingerprint -> folder of the real images
    snapshots: Mapping[Subject, Sequence[Snapshot]] = field(default_factory=dict)  # by step; without the last
    dropped: frozenset[Path] = frozenset()  # folders of models that were left out

    def parts(self) -> "list[Measured]":
        """Split by split and data fingerprint, ``test`` first: numbers of different images are never compared."""
        known = {(line.split, line.provenance.data_fingerprint) for line in self.results}
        return [self._part(*key) for key in sorted(known, key=lambda key: (key[0] != "test", key))]

    def _part(self, split: str, fingerprint: str) -> "Measured":
        def here(line: Result) -> bool:
            return (line.split, line.provenance.data_fingerprint) == (split, fingerprint)

        lines = [line for line in self.results if here(line)]
        subjects = {(line.recipe, line.seed) for line in lines}
        return replace(
            self,
            results=lines,
            values={
                subject: {
                    series: content
                    for series, content in known.items()
                    if (series.split, series.data_fingerprint) == (split, fingerprint)
                }
                for subject, known in self.values.items()
            },
            records={key: record for key, record in self.records.items() if key in subjects},
            warnings={key: found for key, found in self.warnings.items() if key in subjects},
            snapshots={
                key: [replace(one, results=[line for line in one.results if here(line)]) for one in found]
                for key, found in self.snapshots.items()
                if key in subjects
            },
        )

    def only(self, models: Container[str], seeds: Container[int]) -> "Measured":
        """Return a copy without other models, and without trainings of them with other seeds.

        Real images and baselines stay, of the images that these models were measured on.

        Raises:
            UserError: nothing of these models was measured.
        """

        def wanted(subject: Subject) -> bool:
            recipe, seed = subject
            elsewhere = recipe.startswith(EXTERNAL) or seed is None
            return not is_model(recipe) or (recipe in models and (elsewhere or seed in seeds))

        lines = [line for line in self.results if wanted((line.recipe, line.seed))]
        if not any(is_model(line.recipe) for line in lines):
            reason = f"none of these models was measured on '{self.dataset}' in {runs_dir()}"
            raise UserError(f"{reason}: measure them first")
        images = {(line.split, line.provenance.data_fingerprint) for line in lines if is_model(line.recipe)}
        lines = [line for line in lines if (line.split, line.provenance.data_fingerprint) in images]
        return replace(
            self,
            results=lines,
            values={key: found for key, found in self.values.items() if wanted(key)},
            records={key: found for key, found in self.records.items() if wanted(key)},
            warnings={key: found for key, found in self.warnings.items() if wanted(key)},
            folders={key: found for key, found in self.folders.items() if wanted(key)},
            snapshots={key: found for key, found in self.snapshots.items() if wanted(key)},
            dropped=frozenset(path.resolve() for key, path in self.folders.items() if not wanted(key)),
        )

    def kept(self, folders: Iterable[RunFolder]) -> list[RunFolder]:
        """Return the folders without those of models that :meth:`only` has left out."""
        return [folder for folder in folders if folder.path.resolve() not in self.dropped]

    def with_galleries(self) -> "Measured":
        """Return a copy with its pictures read from disk."""
        weights = {(line.recipe, line.seed): line.provenance.weights_sha256 for line in self.results}
        files = self.gallery_files()
        return replace(
            self,
            galleries={subject: _gallery(path, weights.get(subject, "")) for subject, path in files.items()},
        )

    def gallery_files(self) -> dict[Subject, Path]:
        """Name the file of each subject's pictures, whether or not it is there."""
        fingerprint = self.results[0].provenance.data_fingerprint
        folders: dict[Subject, Path] = dict(self.folders)
        if fingerprint in self.originals:
            folders[REAL, None] = self.originals[fingerprint]
        return {subject: gallery_file(path, fingerprint) for subject, path in folders.items()}

    def facts(self) -> dict[tuple[str, str], Facts]:
        """How each metric is shown, by metric and protocol."""
        return {(line.metric, line.protocol): facts_of(line) for line in self.results}

    def last_measured(self) -> dict[str, str]:
        """When each recipe was measured last, ISO 8601, UTC."""
        times: dict[str, str] = {}
        for line in self.results:
            times[line.recipe] = max(times.get(line.recipe, ""), line.provenance.created)
        return times

    def models(self) -> list[str]:
        """List :meth:`recipes` without the baselines, which are no models of images."""
        return [name for name in self.recipes() if not is_baseline(name)]

    def mixed(self) -> dict[str, list[str]]:
        """Return the recipes whose seeds were not trained alike, and the fields of their records that differ."""
        found = {}
        for name in self.recipes():
            records = [record for (recipe, _), record in sorted(self.records.items(), key=str) if recipe == name]
            fields = sorted({field for record in records for field in records[0].conflicts(record)})
            if fields:
                found[name] = fields
        return found

    def recipes(self) -> list[str]:
        """List the real images first, then recipes and external sets by name."""
        names = {result.recipe for result in self.results}
        return sorted(names, key=lambda name: (not is_real(name), order_of(name)))


def _gallery(path: Path, weights_sha256: str) -> Mapping[str, Pixels]:
    """Read the pictures of these weights; damaged ones are left out and logged."""
    try:
        return load_gallery(path, weights_sha256)
    except UserError as error:
        log.warning("left out: %s", error)
        return {}


def all_folders() -> list[RunFolder]:
    """List every folder with results in the runs folder; copies kept elsewhere do not count."""
    found = {
        path for pattern in ("*/seed-*", "external/*", "real/*", "baseline/*") for path in runs_dir().glob(pattern)
    }
    ordered = sorted(found, key=lambda path: (order_of(path.parent.name), path.name))
    return [RunFolder(path) for path in ordered if (path / "results.jsonl").is_file()]


def datasets_measured(folders: Iterable[RunFolder]) -> list[str]:
    """List the datasets that something was measured on; a folder whose results are damaged is logged."""
    found = set()
    for folder in folders:
        try:
            found |= {result.dataset for result in results.read(folder.results)}
        except UserError as error:
            log.warning("left out: %s", error)
    return sorted(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What one folder holds about the dataset."""

    subject: Subject
    path: Path
    results: Sequence[Result]
    values: Mapping[Series, PerImageValues]
    record: RunRecord | None
    warnings: Sequence[str]
    snapshots: Sequence[Snapshot]
    unsigned: int  # files or lines that an earlier version wrote without a digest


def collect(dataset: str, folders: Iterable[RunFolder]) -> Measured:
    """Read the folders' results on ``dataset``, without those of weights that have been replaced since.

    A folder that is damaged is left out, and said.

    Raises:
        UserError: nothing was measured on the dataset, or two folders hold the same run.
    """
    folders = list(folders)
    runs: list[_Run] = []
    for folder in folders:
        try:
            found = _read_run(folder, dataset)
        except UserError as error:
            log.warning("left out: %s", error)
        else:
            runs += [] if found is None else [found]
    if not runs:
        raise UserError(f"nothing was measured on '{dataset}' in {runs_dir()}: run 'vaebench evaluate --all' first")
    unsigned = [run for run in runs if run.unsigned]
    if unsigned:
        told = "%s: results of %d of %d runs have no digests (an earlier version wrote them): damage goes unnoticed"
        log.info(told, dataset, len(unsigned), len(runs))
    values: dict[Subject, dict[Series, PerImageValues]] = {}
    places: dict[Subject, Path] = {}
    for run in runs:
        values.setdefault(run.subject, {}).update(run.values)
        if run.subject in places and is_model(run.subject[0]):
            raise UserError(f"{places[run.subject]} and {run.path} hold the same run: move one out of {runs_dir()}")
        places[run.subject] = run.path
    kept = [line for run in runs for line in run.results]
    labelled = _labelled({line.provenance.data_fingerprint for line in kept}, folders)
    return Measured(
        dataset=dataset,
        results=kept,
        values=values,
        records={run.subject: run.record for run in runs if run.record is not None},
        warnings={run.subject: run.warnings for run in runs if run.warnings},
        folders=places,
        snapshots={run.subject: run.snapshots for run in runs if run.snapshots},
        **labelled,
    )


def _read_run(folder: RunFolder, dataset: str) -> _Run | None:
    """Read and check one folder; ``None`` if nothing in it is of the dataset."""
    record = folder.read_record() if folder.record_file.exists() else None
    found = [line for line in current(folder, record) if line.dataset == dataset]
    if not found:
        return None
    history.read(folder.history)  # drawn later; a damaged one is said now, with the run's name
    signed = not folder.per_image.exists() or per_image.has_digest(folder.per_image)
    return _Run(
        subject=(found[0].recipe, found[0].seed),
        path=folder.path,
        results=found,
        values=values_of(folder, found),
        record=record,
        warnings=folder.read_warnings(),
        snapshots=_snapshots(folder, record, dataset),
        unsigned=results.count_without_digest(folder.results) + (not signed),
    )


def _snapshots(folder: RunFolder, record: RunRecord | None, dataset: str) -> list[Snapshot]:
    """Read the measured snapshots of a run that are shorter than it, those of another training left out.

    Damaged ones are logged.
    """
    found: list[Snapshot] = []
    if record is None:
        return found
    for place in folder.snapshots():
        if not (place.record_file.exists() and place.results.exists()):
            continue
        try:
            kept = place.read_record()
            lines = [line for line in current(place, kept) if line.dataset == dataset]
        except UserError as error:  # the run itself is whole
            log.warning("snapshot left out: %s", error)
            continue
        steps = kept.steps == int(place.path.name) < record.steps
        alike = not set(record.conflicts(kept)) - {"steps"}
        found += [Snapshot(record=kept, results=lines)] if lines and steps and alike else []
    return found


class _Labelled(TypedDict):
    """Strata, labels, people and folders of real images, each by data fingerprint, as :class:`Measured` has them."""

    strata: dict[str, dict[str, Mask]]
    labels: dict[str, dict[str, list[int]]]
    people: dict[str, dict[str, int]]
    originals: dict[str, Path]


def _labelled(fingerprints: Iterable[str], folders: Sequence[RunFolder]) -> _Labelled:
    """Read labels and strata of the real images; damaged ones are left out and logged."""
    known = _Labelled(strata={}, labels={}, people={}, originals={})
    originals = [folder.path for folder in folders if (folder.path / LABELS).exists()]
    for fingerprint in sorted(fingerprints):
        # by name: where no metric asked was one of the real images, their folder has labels but no results
        for path in [path for path in originals if path.name.endswith(fingerprint[:12])]:
            known["originals"][fingerprint] = path
            try:
                ids, columns = per_image.read_labels(path / LABELS)
            except UserError as error:
                log.warning("left out: %s", error)
                continue
            if per_image.PERSON in columns:
                known["people"][fingerprint] = dict(zip(ids, columns.pop(per_image.PERSON), strict=True))
            known["strata"][fingerprint] = {name: np.array(rows) for name, rows in strata(columns).items()}
            known["labels"][fingerprint] = columns
    return known


def current(folder: RunFolder, record: RunRecord | None) -> list[Result]:
    """Return a folder's newest results, without those of replaced weights or external images."""
    lines = results.read(folder.results)
    content = lines[-1].provenance.weights_sha256 if record is None and lines else ""
    wanted = content if record is None else record.weights_sha256
    newest = [line for line in results.latest(lines) if line.provenance.weights_sha256 == wanted]
    # strata count while they are of the same pass as their metric's value over all images
    passes = {(*_measured(line), line.provenance.created) for line in newest if line.stratum == "all"}
    return [line for line in newest if (*_measured(line), line.provenance.created) in passes]


def _measured(line: Result) -> tuple[str, ...]:
    return line.dataset, line.split, line.provenance.data_fingerprint, line.metric, line.protocol


def values_of(folder: RunFolder, found: Sequence[Result]) -> dict[Series, PerImageValues]:
    """Return the per-image values of ``found``: the file may hold older ones, of replaced weights."""
    spoken_of = {
        Series(line.dataset, line.split, line.provenance.data_fingerprint, line.metric, line.protocol, line.stratum)
        for line in found
        if line.value is not None
    }
    read = per_image.read(folder.per_image) if folder.per_image.exists() else {}
    return {series: content for series, content in read.items() if series in spoken_of}


def provenance_lines(result: Result) -> list[str]:
    """Format where one number came from, one fact a line."""
    source = result.provenance
    error = "" if result.std_error is None else f" ± {result.std_error:.6g} (standard error over images)"
    value = "n/a" if result.value is None else f"{result.value:.10g}{error}"
    seed = "none" if result.seed is None else str(result.seed)
    facts = {
        "value": value,
        "note": result.note,
        "unit, direction": f"{result.unit}, {result.direction}",
        "protocol": result.protocol,
        "data": f"{result.dataset}:{result.split}, stratum {result.stratum}, n = {result.n}",
        "data fingerprint": source.data_fingerprint,
        "training seed": seed,
        "weights sha256": source.weights_sha256,
        "extractor sha256": source.extractor_sha256,
        "versions": f"vaebench {source.vaebench_version}, {json.dumps(source.versions, sort_keys=True)}",
        "device": source.device,
        "measured": f"{source.created}, in a pass of {source.seconds} s",
        "command": source.command,
        "made by": source.made_by,
    }
    return [f"{name:17} {text}" for name, text in facts.items() if text]
