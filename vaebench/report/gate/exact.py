"""The exact gate: does this code still measure what was accepted, of checkpoints that did not change?

Stored checkpoints are measured again, and each accepted value and standard error must come out to 1e-6 (of
values below 1 absolute, of others relative). No training is in between, so a difference is the measurement's: the
ordinary gate says that something became worse, this one that the ruler did not.

Values that do not compare (other data, extractor, unit, direction or protocol) are bad input, as in the ordinary gate.
Real images' rows are compared like any other: they are measured, too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from vaebench.core.errors import UserError
from vaebench.report.analysis.formatting import to_markdown, to_text
from vaebench.report.gate.gate import FAIL, PASS, find_partner, require_common_dataset
from vaebench.report.gate.rendering import OUTCOMES, SCHEMA, escape_markdown, name_of, to_xml, write_files
from vaebench.report.gate.table import Line, Table

TOLERANCE = (
    1e-6  # of a value, or absolute below 1: other processors' arithmetic differs by less, a changed metric by more
)
_COLUMNS = ("value", "std_error")
_HEADER = ("recipe", "metric", "accepted", "new", "difference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One cell of the accepted table that the new one does not repeat; ``None`` is an empty cell, or a missing row."""

    line: Line
    column: str
    accepted: float | None
    new: float | None
    reason: str = ""  # why there is no difference to tell

    @property
    def difference(self) -> float | None:
        """Return new minus accepted, if both have a value."""
        return None if self.accepted is None or self.new is None else self.new - self.accepted

    @property
    def cells(self) -> list[str]:
        """Return the row of a table for people."""
        told = self.reason if self.difference is None else f"{self.difference:+.3g}"
        return [self.line.recipe, self.name, _digits(self.accepted), _digits(self.new), told]

    @property
    def name(self) -> str:
        """Name the cell: metric and protocol, and what else tells it from the row's value over all images."""
        stratum = "" if self.line.stratum == "all" else f", {self.line.stratum}"
        column = "" if self.column == "value" else f", {self.column}"
        return f"{self.line.metric} ({self.line.protocol}){stratum}{column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Findings of the exact gate: changes in the accepted table's order, and the candidate's rows that are new."""

    candidate: str
    baseline: str
    compared: tuple[Line, ...]
    changes: tuple[Change, ...]
    new: tuple[Line, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 (passes) or 1 (fails)."""
        return FAIL if self.changes else PASS

    @property
    def summary(self) -> str:
        """Format one line: ``2 of 180 rows changed, 3 new: fails``."""
        changed = len({change.line.where for change in self.changes})
        same = f"{len(self.compared)} rows repeat to {TOLERANCE:g}"
        parts = [f"{changed} of {len(self.compared)} rows changed" if changed else same]
        parts += [f"{len(self.new)} new"] if self.new else []
        return f"{', '.join(parts)}: {OUTCOMES[self.exit_code]}"

    @property
    def advice(self) -> str:
        """Say what a failure means and what to do about it."""
        return (
            "These checkpoints did not change, so the measurement did: look at what changed in metrics, in the models' "
            "code and in the libraries. If that is meant, accept anew: copy the new table over the accepted one, in a "
            "change of its own."
        )


def check_exactly(candidate: Table, accepted: Table) -> Exact:
    """Compare every row of the accepted table that has a value with the candidate's row of the same measurement.

    Raises:
        UserError: the tables do not compare, or the accepted one has no value.
    """
    require_common_dataset(candidate, accepted)
    valued = [line for line in accepted.lines if line.value is not None]
    if not valued:
        raise UserError(f"{accepted.path} leaves nothing to compare: no row has a value; accept a table that has some")
    known = {(line.key, line.source) for line in valued}
    return Exact(
        candidate=candidate.path,
        baseline=accepted.path,
        compared=tuple(valued),
        changes=tuple(change for line in valued for change in _changes(line, candidate, accepted)),
        new=tuple(line for line in candidate.lines if line.value is not None and (line.key, line.source) not in known),
    )


def _changes(line: Line, candidate: Table, accepted: Table) -> Iterator[Change]:
    """Yield the row's cells that the candidate does not repeat; one, if it lacks the row or its value."""
    partner, missing = find_partner(line, candidate, accepted, excused=False)
    if partner is None or partner.value is None:
        yield Change(line=line, column="value", accepted=line.value, new=None, reason=missing)
        return
    for column in _COLUMNS:
        old, new = getattr(line, column), getattr(partner, column)
        if not _repeats(old, new):
            reason = (
                "" if None not in (old, new) else f"{column} is {'gone' if new is None else 'there for the first time'}"
            )
            yield Change(line=line, column=column, accepted=old, new=new, reason=reason)


def _repeats(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is new
    return abs(new - old) <= TOLERANCE * max(1.0, abs(old))


def _digits(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.10g}"


def deliver_exact(gate: Exact, *, markdown: Path | None, junit: Path | None, as_json: Path | None) -> list[str]:
    """Write what was asked for, each file whole or not at all; return the lines for the terminal."""
    wanted = ((markdown, _to_summary), (junit, _to_junit), (as_json, _to_json))
    read = (gate.candidate, gate.baseline)
    write_files([(path, partial(render, gate)) for path, render in wanted if path is not None], read)
    if not gate.changes:
        return [gate.summary]
    return [*to_text(_HEADER, [change.cells for change in gate.changes]), "", gate.advice, gate.summary]


def _to_summary(gate: Exact) -> str:
    """Format a job summary in Markdown."""
    parts = [f"## vaebench check --exact: {OUTCOMES[gate.exit_code]}\n", f"{escape_markdown(gate.summary)}\n"]
    parts += [f"Candidate {escape_markdown(gate.candidate)}, accepted {escape_markdown(gate.baseline)}.\n"]
    if gate.changes:
        rows = [[escape_markdown(cell) for cell in change.cells] for change in gate.changes]
        parts += [to_markdown(_HEADER, rows), f"{gate.advice}\n"]
    return "\n".join(parts)


def _to_junit(gate: Exact) -> str:
    """Format JUnit XML: a test case for each row of the accepted table that has a value."""
    changed: dict[str, list[Change]] = {}
    for change in gate.changes:
        changed.setdefault(change.line.where, []).append(change)
    totals = {"name": "vaebench check --exact", "tests": str(len(gate.compared)), "failures": str(len(changed))}
    totals |= {"errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", totals)
    for line in gate.compared:
        name = f"{line.metric} ({line.protocol}), {line.stratum}"
        case = ElementTree.SubElement(suite, "testcase", {"classname": line.recipe, "name": name})
        if line.where in changed:
            told = [": ".join(pair) for each in changed[line.where] for pair in zip(_HEADER, each.cells, strict=True)]
            failure = ElementTree.SubElement(case, "failure", {"type": "changed", "message": told[-1]})
            failure.text = "\n".join(told)
    return to_xml(root)


def _to_json(gate: Exact) -> str:
    """Format everything as JSON."""
    told = {
        "schema": SCHEMA,
        "outcome": OUTCOMES[gate.exit_code],
        "exit_code": gate.exit_code,
        "summary": gate.summary,
        "candidate": gate.candidate,
        "baseline": gate.baseline,
        "tolerance": TOLERANCE,
        "rows": len(gate.compared),
        "changes": [
            {
                **name_of(change.line),
                **{name: getattr(change, name) for name in ("column", "accepted", "new", "difference", "reason")},
            }
            for change in gate.changes
        ],
        "new": [name_of(line) for line in gate.new],
    }
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
