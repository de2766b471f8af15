"""Compare what a paper printed with what was measured here: ``baselines/published/*.toml``."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench import statistics
from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.report.analysis.comparisons import ALPHA, Row
from vaebench.report.analysis.formatting import p_text, short
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.samples import samples_of

BUNDLED = Path("baselines/published")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One printed statement and its number, with ours and whether they agree."""

    source: str
    says: str
    published: str
    ours: str
    agrees: str


def default_folder() -> Path:
    """Return the folder of published tables that comes with vaebench: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    return next((path for path in (package / BUNDLED, package.parent / BUNDLED) if path.is_dir()), package / BUNDLED)


def claims(folder: Path, measured: Measured, tested: Sequence[Row]) -> list[Claim]:
    """Check every claim about this dataset that the measurements can answer."""
    found = []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
        try:
            remedy = "mend it, or leave --published away"
            table = tomllib.loads(input_files.read_text(path, most=input_files.SMALL, remedy=remedy))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}): mend it, or leave --published away") from error
        try:
            if table["dataset"] != measured.dataset:
                continue
            found += [_claim(table["source"], entry, measured, tested) for entry in table["claim"]]
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"{path} is no table of claims ({type(error).__name__}: {error})"
            raise UserError(f"{reason}: write it as baselines/published/mnist_article.toml is") from error
    return [claim for claim in found if claim is not None]


def _claim(source: str, entry: dict[str, Any], measured: Measured, tested: Iterable[Row]) -> Claim | None:
    answered = _order(entry, measured, tested) if "greater" in entry else _value(entry, measured)
    if answered is None:
        return None
    ours, agrees = answered
    verdict = "yes" if agrees else "no"
    return Claim(source=source, says=entry["says"], published=entry["published"], ours=ours, agrees=verdict)


def _order(entry: dict[str, Any], measured: Measured, tested: Iterable[Row]) -> tuple[str, bool] | None:
    """Check the claim that ``greater`` has the larger mean than ``less``: Holm's p, and each seed's own t beside it."""
    cell = (entry["metric"], entry["protocol"], entry["stratum"], "paired-t")
    pair = (entry["greater"], entry["less"])
    for row in tested:
        if (row.metric, row.protocol, row.stratum, row.test) == cell and {row.a, row.b} == set(pair):
            sign = 1 if (row.a, row.b) == pair else -1
            agrees = sign * row.mean_difference > 0 and row.p_holm < ALPHA
            each = ", ".join(f"{value:.2f}" for value in _seed_statistics(entry, measured, row))
            text = (
                f"mean difference {short(sign * row.mean_difference)}, t({row.df:.0f}) = {sign * row.statistic:.2f} "
                f"on means over seeds (p {p_text(row.p_holm)}); one seed at a time: {each}"
            )
            return text, agrees
    return None


def _seed_statistics(entry: dict[str, Any], measured: Measured, row: Row) -> list[float]:
    """Return t of the paired test for each seed alone, as a paper with one trained model reports it."""
    for series in sorted({series for known in measured.values.values() for series in known}):
        if (series.metric, series.protocol, series.split) == (row.metric, row.protocol, row.split):
            mask = measured.strata.get(series.data_fingerprint, {}).get(row.stratum)
            groups = {group.name: group.on(mask) for group in samples_of(measured, series)}
            if not {row.a, row.b} <= set(groups):
                continue
            first, second = groups[entry["greater"]].values, groups[entry["less"]].values
            rounds = max(len(first), len(second))
            return [
                statistics.paired_t(first[min(i, len(first) - 1)], second[min(i, len(second) - 1)]).statistic
                for i in range(rounds)
            ]
    return []


def _value(entry: dict[str, Any], measured: Measured) -> tuple[str, bool] | None:
    """Check the claim that a recipe has a value: every seed must have it."""
    values = [
        line.value
        for line in measured.results
        if (line.recipe, line.metric, line.stratum) == (entry["recipe"], entry["metric"], entry["stratum"])
        and line.value is not None
    ]
    if not values:
        return None
    return "by seed: " + ", ".join(short(value) for value in values), set(values) == {entry["value"]}
