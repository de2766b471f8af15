"""Tests whose images' labels or people stay behind: what can be held against results, and against each other.

Intervals and rank tests are taken as they are printed; their centre must be the difference of the results, statistic
and p-value must follow from them, and so must Holm's correction, equivalence, verdict and what was detectable.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from recomputed_evidence import REAL, Section
from recomputed_families import correct, margin_of
from recomputed_tests import NUMBERS, Outcome, std_error
from scipy import stats

CLUSTERED = ("clustered-t", "nested-t")


def withheld_families(part: Section, rows: Sequence[dict[str, str]]) -> Iterator[tuple[str, str, list[Outcome]]]:
    """Families of those published rows that the evidence cannot make again."""
    families: dict[tuple[str, str, str], list[Outcome]] = {}
    for row in rows:
        hidden = row["stratum"] in part.withheld or (part.people_withheld and row["test"] in CLUSTERED)
        if row["split"] != part.split or not hidden:
            continue
        over = "parts" if row["stratum"].startswith(("attribute=", "condition=")) else row["stratum"]
        outcome = _as_printed(part, row)
        if outcome is not None:
            families.setdefault((row["metric"], row["protocol"], over), []).append(outcome)
    for (metric, protocol, _), outcomes in families.items():
        direction = part.declared(metric, protocol, "direction")
        correct(outcomes, direction)
        for outcome in outcomes:
            if direction == "target" and outcome.a != REAL:
                outcome.more["verdict"] = None  # the mirror image's test is not in print
        yield metric, protocol, outcomes


def _as_printed(part: Section, row: dict[str, str]) -> Outcome | None:
    """A published row with all put right that is known; None where the two have no results."""
    lines = {name: _lines(part, row, name) for name in (REAL, row["a"], row["b"])}
    if not (lines[row["a"]] and lines[row["b"]]):
        return None
    means = {name: float(np.mean([line["value"] for line in own])) for name, own in lines.items() if own}
    printed = {name: math.nan if row[name] == "" else float(row[name].lstrip("<")) for name in NUMBERS}
    outcome = Outcome(a=row["a"], b=row["b"], test=row["test"], stratum=row["stratum"], numbers=printed)
    difference, error = means[row["a"]] - means[row["b"]], std_error(outcome)
    scale = abs(means[row["a"]]) + abs(means[row["b"]])
    if abs(printed["mean_difference"] - difference) > 1e-6 * scale:  # values of images are kept as float32
        printed["mean_difference"] = difference
    printed["n"] = lines[row["a"]][0]["n"]
    if not math.isnan(error) and row["test"] != "mcnemar":
        middle, half = printed["mean_difference"], (printed["ci_high"] - printed["ci_low"]) / 2
        statistic = middle / error if error > 0 else math.copysign(math.inf, middle) if middle else 0.0
        printed |= {"ci_low": middle - half, "ci_high": middle + half, "statistic": statistic}
        printed["p_value"] = 2 * stats.t.sf(abs(statistic), printed["df"]) if error > 0 else float(middle == 0)
    trained = [len(lines[name]) for name in (row["a"], row["b"]) if lines[name][0]["seed"] is not None]
    target = means.get(REAL) if part.declared(row["metric"], row["protocol"], "direction") == "target" else None
    margin = margin_of(part.declared(row["metric"], row["protocol"], "margin"), scale / 2 if target is None else target)
    outcome.more |= {"as printed": True, "larger": max(abs(means[row["a"]]), abs(means[row["b"]]))}
    outcome.more |= {"seeds": min(trained, default=0), "scale": scale if math.isnan(error) else error, "margin": margin}
    return outcome


def _lines(part, row, recipe):
    cell = tuple(row[name] for name in ("stratum", "metric", "protocol"))
    return [
        line
        for line in part.lines
        if (line["stratum"], line["metric"], line["protocol"]) == cell
        and line["recipe"] == recipe
        and line["value"] is not None
    ]
