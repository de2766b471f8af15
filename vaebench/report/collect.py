"""Read what lies in the runs folder about one dataset: results, per-image values, records and pictures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaebench import per_image
from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.places import runs_dir
from vaebench.core.results import Result
from vaebench.core.strata import strata
from vaebench.per_image import PerImageValues, Series
from vaebench.pictures import Pixels, gallery_file, load_gallery
from vaebench.record import RunFolder, RunRecord

REAL = "real"
BASELINE = "baseline/"
LABELS = "images.parquet"
Subject = tuple[str, int | None]  # recipe and seed; the real images and external ones have no seed
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything known about the runs on one dataset, as read from disk."""

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

    def parts(self) -> "list[Measured]":
        """One for each split and data fingerprint, ``test`` first: numbers of different images never meet."""
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
        )

    def with_galleries(self) -> "Measured":
        """A part with its pictures read from disk."""
        fingerprint = self.results[0].provenance.data_fingerprint
        folders: dict[Subject, Path] = dict(self.folders)
        if fingerprint in self.originals:
            folders[REAL, None] = self.originals[fingerprint]
        return replace(
            self,
            galleries={subject: load_gallery(gallery_file(path, fingerprint)) for subject, path in folders.items()},
        )

    def models(self) -> list[str]:
        """:meth:`recipes` without the baselines that are no models of images."""
        return [name for name in self.recipes() if not name.startswith(BASELINE)]

    def recipes(self) -> list[str]:
        """The real images first, then recipes and external sets by name."""
        names = {result.recipe for result in self.results}
        return sorted(names, key=lambda name: (name != REAL, name))


def all_folders() -> list[RunFolder]:
    """Every folder with results where runs, external sets and real images lie; copies kept elsewhere do not count."""
    found = {
        path for pattern in ("*/seed-*", "external/*", "real/*", "baseline/*") for path in runs_dir().glob(pattern)
    }
    return [RunFolder(path) for path in sorted(found) if (path / "results.jsonl").is_file()]


def datasets_measured(folders: Iterable[RunFolder]) -> list[str]:
    """Names of the datasets that something was measured on."""
    return sorted({result.dataset for folder in folders for result in results.read(folder.results)})


def collect(dataset: str, folders: Iterable[RunFolder]) -> Measured:
    """Read the folders' results on ``dataset``; those of weights that have been replaced since are left out.

    Raises :class:`UserError` where nothing was measured on it.
    """
    kept: list[Result] = []
    values: dict[Subject, dict[Series, PerImageValues]] = {}
    cuts: dict[str, dict[str, Mask]] = {}
    labels: dict[str, dict[str, list[int]]] = {}
    people: dict[str, dict[str, int]] = {}
    real: dict[str, Path] = {}
    records: dict[Subject, RunRecord] = {}
    warned: dict[Subject, list[str]] = {}
    places: dict[Subject, Path] = {}
    originals: list[Path] = []
    for folder in folders:
        if (folder.path / LABELS).exists():
            originals.append(folder.path)
        record = folder.read_record() if folder.record_file.exists() else None
        found = [line for line in current(folder, record) if line.dataset == dataset]
        if not found:
            continue
        subject = (found[0].recipe, found[0].seed)
        kept.extend(found)
        values.setdefault(subject, {}).update(values_of(folder, found))
        if subject in places and subject[0] != REAL and not subject[0].startswith(BASELINE):
            raise UserError(f"{places[subject]} and {folder.path} hold the same run: move one out of {runs_dir()}")
        places[subject] = folder.path
        if record is not None:
            records[subject] = record
        if folder.warnings.exists():
            warned[subject] = folder.warnings.read_text(encoding="utf-8").splitlines()
    for fingerprint in sorted({line.provenance.data_fingerprint for line in kept}):
        # by name: where no metric asked was one of the real images, their folder has labels but no results
        for path in [path for path in originals if path.name.endswith(fingerprint[:12])]:
            ids, columns = per_image.read_labels(path / LABELS)
            if per_image.PERSON in columns:
                people[fingerprint] = dict(zip(ids, columns.pop(per_image.PERSON), strict=True))
            cuts[fingerprint] = {name: np.array(rows) for name, rows in strata(columns).items()}
            labels[fingerprint] = columns
            real[fingerprint] = path
    if not kept:
        raise UserError(f"nothing was measured on '{dataset}' in {runs_dir()}: run 'vaebench evaluate --all' first")
    return Measured(
        dataset=dataset,
        results=kept,
        values=values,
        strata=cuts,
        labels=labels,
        people=people,
        records=records,
        warnings=warned,
        folders=places,
        originals=real,
    )


def current(folder: RunFolder, record: RunRecord | None) -> list[Result]:
    """The newest results of a folder, without those of weights, or of external images, replaced since."""
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
    """Per-image values that ``found`` speaks of: the file may hold older ones, of weights since replaced."""
    spoken_of = {
        Series(line.dataset, line.split, line.provenance.data_fingerprint, line.metric, line.protocol, line.stratum)
        for line in found
        if line.value is not None
    }
    read = per_image.read(folder.per_image) if folder.per_image.exists() else {}
    return {series: content for series, content in read.items() if series in spoken_of}


def provenance_lines(result: Result) -> list[str]:
    """Where one number came from, one fact a line."""
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
    }
    return [f"{name:17} {text}" for name, text in facts.items() if text]
