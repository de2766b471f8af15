"""The gate: is a candidate's table worse than an accepted one by more than a margin?

This is a test of non-inferiority, row by row (recipe, metric, protocol, over all images). Let d be the degradation,
positive where the candidate is worse, and the margin the largest degradation that does not matter. The 95 % interval
of d (Student's t with Welch and Satterthwaite's degrees of freedom; the two sides are taken as independent) decides:

- ``regression``: the whole interval lies above the margin. The candidate is worse by more than matters.
- ``ok``: the whole interval lies at or below the margin; ``improved``: it even lies below minus the margin.
- ``undecided``: the margin lies within the interval, or there is no interval. More seeds or images decide.
- ``identical``: nothing changed: every training seed of both has the same value, or the one value is the same.

Values that are bounded below by 0 and by nothing above (errors, distances) are compared by their logarithms, so that
the scatter of seeds counts in percent. Both tables are of the same images, so that where the scatter of training seeds
alone makes the interval narrower than the rows' standard errors, which speak of other images too, it is taken. Where
both sides have the same training seeds and it takes scatter away, they are compared seed by seed. Then a degradation
that is surely beyond what the metric declares to matter is a regression, however wide a margin the scatter of other
seeds asks for: "surely" is at 2.5 % over all rows together (Bonferroni), since on another machine the same seeds may
train to other weights. Without an interval, a degradation beyond the margin is a regression: nothing says that it is
chance.

So noise alone is called a regression in at most 2.5 % of rows whose true degradation is the margin (more rarely where
it is less), and a table without evidence never passes: absence of a significant difference is no proof of equality.
There is no correction over rows: each row has its 2.5 %. Where one training seed was measured, the interval is over
images and the verdict is of these checkpoints, not of the recipes.

Values that do not compare (other data, split, extractor, unit, direction or protocol) are bad input, never a verdict.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vaebench.core.errors import UserError
from vaebench.core.margin import Margin
from vaebench.core.subjects import REAL
from vaebench.report.analysis.formatting import short
from vaebench.report.gate.interval import (
    Scale,
    Verdict,
    decide,
    half_width,
    needed,
    paired_sides,
    seeds_sides,
    side,
    spread,
)
from vaebench.report.gate.student import TAIL
from vaebench.report.gate.table import Line, Table, allowed_names, is_allowed, user_margins

VERDICTS: tuple[Verdict, ...] = (  # worst first
    *("regression", "missing", "undecided", "ok", "improved", "identical", "allowed"),
)
PASS, FAIL, CANNOT_DECIDE = 0, 1, 3  # docs/files.md has all exit codes

NEITHER = "no interval: neither side has a standard error with degrees of freedom; measure more seeds"
_REALITY = 1e-4  # of a real row's value: what another machine's arithmetic may differ by
_DIGITS = 1e-9  # tables hold ten digits: what lies nearer to a margin than this share of the values lies on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One gated row. Numbers are ``None`` where there is nothing to compare, or no interval."""

    baseline: Line
    candidate: Line | None
    margin: float
    margin_text: str
    degradation: float | None = None
    std_error: float | None = None
    df: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    verdict: Verdict
    reason: str = ""

    @property
    def one_checkpoint(self) -> bool:
        """Whether a side's interval is over images, of one trained model."""
        sides = (self.baseline, self.candidate)
        return self.ci_low is not None and any(side and side.std_error and side.seeds <= 1 for side in sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Findings of the gate: gated rows, worst first; the candidate's rows that are new; rows without a margin."""

    candidate: str
    baseline: str
    rows: tuple[Judged, ...]
    new: tuple[Line, ...]
    ungated: tuple[Line, ...]

    def counts(self) -> dict[str, int]:
        """Count rows by verdict."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def exit_code(self) -> int:
        """Return 0 (passes), 1 (fails) or 3 (cannot decide)."""
        counts = self.counts()
        if counts["regression"] or counts["missing"]:
            return FAIL
        return CANNOT_DECIDE if counts["undecided"] else PASS


def check(candidate: Table, accepted: Table, margins: Iterable[str] = (), allow_missing: Iterable[str] = ()) -> Gate:
    """Judge every row of the accepted table that has a value and a margin."""
    _require_same_reality(candidate, accepted)
    given, allowed = user_margins(margins, accepted), allowed_names(allow_missing, accepted)
    require_common_dataset(candidate, accepted)
    valued = [line for line in accepted.lines if line.of_a_model and line.value is not None]
    gated = [(line, limit) for line in valued if (limit := given.get(line.metric, line.margin)) is not None]
    if not gated:
        raise UserError(
            f"{accepted.path} leaves nothing to gate: no row has both a value and a margin; give margins such as "
            "--margin ssim=0.01 --margin fid=5%"
        )
    rows = [_judge(line, limit, candidate, accepted, allowed, len(gated)) for line, limit in gated]
    known, chosen = {line.key for line in valued}, {line.key for line, _ in gated}
    new = [line for line in candidate.lines if line.of_a_model and line.value is not None and line.key not in known]
    return Gate(
        candidate=candidate.path,
        baseline=accepted.path,
        rows=tuple(sorted(rows, key=_severity)),
        new=tuple(sorted(new, key=lambda line: line.key)),
        ungated=tuple(sorted((line for line in valued if line.key not in chosen), key=lambda line: line.key)),
    )


def _severity(row: Judged) -> tuple[int, float, tuple[str, ...]]:
    """Sort key, worst first: by verdict, then by how many margins the degradation is."""
    worse = row.degradation or 0.0
    share = worse / row.margin if row.margin else math.copysign(math.inf, worse) if worse else 0.0
    return VERDICTS.index(row.verdict), -share, (*row.baseline.key, *row.baseline.source)


def _judge(line: Line, limit: Margin, candidate: Table, accepted: Table, allowed: frozenset[str], rows: int) -> Judged:
    excused = is_allowed(line, allowed)
    partner, missing = find_partner(line, candidate, accepted, excused=excused)
    real = _real(line, accepted) if line.direction == "target" else None
    assert line.value is not None
    margin = limit.of(line.value if real is None else real)
    row = Judged(baseline=line, candidate=partner, margin=margin, margin_text=limit.text, verdict="undecided")
    if partner is None or partner.value is None:
        return replace(row, verdict="allowed" if excused else "missing", reason=missing)
    worse = degradation(line, partner, real, None if real is None else _real(partner, candidate))
    declared = (limit if limit != line.margin else line.declared or limit).of(line.value if real is None else real)
    return _decided(replace(row, degradation=worse), worse, real, min(margin, declared), TAIL / rows)


def _decided(row: Judged, worse: float, real: float | None, declared: float, tail: float) -> Judged:
    """Judge a row by its degradation and the interval of it."""
    line, partner = row.baseline, row.candidate
    assert partner is not None
    assert line.value is not None and partner.value is not None
    first, second = side(line, "baseline"), side(partner, "candidate")
    same_seeds = bool(line.by_seed) and line.by_seed.keys() == partner.by_seed.keys()
    if worse == 0 and (line.by_seed == partner.by_seed if same_seeds else isinstance(first, str)):
        return replace(row, verdict="identical")
    digits = _DIGITS * max(abs(line.value), abs(partner.value))
    if isinstance(first, str) or isinstance(second, str):
        unknown = [given for given in (first, second) if isinstance(given, str)]
        reason = unknown[0] if len(unknown) == 1 else NEITHER
        if worse > row.margin + digits:
            return replace(row, verdict="regression", reason=f"beyond the margin, and {reason}")
        return replace(row, reason=reason)
    scale = Scale.of(line, partner)
    first, second = scale.side(first, line.value), scale.side(second, partner.value)
    alone = seeds_sides(line, partner, scale)
    if alone is not None and half_width(*alone) < half_width(first, second):
        first, second = alone
    middle = scale.difference(line, partner, worse)
    paired = paired_sides(line, partner, scale, real) if same_seeds else None
    seed_by_seed = paired is not None and half_width(*paired) < half_width(first, second)
    if paired is not None and seed_by_seed:
        first, second = paired
        sure = middle - half_width(first, second, tail)
        if sure > scale.forth(declared, line.value) + digits:
            reason = f"surely worse, seed by seed, by more than {short(declared)}"
            row = replace(row, verdict="regression", reason=reason)
    error, df = spread(first, second)
    half = half_width(first, second)
    low, high = scale.back(middle - half, line.value), scale.back(middle + half, line.value)
    row = replace(row, std_error=error, df=df, ci_low=low, ci_high=high)
    if row.verdict == "regression":
        return row
    verdict = decide(low, high, row.margin, digits)
    gap = abs(scale.forth(row.margin, line.value) - middle) - digits
    reason = needed(first, second, gap, seed_by_seed=seed_by_seed) if verdict == "undecided" else ""
    return replace(row, verdict=verdict, reason=reason)


def require_common_dataset(candidate: Table, accepted: Table) -> None:
    """Refuse tables that have no dataset in common."""
    mine, theirs = ({line.dataset for line in table.lines} for table in (candidate, accepted))
    if not mine & theirs:
        raise UserError(
            f"{candidate.path} is of {', '.join(sorted(mine))}, {accepted.path} of {', '.join(sorted(theirs))}: "
            "give two tables of one dataset"
        )


def _require_same_reality(candidate: Table, accepted: Table) -> None:
    """Refuse tables whose real images, of one fingerprint, have different values."""
    for line in accepted.lines:
        other = candidate.like(line) if line.recipe == REAL else None
        if other is None or line.value is None or other.value is None:
            continue
        if abs(line.value - other.value) > _REALITY * max(abs(line.value), abs(other.value)):
            raise UserError(
                f"{other.where}: {line.title} is {other.value:g} (column value), but {line.value:g} in {line.where}: "
                "real images of one fingerprint have one value; make the table again, or accept a new baseline"
            )


def degradation(baseline: Line, candidate: Line, real_baseline: float | None, real_candidate: float | None) -> float:
    """Return how much worse the candidate is, in the metric's unit; real images' values are asked for by target
    metrics.
    """
    assert baseline.value is not None and candidate.value is not None
    if baseline.direction == "higher":
        return baseline.value - candidate.value
    if baseline.direction == "lower":
        return candidate.value - baseline.value
    assert real_baseline is not None and real_candidate is not None
    return abs(candidate.value - real_candidate) - abs(baseline.value - real_baseline)


def _real(line: Line, table: Table) -> float:
    """Return the real images' value; a target's standard error leaves theirs out, as both sides are held against it."""
    found = table.like(line, REAL)
    if found is None or found.value is None:
        raise UserError(
            f"{table.path} has no value of the real images for {line.metric} ({line.protocol}), which {line.recipe} is "
            f"held against: make the table again with 'vaebench report', or --margin {line.metric}=none"
        )
    return found.value


def find_partner(line: Line, candidate: Table, accepted: Table, *, excused: bool) -> tuple[Line | None, str]:
    """Return the candidate's row of the same measurement, or why there is none, or no value in it.

    Raises:
        UserError: what is there was measured otherwise, so that values do not compare.
    """
    found = candidate.like(line)
    if found is not None:
        return found, f"n/a in the candidate: {found.note or 'no reason noted'}"
    for other in candidate.by_key.get(line.key, ()):
        name = next(name for name, value in line.kind.items() if other.kind[name] != value)
        raise UserError(
            f"{other.where}: {line.title} has {name} {other.kind[name]!r}, but {line.kind[name]!r} in {line.where}: "
            "such values do not compare; measure both alike, or accept a new baseline"
        )
    measured = _protocols(line, candidate, valued=True)
    unknown = sorted(measured - _protocols(line, accepted, valued=False))
    if unknown and not excused:
        raise UserError(
            f"{line.recipe} {line.metric} has protocol {line.protocol!r} in {line.where}, but {unknown[0]!r} in "
            f"{candidate.path}: such values do not compare; measure both alike, or accept a new baseline"
        )
    if not any(other.recipe == line.recipe for other in candidate.lines):
        return None, "the candidate lacks the recipe"
    return None, f"the candidate lacks the {'protocol' if measured else 'metric'}"


def _protocols(line: Line, table: Table, *, valued: bool) -> set[str]:
    """List the protocols under which a table has this recipe's metric over all images."""
    wanted = (line.recipe, line.metric, line.stratum)
    return {
        other.protocol
        for other in table.lines
        if (other.recipe, other.metric, other.stratum) == wanted and (other.value is not None or not valued)
    }
