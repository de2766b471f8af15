"""Gather the claims of suites as reports take them; imports no torch."""

from vaebench.report.analysis.claims import Claim
from vaebench.suites import built_in
from vaebench.suites.reading import read_suite
from vaebench.suites.suite import Located


def claims_of(located: Located) -> list[Claim]:
    """Return the suite's claims as a report takes them."""
    return [
        Claim(
            says=each.says,
            source=located.suite.source,
            where=each.where,
            published=each.published,
            expression=each.claim,
        )
        for each in located.suite.claims
    ]


def built_in_claims(dataset: str | None = None) -> list[Claim]:
    """Return the claims of the suites that come with vaebench, or of those on one dataset, suite by suite."""
    located = map(read_suite, built_in().values())
    return [claim for each in located if dataset in (None, each.suite.dataset.name) for claim in claims_of(each)]
