"""A report's ``evidence`` folder as plain tables, read without vaebench: what every published cell must follow from."""

import json
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd

REAL = "real"
REALS = (REAL, "real/train")  # and training images in place of samples
BASELINE = "baseline/"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One recipe's values (seeds, images) of one metric; values that are one a run have one column and no ids."""

    name: str
    values: np.ndarray
    fixed: bool  # no training stands behind it
    ids: tuple[str, ...] = ()
    influence: bool = False
    people: np.ndarray | None = None  # who is on each image
    people_withheld: bool = False  # the report knew, its evidence may not say

    @cached_property
    def of_seeds(self):
        return self.values.mean(axis=1)

    @cached_property
    def of_images(self):
        return self.values.mean(axis=0)

    @cached_property
    def residual(self):
        """What neither the seed's nor the image's mean explains."""
        return self.values - self.of_seeds[:, None] - self.of_images + self.values.mean()

    def among(self, wanted):
        """On a part of the images: ``wanted``, a set of ids."""
        mask = np.array([name in wanted for name in self.ids])
        people = None if self.people is None else self.people[mask]
        return replace(self, ids=tuple(compress(self.ids, mask)), values=self.values[:, mask], people=people)

    @property
    def seeds_averaged(self):
        return replace(self, values=self.of_images[None])


@dataclass(kw_only=True)
class Section:
    """One split and data fingerprint."""

    split: str
    fingerprint: str
    lines: list[dict]
    samples: dict[tuple[str, str, str], dict[str, Sample]] = field(default_factory=dict)
    labels: pd.DataFrame | None = None  # by image id
    people_withheld: bool = False
    cuts: dict[tuple, Sample | None] = field(default_factory=dict)

    @cached_property
    def known(self):
        """The split's images."""
        return set(self.labels.index.tolist())

    @cached_property
    def strata(self):
        """(metric, protocol) -> all strata that results speak of."""
        found = {}
        for line in self.lines:
            found.setdefault((line["metric"], line["protocol"]), set()).add(line["stratum"])
        return found

    @cached_property
    def subsets(self):
        """Stratum -> image ids, of the strata that labels define (``label=1``, ``label!=1``, ``Smiling=1``)."""
        named = {}
        for stratum in {line["stratum"] for line in self.lines} if self.labels is not None else ():
            column, _, value = stratum.partition("=")
            among = self.labels.get(column.removesuffix("!"))
            if among is not None:
                hit = (among != int(value)) if column.endswith("!") else (among == int(value))
                named[stratum] = set(among.index[hit].tolist())
        return named

    @cached_property
    def withheld(self):
        """Strata that cannot be cut again, since labels of images that may not be republished stay behind."""
        if self.labels is not None:
            return set()
        own = {stratum for _, _, stratum in self.samples} | {"all"}
        parts = ("attribute=", "condition=")
        return {line["stratum"] for line in self.lines if not line["stratum"].startswith(parts)} - own

    def sample(self, recipe, metric, protocol, stratum):
        """A recipe's values image by image: kept by the stratum itself, else that cut of all; None without any."""
        key = (recipe, metric, protocol, stratum)
        if key not in self.cuts:
            own = self.samples.get((metric, protocol, stratum), {}).get(recipe)
            whole = self.samples.get((metric, protocol, "all"), {}).get(recipe)
            cut = own is None and whole is not None and stratum in self.subsets
            if cut and set(whole.ids) <= self.known:  # images of the split: they alone have labels
                own = whole.among(self.subsets[stratum])
            self.cuts[key] = own
        return self.cuts[key]

    def declared(self, metric, protocol, what):
        """As the newest measurement says: ``direction`` or ``margin``."""
        own = [line for line in self.lines if (line["metric"], line["protocol"]) == (metric, protocol)]
        return max(own, key=lambda line: line["provenance"]["created"])[what]


def read_parts(evidence: Path, dataset: str, clustered: Container[str] = ()) -> list[Section]:
    """The parts of a dataset's evidence, ``test`` first, as reports have them.

    ``clustered``: splits whose report knew who is on each image, whether or not its evidence may say so.
    """
    folders = [path.parent for path in sorted(evidence.glob("*/*/results.jsonl"))]
    lines = {folder: list(_current(folder, dataset)) for folder in folders}
    keys = {(line["split"], line["provenance"]["data_fingerprint"]) for found in lines.values() for line in found}
    parts = []
    for split, fingerprint in sorted(keys, key=lambda key: (key[0] != "test", key)):
        own = {
            folder: [line for line in found if _place(line) == (split, fingerprint)] for folder, found in lines.items()
        }
        part = Section(split=split, fingerprint=fingerprint, lines=[line for found in own.values() for line in found])
        people = _read_labels(part, evidence)
        part.people_withheld = split in clustered and part.labels is None
        _add_samples(part, {folder: found for folder, found in own.items() if found}, people)
        parts.append(part)
    return parts


def _place(line):
    return line["split"], line["provenance"]["data_fingerprint"]


def _current(folder: Path, dataset: str) -> Iterator[dict]:
    """The latest line of each measurement of the weights that the run has now; strata of the latest pass only."""
    texts = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [line for text in texts for line in _each(json.loads(text))]
    record = folder / "run.json"
    weights = lines[-1]["provenance"]["weights_sha256"] if lines else ""
    if record.exists():
        weights = json.loads(record.read_text(encoding="utf-8"))["weights_sha256"]

    def measures(line):
        return (line["dataset"], *_place(line), line["metric"], line["protocol"])

    latest = {(line["recipe"], line["seed"], line["stratum"], *measures(line)): line for line in lines}
    kept = [line for line in latest.values() if line["provenance"]["weights_sha256"] == weights]
    passes = {(*measures(line), line["provenance"]["created"]) for line in kept if line["stratum"] == "all"}
    for line in kept:
        if line["dataset"] == dataset and (*measures(line), line["provenance"]["created"]) in passes:
            yield line


def _each(line: dict) -> Iterator[dict]:
    """A line's own result, and those of the strata that share it."""
    strata = line.pop("strata", {})
    yield line
    for stratum, own in strata.items():
        yield {**line, **own, "stratum": stratum}


def _read_labels(part: Section, evidence: Path) -> pd.Series | None:
    """Labels into the part; who is on each image, where that is known."""
    for path in sorted(evidence.glob(f"*/*{part.fingerprint[:12]}/images.parquet")):
        part.labels = pd.read_parquet(path).set_index("image_id")
    if part.labels is None or "person" not in part.labels:
        return None
    return part.labels.pop("person")


def _add_samples(part: Section, folders: dict[Path, list[dict]], people: pd.Series | None) -> None:
    """Per-image values that a current line speaks of, seeds stacked."""
    columns = ["metric", "protocol", "stratum"]
    found: dict[tuple, dict[str, list]] = {}
    for folder, lines in sorted(folders.items(), key=lambda item: _seed(item[1])):
        if not (folder / "per_image.parquet").exists():
            continue
        spoken = {tuple(line[name] for name in columns) for line in lines if line["value"] is not None}
        table = pd.read_parquet(folder / "per_image.parquet")
        table = table[(table["split"] == part.split) & (table["data_fingerprint"] == part.fingerprint)]
        for key, rows in table.groupby(columns, sort=False, observed=True):
            if key in spoken:
                found.setdefault(key, {}).setdefault(lines[0]["recipe"], []).append(rows)
    fixed = {line["recipe"]: line["seed"] is None for line in part.lines}
    interned: dict[tuple[str, ...], tuple[str, ...]] = {}
    for key, recipes in found.items():
        part.samples[key] = {
            name: _stacked(name, rows, fixed[name], people, interned) for name, rows in recipes.items()
        }
        for name, sample in part.samples[key].items() if part.people_withheld else ():
            drawn = sample.ids[0].startswith(f"{name}/")
            part.samples[key][name] = replace(sample, people_withheld=not drawn)


def _seed(lines):
    return -1 if lines[0]["seed"] is None else lines[0]["seed"]


def _stacked(name, seeds, fixed, people, interned):
    """Seeds on other images than the first are left out."""
    names = [tuple(rows["image_id"].to_numpy(object).tolist()) for rows in seeds]
    names = [interned.setdefault(own, own) for own in names]  # the same objects, so that comparing them is quick
    same = [rows["value"].to_numpy(np.float64) for rows, own in zip(seeds, names, strict=True) if own == names[0]]
    known = people is not None and set(names[0]) <= set(people.index.tolist())
    return Sample(
        name=name,
        ids=names[0],
        values=np.stack(same),
        fixed=fixed,
        influence=bool(seeds[0]["influence"].iloc[0]),
        people=people.loc[list(names[0])].to_numpy() if known else None,
    )
