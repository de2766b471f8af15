"""Whether the measured rows of ``attributes.csv`` follow from the results; printed ones are of other people's."""

import math

import numpy as np
from recomputed_cells import Published, agrees, complain
from recomputed_evidence import BASELINE, Section
from recomputed_tests import half_width, variance
from statsmodels.stats.proportion import proportion_confint

MEAN = "mean of all"
NAN = math.nan


def check_attributes(table, parts: list[Section]) -> list[str]:
    """``table``: as published, all of it."""
    rows = Published(table[table["source"] == "measured"], ["split", "attribute", "method", "protocol"])
    found = []
    for part in parts:
        for (attribute, recipe, protocol), kinds in _probed(part).items():
            key = (part.split, attribute, recipe.removeprefix(BASELINE), protocol)
            row = rows.take(part, key)
            if row is None:
                found.append(f"attributes.csv {' '.join(key)}: missing")
                continue
            ours = _shares(attribute, kinds)
            found += complain(
                "attributes.csv", key, {name: (row[name], what, agrees(row[name], what)) for name, what in ours.items()}
            )
    return found + [f"attributes.csv {' '.join(key)}: evidence has no such result" for key, _ in rows.left()]


def _probed(part):
    """(attribute, recipe, protocol) -> kind of share -> lines, wherever there is an accuracy."""
    found: dict[tuple[str, str, str], dict[str, list[dict]]] = {}
    for line in part.lines:
        stratum = line["stratum"]
        if line["metric"].startswith("svm_") and (stratum == "all" or stratum.startswith("attribute=")):
            attribute = MEAN if stratum == "all" else stratum.removeprefix("attribute=")
            kinds = found.setdefault((attribute, line["recipe"], line["protocol"]), {})
            kinds.setdefault(line["metric"].removeprefix("svm_"), []).append(line)
    return {key: kinds for key, kinds in found.items() if "accuracy" in kinds}


def _shares(attribute, kinds) -> dict[str, float]:
    means = {
        kind: float(np.mean([line["value"] for line in kinds.get(kind, ()) if line["value"] is not None] or [NAN]))
        for kind in ("accuracy", "balanced_accuracy", "lift")
    }
    lines = kinds["accuracy"]
    n = max(line["n"] for line in lines)
    low, high = _interval(attribute, lines, means["accuracy"], n)
    trained = sum(line["seed"] is not None for line in lines)
    majority = means["accuracy"] - means["lift"]
    return {**means, "majority": majority, "ci_low": low, "ci_high": high, "seeds": trained, "n": n}


def _interval(attribute, lines, accuracy, n):
    """Student's over seeds; of one checkpoint Wilson's over images, or the mean's as the metric says."""
    values = np.array([line["value"] for line in lines if line["value"] is not None])
    if len(values) > 1:
        half = half_width(math.sqrt(variance(values) / len(values)), len(values) - 1)
    elif len(values) and attribute != MEAN:
        return proportion_confint(round(accuracy * n), n, method="wilson")
    else:
        half = 1.96 * lines[0]["std_error"] if len(values) and lines[0]["std_error"] is not None else NAN
    return accuracy - half, accuracy + half
