"""Format the gate's findings: text and Markdown for people, JUnit XML and JSON for machines. No date in them."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.report.analysis.formatting import short, to_markdown, to_text
from vaebench.report.gate.gate import CANNOT_DECIDE, FAIL, PASS, Gate, Judged
from vaebench.report.gate.table import Line

SCHEMA = 1
OUTCOMES = {PASS: "passes", FAIL: "fails", CANNOT_DECIDE: "cannot decide"}
_HEADER = ("recipe", "metric", "baseline", "candidate", "degradation [95 % interval]", "margin", "verdict")
_BETTER = {"higher": "higher is better", "lower": "lower is better", "target": "nearer to the originals is better"}
_FINE = ("ok", "improved", "identical")
# as entities: neither HTML, nor a table's cell, nor Markdown's own signs
_ESCAPED = str.maketrans({sign: f"&#{ord(sign)};" for sign in "&<>|`*[]\\~"})


def deliver(gate: Gate, *, markdown: Path | None, junit: Path | None, as_json: Path | None) -> None:
    """Write what was asked for, each file whole or not at all."""
    wanted = ((markdown, to_summary), (junit, to_junit), (as_json, to_json))
    read = (gate.candidate, gate.baseline)
    write_files([(path, partial(render, gate)) for path, render in wanted if path is not None], read)


def write_files(asked: Sequence[tuple[Path, Callable[[], str]]], read: Iterable[str]) -> None:
    """Write each rendering to its place; :class:`UserError` where one is no file, or another file of this check."""
    places = [path.resolve() for path in (*(path for path, _ in asked), *map(Path, read))]
    for path, _ in asked:
        if str(path) == "-":
            raise UserError("'-' is no file to write to: name one, such as check.json")
        if places.count(path.resolve()) > 1:
            raise UserError(f"{path} is to be written, but is another file of this check, too: choose another place")
    for path, render in asked:
        write_text(path, render())


def summary(gate: Gate) -> str:
    """Format one line: ``3 regressions, 1 undecided, 20 ok, 2 new: fails``."""
    plural = {"regression": "regressions", "allowed": "missing as allowed"}
    counts = gate.counts()
    parts = [f"{n} {plural.get(name, name) if n > 1 or name == 'allowed' else name}" for name, n in counts.items() if n]
    parts += [f"{len(gate.new)} new"] if gate.new else []
    parts += [f"{len(gate.ungated)} without a margin"] if gate.ungated else []
    return f"{', '.join(parts)}: {OUTCOMES[gate.exit_code]}"


def remarks(gate: Gate) -> list[str]:
    """Say what a reader must know of the verdicts."""
    single = sum(row.one_checkpoint for row in gate.rows)
    if not single:
        return []
    rows = "1 row has" if single == 1 else f"{single} rows have"
    return [f"{rows} one training seed on a side: the verdict is of these checkpoints, not of the recipe"]


def to_lines(gate: Gate) -> list[str]:
    """Format an aligned table, worst first, and the summary."""
    rows = [*map(_cells, gate.rows), *map(_new_cells, gate.new)]
    return [*to_text(_HEADER, rows), "", *remarks(gate), summary(gate)]


def rows(gate: Gate) -> tuple[list[list[str]], int]:
    """Return the cells of the rows that need a look, worst first, and how many rows do not.

    As :func:`to_lines` has them, with cells of their own for the interval and, last, for why a verdict is what it is.
    """
    shown = []
    for row in gate.rows:
        if row.verdict not in _FINE:
            *before, _, margin, _ = _cells(row)
            interval = "" if row.ci_low is None else f"{_signed(row.ci_low)} to {_signed(row.ci_high)}"
            shown.append([*before, _signed(row.degradation), interval, margin, row.verdict, row.reason])
    return shown, len(gate.rows) - len(shown)


def _cells(row: Judged) -> list[str]:
    verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
    percent = f" ({row.margin_text})" if row.margin_text.endswith("%") else ""
    candidate = "n/a" if row.candidate is None else short(row.candidate.value)
    name = f"{row.baseline.metric} ({row.baseline.protocol})"
    margin = short(row.margin) + percent
    return [row.baseline.recipe, name, short(row.baseline.value), candidate, _degradation(row), margin, verdict]


def _degradation(row: Judged) -> str:
    if row.degradation is None or row.ci_low is None:
        return _signed(row.degradation)
    return f"{_signed(row.degradation)} [{_signed(row.ci_low)}, {_signed(row.ci_high)}]"


def _signed(value: float | None) -> str:
    return f"+{short(value)}" if value is not None and value > 0 else short(value)


def _new_cells(line: Line) -> list[str]:
    return [line.recipe, f"{line.metric} ({line.protocol})", "n/a", short(line.value), "n/a", "n/a", "new"]


def to_summary(gate: Gate) -> str:
    """Format a job summary in Markdown: what needs a look first, the rest folded away."""
    fine = [_cells(row) for row in gate.rows if row.verdict in _FINE]
    rest = [_cells(row) for row in gate.rows if row.verdict not in _FINE]
    parts = [f"## vaebench check: {OUTCOMES[gate.exit_code]}\n", f"{escape_markdown(summary(gate))}\n"]
    parts += [f"Candidate {escape_markdown(gate.candidate)}, baseline {escape_markdown(gate.baseline)}.\n"]
    parts += [f"{remark}\n" for remark in remarks(gate)]
    parts += [_pipes(rest), *_details(gate)] if rest else []
    for title, rows in (("ok", fine), ("new", [_new_cells(line) for line in gate.new])):
        if rows:
            parts.append(f"<details><summary>{len(rows)} {title}</summary>\n\n{_pipes(rows)}\n</details>\n")
    return "\n".join(parts)


def _details(gate: Gate) -> list[str]:
    """List for each row that needs a look its direction, how far beyond the margin it is, and what to do next."""
    lines = []
    for row in gate.rows:
        if row.verdict in ("regression", "missing", "undecided"):
            line = row.baseline
            share = (
                ""
                if row.degradation is None or not row.margin
                else f"; {row.degradation / row.margin:.2g} margins worse"
            )
            catches = f"; catches {line.catches} or more" if line.catches else ""
            name = escape_markdown(f"{line.recipe} {line.metric} ({line.protocol})")
            lines.append(f"- {name}: {_BETTER[line.direction]}{share}{escape_markdown(catches)}")
    verdicts = {row.verdict for row in gate.rows}
    steps = [
        *(["look at the samples of what regressed"] if "regression" in verdicts else []),
        *([f"train undecided recipes {_more_seeds(gate.rows)}"] if "undecided" in verdicts else []),
        "if the change is meant, vaebench accept the new table in a change of its own",
    ]
    return ["\n".join(lines) + "\n", f"Next: {'; '.join(steps)}.\n"]


def _more_seeds(rows: Sequence[Judged]) -> str:
    """Say with which training seeds undecided rows are to be trained: the baseline's first, then more on both sides."""
    sides = [(row.baseline, row.candidate) for row in rows if row.verdict == "undecided" and row.candidate]
    unlike = [mine.by_seed for mine, other in sides if mine.by_seed.keys() - other.by_seed.keys()]
    if unlike:
        seeds = sorted({seed for by_seed in unlike for seed in by_seed}, key=int)
        return f"again with the baseline's training seeds ({','.join(seeds)})"
    return "with more training seeds, the baseline with the same"


def escape_markdown(text: str) -> str:
    """Escape what a table's cell, HTML or Markdown would take for a sign of its own."""
    return text.translate(_ESCAPED)


def _pipes(rows: Sequence[Sequence[str]]) -> str:
    return to_markdown(_HEADER, [[escape_markdown(cell) for cell in row] for row in rows])


def to_junit(gate: Gate) -> str:
    """Format JUnit XML: a test case for each gated row."""
    counts = gate.counts()
    totals = {
        "name": "vaebench check",
        "tests": str(len(gate.rows)),
        "failures": str(counts["regression"] + counts["missing"]),
        "errors": "0",
        "skipped": str(counts["undecided"] + counts["allowed"]),
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", totals)
    for row in sorted(gate.rows, key=lambda row: (row.baseline.key, row.baseline.source)):
        name = f"{row.baseline.metric} ({row.baseline.protocol})"
        case = ElementTree.SubElement(suite, "testcase", {"classname": row.baseline.recipe, "name": name})
        said = dict(zip(_HEADER, _cells(row), strict=True))
        if row.verdict in ("regression", "missing"):
            message = row.reason or f"degradation {_degradation(row)}, margin {said['margin']}"
            failure = ElementTree.SubElement(case, "failure", {"type": row.verdict, "message": message})
            failure.text = "\n".join(f"{title}: {text}" for title, text in said.items())
        elif row.verdict in ("undecided", "allowed"):
            ElementTree.SubElement(case, "skipped", {"message": said["verdict"]})
    return to_xml(root)


def to_xml(root: ElementTree.Element) -> str:
    """Format an XML document, indented."""
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def to_json(gate: Gate) -> str:
    """Format everything as JSON."""
    told = {
        "schema": SCHEMA,
        "outcome": OUTCOMES[gate.exit_code],
        "exit_code": gate.exit_code,
        "summary": summary(gate),
        "candidate": gate.candidate,
        "baseline": gate.baseline,
        "counts": {**gate.counts(), "new": len(gate.new), "without_margin": len(gate.ungated)},
        "rows": [_row(row) for row in gate.rows],
        "new": [{**name_of(line), **_side(line)} for line in gate.new],
        "without_margin": [{**name_of(line), **_side(line)} for line in gate.ungated],
    }
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Judged) -> dict[str, object]:
    numbers = ("degradation", "std_error", "df", "ci_low", "ci_high", "margin")
    return {
        **name_of(row.baseline),
        "verdict": row.verdict,
        "reason": row.reason,
        **{name: getattr(row, name) for name in numbers},
        "margin_given": row.margin_text,
        "baseline": _side(row.baseline),
        "candidate": None if row.candidate is None else _side(row.candidate),
    }


def name_of(line: Line) -> dict[str, object]:
    """Return what a row is a value of, for JSON."""
    names = ("dataset", "split", "stratum", "recipe", "metric", "protocol", "unit", "direction")
    return {name: getattr(line, name) for name in (*names, "data_fingerprint", "extractor_sha256")}


def _side(line: Line) -> dict[str, object]:
    return {name: getattr(line, name) for name in ("value", "std_error", "df", "seeds", "n", "note")}
