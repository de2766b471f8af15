"""Find the leaderboard's rows that a claim is about, or say what is missing."""

from collections.abc import Callable, Iterable, Sequence

from vaebench.core.registry import did_you_mean
from vaebench.report.analysis.claims import Comparison
from vaebench.report.analysis.leaderboard import Row


def find_protocol(asked: Comparison, ranked: Sequence[Row]) -> tuple[str, str]:
    """Find the measured protocol that a claim means; return it, and what is missing where there is none.

    The exact one, or those that have all its words; of several the headline's, then the one that all sides have.
    """
    here = [row for row in ranked if row.metric == asked.metric and row.stratum == asked.stratum]
    if not here:
        metrics = {row.metric for row in ranked}
        if asked.metric not in metrics:
            return "", f"{asked.metric} was not measured{_near(asked.metric, metrics)}"
        strata = {row.stratum for row in ranked if row.metric == asked.metric}
        return "", f"{asked.metric} has no stratum '{asked.stratum}' here{_near(asked.stratum, strata)}"
    words = set(asked.protocol.split("/")) if asked.protocol else set()
    found = [row for row in here if row.protocol == asked.protocol] or [
        row for row in here if words <= set(row.protocol.split("/"))
    ]
    if not found:
        has = ", ".join(dict.fromkeys(row.protocol for row in here))
        return "", f"{asked.metric} was measured as {has}, not as {asked.protocol}"

    def sides(row: Row) -> bool:
        mine = {other.recipe for other in found if other.protocol == row.protocol and other.value is not None}
        return set(asked.names) <= mine

    narrower: tuple[Callable[[Row], bool], ...] = (
        lambda row: row.value is not None,
        lambda row: row.facts.headline > 0,
        sides,
    )
    for wanted in narrower:
        found = [row for row in found if wanted(row)] or found
    several = list(dict.fromkeys(row.protocol for row in found))
    if len(several) > 1:
        each = ", ".join(f"{asked.metric}/{protocol}" for protocol in several)
        return "", f"{asked.metric} was measured in several ways: claim one of {each}"
    return several[0], ""


def _near(name: str, known: Iterable[str]) -> str:
    """Suggest a name that is near; nothing where none is, since lists of all names are long."""
    said = did_you_mean(name, known)
    return f" ({said})" if said.startswith("did you mean") else ""


def find_row(asked: Comparison, protocol: str, name: str, ranked: Sequence[Row]) -> Row | None:
    """Return a name's row of the leaderboard that has a value."""
    wanted = (asked.metric, protocol, asked.stratum, name)
    found = (row for row in ranked if (row.metric, row.protocol, row.stratum, row.recipe) == wanted)
    return next((row for row in found if row.value is not None), None)


def why_missing(asked: Comparison, protocol: str, name: str, ranked: Sequence[Row]) -> str:
    """Say why a name has no value."""
    mine = [row for row in ranked if row.recipe == name]
    if not mine:
        return f"{name} was not measured{_near(name, {row.recipe for row in ranked})}"
    noted = [row.note for row in mine if (row.metric, row.value) == (asked.metric, None) and row.note]
    reason = f": {noted[0]}" if noted else ""
    stratum = "" if asked.stratum == "all" else f" on {asked.stratum}"
    return f"{name} has no value of {asked.metric} ({protocol}){stratum}{reason}"
