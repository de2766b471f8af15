"""Show what there is: families by datasets as a matrix, then each kind on a line, or one kind as a table."""

from collections.abc import Sequence
from dataclasses import asdict

from vaebench.cli.console import form, out
from vaebench.cli.listing import Line
from vaebench.cli.prose import FAINT, emphasised, labelled, working
from vaebench.cli.tables import GOOD, WARNING, Cell, Column, Row, Table, show
from vaebench.core import questions
from vaebench.datasets import DATASETS

READY, MISSING, NONE = "\N{CHECK MARK}", "\N{MIDDLE DOT}", ""
ARROWS = {"higher": "higher", "lower": "lower", "target": "nearer to the originals"}


def show_overview(lines: Sequence[Line]) -> None:
    """Show everything on one screen, or as one table where the output is piped or for machines."""
    if form() != "fitted" or not out.is_terminal:
        show(_table(lines, kinds=True))
        return
    recipes = [line for line in lines if line.kind == "recipes"]
    emphasised("recipes", f"  FAMILY-DATASET, such as vae-digits; {READY} ready, {MISSING} data or weights missing")
    matrix, more = _matrix(recipes)
    show(matrix)
    if more:
        labelled("more recipes", ", ".join(line.name for line in more))
    for kind in dict.fromkeys(line.kind for line in lines if line.kind not in ("recipes", "models")):
        _names(kind, [line for line in lines if line.kind == kind])
    labelled("more", "vaebench list KIND describes each; vaebench doctor says how to get what is missing")


def _names(kind: str, lines: Sequence[Line]) -> None:
    ready = [line.name for line in lines if _is_ready(line)]
    missing = [line.name for line in lines if not _is_ready(line)]
    out.print()
    labelled(kind, ", ".join(ready) or "none ready")
    if missing:
        labelled("", f"{MISSING} {', '.join(missing)}")


def _is_ready(line: Line) -> bool:
    return line.state.startswith(("ready", "not checked"))


def _matrix(recipes: Sequence[Line]) -> tuple[Table, list[Line]]:
    """Lay out families by datasets; return with it the recipes that are named otherwise."""
    datasets = DATASETS.names()
    place = {line.name: _family(line.name, datasets) for line in recipes}
    families = list(dict.fromkeys(found[0] for found in place.values() if found))
    used = [name for name in datasets if any(found and found[1] == name for found in place.values())]
    by_place = {place[line.name]: line for line in recipes}
    rows: list[Row] = [[family, *(_mark(by_place.get((family, name))) for name in used)] for family in families]
    columns = [Column(name="family", heading=""), *(Column(name=name) for name in used)]
    return Table(columns=columns, rows=rows), [line for line in recipes if place[line.name] is None]


def _family(name: str, datasets: Sequence[str]) -> tuple[str, str] | None:
    """Split a recipe's name into family and dataset, both as the tables know them."""
    for dataset in sorted(datasets, key=len, reverse=True):
        family = name.removesuffix(f"-{dataset}")
        if family != name and "-" not in family:
            return family, dataset
    return None


def _mark(line: Line | None) -> Cell:
    if line is None:
        return Cell(NONE)
    return Cell(READY, GOOD) if _is_ready(line) else Cell(MISSING, FAINT)


def show_kind(kind: str, lines: Sequence[Line]) -> None:
    """Show one kind: a line each, with what is missing and the command that gets it."""
    show(_metrics(lines) if kind == "metrics" else _table(lines, kinds=False))


def _table(lines: Sequence[Line], *, kinds: bool) -> Table:
    columns = [
        *([Column(name="kind")] if kinds else []),
        Column(name="name"),
        Column(name="what", shrinks="end"),
        Column(name="source", leaves=1 if all(line.origin == "built-in" for line in lines) else 0),
        Column(name="state", shrinks="end"),
    ]
    rows: list[Row] = [
        [*([line.kind] if kinds else []), line.name, line.summary, line.origin, _state(line)] for line in lines
    ]
    return Table(columns=columns, rows=rows, records=[asdict(line) for line in lines])


def _state(line: Line) -> Cell:
    return Cell(line.state, GOOD if line.state == "ready" else "" if _is_ready(line) else WARNING)


def _metrics(lines: Sequence[Line]) -> Table:
    """Lay out metrics by question, with what is better and what they must be fed; imports them."""
    from vaebench.cli.metric_facts import facts_of

    with working("asking each metric"):
        known = {line.name: facts_of(line.name) for line in lines}
    ordered = sorted(lines, key=lambda line: (questions.place(known[line.name].question), line.name))
    asked = [known[line.name].question for line in ordered]
    columns = [
        Column(name="name"),
        Column(name="better"),
        Column(name="needs", shrinks="end"),
        Column(name="unit", leaves=3, shrinks="end"),
        Column(name="what", leaves=2, shrinks="end"),
        Column(name="source", leaves=4 if all(line.origin == "built-in" for line in lines) else 0),
        Column(name="state", leaves=1, shrinks="end"),
    ]
    rows: list[Row] = [
        [
            line.name,
            ARROWS.get(known[line.name].direction, ""),
            known[line.name].needs,
            known[line.name].unit,
            line.summary,
            line.origin,
            _state(line),
        ]
        for line in ordered
    ]
    return Table(
        columns=columns,
        rows=rows,
        records=[asdict(line) | asdict(known[line.name]) for line in ordered],
        headings={place: question for place, question in enumerate(asked) if question not in asked[:place]},
    )
