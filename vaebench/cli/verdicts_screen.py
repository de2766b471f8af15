"""Show what reports found of claims on a terminal, source by source; differences are in Markdown, CSV and JSON."""

from collections.abc import Mapping, Sequence

from vaebench.cli.prose import FAINT, emphasised
from vaebench.cli.tables import WARNING, WINNER, Cell, Column, Row, Table, show
from vaebench.report.analysis.claims import FAILS, HOLDS, NOT_MEASURED, UNDECIDED
from vaebench.report.verdict_counts import counted
from vaebench.suites.verdicts import Judgement

STYLES = {HOLDS: WINNER, FAILS: "bold red", UNDECIDED: WARNING, NOT_MEASURED: FAINT}
COLUMNS = (
    Column(name="claim", shrinks="end"),
    Column(name="verdict"),
    Column(name="seeds", right=True, leaves=2),
    Column(name="report", leaves=1),
)


def show_verdicts(by_source: Mapping[str, Sequence[Judgement]]) -> None:
    """Show a line a claim and report under the name of each source, and how many there are of each verdict."""
    rows: list[Row] = []
    headings: dict[int, str] = {}
    for source, own in by_source.items():
        headings[len(rows)] = source or "no source named"
        rows += map(_row, own)
    show(Table(columns=COLUMNS, rows=rows, headings=headings))
    emphasised(counted([each.verdict for own in by_source.values() for each in own]), "")


def _row(judgement: Judgement) -> Row:
    found, verdict = judgement.found, judgement.verdict
    seeds, named = (str(found.seeds or ""), found.dataset) if found else ("", "")
    return [
        judgement.claim.says,
        Cell(verdict, STYLES[verdict]),
        seeds,
        Cell(named, FAINT),
    ]
