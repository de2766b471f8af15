"""Measurements made by hand, in memory or as folders on disk: the tests' own, not a test."""

import numpy as np

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.core.results import Provenance, Result
from vaebench.core.strata import strata
from vaebench.report.analysis.measured import Measured
from vaebench.runs import galleries, per_image
from vaebench.runs.per_image import PerImageValues, Series
from vaebench.runs.record import RunFolder

FINGERPRINT = "f" * 64
DIRECTIONS = {"blur": "target", "mse": "lower", "ssim": "higher", "kl": "lower"}


def drawn(seed, n, mean=0.0, spread=1.0):
    return np.random.default_rng(seed).normal(mean, spread, n)


def series(metric, protocol="recon", fingerprint=FINGERPRINT):
    return Series("toy", "test", fingerprint, metric, protocol)


def provenance(**changes):
    known = {
        "data_fingerprint": FINGERPRINT,
        "weights_sha256": "",
        "extractor_sha256": "",
        "vaebench_version": "0.0",
        "versions": {"python": "3.11", "torch": "2", "numpy": "2"},
        "device": "abacus",
        "command": "vaebench evaluate",
        "created": "2026-01-02T03:04:05+00:00",
        "seconds": 1.5,
    }
    return Provenance(**{**known, **changes})


def result(recipe, seed, metric, value, **changes):
    known = {
        "dataset": "toy",
        "split": "test",
        "stratum": "all",
        "protocol": "recon",
        "unit": "units",
        "direction": DIRECTIONS.get(metric, "lower"),
        "std_error": None,
        "n": 1,
        "note": "",
        "provenance": provenance(),
    }
    return Result(recipe=recipe, seed=seed, metric=metric, value=value, **{**known, **changes})


def ids_of(n, prefix="toy"):
    return tuple(f"{prefix}/{i}" for i in range(n))


def lines_of(recipe, seed, metric, values, masks, **changes):
    cuts = {"all": np.ones(len(values), bool), **masks}
    return [
        result(
            recipe,
            seed,
            metric,
            float(values[mask].mean()) if mask.any() else None,
            stratum=stratum,
            std_error=float(values[mask].std(ddof=1) / np.sqrt(mask.sum())) if mask.sum() > 1 else None,
            n=int(mask.sum()),
            **changes,
        )
        for stratum, mask in cuts.items()
    ]


def measured(runs, *, metric="mse", labels=None, ids=None, more=()):
    """``runs``: (recipe, seed) -> per-image values; ``ids``: recipe -> image ids; ``more``: further results."""
    cuts = {} if labels is None else {name: np.array(rows) for name, rows in strata({"label": labels}).items()}
    lines, values = list(more), {}
    for (recipe, seed), scores in runs.items():
        unpaired = ids is not None and recipe in ids
        lines += lines_of(recipe, seed, metric, np.asarray(scores), {} if unpaired else cuts)
        names = ids[recipe] if unpaired else ids_of(len(scores))
        values[recipe, seed] = {series(metric): PerImageValues(tuple(names), np.asarray(scores))}
    return Measured(
        dataset="toy",
        results=lines,
        values=values,
        strata={FINGERPRINT: cuts} if cuts else {},
        labels={FINGERPRINT: {"label": labels}} if labels is not None else {},
    )


def write_run(recipe, seed, scores, *, root=None, name=None, **changes):
    """A measured run without weights on disk; ``scores``: metric -> per-image values; ``changes`` of its results."""
    inner = name or (f"{recipe}/seed-{seed}" if seed is not None else recipe)
    folder = RunFolder((root or runs_dir()) / inner)
    kept = {series(metric): PerImageValues(ids_of(len(values)), values) for metric, values in scores.items()}
    per_image.write(folder.per_image, kept)
    lines = [
        line for metric, values in scores.items() for line in lines_of(recipe, seed, metric, values, {}, **changes)
    ]
    results.append(folder.results, lines)
    return folder


def write_real(scores, labels=None):
    folder = write_run("real", None, scores, name=f"real/toy-test-{FINGERPRINT[:12]}")
    if labels is not None:
        per_image.write_labels(folder.path / "images.parquet", ids_of(len(labels)), {"label": labels})
        # images that may be shown have a gallery, though this one holds none
        gallery = galleries.gallery_file(folder.path, FINGERPRINT)
        galleries.save_gallery(gallery, {"none": np.zeros((0, 1, 1, 1), np.uint8)})
    return folder
