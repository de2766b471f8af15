"""Show a report's answer on one screen: headline metrics, a sentence a question, costs, where the page lies."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vaebench.cli.console import for_machines, out
from vaebench.cli.prose import FAINT, emphasised, labelled, say_faintly, width
from vaebench.cli.tables import WINNER, Cell, Column, Row, Table, show
from vaebench.core import questions
from vaebench.core.subjects import REAL, title_of
from vaebench.report.answer import Answer, Finding, Line, read_answers
from vaebench.report.answer_wording import Name, metrics_apart, missing, sentence, short_names, shown, verdicts, what

FIRST = "*"
ARROWS = {"higher": "↑", "lower": "↓", "target": "→"}
OF_FIRST = f"{FIRST} first, or not told apart from it; "
OF_ARROWS = "↑ higher, ↓ lower, → nearer to the originals is better"


def show_answers(
    folder: Path,
    following: Sequence[str] = (),
    *,
    full: bool = False,
    claims: int = 0,
    metrics: Collection[str] = (),
) -> None:
    """End a command with the answers of the report in ``folder``.

    Args:
        folder: a report's, with ``answer.json``.
        following: commands that go on from here, in place of the answer's own.
        full: all metrics, claims, reasons and commands, as long as that may be.
        claims: up to how many claims are said one by one.
        metrics: names of metrics that are shown beside the headlines: those that were asked for.

    Raises:
        UserError: the folder holds no answer, or a damaged one.
    """
    answers = read_answers(folder)
    if for_machines():
        show_records([folder])
        return
    for each in answers if full else answers[:1]:
        asked = [line for line in each.others if full or line.metric in metrics]
        _show(replace(each, lines=[*each.lines, *asked]), full=full, claims=claims)
    if len(answers) > 1 and not full:
        others = ", ".join(f"{each.split} ({each.images:,} images)" for each in answers[1:])
        labelled("also measured", f"{others}: --full shows them, the page has them")
    labelled("page", str(folder / "index.html"))
    commands = list(following) or answers[0].next
    for command in commands if full else commands[:1]:
        labelled("next", command)


def show_records(folders: Sequence[Path]) -> None:
    """Show the answers of several reports as one table for machines.

    Raises:
        UserError: a folder holds no answer, or a damaged one.
    """
    answers = [each for folder in folders for each in read_answers(folder)]
    show(Table(columns=[], rows=[], records=_records(answers)))


def _records(answers: Sequence[Answer]) -> list[dict[str, object]]:
    """Flatten answers for machines: a record a model and metric, the headlines first."""
    return [
        {
            "dataset": each.dataset,
            "split": each.split,
            **{name: value for name, value in asdict(line).items() if name != "values"},
            "recipe": name,
            **asdict(value),
        }
        for each in answers
        for line in (*each.lines, *each.costs, *each.others)
        for name, value in line.values.items()
    ]


def _show(answer: Answer, *, full: bool, claims: int) -> None:
    name = short_names(answer.models, answer.dataset)
    out.print()
    if len(answer.title) + len(what(answer)) + 2 > width():
        emphasised(answer.title, "")
        say_faintly(what(answer))
    else:
        emphasised(answer.title, f": {what(answer)}")
    for place, line in enumerate(verdicts(answer, listed=len(answer.claims) if full else claims)):
        labelled("" if place else "claims", line)
    if answer.lines or answer.costs:
        show(headlines(answer, name))
        starred = any(value.first for line in (*answer.lines, *answer.costs) for value in line.values.values())
        say_faintly((OF_FIRST if starred else "") + OF_ARROWS)
    for found in answer.findings:
        said = sentence(found, name, aim=False)  # the table has the originals
        labelled(questions.label(found.question), said, _style(found))
    for line in missing(answer, name, full=full):
        labelled("n/a", line)


def _style(found: Finding) -> str:
    return {"leads": WINNER, "undecided": "yellow"}.get(found.verdict, "")


def headlines(answer: Answer, name: Name = str) -> Table:
    """Lay out the headline metrics and costs: a row a metric, a column a model, the originals last."""
    lines = [*answer.lines, *answer.costs]
    wins = {model: sum(model in line.values and line.values[model].first for line in lines) for model in answer.models}
    columns = [Column(name="metric", heading="")]
    order = sorted(answer.models, key=lambda model: -wins[model])
    columns += [
        Column(name=model, heading=name(model), right=True, leaves=order.index(model), shrinks="middle")
        for model in answer.models
    ]
    beside = [REAL] if any(REAL in line.values for line in lines) else []
    columns += [Column(name=each, heading=title_of(each), right=True, leaves=len(order) + 1) for each in beside]
    names = metrics_apart([(line.metric, line.protocol) for line in lines])
    rows: list[Row] = [
        [_metric(line, said), *(_cell(line, each) for each in [*answer.models, *beside])]
        for line, said in zip(lines, names, strict=True)
    ]
    return Table(columns=columns, rows=rows)


def _metric(line: Line, said: str) -> str:
    costs = line.question == questions.COST
    unit = f", {line.unit}" if costs and line.unit != line.metric else ""
    return f"{said}{unit}{'' if costs or not line.ranked else ' ' + ARROWS[line.direction]}"


def _cell(line: Line, model: str) -> Cell:
    value = line.values.get(model)
    if value is None:
        return Cell("" if model == REAL else "n/a", FAINT)
    style = WINNER if value.first else FAINT if model == REAL else ""
    return Cell(shown(value) + (FIRST if value.first else " "), style)
