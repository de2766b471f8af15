"""Lay out one metric at a time: the models beside each other, their intervals drawn, and who beats whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vaebench.core.results import PARTS
from vaebench.core.subjects import is_baseline, is_real, title_of
from vaebench.report.analysis import leaderboard
from vaebench.report.analysis.formatting import DIRECTIONS, plain, short
from vaebench.report.analysis.measured import Measured
from vaebench.report.figures.forest import forest, place_of
from vaebench.report.html.leaderboard import interval_over, rows_by_metric
from vaebench.report.html.pairwise import Matrix, matrix, pairs_of
from vaebench.report.html.provenance import Shown
from vaebench.report.html.tables import HtmlCell, HtmlTable
from vaebench.report.html.wording import rank_text, sortable
from vaebench.report.section import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One metric and protocol as the page shows it."""

    anchor: str
    question: str
    metric: str
    protocol: str
    unit: str
    direction: str
    margin: str
    models: HtmlTable
    forest: Markup
    matrix: Matrix
    strata: HtmlTable | None


def panels(part: Section, prefix: str, shown: Shown) -> list[Panel]:
    """Make a panel for each row of the leaderboard, in its order and under the same anchors."""
    measured, ranked = part.measured, part.ranked
    stability = part.mean_ranks.stability
    pairs, strata = pairs_of(part.tested), _strata(ranked)
    trained = {(row.metric, row.protocol, row.recipe): row.training_share for row in part.spread}
    names = [name for name in measured.models() if not is_real(name)]
    found = []
    for position, (key, row_of) in enumerate(rows_by_metric(ranked).items()):
        rows = list(row_of.values())
        found.append(
            Panel(
                anchor=f"{prefix}-metric-{position}",
                question=rows[0].facts.question,
                metric=key[0],
                protocol=key[1],
                unit=rows[0].unit,
                direction=DIRECTIONS[rows[0].direction],
                margin=next((row.margin for row in rows if row.margin), ""),
                models=_models(rows, measured, stability.get(key, {}), trained),
                forest=Markup(forest(rows)),  # its texts are escaped where it is drawn
                matrix=matrix(pairs.get(key, {}), names, shown),
                strata=_strata_grid(strata.get(key, {}), measured.models()),
            )
        )
    return found


def _models(
    rows: Sequence[leaderboard.Row],
    measured: Measured,
    shares: Mapping[str, float],
    trained: Mapping[tuple[str, str, str], float | None],
) -> HtmlTable:
    """Lay out models as rows, so that any column sorts them; the originals and baselines are for reference."""
    from_seeds = {row.recipe: trained.get((row.metric, row.protocol, row.recipe)) for row in rows}
    more = [
        (head, column)
        for head, column in (("best in seed draws", shares), ("uncertainty from seeds", from_seeds))
        if any(share is not None for share in column.values())
    ]
    head = [
        "model",
        "value",
        "95 % interval",
        "interval over",
        "rank",
        "seeds",
        "images",
        *(title for title, _ in more),
    ]
    body = []
    for row in rows:
        name = title_of(row.recipe) + (" (baseline)" if is_baseline(row.recipe) else "")
        ends = "" if row.ci_low is None or row.std_error == 0 else f"{short(row.ci_low)} to {short(row.ci_high)}"
        rank = rank_text(row.rank_low, row.rank_high)
        cells = [
            HtmlCell(text=name),
            HtmlCell(text=plain(row.value), sort=sortable(row.value), title=row.note),
            HtmlCell(text=ends, sort=sortable(row.ci_low)),
            HtmlCell(text=interval_over(row, measured)),
            HtmlCell(text=rank, sort=sortable(row.rank_low), badge=place_of(row)),
            HtmlCell(text=str(row.seeds), sort=str(row.seeds)),
            HtmlCell(text=f"{row.n:,}", sort=str(row.n)),
        ]
        known = [column.get(row.recipe) for _, column in more]
        cells += [HtmlCell(text="" if share is None else f"{share:.0%}", sort=sortable(share)) for share in known]
        body.append(cells)
    return HtmlTable(head=head, rows=body)


def _strata(ranked: Sequence[leaderboard.Row]) -> dict[tuple[str, str], dict[str, dict[str, leaderboard.Row]]]:
    """Return (metric, protocol) -> stratum -> recipe -> row; attributes' own classifiers have a table of their own."""
    found: dict[tuple[str, str], dict[str, dict[str, leaderboard.Row]]] = {}
    for row in ranked:
        if row.stratum != "all" and not row.stratum.startswith(PARTS) and not is_baseline(row.recipe):
            found.setdefault((row.metric, row.protocol), {}).setdefault(row.stratum, {})[row.recipe] = row
    return found


def _strata_grid(strata: Mapping[str, Mapping[str, leaderboard.Row]], models: Sequence[str]) -> HtmlTable | None:
    if not strata:
        return None
    present = [name for name in models if any(name in row_of for row_of in strata.values())]
    body = []
    for stratum, row_of in strata.items():
        n = max(row.n for row in row_of.values())
        cells = [HtmlCell(text=stratum), HtmlCell(text=f"{n:,}", sort=str(n))]
        for name in present:
            row = row_of.get(name)
            value = None if row is None else row.value
            place = "" if row is None or value is None else place_of(row)
            cells.append(HtmlCell(text="" if row is None else short(value), sort=sortable(value), badge=place))
        body.append(cells)
    return HtmlTable(head=["stratum", "images", *map(title_of, present)], rows=body)
