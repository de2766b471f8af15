"""Whether ``claims.csv`` follows from the tables beside it, and t of each seed from the evidence."""

import math
import re

import numpy as np
import pandas as pd
from recomputed_cells import agrees, complain, number, p_agrees
from recomputed_evidence import REAL, Section
from recomputed_tests import DECISIVE, paired_t

ALPHA = 0.05
TABLE = "claims.csv"
EXPRESSION = re.compile(
    r"(?P<metric>[^/,:]+)(?:/[^,]*)?(?:, (?P<stratum>[^:]+))?: (?P<left>\S+) "
    r"(?P<relation>[<>]=?|=|better than|nearer than) (?P<right>\S+)(?: (?P<sign>[+-]) margin)?"
)
HELD = {True: "holds", False: "does not hold", None: "undecided"}


def check_claims(
    claims: pd.DataFrame, board: pd.DataFrame, tested: pd.DataFrame, parts: list[Section], page: str
) -> list[str]:
    """``page`` is ``leaderboard.md``, which must count as many verdicts as the table has."""
    found, counted = [], [int(count) for count in re.findall(r"^(\d+) claims?: ", page, re.MULTILINE)]
    if sum(counted) != len(claims):
        found.append(f"{TABLE} has {len(claims)} claims, leaderboard.md {sum(counted)}")
    places = {(part.split, part.fingerprint): part for part in parts}
    for row in claims.to_dict("records"):
        part = places.get((row["split"], row["data_fingerprint"]))
        if part is None:
            found.append(f"{TABLE} {row['claim']}: evidence has no such split and data")
            continue
        own = board[(board["split"] == part.split) & (board["data_fingerprint"] == part.fingerprint)]
        asked = EXPRESSION.fullmatch(row["claim"])
        checks = _checks(row, asked, own, tested[tested["split"] == part.split], part)
        found += complain(TABLE, (part.split, row["claim"]), checks)
    return found


def _checks(row, asked, board, tested, part):
    stratum = asked["stratum"] or "all"
    names = {name for name in (asked["left"], asked["right"]) if not _is_number(name)}
    here = board[(board["metric"] == asked["metric"]) & (board["stratum"] == stratum) & (board["value"] != "")]
    if row["verdict"] == "not measured":
        lacks = not names <= set(here["recipe"])
        return {"verdict": (row["verdict"], "measured", lacks), "note": (row["note"], "the reason", row["note"] != "")}
    cells = {cell["recipe"]: cell for cell in here[here["protocol"] == row["protocol"]].to_dict("records")}
    shown = dict(pair.rsplit("=", 1) for pair in row["values"].split())
    if not names <= set(shown) <= set(cells):
        return {"values": (row["values"], f"of {' and '.join(sorted(names))} in leaderboard.csv", False)}
    values = {name: number(cells[name]["value"]) for name in shown}
    checks = {f"values {name}": (text, values[name], agrees(text, values[name])) for name, text in shown.items()}
    if len(names) == 1:
        return checks | _of_number(row, asked, cells)
    pair = tested[(tested["metric"] == asked["metric"]) & (tested["protocol"] == row["protocol"])]
    pair = pair[(pair["stratum"] == stratum) & pair["a"].isin(names) & pair["b"].isin(names)]
    tests = {test["test"]: test for test in pair.to_dict("records")}
    test = next((tests[name] for name in DECISIVE if name in tests), None)
    if test is None:
        return checks | _exact(row, asked, values, cells)
    return checks | _of_test(row, asked, test, cells) | _each_seed(row, asked, part, stratum)


def _is_number(text):
    return re.fullmatch(r"-?[\d.]+(e-?\d+)?", text) is not None


def _same(row, expected, scale):
    """``scale``: the size of what is subtracted, whose ten digits are all that the tables have."""
    return {name: (row[name], ours, agrees(row[name], ours, abs(scale))) for name, ours in expected.items()}


def _of_test(row, asked, test, cells):
    """The deciding test's numbers, turned so that they are of left minus right; the verdict from its p-value."""
    sign = 1 if test["a"] == asked["left"] else -1
    difference = sign * number(test["mean_difference"])
    low, high = sorted(sign * number(test[name]) for name in ("ci_low", "ci_high"))
    p = number(test["p_holm"].removeprefix("<"))
    target = cells[asked["left"]]["direction"] == "target"
    alike = test["verdict"] == "equivalent" and (not target or max(abs(low), abs(high)) < number(test["margin"]))
    relation, sure = asked["relation"], p < ALPHA and difference != 0
    if relation in ("better than", "nearer than"):
        winner = test.get(test["verdict"])  # the name in column a or b
        holds = None if test["verdict"] in ("unresolved", "floor") else winner == asked["left"]
    elif relation == "=":
        holds = True if alike else False if sure else None
    else:
        ahead = difference > 0 if relation.startswith(">") else difference < 0
        holds = ahead if sure else None
        holds = True if alike and relation.endswith("=") else False if alike and not sure else holds
    return {
        **_same(row, {"difference": difference, "ci_low": low, "ci_high": high}, difference),
        "p_holm": (row["p_holm"], p, p_agrees(row["p_holm"], p)),
        "test": (row["test"], test["test"], row["test"] == test["test"]),
        "seeds": (row["seeds"], test["seeds"], row["seeds"] == test["seeds"]),
        "verdict": (row["verdict"], HELD[holds], row["verdict"] == HELD[holds]),
    }


def _exact(row, asked, values, cells):
    """Values without a test, such as counts: they are what they are."""
    left, right = values[asked["left"]], values[asked["right"]]
    exact = all(number(cells[asked[side]]["std_error"]) == 0 for side in ("left", "right"))
    holds = {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}.get(asked["relation"])
    verdict = HELD[holds] if exact else HELD[None]
    known = not exact or holds is not None
    checks = {"verdict": (row["verdict"], verdict, not known or row["verdict"] == verdict)}
    return checks | _same(row, {"difference": left - right}, left)


def _of_number(row, asked, cells):
    cell, aim = cells[asked["left"]], cells.get(REAL)
    wanted, value, margin = float(asked["right"]), number(cell["value"]), cell["margin"]
    relation = asked["relation"]
    if asked["sign"]:
        reference = number(aim["value"]) if cell["direction"] == "target" and aim else wanted
        size = float(margin[:-1]) / 100 * abs(reference) if margin.endswith("%") else float(margin)
        wanted += size if asked["sign"] == "+" else -size
    if relation == "=":
        each = [float(part.partition("=")[2]) for part in cell["by_seed"].split()] or [value]
        verdict = HELD[set(each) == {wanted}]
        checks = {"verdict": (row["verdict"], verdict, row["verdict"] == verdict)}
        return checks | _same(row, {"difference": value - wanted}, value)
    low, high = number(cell["ci_low"]) - wanted, number(cell["ci_high"]) - wanted
    if relation == "better than":
        relation = ">" if cell["direction"] == "higher" else "<"
    ends = (low, high) if relation.startswith(">") else (-high, -low)
    holds = None if math.isnan(low) or ends[0] < 0 < ends[1] else ends[0] > 0
    return {
        **_same(row, {"difference": value - wanted, "ci_low": low, "ci_high": high}, value),
        "seeds": (row["seeds"], cell["seeds"], row["seeds"] == cell["seeds"]),
        "verdict": (row["verdict"], HELD[holds], row["verdict"] == HELD[holds]),
    }


def _each_seed(row, asked, part, stratum):
    """t of the paired test of each seed, where both sides are of the same images."""
    sides = [part.sample(asked[side], asked["metric"], row["protocol"], stratum) for side in ("left", "right")]
    if None in sides or stratum in part.withheld:
        return {}
    first, second = sides
    if first.ids != second.ids or not first.ids or first.influence or second.influence:
        return {"each_seed": (row["each_seed"], "empty", row["each_seed"] == "")}
    rounds = max(len(first.values), len(second.values))
    ours = [
        paired_t(*(side.values[min(place, len(side.values) - 1)] for side in sides))["statistic"]
        for place in range(rounds)
    ]
    printed = [float(text.removeprefix("t=")) for text in row["each_seed"].split()]
    right = len(printed) == len(ours) and bool(np.allclose(printed, ours, rtol=1e-6))
    return {"each_seed": (row["each_seed"], ours, right)}
