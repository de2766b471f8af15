"""Lay out what reports found of claims as a Markdown table or as records, source by source; loads no engine."""

import csv
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.validation import Count, Name, Text, plain_line
from vaebench.report.analysis.claim_rows import FILE
from vaebench.report.analysis.claims import NOT_MEASURED, Claim, Comparison, Verdict, parse
from vaebench.report.analysis.formatting import plain_cell, short, to_markdown, without_markup

HEADER = ("claim", "in the source", "verdict", "difference [95 %]", "report")
PAGE = "leaderboard.md"
LONGEST = 72  # characters of what the source says; the report has all of it
REMEDY = "make the report again with 'vaebench report'"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a row of ``claims.csv``; an empty cell is a default."""

    dataset: Name
    split: Name
    says: Text
    claim: Text
    verdict: Verdict
    source: Text = ""
    where: Text = ""
    published: Text = ""
    difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    seeds: Count = 0
    seeds_needed: Count | None = None


class Judgement(NamedTuple):
    """A claim, what a report found of it, and the report's folder; None where no report has measured it."""

    claim: Claim
    found: Found | None = None
    folder: Path = Path()

    @property
    def verdict(self) -> Verdict:
        """What was found of the claim."""
        return self.found.verdict if self.found else NOT_MEASURED


def report_folders(folder: Path) -> list[Path]:
    """List the reports in a folder that say something of claims."""
    return sorted(path.parent for path in folder.glob(f"*/{FILE}"))


def read_judgements(folder: Path) -> list[Judgement]:
    """Read what a report found of claims.

    Raises:
        UserError: the folder has no ``claims.csv``, or one that cannot be read; with its line.
    """
    path = folder / FILE
    try:
        text = input_files.read_text(path, most=input_files.SMALL, remedy=REMEDY)
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, cells) for cells in reader]
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {FILE}: give a dataset's report, such as reports/mnist") from error
    except csv.Error as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}): {REMEDY}") from error
    return [_judgement(cells, folder, f"{path}, line {number}") for number, cells in lines]


def _judgement(cells: Mapping[str, str], folder: Path, place: str) -> Judgement:
    known = {name: plain_cell(cells[name]) for name in Found.__struct_fields__ if cells.get(name)}
    try:
        found = msgspec.convert(known, Found, strict=False)
        parse(found.claim)
    except (msgspec.ValidationError, UserError) as error:
        raise UserError(f"{place} cannot be read ({plain_line(first_line(error))}): {REMEDY}") from error
    claim = Claim(
        says=found.says,
        source=found.source,
        where=found.where,
        published=found.published,
        expression=found.claim,
    )
    return Judgement(claim, None if found.verdict == NOT_MEASURED else found, folder)


def verdicts(claims: Iterable[Claim], judged: Iterable[Judgement]) -> str:
    """Format every claim with its verdicts as a Markdown table, the claims of a source under its name.

    Args:
        claims: listed whether somebody has measured them or not, first and in this order.
        judged: what reports found, of these claims and of others.
    """
    lines: list[Sequence[str]] = []
    for source, own in by_source(claims, judged).items():
        lines += [_heading(source), *map(_cells, own)]
    return without_markup(to_markdown(HEADER, lines, rest="---"))


def records(claims: Iterable[Claim], judged: Iterable[Judgement]) -> list[dict[str, object]]:
    """List every claim with its verdicts for machines, in the order of :func:`verdicts`, with its arguments."""
    every = [each for own in by_source(claims, judged).values() for each in own]
    unknown = dict.fromkeys(Found.__struct_fields__)
    return [
        {
            **(unknown if each.found is None else msgspec.structs.asdict(each.found)),
            "source": each.claim.source,
            "where": each.claim.where,
            "published": each.claim.published,
            "says": each.claim.says,
            "claim": each.claim.expression,
            "verdict": each.verdict,
            "report": "" if each.found is None else (each.folder / PAGE).as_posix(),
        }
        for each in every
    ]


def by_source(claims: Iterable[Claim], judged: Iterable[Judgement]) -> dict[str, list[Judgement]]:
    """Group verdicts by source; a claim that nobody measured has one of them."""
    known: dict[tuple[str, Comparison], list[Judgement]] = {}
    for each in (*map(Judgement, claims), *judged):
        known.setdefault((each.claim.source, parse(each.claim.expression)), []).append(each)
    found: dict[str, list[Judgement]] = {}
    for (source, _), several in known.items():
        measured = [each for each in several if each.found]
        found.setdefault(source, []).extend(measured or several[:1])
    return found


def _heading(source: str) -> Sequence[str]:
    return [f"**{source or 'no source named'}**", *[""] * (len(HEADER) - 1)]


def _cells(judgement: Judgement) -> Sequence[str]:
    claim, found = judgement.claim, judgement.found
    printed = ": ".join(part for part in (claim.where, claim.published) if part)
    begins = [claim.says, textwrap.shorten(printed, LONGEST, placeholder=" …")]
    if found is None:
        return [*begins, f"{NOT_MEASURED} here", "", ""]
    link = f"[{found.dataset}, {found.split}]({quote((judgement.folder / PAGE).as_posix())})"
    return [*begins, _verdict(found), _difference(found), link]


def _verdict(found: Found) -> str:
    """Say the verdict, the seeds behind it, and how many would decide: ``undecided (3 seeds, 8 would decide)``."""
    said = [f"{found.seeds} seed{'' if found.seeds == 1 else 's'}"] if found.seeds else []
    said += [f"{found.seeds_needed} would decide"] if found.seeds_needed else []
    return f"{found.verdict} ({', '.join(said)})" if said else found.verdict


def _difference(found: Found) -> str:
    if found.difference is None:
        return ""
    interval = "" if found.ci_low is None else f" [{short(found.ci_low)}, {short(found.ci_high)}]"
    return short(found.difference) + interval
