"""Show the gate's findings on a terminal: the rows that need a look, then the summary."""

from collections.abc import Sequence

from vaebench.cli.console import form, out, say
from vaebench.cli.prose import FAINT, emphasised, labelled, say_faintly
from vaebench.cli.tables import Cell, Column, Row, Table, show
from vaebench.report.gate import rendering
from vaebench.report.gate.gate import CANNOT_DECIDE, FAIL, PASS, Gate

STYLES = {PASS: "bold green", FAIL: "bold red", CANNOT_DECIDE: "bold yellow"}
OF_A_VERDICT = {"regression": "red", "missing": "red", "undecided": "yellow", "improved": "green"}
NAMED = 3  # rows that a reason names


def show_gate(gate: Gate) -> None:
    """Show a gate's rows that are not fine, worst first, and how many are; all of them where the output is piped."""
    if not out.is_terminal or form() == "plain":
        say("\n".join(rendering.to_lines(gate)))
        return
    shown, fine = rendering.rows(gate)
    if shown:
        columns = [
            Column(name="recipe", shrinks="middle"),
            Column(name="metric", shrinks="middle"),
            Column(name="baseline", right=True, leaves=1),
            Column(name="candidate", right=True, leaves=1),
            Column(name="degradation", right=True),
            Column(name="95 %", right=True, leaves=2),
            Column(name="margin", right=True),
            Column(name="verdict"),
        ]
        body: list[Row] = [[*cells, Cell(word, OF_A_VERDICT.get(word, ""))] for *cells, word, _ in shown]
        show(Table(columns=columns, rows=body))
        _say_reasons(shown)
        out.print()
    if fine:
        rows = "row is" if fine == 1 else "rows are"
        out.print(f"{fine} {rows} fine: --plain shows every row", style=FAINT, highlight=False)
    for remark in rendering.remarks(gate):
        say_faintly(remark)
    emphasised(rendering.summary(gate), "", STYLES[gate.exit_code])


def _say_reasons(shown: Sequence[Sequence[str]]) -> None:
    """Say below the table why rows have their verdicts: in its last column a narrow terminal would cut that off."""
    alike: dict[tuple[str, str], list[str]] = {}
    for recipe, metric, *_, verdict, reason in shown:
        if reason:
            alike.setdefault((verdict, reason), []).append(f"{recipe} {metric}")
    for (verdict, reason), names in alike.items():
        more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
        labelled(verdict, f"{', '.join(names[:NAMED])}{more}: {reason}", OF_A_VERDICT.get(verdict, ""))
