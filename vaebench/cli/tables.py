"""Print tables: fitted to a terminal by leaving out columns, complete where the output is piped, CSV or JSON."""

import csv
import io
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from vaebench.cli.console import data, form, out
from vaebench.cli.prose import FAINT
from vaebench.core.validation import plain_line
from vaebench.report.analysis.formatting import cell

GAP = 2
LEAST = 10  # characters that are left of a shortened cell
WINNER, WARNING, GOOD = "bold green", "yellow", "green"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text and how a terminal shows it, a style of rich's."""

    text: str
    style: str = ""


Row = Sequence[str | Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading, and its key in CSV and JSON.
        leaves: columns of the greatest number leave first where a terminal is narrow, together; those of 0 stay.
        right: whether its cells are aligned right, as numbers are.
        shrinks: whether its cells may be shortened: in the ``middle``, as names are, or at their ``end``.
        heading: another heading for people.
    """

    name: str
    leaves: int = 0
    right: bool = False
    shrinks: Literal["", "middle", "end"] = ""
    heading: str | None = None

    @property
    def title(self) -> str:
        return self.name if self.heading is None else self.heading


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under columns.

    Attributes:
        columns, rows: the table as people see it; a row is a text or a :class:`Cell` a column.
        records: what CSV and JSON hold instead, a mapping a row; without them the rows.
        headings: place of a row -> a line that stands above it.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    records: Sequence[dict[str, Any]] | None = None
    headings: dict[int, str] = field(default_factory=dict)


def show(table: Table) -> None:
    """Print a table in the form that was asked for, on standard output; for people, nothing where it has no rows."""
    asked = form()
    if asked == "json":
        records = [{name: _json_value(name, value) for name, value in each.items()} for each in _records(table)]
        narrow = not out.encoding.startswith("utf")  # its escapes of what it cannot show are none of JSON's
        data(json.dumps(records, indent=1, ensure_ascii=narrow, allow_nan=False, default=str))
    elif asked == "csv":
        data(_csv(_records(table)).rstrip("\n"))
    elif table.rows:
        width = out.width if asked == "fitted" and out.is_terminal else None
        for line in laid_out(table, width):
            out.print(line, no_wrap=True, overflow="ignore", crop=False, highlight=False)


def _records(table: Table) -> Sequence[dict[str, Any]]:
    if table.records is not None:
        return table.records
    names = [column.name for column in table.columns]
    return [dict(zip(names, map(_text, row), strict=True)) for row in table.rows]


def _csv(records: Sequence[dict[str, Any]]) -> str:
    content = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        writer.writerow([cell(name, record.get(name)) for name in names])
    return content.getvalue()


def _json_value(name: str, value: Any) -> Any:
    """Return a number as it is, but what JSON has no number for: NaN is null, an infinity a text, as CSV has it, and a
    p-value is never 0.
    """
    if not isinstance(value, float):
        return value
    written = cell(name, value)
    return None if not written else written if written.startswith("<") or math.isinf(value) else value


def laid_out(table: Table, width: int | None) -> list[Text]:
    """Lay out a table as lines.

    Args:
        table: what to show.
        width: characters of a line, which no line exceeds; None for as many as the table wants.

    Returns:
        A line for the heading, one a row, headings between rows, and one or more that name the columns left out.
    """
    columns = list(range(len(table.columns)))
    widths = [
        max(cell_len(column.title), *(cell_len(_text(row[place])) for row in table.rows), 0)
        for place, column in enumerate(table.columns)
    ]
    if width is not None:
        columns, widths = _fitted(table, widths, width)
    lines = []
    if any(table.columns[place].title for place in columns):
        heads = [Cell(table.columns[place].title, "bold") for place in columns]
        lines.append(_line(heads, [table.columns[place] for place in columns], [widths[place] for place in columns]))
    for position, row in enumerate(table.rows):
        if position in table.headings:
            heading = plain_line(table.headings[position])
            lines.append(Text(heading if width is None else shortened(heading, width, "end"), style="bold"))
        cells = [row[place] for place in columns]
        lines.append(_line(cells, [table.columns[place] for place in columns], [widths[place] for place in columns]))
    hidden = [column.title for place, column in enumerate(table.columns) if place not in columns]
    if hidden and width is not None:
        said = f"not shown at this width: {', '.join(hidden)} (--plain shows all)"
        lines += [Text(shortened(line, width, "end"), style=FAINT) for line in textwrap.wrap(said, width)]
    return lines


def _fitted(table: Table, widths: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """Choose columns that fit, and shrink those that may be."""
    columns, fitted = list(range(len(table.columns))), list(widths)

    def over() -> int:
        return sum(fitted[place] for place in columns) + GAP * (len(columns) - 1) - width

    def shrink(least: int, *, every: bool = False) -> None:
        for place in sorted(columns, key=lambda place: -fitted[place]):
            if (every or table.columns[place].shrinks) and over() > 0:
                fitted[place] = max(min(fitted[place], least), fitted[place] - over())

    shrink(2 * LEAST)
    while over() > 0 and any(table.columns[place].leaves for place in columns):
        fitted = list(widths)  # what was shrunk in vain gets its room again
        least = max(table.columns[place].leaves for place in columns)
        columns = [place for place in columns if table.columns[place].leaves != least]
        shrink(2 * LEAST)
    shrink(LEAST)
    shrink(LEAST, every=True)  # a line that wraps would be worse still
    return columns, fitted


def _line(cells: Sequence[str | Cell], columns: Sequence[Column], widths: Sequence[int]) -> Text:
    line = Text()
    for place, (each, column, width) in enumerate(zip(cells, columns, widths, strict=True)):
        text = shortened(_text(each), width, column.shrinks or "end")
        room = " " * (width - cell_len(text))
        line.append(" " * GAP if place else "")
        line.append(room if column.right else "")
        line.append(text, style=each.style if isinstance(each, Cell) else "")
        line.append("" if column.right else room)
    line.rstrip()
    return line


def shortened(text: str, width: int, where: str) -> str:
    """Shorten a text to a width, at its end or in its middle, where an ellipsis then stands."""
    if cell_len(text) <= width:
        return text
    if where == "end" or width < LEAST:
        return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"
    tail = (width - 1) // 2
    return set_cell_size(text, width - 1 - tail) + "…" + text[-tail:]


def _text(content: str | Cell) -> str:
    return plain_line(content.text if isinstance(content, Cell) else content)
