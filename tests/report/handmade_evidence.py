"""A report with evidence of everything that tables are made of, by hand: the tests' own, not a test."""

from pathlib import Path

import numpy as np
from handmade import FINGERPRINT, drawn, ids_of, provenance, result

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.core.strata import strata
from vaebench.report import write
from vaebench.report.write import Report, write_report
from vaebench.runs import per_image
from vaebench.runs.galleries import gallery_file, save_gallery
from vaebench.runs.per_image import PerImageValues, Series
from vaebench.runs.record import RunFolder

N, DRAWS = 60, 45
SPLITS = {"test": FINGERPRINT, "val": "a" * 64}
LABELS = {"label": [i % 3 for i in range(N)], "Smiling": [int(i % 4 == 0) for i in range(N)]}
ATTRIBUTES = ("Male", "Young")
MODELS = {"vae": 3, "gan": 2, "alike": 3, "single": 1, "external/made": None, "baseline/pca": None, "real": None}
IMAGES = np.random.default_rng(99).normal(0, 1, N)  # what images have in common, whoever is measured
DECLARED = {
    "mse": ("lower", "5%"),
    "ssim": ("higher", "0.01"),
    "blur": ("target", "5%"),
    "kl": ("lower", "none"),
    "recall": ("higher", "none"),
    "svm_accuracy": ("higher", "0.01"),
    "svm_lift": ("higher", "0.01"),
    "fid": ("lower", "5%"),
    "fcd": ("target", ""),
    "parameters": ("lower", ""),
    "lpips": ("lower", ""),
}


class Run:
    """One run's results and values, gathered and then written."""

    def __init__(self, recipe, seed, fingerprint, split):
        self.recipe, self.seed, self.fingerprint, self.split = recipe, seed, fingerprint, split
        self.lines, self.kept = [], {}

    def line(self, metric, value, protocol="recon", **changes):
        direction, margin = DECLARED[metric]
        known = {"protocol": protocol, "direction": direction, "margin": margin, "split": self.split}
        source = provenance(data_fingerprint=self.fingerprint)
        self.lines.append(result(self.recipe, self.seed, metric, value, **{**known, "provenance": source, **changes}))

    def images(self, metric, values, protocol="recon", *, ids=None, stratum="all", influence=False, cut=True):
        key = Series("toy", self.split, self.fingerprint, metric, protocol, stratum)
        self.kept[key] = PerImageValues(tuple(ids or ids_of(len(values), self.split)), values, influence)
        masks = {stratum: [True] * len(values)} | (strata(LABELS) if cut and ids is None and stratum == "all" else {})
        for name, mask in masks.items():
            part = values[np.array(mask)]
            error = part.std(ddof=1) / len(part) ** 0.5
            self.line(metric, part.mean(), protocol, stratum=name, std_error=error, n=len(part))

    def write(self):
        name = f"{self.recipe}/seed-{self.seed}" if self.seed is not None else self.recipe
        name += f"/toy-{self.split}-{self.fingerprint[:12]}" if self.recipe == "real" else ""
        folder = RunFolder(runs_dir() / name)
        per_image.write(folder.per_image, self.kept)
        results.append(folder.results, self.lines)
        return folder


def _measure(run, place, rng):
    """Everything that there is to measure of a model; ``place`` sets it apart from the others."""
    shift = 0.0 if run.recipe == "alike" else 0.3 * place
    training = 0.05 * rng.normal() if run.seed is not None else 0.0
    for metric, mean in {"mse": 20, "ssim": 0.5, "blur": 7 - 2 * (place == 1)}.items():
        scale = 0.01 if metric == "ssim" else 1.0
        noise = rng.normal(0, 0.02 if run.recipe in ("vae", "alike") else 0.3, N)
        run.images(metric, mean + scale * (IMAGES + shift + training + noise))
    drawn_ids = tuple(f"{run.recipe}/{i:06d}" for i in range(DRAWS))
    run.images("blur", 6 + shift + rng.normal(0, 1, DRAWS), "samples", ids=drawn_ids)
    run.images("recall", 0.4 + 0.1 * shift + rng.normal(0, 0.1, DRAWS), "k=3/samples", ids=drawn_ids, influence=True)
    right = [(rng.random(N) < 0.9 - 0.2 * shift).astype(float) for _ in ATTRIBUTES]
    for name, column in zip(ATTRIBUTES, right, strict=True):
        run.images("svm_accuracy", column, "official", stratum=f"attribute={name}")
        run.line("svm_lift", column.mean() - 0.6, "official", stratum=f"attribute={name}", n=N)
    run.images("svm_accuracy", np.mean(right, axis=0), "official")
    run.line("svm_lift", np.mean(right) - 0.6, "official", n=N)
    run.images("svm_accuracy", right[0], "majority", cut=False)
    run.line("fid", 3 + shift + rng.normal(0, 0.1), "inception64/n=45/samples", n=DRAWS)
    run.line("fcd", 3 + shift + training, "n=45/samples", n=DRAWS)
    run.line("parameters", 1000.0 + 10 * (place // 2), "trained", std_error=0.0)
    if run.recipe == "gan":
        run.line("lpips", None, note="needs | AlexNet", n=0)
    elif run.recipe == "vae":
        run.line("lpips", 0.25 + 0.1 * training)
    if run.recipe == "single":
        run.line("kl", 2.5, "posterior", std_error=0.25, n=N)


def _real(fingerprint, split, *, people, shown):
    run = Run("real", None, fingerprint, split)
    for protocol in ("recon", "samples"):
        run.images("blur", 7.5 + IMAGES + drawn(7, N, 0, 0.1), protocol)
    run.line("fcd", 3.0, "n=45/samples", n=N)
    columns = {**LABELS, **({"person": [i // 2 for i in range(N)]} if people else {})}
    folder = run.write().path
    per_image.write_labels(folder / "images.parquet", ids_of(N, split), columns)
    if shown:
        save_gallery(gallery_file(folder, fingerprint), {"originals": np.zeros((4, 8, 8, 1), np.uint8)})


def write_evident_report(out: Path, *, people: bool = False, shown: bool = True, models=MODELS, splits=SPLITS) -> Path:
    """Several seeds, two splits, strata, draws, attributes, people, images made elsewhere and baselines.

    Images that are not ``shown`` may not be republished, nor their labels.
    """
    for split, fingerprint in splits.items():
        _real(fingerprint, split, people=people, shown=shown)
        for place, (recipe, seeds) in enumerate(models.items()):
            for seed in [None] if seeds is None else range(seeds):
                if recipe == "real" or (split == "val" and place > 1):
                    continue
                run = Run(recipe, seed, fingerprint, split)
                _measure(run, place, np.random.default_rng([place, seed or 0, people]))
                run.write()
    return write_report("toy", out, Report(published=Path("none"), evidence=True))[0]


def without_figures(monkeypatch):
    for name in ("draw_all", "draw_curves"):
        monkeypatch.setattr(write, name, lambda measured, folder: {})
