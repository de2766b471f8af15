"""Lay out claims with the verdicts on them: what the page opens with."""

from collections.abc import Sequence
from dataclasses import dataclass

from vaebench.report import claim_wording, verdict_counts
from vaebench.report.analysis.claims import FAILS, HOLDS, NOT_MEASURED, UNDECIDED
from vaebench.report.analysis.judging import Judged

KINDS = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "undecided", NOT_MEASURED: "lacking"}  # classes of the style


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLine:
    """One claim as the page has it."""

    says: str
    expression: str
    kind: str
    mark: str
    verdict: str
    values: str
    found: str
    published: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTable:
    """All claims, their count by verdict, and how they are judged."""

    summary: str
    reading: str
    lines: Sequence[ClaimLine]


def claim_table(held: Sequence[Judged]) -> ClaimTable | None:
    """Lay out claims in their order; None without any."""
    lines = [
        ClaimLine(
            says=judged.claim.says,
            expression=judged.claim.expression,
            kind=KINDS[judged.verdict],
            mark=verdict_counts.MARKS[judged.verdict],
            verdict=judged.verdict,
            values=claim_wording.values(judged),
            found=claim_wording.found(judged),
            published=judged.claim.published,
            source=claim_wording.source(judged),
        )
        for judged in held
    ]
    return (
        ClaimTable(summary=claim_wording.summary(held), reading=claim_wording.READING, lines=lines) if lines else None
    )
