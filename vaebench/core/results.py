"""Results: one JSON line per value, with its provenance and a digest; a new measurement replaces the previous one.

In a report's evidence the strata of one measurement share a line.
"""

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vaebench.core import input_files, questions, validation
from vaebench.core.errors import UserError
from vaebench.core.files import write_atomic
from vaebench.core.validation import LONGEST_TEXT, Count, Name, NotNegative, RunName, Text, Token, plain_line

# strata that are parts of a value and no subsets of the images: an attribute each, or a condition it was taken under
PARTS = ("attribute=", "condition=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a number came from."""

    data_fingerprint: Token
    weights_sha256: Token
    extractor_sha256: Text
    vaebench_version: Text
    versions: dict[str, Text]
    device: Text
    command: Text
    created: Text  # ISO 8601, UTC
    seconds: NotNegative  # of the evaluation pass that made it
    asked: Text = ""  # the protocol before measuring, and how many samples: what need not be measured twice
    data_note: Text = ""  # what a reader must know of the images, e.g. that they are synthetic, or a subset
    made_by: Text = ""  # how a model or images from elsewhere were made, in the words of who measured them


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How a report shows a metric, as the metric declares it.

    Attributes:
        question: what it answers, a heading of the page; :mod:`vaebench.core.questions` has vaebench's own.
        place: its place among the metrics that answer the same question; those of the same place follow by name.
        ranked: whether models are ranked by it; otherwise it describes, and a better value makes no better model.
        averaged: whether it counts in the mean ranks over metrics.
        headline: its place among the overview's figures, from 1; 0 leaves it out.
        stands_in_for: a metric in whose place it is shown in the overview, where that one was not measured.
        lowest, highest: least and greatest value that it can have, in its unit; None where there is no bound. Intervals
            stay within them, and the gate refuses tables with values beyond.
        study: section of the report that lays its conditions side by side: ``attributes``, ``interpolation``,
            ``manipulation``, ``blending``, ``shift``, or one of a plugin's own; empty for none.
        column: its heading in that section; without one, the word for its protocol in the overview.
        distribution: what its per-image values are called in the figures and tables of their distribution, of the
            whole split and by class; empty draws none.
    """

    question: Text = questions.OTHER
    place: Count = 99
    ranked: bool = True
    averaged: bool = True
    headline: Count = 0
    stands_in_for: Text = ""
    lowest: float | None = None
    highest: float | None = None
    study: Text = ""
    column: Text = ""
    distribution: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One value: of a run, on a split and stratum, by a metric and protocol. ``value`` None means n/a."""

    recipe: RunName
    seed: Count | None
    dataset: Name
    split: Name
    stratum: Text
    metric: Name
    protocol: Text
    unit: Text
    direction: Literal["higher", "lower", "target"]
    value: float | None
    std_error: NotNegative | None
    n: Count
    note: Text
    provenance: Provenance
    margin: Text = ""  # what difference matters, as the metric declares it
    facts: Facts | None = None  # None in lines of versions before 0.2

    @property
    def key(self) -> tuple[str | int | None, ...]:
        """Results with the same key measure the same thing; the latest one counts."""
        return (
            *(self.recipe, self.seed, self.dataset, self.split, self.provenance.data_fingerprint),
            *(self.stratum, self.metric, self.protocol),
        )


REMEDY = "delete that line, then evaluate the run again"
STRATA = "strata"  # of a line that holds several results: stratum -> what they do not share with the line's own
_OF_A_STRATUM = ("stratum", "value", "std_error", "n", "note")
_DIGEST = re.compile(rb', "digest": "([0-9a-f]{32})"\}$')


def append(path: Path, results: Iterable[Result]) -> None:
    """Write lines into ``results.jsonl``, all or none; a new measurement replaces the line with the same key.

    A line that cannot be read stays where it is, for :func:`read` to name.
    """
    fresh = []
    for result in results:
        if result.value is not None and not math.isfinite(result.value):
            raise ValueError(f"{result.metric} of {result.recipe} is {result.value}: not a result")
        fresh.append(result)
    replaced = {result.key for result in fresh}
    kept = [line for line in _content(path).splitlines() if not _replaced(line, replaced)] if path.exists() else []
    _write(path, [*kept, *(_written(_values(result)) for result in fresh)])


def write_together(path: Path, results: Iterable[Result]) -> None:
    """Write a file anew with a line per measurement: its strata share all but their values, which is said once."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        values = _values(result)
        shared = {name: value for name, value in values.items() if name not in _OF_A_STRATUM}
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(values)
    _write(path, [_written(_together(*group)) for group in groups.values()])


def _together(first: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    own = {each["stratum"]: {name: each[name] for name in _OF_A_STRATUM[1:]} for each in others}
    return first | ({STRATA: own} if own else {})


def _write(path: Path, lines: Iterable[bytes]) -> None:
    content = b"".join(line + b"\n" for line in lines)
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def _replaced(line: bytes, keys: Collection[tuple[str | int | None, ...]]) -> bool:
    """Tell whether a line holds no result but those of ``keys``."""
    try:
        return all(result.key in keys for result in _read(line, ""))
    except UserError:
        return False


def _values(result: Result) -> dict[str, Any]:
    values = asdict(result) | {"note": _as_text(result.note)}
    values["provenance"]["data_note"] = _as_text(result.provenance.data_note)
    return values


def _written(values: Mapping[str, Any]) -> bytes:
    """Format a line that ends in a digest of all before it."""
    content = json.dumps(values, allow_nan=False).encode()
    return content[:-1] + f', "digest": "{_digest(content)}"}}'.encode()


def _as_text(note: str) -> str:
    """Return a note as :data:`Text`, which is read again: names of classes in it may hold anything."""
    text = plain_line(" ".join(note.splitlines()))
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 2]} …"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def read(path: Path) -> list[Result]:
    """Read all lines, oldest first; :class:`UserError` names the first that is damaged."""
    lines = enumerate(_content(path).splitlines(), 1)
    return [result for number, line in lines for result in _read(line, f"{path} line {number}")]


def count_without_digest(path: Path) -> int:
    """Count lines without a digest, which earlier versions wrote: damage to them goes unnoticed."""
    content = _content(path)
    return sum(_DIGEST.search(line) is None for line in content.splitlines())


def _content(path: Path) -> bytes:
    return input_files.read_bytes(
        path, most=input_files.LOG, remedy="move it away, then evaluate the run again", inside=path.parent
    )


def _read(line: bytes, where: str) -> list[Result]:
    """Read a line's result, and those of the strata that it holds beside it."""
    known = validation.from_json(line, dict[str, Any], where, REMEDY)
    signed = _DIGEST.search(line)
    if signed is None and "digest" in known:
        raise UserError(f"{where} is damaged (its digest is none): {REMEDY}")
    if signed is not None and _digest(line[: signed.start()] + b"}") != signed[1].decode():
        raise UserError(f"{where} is damaged (its digest is not that of its content): {REMEDY}")
    strata = validation.converted(known.pop(STRATA, {}), dict[str, dict[str, Any]], where, REMEDY)
    lines = [known, *({**known, **own, "stratum": stratum} for stratum, own in strata.items())]
    return [_converted(each, where) for each in lines]


def _converted(known: dict[str, Any], where: str) -> Result:
    origin = known.get("provenance")
    odd = set(known) - validation.fields_of(Result) - {"digest"}
    for part, kind in ((origin, Provenance), (known.get("facts"), Facts)):
        odd |= set(part) - validation.fields_of(kind) if isinstance(part, dict) else set()
    validation.refuse_unknown(odd, where, REMEDY)
    result: Result = validation.converted(known, Result, where, REMEDY)
    return result


def latest(results: Sequence[Result]) -> list[Result]:
    """Return the newest result of each key, in the order in which keys first appeared."""
    newest = {result.key: result for result in results}
    return list(newest.values())
