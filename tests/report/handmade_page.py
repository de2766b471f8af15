"""Parts of a page made by hand: the tests' own, not a test."""

from dataclasses import replace

import numpy as np
from handmade import drawn, ids_of, measured, provenance, result

from vaebench.report.analysis import comparisons, leaderboard
from vaebench.report.analysis.mean_ranks import MeanRanks
from vaebench.report.remarks import Remarks
from vaebench.report.section import Section
from vaebench.runs.record import RunRecord

N = 40
NASTY = "<script>alert(1)</script>"
SLY = '"onmouseover=alert(2) x="'


def ranks(names, average_ranks, **changes):
    """A standing with the ranks that a test wants."""
    known = {"metrics": ("mse (recon)", "fid (samples)")}
    return MeanRanks(names=names, average_ranks=average_ranks, **{**known, **changes})


def record(recipe, seed, **changes):
    known = {
        "recipe": recipe,
        "reference": recipe,
        "seed": seed,
        "dataset": "toy",
        "dataset_options": {},
        "data_fingerprint": "a" * 64,
        "images": 1000,
        "image_shape": [1, 8, 8],
        "hyperparameters": {},
        "batch_size": 50,
        "steps": 300,
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1, "machine": "abacus"},
        "versions": {},
        "command": f"vaebench train {recipe} --seeds {seed}",
        "created": "2026-01-01T00:00:00+00:00",
        "weights_sha256": "b" * 64,
        "facts": {"seconds": 12.5, "steps": 300, "images_per_second": 1200.0, "parameters": 99, "peak_memory": 5},
    }
    return RunRecord(**{**known, **changes})


def more_results(recipe, seed, fid):
    """A metric of whole sets, one that cannot be taken, and a count."""
    lines = [
        result(recipe, seed, "fid", fid, protocol="inception64/n=40/samples"),
        result(recipe, seed, "parameters", 1000.0 + len(recipe), protocol="trained", std_error=0.0),
    ]
    if recipe != "vae":
        return lines
    return [*lines, result(recipe, seed, "lpips", None, n=0, note="needs AlexNet's <weights>")]


def toy(names=("vae", "gan", "blend"), note="", seeds=3, records=True, galleries=True):
    """Models whose means lie 0.5 apart, the first the least; every one but the first has an lpips."""
    runs, more = {}, []
    for place, name in enumerate(names):
        for seed in range(seeds):
            runs[name, seed] = 5 + 0.5 * place + drawn(10 * place + seed, N, 0.0, 0.1)
            more += more_results(name, seed, 3.0 - place + 0.1 * seed)
            if place:
                more.append(result(name, seed, "lpips", 0.2 + 0.1 * place + 0.01 * seed))
    found = measured(runs, more=more)
    if note:
        noted = [replace(line, provenance=provenance(data_note=note)) for line in found.results]
        found = replace(found, results=noted)
    pictures = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8, 1)
    return replace(
        found,
        records={(name, seed): record(name, seed) for name, seed in runs} if records else {},
        galleries={(name, 0): {"samples": pictures, "reconstructions": pictures} for name in names}
        if galleries
        else {},
    )


def part_of(found, folder, **changes):
    tested = comparisons.all_pairs(found)
    known = {
        "measured": found,
        "ranked": leaderboard.leaderboard(found, tested),
        "tested": tested,
        "probed": (),
        "held": (),
        "captions": {},
        "remarks": Remarks(),
        "folder": folder,
    }
    return Section(**{**known, **changes})


__all__ = ["NASTY", "SLY", "N", "ids_of", "part_of", "ranks", "record", "toy"]
