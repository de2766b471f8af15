"""Lay out the leaderboard for the page: rows by question, a column a model, and where each value came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.core.results import Result
from vaebench.core.subjects import TRAINING_IMAGES, is_model, is_real, title_of
from vaebench.report.analysis.formatting import DIRECTIONS, half_width, short, with_error
from vaebench.report.analysis.leaderboard import Row, protocol_ends
from vaebench.report.analysis.measured import Measured, provenance_lines
from vaebench.report.figures.forest import place_of
from vaebench.report.html.provenance import Fact, Shown, facts_of
from vaebench.report.html.win_counts import WinCount, win_counts
from vaebench.report.html.wording import (
    kind_of,
    rank_text,
    reading_order,
    run_name,
    sortable,
    typed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value, or the reason why there is none."""

    text: str
    error: str = ""
    rank: str = ""
    place: str = ""  # first, shared, originals or empty
    sort: str = ""
    by_rank: str = ""
    key: str = ""  # of what a click shows
    beyond_real: bool = False  # whether it reads better than real training images do
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric and protocol."""

    metric: str
    protocol: str
    unit: str
    direction: str
    arrow: str
    kind: str
    anchor: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardTable:
    """The laid-out leaderboard, and how often each model is first in it."""

    models: Sequence[str]
    seeds: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Line]]]
    win_counts: Sequence[WinCount]


ARROWS = {"higher": "↑", "lower": "↓", "target": "→|←"}


def rows_by_metric(ranked: Sequence[Row], stratum: str = "all") -> dict[tuple[str, str], dict[str, Row]]:
    """Group rows in the order of the questions; metrics that no model has a value of are left out."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in ranked:
        if row.stratum == stratum:
            found.setdefault((row.metric, row.protocol), {})[row.recipe] = row
    kept = {
        key: row_of
        for key, row_of in found.items()
        if any(is_model(row.recipe) and row.value is not None for row in row_of.values())
    }
    return dict(sorted(kept.items(), key=lambda item: reading_order(next(iter(item[1].values())))))


def models_of(measured: Measured, ranked: Sequence[Row]) -> list[str]:
    """List the columns: the originals and the training images first if they have values, then models by name.

    Training images stand beside models of as many samples, or nowhere.
    """
    beside = {name for row_of in rows_by_metric(ranked).values() for name in row_of}
    present = {row.recipe for row in ranked if row.recipe != TRAINING_IMAGES or TRAINING_IMAGES in beside}
    return [name for name in measured.models() if name in present]


def leaderboard_table(measured: Measured, ranked: Sequence[Row], prefix: str, shown: Shown) -> LeaderboardTable:
    """Lay out the leaderboard; ``prefix`` begins the names of this part's anchors."""
    names = models_of(measured, ranked)
    rows = rows_by_metric(ranked)
    results = results_by_cell(measured)
    groups: dict[str, list[Line]] = {}
    for position, ((metric, protocol), row_of) in enumerate(rows.items()):
        first = next(iter(row_of.values()))
        groups.setdefault(first.facts.question, []).append(
            Line(
                metric=metric,
                protocol=protocol,
                unit=first.unit,
                direction=DIRECTIONS[first.direction],
                arrow=ARROWS[first.direction],
                kind=kind_of(protocol),
                anchor=f"{prefix}-metric-{position}",
                cells=[cell_of(_row_for(name, row_of, ranked), results, measured, shown) for name in names],
            )
        )
    return LeaderboardTable(
        models=names,
        seeds=[_seeds(name, ranked) for name in names],
        groups=list(groups.items()),
        win_counts=win_counts(rows, [name for name in names if not is_real(name)]),
    )


def results_by_cell(measured: Measured) -> dict[tuple[str, str, str], list[Result]]:
    """Return (recipe, metric, protocol) -> its seeds' results over all images."""
    found: dict[tuple[str, str, str], list[Result]] = {}
    for line in sorted(measured.results, key=lambda line: -1 if line.seed is None else line.seed):
        if line.stratum == "all":
            found.setdefault((line.recipe, line.metric, line.protocol), []).append(line)
    return found


def _row_for(name: str, row_of: Mapping[str, Row], ranked: Sequence[Row]) -> Row | None:
    """Return a model's row; if it has none under this protocol, the n/a row that explains it."""
    if name in row_of:
        return row_of[name]
    sample = next(iter(row_of.values()))
    wanted = protocol_ends(sample.metric, sample.protocol)
    return next(
        (
            row
            for row in ranked
            if row.recipe == name
            and row.stratum == "all"
            and row.value is None
            and protocol_ends(row.metric, row.protocol) == wanted
        ),
        None,
    )


def cell_of(
    row: Row | None,
    results: Mapping[tuple[str, str, str], Sequence[Result]],
    measured: Measured,
    shown: Shown,
) -> Cell:
    """Format a value with its error and rank, or n/a with its reason."""
    if row is None:
        return Cell(text="")
    key = shown.add(f"{row.metric} ({row.protocol}) of {title_of(row.recipe)}", _blocks(row, results, measured))
    if row.value is None:
        return Cell(text="n/a", key=key, title=row.note)
    value, error = with_error(row.value, half_width(row.value, row.ci_high, row.std_error))
    return Cell(
        text=value,
        error=error,
        rank=rank_text(row.rank_low, row.rank_high),
        place=place_of(row),
        sort=sortable(row.value),
        by_rank="" if row.rank_low is None or row.rank_high is None else repr((row.rank_low + row.rank_high) / 2),
        key=key,
        beyond_real=bool(row.beyond_real),
        title=row.note,
    )


def _blocks(
    row: Row, results: Mapping[tuple[str, str, str], Sequence[Result]], measured: Measured
) -> list[tuple[str, list[Fact]]]:
    """Return the recipe's summary, then each seed's provenance."""
    blocks = [("Over all seeds", _summary(row, measured))]
    for line in results.get((row.recipe, row.metric, row.protocol), ()):
        record = measured.records.get((line.recipe, line.seed))
        again = [("trained by", record.command)] if record is not None else []
        if is_model(line.recipe):
            again.append(("see", typed(["vaebench", "explain", run_name(line.recipe, line.seed), line.metric])))
        head = title_of(line.recipe) if line.seed is None else f"Seed {line.seed}"
        blocks.append((head, [*facts_of(provenance_lines(line)), *again]))
    return blocks


def interval_over(row: Row, measured: Measured) -> str:
    """Say what an interval is over: seeds, images, or both."""
    if row.ci_low is None:
        return ""
    if row.std_error == 0:
        return "nothing: exact"
    if row.seeds < 2:
        return "images"
    kept = any(
        (series.metric, series.protocol) == (row.metric, row.protocol)
        for known in measured.values.values()
        for series in known
    )
    return f"{row.seeds} seeds and images" if kept else f"{row.seeds} seeds"


def _summary(row: Row, measured: Measured) -> list[Fact]:
    facts = [("value", short(row.value) if row.value is None else f"{row.value:.10g} {row.unit}")]
    if row.ci_low is not None and row.ci_high is not None:
        facts.append(("95 % interval", f"{row.ci_low:.6g} to {row.ci_high:.6g}, over {interval_over(row, measured)}"))
    if row.rank_low is not None:
        facts.append(("rank", rank_text(row.rank_low, row.rank_high)))
    facts.append(("seeds, n", f"{row.seeds}, {row.n:,}"))
    if row.margin:
        facts.append(("margin", f"differences below {row.margin} do not matter"))
    return [*facts, ("note", row.note)] if row.note else facts


def _seeds(name: str, ranked: Sequence[Row]) -> str:
    if is_real(name):
        return "for reference"
    most = max((row.seeds for row in ranked if row.recipe == name), default=0)
    return {0: "images made elsewhere", 1: "1 training seed"}.get(most, f"{most} training seeds")
