"""Whether ``leaderboard.csv`` and ``variance.csv`` follow from the evidence: values, intervals, ranks, parts."""

import math
from collections.abc import Container

import numpy as np
import pandas as pd
from recomputed_cells import CELL, Published, agrees, complain, number
from recomputed_evidence import BASELINE, REALS, Sample, Section
from recomputed_tests import DECISIVE, error_of_mean, half_width, variance

COSTS = ("parameters", "training_", "throughput", "peak_memory")
DESCRIBES = ("manipulation_", "blend_adversary", "shift_flagged", "kl", *COSTS)


def check_board(rows: Published, part: Section) -> list[str]:
    found = []
    groups: dict[tuple[str, ...], list[dict]] = {}
    for line in part.lines:
        names = [line[name] for name in (*CELL, "recipe")]
        extractor = line["provenance"]["extractor_sha256"]
        groups.setdefault((*names, part.fingerprint, extractor), []).append(line)
    for key, lines in groups.items():
        row = rows.take(part, key)
        if row is None:
            found += [] if rows.leaves_out(key, part.strata) else [f"leaderboard.csv {' '.join(key)}: missing"]
            continue
        sample = part.sample(lines[0]["recipe"], lines[0]["metric"], lines[0]["protocol"], lines[0]["stratum"])
        found += complain("leaderboard.csv", key, _valued(row, lines, sample, part.withheld))
    return found


def _valued(
    row, lines: list[dict], sample: Sample | None, withheld: Container[str]
) -> dict[str, tuple[str, object, bool]]:
    """A row of the leaderboard beside what its results and images give."""
    values = [line["value"] for line in lines if line["value"] is not None]
    value = float(np.mean(values)) if values else math.nan
    ours = _interval(lines, values, sample)
    if lines[0]["stratum"] in withheld or (sample is not None and sample.people_withheld):
        ours = {name: number(row[name]) for name in ours}  # the interval must still be theirs
    half = half_width(ours["std_error"], ours["df"])
    trained = sum(line["seed"] is not None and (line["value"] is not None or not values) for line in lines)
    if trained == 2 and ours["std_error"] > 0:
        half = math.nan  # too few for an interval
    low, high = number(row["lowest"] or "-inf"), number(row["highest"] or "inf")
    ours |= {"ci_low": float(np.clip(value - half, low, high)), "ci_high": float(np.clip(value + half, low, high))}
    scale = 0.0 if math.isnan(ours["std_error"]) else ours["std_error"]
    checks = {name: (row[name], what, agrees(row[name], what, scale)) for name, what in ours.items()}
    checks["value"] = (row["value"], value, agrees(row["value"], value))
    if sample is not None and len(sample.values) == len(values):
        images, spread = float(sample.values.mean()), float(sample.values.std())
        exact = 1e-6 * spread + 2.0**-24 * np.abs(sample.values).max()  # values are kept as float32
        checks["value of images"] = (row["value"], images, abs(number(row["value"]) - images) <= exact)
    for name, count in {"seeds": trained, "n": max(line["n"] for line in lines)}.items():
        checks[name] = (row[name], count, row[name] == str(count))
    told = " ".join(
        f"{line['seed']}={line['value']:.10g}" for line in lines if None not in (line["seed"], line["value"])
    )
    checks["by_seed"] = (row["by_seed"], told, sorted(row["by_seed"].split()) == sorted(told.split()))
    for name in ("unit", "direction", "margin"):
        checks[name] = (row[name], lines[0][name], row[name] == lines[0][name])
    return checks


def _interval(lines, values, sample) -> dict[str, float]:
    """Standard error and its df: over seeds and images, else over seeds, else as the metric said of the one run."""
    known = [line for line in lines if line["value"] is not None]
    if sample is not None and sample.values.shape[1] > 1 and len(sample.values) == len(values):
        error, df, _ = error_of_mean(sample)
    elif len(values) > 1 and (len(set(values)) > 1 or all(line["std_error"] == 0 for line in lines)):
        error, df = math.sqrt(variance(np.array(values)) / len(values)), len(values) - 1.0
    elif len(values) == 1 and known[0]["std_error"] is not None:
        error, df = known[0]["std_error"], known[0]["n"] - 1.0
    else:
        error, df = math.nan, math.nan
    return {"std_error": error, "df": df if error > 0 else math.nan}


def check_ranks(board: pd.DataFrame, tested: list[dict]) -> list[str]:
    """Ranks from the verdicts in ``comparisons.csv``; an exact value needs no test. What describes has none."""
    verdicts: dict[tuple, dict[str, tuple[str, str, str]]] = {}
    for row in tested:
        pair = (*(row[name] for name in CELL), frozenset((row["a"], row["b"])))
        verdicts.setdefault(pair, {})[row["test"]] = (row["a"], row["b"], row["verdict"])
    found = []
    for cell, rows in board.groupby([*CELL, "extractor_sha256"], sort=False):
        models = [row for row in rows.to_dict("records") if row["value"] != "" and _is_model(row["recipe"])]
        for row in rows.to_dict("records"):
            rivals = [rival for rival in models if rival["recipe"] != row["recipe"]] if row in models else [None]
            tests = [verdicts.get((*cell[:4], frozenset((row["recipe"], rival["recipe"])))) if rival else None
                     for rival in rivals]  # fmt: skip
            won = [_won(row, rival, own) if rival else None for rival, own in zip(rivals, tests, strict=True)]
            if all(own and _decides(own) and _single(row, rival) for rival, own in zip(rivals, tests, strict=True)):
                won = [None]  # one checkpoint against another says nothing of their recipes
            ranks = ("", "")
            describes = cell[2].startswith(DESCRIBES)
            if None not in won and not describes:
                ranks = (str(1 + won.count(-1)), str(len(models) - won.count(1)))
            checks = {
                name: (row[name], rank, row[name] == rank)
                for name, rank in zip(("rank_low", "rank_high"), ranks, strict=True)
            }
            found += complain("leaderboard.csv", (*cell[:4], row["recipe"]), checks)
    return found


def _is_model(name):
    return name not in REALS and not name.startswith(BASELINE)


def _decides(tests):
    return next((tests[name] for name in DECISIVE if name in tests), None)


def _single(row, rival):
    """Whether no side has several training seeds, and one has a single one; images made elsewhere have none."""
    return max(int(row["seeds"]), int(rival["seeds"])) == 1


def _won(row, rival, tests):
    """1 where the row's recipe is better, -1 where worse, 0 where that is open, None where nothing was tested."""
    decisive = _decides(tests) if tests else None
    if decisive is not None and _single(row, rival):
        return 0
    if decisive is not None:
        a, b, verdict = decisive
        winner = {"a": a, "b": b}.get(verdict)
        return 0 if winner is None else 1 if winner == row["recipe"] else -1
    if row["direction"] == "target" or any(number(side["std_error"]) != 0 for side in (row, rival)):
        return None
    sign = int(np.sign(float(row["value"]) - float(rival["value"])))
    return sign if row["direction"] == "higher" else -sign


def check_variance(table: pd.DataFrame, parts: list[Section]) -> list[str]:
    names = ["split", "recipe", "metric", "protocol"]
    rows, found = Published(table, names), []
    for part in parts:
        for (metric, protocol, stratum), samples in part.samples.items():
            for name, sample in samples.items() if stratum == "all" else ():
                if not _is_model(name) or sample.values.shape[1] < 2:
                    continue
                key = (part.split, name, metric, protocol)
                row = rows.take(part, key)
                if row is None:
                    found.append(f"variance.csv {' '.join(key)}: missing")
                    continue
                ours = _parts_of_variance(sample, row)
                checks = {column: (row[column], what, agrees(row[column], what, ours["std_error"]))
                          for column, what in ours.items()}  # fmt: skip
                found += complain("variance.csv", key, checks)
    return found + [f"variance.csv {' '.join(key)}: evidence has no such values" for key, _ in rows.left()]


def _parts_of_variance(sample: Sample, row: dict[str, str]) -> dict[str, float]:
    seeds, images = sample.values.shape
    error, _, training = error_of_mean(sample)
    if sample.people_withheld:
        error = number(row["std_error"])
    within = math.sqrt(np.mean([variance(row) for row in sample.values]))
    drawn = sample.ids[0].startswith(f"{sample.name}/")
    share = training / error**2 if error > 0 else math.nan
    if sample.people_withheld:  # what images leave in the seeds' means hangs on who is on them
        share = number(row["training_share"])
    between = math.nan
    if seeds > 1:  # expected mean square of seeds: images * training variance + the rest's
        rest = (sample.residual**2).sum() / ((seeds - 1) * (images - 1))
        left = variance(sample.of_seeds) - rest / images
        # a difference of equal numbers: what is left of their rounding is no deviation
        between = math.sqrt(left) if left > 1e-12 * variance(sample.of_seeds) else 0.0
    return {
        "seeds": seeds,
        "n": images,
        "training_sd": between,
        "image_sd": math.nan if drawn else within,
        "sampling_sd": within if drawn else math.nan,
        "std_error": error,
        "training_share": share,
    }
