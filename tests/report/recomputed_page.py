"""Whether the main table of ``leaderboard.md`` prints what ``leaderboard.csv`` has, to within its rounding."""

import re

import pandas as pd

CELL = re.compile(r"(?P<value>\S+)(?: ± (?P<half>\S+))?(?: \((?P<low>\d+)(?: to (?P<high>\d+))?\))?")
TITLES = {"originals": "real", "training images": "real/train"}


def check_page(text: str, pages: list[pd.DataFrame]) -> list[str]:
    """``pages``: the rows of ``leaderboard.csv`` of each split and fingerprint, in the page's order."""
    tables = [section.partition("\n\n")[0] for section in text.split("## Leaderboard\n\n")[1:]]
    if len(tables) != len(pages):
        return [f"leaderboard.md has {len(tables)} main tables, must have {len(pages)}"]
    return [said for table, board in zip(tables, pages, strict=True) for said in _check_table(table, board)]


def _cells(line):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _check_table(table: str, board: pd.DataFrame) -> list[str]:
    head, _, *body = table.splitlines()
    names = [TITLES.get(name, name) for name in _cells(head)[1:]]
    board = board[(board["stratum"] == "all") & ~board["recipe"].str.startswith("baseline/")]
    rows = {(row["metric"], row["protocol"], row["recipe"]): row for row in board.to_dict("records")}
    wanted = {(metric, protocol) for (metric, protocol, _), row in rows.items() if row["value"] != ""}
    found, shown = [], set()
    for line in body:
        what, *cells = _cells(line)
        kind = next((key for key in wanted if what.startswith(f"{key[0]} ({key[1]}), ")), None)
        if kind is None:
            found.append(f"leaderboard.md: leaderboard.csv has no value of {what}")
            continue
        shown.add(kind)
        for name, cell in zip(names, cells, strict=True):
            reason = _wrong(cell, rows.get((*kind, name)))
            if reason:
                found.append(f"leaderboard.md {' '.join(kind)} {name}: {cell!r}: {reason}")
    if set(names) != set(board["recipe"]):
        found.append(f"leaderboard.md: columns {names} are not the recipes of leaderboard.csv")
    return found + [f"leaderboard.md: no row for {' '.join(key)}" for key in sorted(wanted - shown)]


def _wrong(cell: str, row: dict[str, str] | None) -> str:
    """What is wrong with a cell, or nothing."""
    if row is None and cell in ("", "n/a"):  # one that could not be taken may not know its whole protocol
        return ""
    if row is not None and row["value"] == "":
        return "" if cell == "n/a" else "leaderboard.csv has no value"
    printed = CELL.fullmatch(cell)
    if row is None or printed is None:
        return "leaderboard.csv has no such value"
    value, low, high = float(row["value"]), row["rank_low"], row["rank_high"]
    if not _rounds_to(printed["value"], value, abs(value)):
        return f"the value is {row['value']}"
    bounded = row["ci_high"] != "" and float(row["std_error"]) > 0
    half = float(row["ci_high"]) - value if bounded else None
    if bounded != (printed["half"] is not None) or (bounded and not _rounds_to(printed["half"], half, abs(value))):
        return f"half of the interval is {half}"
    ranks = (printed["low"] or "", printed["high"] or printed["low"] or "")
    return "" if ranks == (low, high) else f"the ranks are {low} to {high}"


def _rounds_to(text, exact, scale):
    """``text`` has four digits or all before the point; ``exact`` is itself a difference of numbers of ten digits."""
    mantissa, _, exponent = text.replace(",", "").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(float(text.replace(",", "")) - exact) <= unit / 2 * (1 + 1e-6) + 1e-9 * scale
