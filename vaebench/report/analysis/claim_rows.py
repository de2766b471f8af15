"""Lay out the verdicts on claims as rows of ``claims.csv``; loads no engine."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vaebench.report.analysis.judging import Judged
    from vaebench.report.analysis.measured import Measured

FILE: Final = "claims.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The verdict on one claim: a row of ``claims.csv``, whose columns scripts rely on.

    ``values`` are what is compared, such as ``vae-mnist=0.0476 real=0.1582``, and ``each_seed`` the paired test of each
    seed alone, such as ``t=57.7 t=54.2``; the others are as in :class:`~vaebench.report.analysis.judging.Judged`.
    """

    dataset: str
    split: str
    says: str
    source: str
    where: str
    published: str
    claim: str
    verdict: str
    protocol: str
    values: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    test: str
    p_holm: float | None
    seeds: int
    seeds_needed: int | None
    each_seed: str
    note: str
    data_fingerprint: str


def rows(held: "Iterable[Judged]", measured: "Measured") -> list[Row]:
    """Make one part's rows, in the order of the page."""
    first = measured.results[0]
    return [
        Row(
            dataset=measured.dataset,
            split=first.split,
            says=judged.claim.says,
            source=judged.claim.source,
            where=judged.claim.where,
            published=judged.claim.published,
            claim=judged.claim.expression,
            verdict=judged.verdict,
            protocol=judged.protocol,
            values=" ".join(f"{name}={value:.10g}" for name, value in judged.values.items()),
            difference=judged.difference,
            ci_low=judged.ci_low,
            ci_high=judged.ci_high,
            test=judged.test,
            p_holm=judged.p_holm,
            seeds=judged.seeds,
            seeds_needed=judged.seeds_needed,
            each_seed=" ".join(f"t={value:.10g}" for value in judged.each_seed),
            note=judged.note,
            data_fingerprint=first.provenance.data_fingerprint,
        )
        for judged in held
    ]
