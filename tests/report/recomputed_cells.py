"""Cells of published tables beside the numbers that they must be, each to the digits that it is printed with."""

import math

import pandas as pd

SMALLEST_P = 1e-300
CELL = ["split", "stratum", "metric", "protocol"]
MANY = 20  # strata of a metric: of more than that, tables leave out what no claim names


def read_table(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


class Published:
    """A table's rows by their key, each to be taken once: parts whose rows have equal keys follow one another."""

    def __init__(self, table, names):
        self._rows = {}
        for row in table.to_dict("records"):
            self._rows.setdefault(tuple(row[name] for name in names), []).append(row)
        self.taken = {}

    def take(self, part, key):
        rows = self._rows.get(key)
        if not rows:
            return None
        row = rows.pop(0)
        self.taken.setdefault((part.split, part.fingerprint), []).append(row)
        return row

    def leaves_out(self, key, strata):
        """Whether no row is of this stratum (key: split, stratum, metric, protocol, ...), one of many of its kind."""
        split, stratum, metric, protocol = key[:4]
        if stratum == "all" or any(row[:4] == (split, stratum, metric, protocol) for row in self._rows):
            return False
        return sum(_kind(other) == _kind(stratum) for other in strata[metric, protocol]) > MANY

    def left(self):
        return [(key, row) for key, rows in self._rows.items() for row in rows]


def _kind(stratum):
    """What strata are counted by: attributes, conditions, and subsets of the images."""
    head = stratum.partition("=")[0]
    return head if head in ("attribute", "condition", "all") else "subset"


def number(text):
    return math.nan if text == "" else float(text)


def agrees(text: str, ours: float, scale: float = 0.0, relative: float = 2e-9) -> bool:
    """Whether a cell is our number, to ten digits less rounding; ``scale``: what errors are measured by beside it."""
    if text == "" or math.isnan(ours) or math.isinf(ours):
        return (text == "" and math.isnan(ours)) or text == f"{ours}"
    return abs(float(text) - ours) <= relative * abs(ours) + 1e-8 * scale


def p_agrees(text: str, ours: float, *, exact: bool = True) -> bool:
    """p-values are printed with six digits; those below 1e-300 are not told apart.

    Where they were worked out of printed numbers, which ``exact`` denies, only their logarithms are near.
    """
    if text == "" or math.isnan(ours):
        return text == "" and math.isnan(ours)
    printed = float(text.removeprefix("<"))
    if text.startswith("<") or max(printed, ours) <= SMALLEST_P:
        return max(printed, ours) <= SMALLEST_P * (1 + 1e-3)
    if min(printed, ours) == 0:
        return False
    if not exact:
        return abs(math.log(printed / ours)) <= 1e-4 * (1 + abs(math.log(ours)))
    digits = 10.0 ** (math.floor(math.log10(printed)) - 5)
    return abs(printed - ours) <= 0.5 * digits + 1e-6 * ours


def complain(table, key, checks):
    """``checks``: column -> (what is published, what it must be, whether they agree)."""
    where = f"{table} {' '.join(str(part) for part in key)}"
    return [
        f"{where}: {column} is {text or 'empty'}, must be {ours}" for column, (text, ours, right) in checks.items()
        if not right
    ]  # fmt: skip
