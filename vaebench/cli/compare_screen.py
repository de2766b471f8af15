"""Show what tests say of two runs: a sentence a question, a line a metric, and more where it is asked for."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import groupby

from vaebench.cli.answer_screen import ARROWS
from vaebench.cli.console import for_machines, out
from vaebench.cli.prose import FAINT, emphasised, labelled, say_faintly
from vaebench.cli.tables import Cell, Column, Table, show
from vaebench.cli.tables import Row as Line
from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean
from vaebench.core.results import PARTS
from vaebench.core.subjects import REAL
from vaebench.report.analysis.comparisons import Row, decisive
from vaebench.report.analysis.formatting import half_width, interval_text, p_text, short, with_error
from vaebench.report.answer_wording import Name, metric, metrics_apart, short_names
from vaebench.report.compare import ORDER, Compared, Standing

NEARNESS = (
    "→: nearness to the originals counts; where that is open though the interval is without 0, the two differ, and "
    "which one is nearer is not shown"
)
STYLES = {"better": "green", "worse": "red", "equal": "", "open": "yellow"}
SAID = {"better": "better by", "worse": "worse by", "equal": "equal by", "open": "open by"}


def show_compared(found: Sequence[Compared], metrics: Collection[str], *, strata: bool, tests: bool) -> None:
    """Show two runs' comparison on each dataset.

    Args:
        found: the comparisons.
        metrics: names of the metrics to show; empty for all.
        strata: whether rows of parts of the images are shown as well.
        tests: whether tests that do not decide are shown as well.

    Raises:
        UserError: a metric is not among those that both were measured by.
    """
    known = {row.metric for each in found for row in each.tests}
    known |= {metric for each in found for metric, _ in each.untested()}
    for name in metrics:
        if name not in known:
            raise UserError(f"both were not measured by '{name}': {did_you_mean(name, known)}")
    if for_machines():
        rows = [row for each in found for row in each.tests if not metrics or row.metric in metrics]
        show(Table(columns=[], rows=[], records=[asdict(row) for row in rows]))
        return
    for place, each in enumerate(found):
        if place:
            out.print()
        _show(each, metrics, strata=strata, tests=tests)


def _show(found: Compared, metrics: Collection[str], *, strata: bool, tests: bool) -> None:
    counts = ", ".join(f"{count} {standing}" for standing, count in found.counts(metrics).items())
    emphasised(f"{found.dataset}: {found.a} against {found.b}: ", counts)
    if found.checkpoints:
        labelled("note", "one training seed: verdicts are about these checkpoints, not about recipes")
    chosen = [row for row in found.deciding if not metrics or row.metric in metrics]
    if not (metrics or strata or tests):
        for question, rows in groupby(chosen, key=lambda row: found.facts[row.metric, row.protocol].question):
            said = _sentence(found, list(rows))
            if said:
                labelled(questions.label(question), said)
    if strata or tests:
        every = [row for row in found.tests if not metrics or row.metric in metrics]
        every = every if tests else decisive(every)
        chosen = [row for row in every if strata or row.stratum == "all"]
    if chosen:
        out.print()
        show(table(found, chosen, strata=strata, tests=tests))
    _say_untested(found, metrics)
    if any(_is_real_and_open(found, row) for row in chosen):
        say_faintly(NEARNESS)
    _plan(found, chosen)


def _is_real_and_open(found: Compared, row: Row) -> bool:
    """Tell whether a difference is shown, but not which side is nearer to the originals."""
    apart = row.ci_low > 0 or row.ci_high < 0
    return found.standing(row) == "open" and apart and found.direction(row) == "target"


def _sentence(found: Compared, rows: Sequence[Row]) -> str:
    """Say by which metrics of one question the first side is better, worse, equal, or neither is shown."""
    said: dict[Standing, list[str]] = {standing: [] for standing in ORDER}
    for row in rows:
        if found.is_ranked(row):
            said[found.standing(row)].append(metric(row.metric, row.protocol))
    return "; ".join(f"{SAID[how]} {', '.join(dict.fromkeys(names))}" for how, names in said.items() if names)


def table(found: Compared, rows: Sequence[Row], *, strata: bool = False, tests: bool = False) -> Table:
    """Lay out tests, a row each; headings are the questions where one test a metric is shown."""
    name = short_names([found.a, found.b], found.dataset)
    aims = any(found.direction(row) == "target" and _value(found, row, REAL) for row in rows)
    columns = [
        Column(name="metric"),
        Column(name="protocol", leaves=6, shrinks="middle"),
        *([Column(name="stratum")] if strata else []),
        *([Column(name="test", leaves=1)] if tests else []),
        Column(name="a", heading=name(found.a), right=True, leaves=3, shrinks="middle"),
        Column(name="b", heading=name(found.b), right=True, leaves=3, shrinks="middle"),
        *([Column(name="originals", right=True, leaves=4)] if aims else []),
        Column(name="difference", right=True),
        Column(name="95 %", right=True, leaves=1),
        *([Column(name="effect", right=True, leaves=4)] if tests else []),
        Column(name="p Holm", right=True, leaves=5),
        Column(name="n", right=True, leaves=7),
        Column(name="better", shrinks="middle"),
        Column(name="could show", right=True, leaves=4),
    ]
    body: list[Line] = []
    # several tests or strata of one metric and protocol are alike, and stay so
    for row, said in zip(rows, metrics_apart([(row.metric, row.protocol) for row in rows]), strict=True):
        sides = [_value(found, row, side) for side in (found.a, found.b)]
        body.append([
            f"{said} {ARROWS.get(found.direction(row), '')}".rstrip(),
            row.protocol,
            *([row.stratum] if strata else []),
            *([row.test] if tests else []),
            *sides,
            *([_value(found, row, REAL) if found.direction(row) == "target" else ""] if aims else []),
            _difference(row),
            interval_text(row.ci_low, row.ci_high),
            *([short(row.effect_size)] if tests else []),
            p_text(float(f"{row.p_holm:.2g}")) if row.p_holm >= 1e-300 else p_text(row.p_holm),
            f"{row.n:,}",
            _better(found, row, name),
            short(row.detectable) if row.detectable > 0 else "",
        ])  # fmt: skip
    headings: dict[int, str] = {}
    if not (strata or tests):
        asked = [found.facts[row.metric, row.protocol].question for row in rows]
        headings = {place: question for place, question in enumerate(asked) if question not in asked[:place]}
    return Table(columns=columns, rows=body, headings=headings)


def _say_untested(found: Compared, metrics: Collection[str]) -> None:
    """Name what both sides have a value of and no test takes: one seed's, or values that no seed changes."""
    cells = [cell for cell in found.untested() if not metrics or cell[0] in metrics]
    said = [
        f"{name} {' and '.join(_of_side(found, cell, side) for side in (found.a, found.b))}"
        for cell, name in zip(cells, metrics_apart(cells), strict=True)
    ]
    if said:
        say_faintly(f"values that no test compares: {'; '.join(said)}")


def _value(found: Compared, row: Row, name: str) -> str:
    """Format a side's value over all images; parts and other strata have theirs in the tables."""
    return _of_side(found, (row.metric, row.protocol), name) if row.stratum == "all" else ""


def _of_side(found: Compared, measured: tuple[str, str], name: str) -> str:
    known = found.values.get((*measured, name))
    if known is None or known.value is None:
        return ""
    return with_error(known.value, half_width(known.value, known.ci_high, known.std_error))[0]


def _difference(row: Row) -> str:
    half = (row.ci_high - row.ci_low) / 2
    return with_error(row.mean_difference, half)[0] if half > 0 else short(row.mean_difference)


def _better(found: Compared, row: Row, name: Name) -> Cell:
    if not found.is_ranked(row) and not row.stratum.startswith(PARTS):
        return Cell("not ranked", FAINT)
    standing = found.standing(row)
    said = {"better": name(found.a), "worse": name(found.b)}.get(standing, standing)
    return Cell(said, STYLES[standing])


def _plan(found: Compared, rows: Sequence[Row]) -> None:
    """Name the command that plans what would decide the first metric that is open."""
    unsettled = [row for row in decisive(rows) if found.standing(row) == "open" or found.checkpoints]
    if found.plannable and unsettled:
        labelled("next", shlex.join(["vaebench", "plan", found.a, found.b, "--metric", unsettled[0].metric]))
