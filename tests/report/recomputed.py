"""Whether a report's tables follow from the evidence beside them, worked out anew: complaints, or an empty list."""

import gc
import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from recomputed_attributes import check_attributes
from recomputed_board import check_board, check_ranks, check_variance
from recomputed_cells import CELL, Published, agrees, complain, p_agrees, read_table
from recomputed_claims import check_claims
from recomputed_evidence import Section, read_parts
from recomputed_families import families
from recomputed_page import check_page
from recomputed_tests import NUMBERS, Outcome, std_error
from recomputed_withheld import withheld_families
from scipy import stats

POWER = 0.8


def complaints(report: Path) -> list[str]:
    """Everything in the folder's tables that does not follow from its ``evidence``; empty where all does."""
    board, tested, spread = (read_table(report / f"{name}.csv") for name in ("leaderboard", "comparisons", "variance"))
    clustered = set(tested["split"][tested["test"] == "clustered-t"])
    parts = read_parts(report / "evidence", str(board["dataset"].iloc[0]), clustered)
    found = check_variance(spread, parts)
    if (report / "attributes.csv").exists():
        found += check_attributes(read_table(report / "attributes.csv"), parts)
    page = (report / "leaderboard.md").read_text(encoding="utf-8")
    if (report / "claims.csv").exists():  # reports of earlier versions have none
        found += check_claims(read_table(report / "claims.csv"), board, tested, parts, page)
    gc.freeze()  # statsmodels collects garbage at each correction, and these are thousands
    try:
        found += _check_both(board, tested, parts, pages := [])
    finally:
        gc.unfreeze()
    return found + check_page(page, pages)


def _check_both(
    board: pd.DataFrame, tested: pd.DataFrame, parts: list[Section], pages: list[pd.DataFrame]
) -> list[str]:
    """Comparisons, and the leaderboard that they rank; its rows of each part into ``pages``."""
    found = []
    tests = Published(tested, [*CELL, "a", "b", "test"])
    for part in parts:
        found += _check_tests(tests, part, families(part))
    for part in parts:
        found += _check_tests(tests, part, withheld_families(part, [row for _, row in tests.left()]))
    found += [f"comparisons.csv {' '.join(key)}: evidence has no such test" for key, _ in tests.left()]
    rows = Published(board, [*CELL, "recipe", "data_fingerprint", "extractor_sha256"])
    for part in parts:
        own = board[(board["split"] == part.split) & (board["data_fingerprint"] == part.fingerprint)]
        found += check_board(rows, part)
        found += check_ranks(own, tests.taken[part.split, part.fingerprint])
        pages.append(own)
    return found + [f"leaderboard.csv {' '.join(key)}: evidence has no such result" for key, _ in rows.left()]


def _check_tests(tests: Published, part: Section, expected: Iterable[tuple[str, str, list[Outcome]]]) -> list[str]:
    tests.taken.setdefault((part.split, part.fingerprint), [])
    found = []
    for metric, protocol, outcomes in expected:
        for outcome in outcomes:
            key = (part.split, outcome.stratum, metric, protocol, outcome.a, outcome.b, outcome.test)
            row = tests.take(part, key)
            if row is None:
                found += [] if tests.leaves_out(key, part.strata) else [f"comparisons.csv {' '.join(key)}: missing"]
            else:
                found += complain("comparisons.csv", key, _compared(row, outcome))
    return found


def _compared(row: dict[str, str], outcome: Outcome) -> dict[str, tuple[str, object, bool]]:
    error, known = std_error(outcome), outcome.more
    exact = not known.get("as printed")
    relative = 2e-9 if exact else 1e-6
    scales = dict.fromkeys(("mean_difference", "ci_low", "ci_high"), known["scale"])
    scales |= {"effect_size": 1e-2, "statistic": 1e-2}
    numbers = {name: outcome[name] for name in NUMBERS if name != "p_value"} | {"margin": known["margin"]}
    checks = {
        name: (row[name], ours, agrees(row[name], ours, scales.get(name, 0.0), relative))
        for name, ours in numbers.items()
    }
    untold = known["verdict"] is None  # hangs on a test that is not in print
    ps = {"p_value": outcome["p_value"], "p_holm": known["p_holm"], "p_equivalent": known["p_equivalent"]}
    for name, ours in ps.items():
        right = (untold and name == "p_equivalent") or p_agrees(row[name], ours, exact=exact)
        checks[name] = (row[name], ours, right)
    checks["seeds"] = (row["seeds"], known["seeds"], row["seeds"] == str(known["seeds"]))
    checks["verdict"] = (row["verdict"], known["verdict"], untold or row["verdict"] == known["verdict"])
    checks["detectable"] = _detectable(row["detectable"], outcome, error)
    return checks


def _detectable(text, outcome, error):
    """The true difference at which the noncentral t distribution gives a power of 0.8; of unresolved tests only."""
    if outcome.more["verdict"] is None and text == "":
        return text, math.nan, True
    if outcome.more["verdict"] not in ("unresolved", None) or math.isnan(error):
        return text, math.nan, text == ""
    if error == 0 or text == "":
        return text, error, text == "0"
    df = outcome["df"]
    level = 0.05 / outcome.more["family"]
    power = stats.nct.sf(stats.t.isf(level / 2, df), df, float(text) / error)
    return text, f"of power {POWER} but has {power:.6f}", abs(power - POWER) < 1e-5
