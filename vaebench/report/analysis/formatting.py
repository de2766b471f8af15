"""Format rows as CSV, Markdown, LaTeX and text: fixed columns and formats, no date."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HIDDEN = {"hidden": True}  # metadata of a row's field that is no column of its table
SMALLEST_P = 1e-300
FORMULA = ("=", "+", "-", "@", "\t", "\r")
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "target": "nearer to the originals is better"}


def p_text(p: float) -> str:
    """Format a p-value; below 1e-300 it is ``<1e-300``, never 0."""
    return "<1e-300" if p < SMALLEST_P else f"{p:.6g}"


def or_none(number: float) -> float | None:
    """Return a number for a table's row: NaN becomes an empty cell."""
    return None if math.isnan(number) else number


def cell(name: str, value: object) -> str:
    """Format one CSV cell: floats to 10 digits, p-values by :func:`p_text`, nothing for None and NaN.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return p_text(value) if name in ("p_value", "p_holm", "p_equivalent") else f"{value:.10g}"
    return text_cell(value) if isinstance(value, str) else str(value)


def text_cell(text: str) -> str:
    """Escape a text for a CSV: a spreadsheet would compute what begins with = + - or @."""
    return f"'{text}" if text.startswith(FORMULA) else text


def plain_cell(text: str) -> str:
    """Return the text that :func:`text_cell` has escaped."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


def to_csv(kind: "type[DataclassInstance]", rows: Iterable["DataclassInstance"]) -> str:
    """Format rows as CSV under a header of the dataclass's fields; fields marked :data:`HIDDEN` are no columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [field.name for field in fields(kind) if not field.metadata.get("hidden")]
    writer.writerow(names)
    for row in rows:
        writer.writerow([cell(name, getattr(row, name)) for name in names])
    return out.getvalue()


def to_markdown(header: Sequence[str], rows: Iterable[Sequence[str]], *, rest: str = "---:") -> str:
    """Format a pipe table; the first column left, the rest right as numbers read, or as ``rest`` aligns them."""
    head, *body = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in [header, *rows]]
    return "\n".join([head, "|" + "|".join(["---"] + [rest] * (len(header) - 1)) + "|", *body]) + "\n"


_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!/?(?:details|summary)>)")
_ELSEWHERE = re.compile(r"\]\((?=\s*(?:[A-Za-z][A-Za-z0-9+.-]*:|//))")  # links and pictures from out of the report


def without_markup(page: str) -> str:
    """Escape a Markdown page so that no text from a file becomes HTML, a link or a picture from elsewhere.

    The page's own ``<details>`` and its figures beside it stay.
    """
    return _ELSEWHERE.sub("]&#40;", _TAG.sub("&lt;", page))


_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$",
    "|": r"\textbar{}",
})  # fmt: skip


def to_latex(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a booktabs table: text column left, the rest right. Needs ``\\usepackage{booktabs}``."""
    head, *body = [" & ".join(text.translate(_LATEX) for text in row) + r" \\" for row in [header, *rows]]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def short(value: float | None) -> str:
    """Format a number with four significant digits and thousands separated; ``n/a`` for none."""
    if value is None or math.isnan(value):
        return "n/a"
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"  # a zero without a sign
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits <= 8 else f"{value:.3e}"


def plain(value: float | None) -> str:
    """Format a number for people; whole ones, such as counts, without decimals."""
    return f"{value:,.0f}" if value is not None and value == round(value, 0) else short(value)


def with_error(value: float, half: float) -> tuple[str, str]:
    """Format a value and its interval's half-width: the latter to two digits, the former to the same place."""
    if not (math.isfinite(value) and math.isfinite(half)) or half <= 0:
        return plain(value), ""
    decimals = 1 - math.floor(math.log10(half))
    if decimals > 8:
        return short(value), f"{half:.1e}"
    decimals = max(0, decimals)
    return f"{value:z,.{decimals}f}", f"{half:,.{decimals}f}"  # z: no minus before what rounds to zero


def half_width(value: float | None, high: float | None, std_error: float | None) -> float:
    """Return half of an interval's width from its upper end; 0 where a value is exact or has no interval."""
    return high - value if std_error and high is not None and value is not None else 0.0


def interval_text(low: float, high: float) -> str:
    """Format an interval with two digits of its half-width, such as ``0.0258 to 0.0306``; empty for NaN."""
    half = (high - low) / 2
    if not math.isfinite(half):
        return ""
    return f"{with_error(low, half)[0]} to {with_error(high, half)[0]}"


def to_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns for a terminal."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return [line.rstrip() for line in lines]
