"""Read the gate's input: tables in the format of ``leaderboard.csv``, and margins. Loads no engine."""

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.core.margin import MIXED, Margin, read_margin
from vaebench.core.registry import did_you_mean
from vaebench.core.subjects import is_model
from vaebench.report.gate.student import t_quantile

_NAMES = ("dataset", "split", "stratum", "recipe", "metric", "protocol", "unit", "direction")
_HASHES = ("data_fingerprint", "extractor_sha256")
_NUMBERS = ("value", "std_error", "seeds", "n")
_LATER = (
    "margin",
    "df",
    "note",
    "by_seed",
    "lowest",
    "highest",
    "declared",
    "catches",
)  # older tables, others' too, go without
_KNOWN = {
    *_NAMES,
    *_HASHES,
    *_NUMBERS,
    *_LATER,
    "ci_low",
    "ci_high",
    "rank_low",
    "rank_high",
    "vaebench_version",
    "device",
}
_ROUNDING = 1e-6  # of a value: what tables' ten digits, and another machine's arithmetic, may differ by
_DIRECTIONS = ("higher", "lower", "target")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COUNT = re.compile(r"\d{1,15}", re.ASCII)

_LARGEST = 1e100  # beyond it, differences and shares could overflow

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a table; ``None`` is an empty cell. ``where`` is its file and line, for messages."""

    where: str
    dataset: str
    split: str
    stratum: str
    recipe: str
    metric: str
    protocol: str
    unit: str
    direction: str
    value: float | None
    std_error: float | None
    df: float | None
    seeds: int
    n: int
    data_fingerprint: str
    extractor_sha256: str
    margin: Margin | None
    declared: Margin | None  # what the metric declares, where 'vaebench accept' widened it
    note: str
    by_seed: Mapping[str, float]
    lowest: float | None
    highest: float | None
    catches: str  # the smallest worsening that the gate catches, as 'vaebench accept' found it

    @property
    def key(self) -> Key:
        """Return what it is a value of."""
        return (self.recipe, self.metric, self.protocol, self.stratum)

    @property
    def source(self) -> tuple[str, ...]:
        """Return what it was measured on, and with; one table may hold several of one key."""
        return (self.dataset, self.split, self.data_fingerprint, self.extractor_sha256)

    @property
    def kind(self) -> dict[str, str]:
        """Return what must be alike before two values of one key are compared."""
        return {name: getattr(self, name) for name in ("dataset", "split", *_HASHES, "unit", "direction")}

    @property
    def title(self) -> str:
        """Name the row for people."""
        return f"{self.recipe} {self.metric} ({self.protocol})"

    @property
    def of_a_model(self) -> bool:
        """Tell whether it is a model's value over all images, which a gate is about."""
        return self.stratum == "all" and is_model(self.recipe)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file, by what they are values of; several if data or extractors differ."""

    path: str
    lines: tuple[Line, ...]
    by_key: Mapping[Key, tuple[Line, ...]]

    def like(self, line: Line, recipe: str | None = None) -> Line | None:
        """Find the row of the same key (or of another recipe's) and the same kind."""
        key = (recipe or line.recipe, *line.key[1:])
        return next((other for other in self.by_key.get(key, ()) if other.kind == line.kind), None)


def read_table(path: Path) -> Table:
    """Read and check a whole table; :class:`UserError` names file, line and remedy."""
    rows = _rows(path)
    (_, header), body = rows[0], rows[1:]
    missing = [name for name in (*_NAMES, *_NUMBERS, *_HASHES) if name not in header]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: give a leaderboard.csv of 'vaebench report'")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path} has the column {twice[0]!r} twice: make the table again with 'vaebench report'")
    for name in header:
        if name not in _KNOWN:
            hint = did_you_mean(name, _KNOWN - set(header))
            raise UserError(f"{path} has the column {name!r}, which no leaderboard.csv has: take it out ({hint})")
    lines: list[Line] = []
    for number, cells in body:
        where = f"{path}, line {number}"
        if len(cells) != len(header):
            raise UserError(f"{where} has {len(cells)} cells, the header {len(header)}: make the table again")
        plain = [_plain(cell) for cell in cells]
        lines.append(_line(where, dict.fromkeys(_LATER, "") | dict(zip(header, plain, strict=True))))
    if not lines:
        raise UserError(f"{path} has a header but no rows: measure something, then 'vaebench report' writes them")
    return Table(str(path), tuple(lines), _by_key(lines))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Yield line numbers and cells of all lines that are not blank."""
    remedy = "give a leaderboard.csv of 'vaebench report'"
    if path.is_dir():
        tables = sorted([*path.glob("leaderboard.csv"), *path.glob("*/leaderboard.csv")])
        such = f", such as {tables[0]}" if tables else "; there is none in it"
        raise UserError(f"{path} is a folder: {remedy}{such}")
    try:
        text = input_files.read_bytes(path, most=input_files.SMALL, remedy=remedy).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: {remedy}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: {remedy}") from error
    if "\0" in text:
        raise UserError(f"{path} is no text: {remedy}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num} is no CSV ({error}): {remedy}") from error
    if not rows:
        raise UserError(f"{path} is empty: {remedy}")
    return rows


def _plain(text: str) -> str:
    """Remove line breaks and control characters, which neither a line of text nor XML can hold."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _line(where: str, cells: Mapping[str, str]) -> Line:
    error, df = _number(cells, "std_error", where), _number(cells, "df", where)
    if error is not None and error < 0:
        raise UserError(f"{where}: std_error {cells['std_error']} is negative: make the table again")
    if df is not None and df < 1:
        raise UserError(f"{where}: df {cells['df']} is below 1: make the table again, or leave the cell empty")
    if cells["direction"] not in _DIRECTIONS:
        hint = did_you_mean(cells["direction"], _DIRECTIONS)
        raise UserError(f"{where}: direction {cells['direction']!r} is none: {hint}")
    line = Line(
        where=where,
        value=_number(cells, "value", where),
        std_error=error,
        df=df,
        seeds=_count(cells, "seeds", where),
        n=_count(cells, "n", where),
        margin=read_margin(cells["margin"], where),
        declared=read_margin(cells["declared"], where),
        note=cells["note"],
        by_seed=_seeds(cells["by_seed"], where),
        lowest=_number(cells, "lowest", where),
        highest=_number(cells, "highest", where),
        catches=cells["catches"],
        **{name: cells[name] for name in (*_NAMES, *_HASHES)},
    )
    if MIXED in line.note:
        raise UserError(
            f"{where}: {line.title} is of runs that were not trained alike ({line.note}): measure one setting"
        )
    _require_possible(line)
    _require_consistent(line, cells)
    return line


def _seeds(text: str, where: str) -> dict[str, float]:
    """Parse ``0=0.0312 1=0.0298``: the value of each training seed."""
    found = {}
    for word in text.split():
        seed, equals, value = word.partition("=")
        if not (equals and _COUNT.fullmatch(seed) and _NUMBER.fullmatch(value)) or seed in found:
            raise UserError(f"{where}: by_seed {text!r} is not SEED=VALUE for each seed: make the table again")
        found[seed] = float(value)
    return found


def _require_possible(line: Line) -> None:
    """Refuse values that the metric cannot have."""
    for value in () if line.value is None else (line.value, *line.by_seed.values()):
        least, most = (math.inf * sign if end is None else end for sign, end in ((-1, line.lowest), (1, line.highest)))
        if not least <= value <= most:
            bounds = (
                f"it lies between {least:g} and {most:g}"
                if math.isfinite(least + most)
                else (f"it is {least:g} or more" if math.isfinite(least) else f"it is {most:g} or less")
            )
            raise UserError(
                f"{line.where}: {line.title} cannot be {value:g} (column value): {bounds}; make the table again"
            )


def _require_consistent(line: Line, cells: Mapping[str, str]) -> None:
    """Refuse columns that contradict one another."""
    low, high = (_number(cells, name, line.where) if name in cells else None for name in ("ci_low", "ci_high"))

    def contradicts(what: str) -> UserError:
        return UserError(f"{line.where}: {line.title}: {what}: make the table again with 'vaebench report'")

    if line.value is None:
        return
    near = _ROUNDING * max(abs(line.value), line.std_error or 0.0)
    if line.by_seed and abs(sum(line.by_seed.values()) / len(line.by_seed) - line.value) > near:
        raise contradicts(f"value {line.value:g} is not the mean of by_seed")
    if line.by_seed and len(line.by_seed) != line.seeds:
        raise contradicts(f"seeds {line.seeds} contradicts the {len(line.by_seed)} values of by_seed")
    if (low is not None and low > line.value + near) or (high is not None and high < line.value - near):
        raise contradicts(f"value {line.value:g} lies outside of ci_low and ci_high")
    if line.std_error is None and (low is not None or high is not None):
        raise contradicts("ci_low and ci_high stand without a std_error")
    _require_width(line, low, high, contradicts)


def _require_width(line: Line, low: float | None, high: float | None, contradicts: Callable[[str], UserError]) -> None:
    """Refuse an interval that is not value ± Student's t times the standard error, but for the metric's bounds."""
    if None in (line.value, line.std_error, line.df, low, high):
        return
    assert line.value is not None and line.std_error is not None and line.df is not None
    half = t_quantile(line.df) * line.std_error
    for name, end, wanted in (("ci_low", low, line.value - half), ("ci_high", high, line.value + half)):
        bounded = max(wanted, line.lowest) if line.lowest is not None else wanted
        bounded = min(bounded, line.highest) if line.highest is not None else bounded
        if end is not None and abs(end - bounded) > 1e-4 * half + _ROUNDING * abs(line.value):
            raise contradicts(f"{name} {end:g} contradicts value, std_error and df, which give {bounded:g}")


def _number(cells: Mapping[str, str], name: str, where: str) -> float | None:
    text = cells[name]
    if not text:
        return None
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise UserError(f"{where}: {name} {text} is not finite: leave the cell empty where there is no value")
    if not _NUMBER.fullmatch(text):
        raise UserError(f"{where}: {name} {text!r} is no number: make the table again with 'vaebench report'")
    if abs(float(text)) > _LARGEST:
        raise UserError(
            f"{where}: {name} {text} is beyond ±{_LARGEST:g}: make the table again, or leave the cell empty"
        )
    return float(text)


def _count(cells: Mapping[str, str], name: str, where: str) -> int:
    if not _COUNT.fullmatch(cells[name]):
        raise UserError(f"{where}: {name} {cells[name]!r} is no whole number: make the table again")
    return int(cells[name])


def _by_key(lines: Iterable[Line]) -> dict[Key, tuple[Line, ...]]:
    found: dict[Key, tuple[Line, ...]] = {}
    for line in lines:
        alike = next((other for other in found.get(line.key, ()) if other.source == line.source), None)
        if alike is not None:
            first = alike.where.rpartition(" ")[2]
            raise UserError(
                f"{line.where} repeats line {first} ({line.title}): keep one of them, or make the table again"
            )
        found[line.key] = (*found.get(line.key, ()), line)
    return found


def user_margins(settings: Iterable[str], accepted: Table) -> dict[str, Margin | None]:
    """Parse ``--margin metric=value``, each for a metric of the accepted table."""
    known = sorted({line.metric for line in accepted.lines if line.of_a_model})
    valued = {line.metric for line in accepted.lines if line.of_a_model and line.value is not None}
    given: dict[str, Margin | None] = {}
    for setting in settings:
        metric, equals, text = setting.partition("=")
        where = f"--margin {setting!r}"
        if not equals or not metric or not text:
            raise UserError(
                f"{where} sets no margin: write --margin METRIC=VALUE, such as ssim=0.01, fid=5% or kl=none"
            )
        if metric in given:
            raise UserError(f"{where} sets the margin of {metric} again: give it once")
        if metric not in known:
            raise UserError(f"{where}: {accepted.path} has no metric {metric!r}: {did_you_mean(metric, known)}")
        if metric not in valued:
            raise UserError(f"{where} gates nothing: no row of {metric} in {accepted.path} has a value; leave it away")
        given[metric] = read_margin(text, where)
    return given


def allowed_names(names: Iterable[str], accepted: Table) -> frozenset[str]:
    """Parse ``--allow-missing``: a metric, a recipe or RECIPE:METRIC of the accepted table."""
    lines = [line for line in accepted.lines if line.of_a_model]
    recipes, metrics = {line.recipe for line in lines}, {line.metric for line in lines}
    pairs = {f"{line.recipe}:{line.metric}" for line in lines}
    given = tuple(names)
    for name in given:
        if name in recipes | metrics | pairs:
            continue
        recipe, _, metric = name.rpartition(":")
        hint = did_you_mean(name, recipes | metrics)
        if recipe in recipes:
            hint = did_you_mean(metric, {line.metric for line in lines if line.recipe == recipe})
        raise UserError(f"--allow-missing {name!r} names nothing in {accepted.path}: {hint}")
    return frozenset(given)


def is_allowed(line: Line, allowed: frozenset[str]) -> bool:
    """Tell whether one of the names is of this row."""
    return bool({line.metric, line.recipe, f"{line.recipe}:{line.metric}"} & allowed)
