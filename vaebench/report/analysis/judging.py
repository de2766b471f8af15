"""Judge claims by the tables: the test that decides a pair, or the interval that the leaderboard prints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vaebench import statistics
from vaebench.core.margin import read_margin
from vaebench.core.subjects import REAL
from vaebench.report.analysis import comparisons, leaderboard
from vaebench.report.analysis.claim_cells import find_protocol, find_row, why_missing
from vaebench.report.analysis.claims import (
    AT_LEAST,
    AT_MOST,
    BETTER,
    EQUAL,
    FAILS,
    GREATER,
    HOLDS,
    LESS,
    NEARER,
    NOT_MEASURED,
    UNDECIDED,
    Claim,
    Comparison,
    Verdict,
    parse,
)
from vaebench.report.analysis.comparisons import ALPHA
from vaebench.report.analysis.formatting import or_none, short
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.needed_seeds import MOST, pair_of, seeds_for_number, seeds_for_pair, series_of, values_on
from vaebench.report.analysis.pair_tests import CHECKPOINTS, same_images

ONE_SEED: Final = "one seed: of this checkpoint"
ONE_SEED_EACH: Final = "one seed each: of these checkpoints"
SECOND_SEED: Final = "one seed says nothing of how much seeds differ: train a second"
EXACT: Final = "exact values"  # in place of a test's name
INTERVAL: Final = "95 % interval"
EACH_SEED: Final = "each seed's value"
_MIRRORED: Final = {LESS: GREATER, AT_MOST: AT_LEAST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A claim, the verdict on it, and the numbers that it rests on; None for a number that there is not.

    Attributes:
        claim, comparison: what was claimed.
        verdict: ``not measured`` with what is missing in ``note``.
        protocol: the protocol as measured; empty where nothing was.
        values: what is compared, and the real images where they are the aim: name -> value.
        difference: of left and right, or of left and the number, in the metric's unit.
        ci_low, ci_high: its 95 % interval.
        test: the deciding test; of numbers, ``95 % interval``.
        p_holm: its p-value, after Holm's correction over all pairs; numbers have none.
        seeds: training seeds of the side with fewer; 0 where no training stands behind either.
        seeds_needed: training seeds a side that would decide it 4 times in 5, where it is undecided and that is known.
        each_seed: t of the paired test of each seed alone, of left minus right.
        note: what a reader must know of the verdict.
    """

    claim: Claim
    comparison: Comparison
    verdict: Verdict
    protocol: str = ""
    values: Mapping[str, float]
    difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    test: str = ""
    p_holm: float | None = None
    seeds: int = 0
    seeds_needed: int | None = None
    each_seed: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Tables:
    measured: Measured
    tested: Sequence[comparisons.Row]
    ranked: Sequence[leaderboard.Row]


def judge(
    claims: Iterable[Claim],
    measured: Measured,
    tested: Sequence[comparisons.Row],
    ranked: Sequence[leaderboard.Row],
) -> list[Judged]:
    """Judge claims by the tables of one split and fingerprint, in their order.

    Two names are judged by the report's deciding test, with its correction; a number by the interval that the
    leaderboard has, so that nothing is called significant that the tables do not show.

    Args:
        claims: to be judged.
        measured: one part of a dataset's measurements.
        tested: its rows of ``comparisons.csv``.
        ranked: its rows of ``leaderboard.csv``.

    Raises:
        UserError: a claim cannot be parsed.
    """
    tables = _Tables(measured, tested, ranked)
    return [_judged(claim, parse(claim.expression), tables) for claim in claims]


def _judged(claim: Claim, asked: Comparison, tables: _Tables) -> Judged:
    protocol, missing = find_protocol(asked, tables.ranked)
    found = Judged(claim=claim, comparison=asked, verdict=NOT_MEASURED, values={}, protocol=protocol)
    if missing:
        return replace(found, note=missing)
    rows = {name: find_row(asked, protocol, name, tables.ranked) for name in (*asked.names, REAL)}
    lacking = [name for name in asked.names if rows[name] is None]
    if lacking:
        return replace(found, note="; ".join(why_missing(asked, protocol, name, tables.ranked) for name in lacking))
    known = {name: row for name, row in rows.items() if row is not None}
    target = known[asked.left].direction == "target"
    aimed = asked.relation == NEARER or (asked.relation == BETTER and target)
    if aimed and (not target or REAL not in known or not asked.right):
        return replace(found, note=_no_aim(asked, target))
    shown = known if aimed else {name: known[name] for name in asked.names}
    found = replace(
        found,
        values={name: row.value for name, row in shown.items() if row.value is not None},
        seeds=min((row.seeds for name, row in known.items() if name in asked.names and row.seeds), default=0),
    )
    if asked.right:
        found = _against_name(found, known, tables)
    elif asked.relation == EQUAL:
        found = _each_equal(found, tables)
    else:
        found = _against_number(found, known, tables)
    mixed = [f"{name}: its seeds were not trained alike" for name in tables.measured.mixed() if name in asked.names]
    return replace(found, note=_joined(found.note, *mixed))


def _no_aim(asked: Comparison, target: bool) -> str:
    if not target:
        return f"{asked.metric} does not aim at the real images' value: claim >, < or '{BETTER}'"
    if not asked.right:
        return f"{asked.metric} aims at the real images' value, so that no number is better: claim > or <"
    return f"the real images have no value of {asked.subject}, which nearness is to"


def _against_name(found: Judged, known: Mapping[str, leaderboard.Row], tables: _Tables) -> Judged:
    """Judge by the deciding test of the pair, or by exact values."""
    asked = found.comparison
    wanted = (asked.metric, found.protocol, asked.stratum, {asked.left, asked.right})
    tests = [row for row in tables.tested if (row.metric, row.protocol, row.stratum, {row.a, row.b}) == wanted]
    row = comparisons.deciding(tests)
    if row is None:
        return _untested(found, known)
    sign = 1 if row.a == asked.left else -1
    difference = sign * row.mean_difference
    low, high = sorted((sign * row.ci_low, sign * row.ci_high))
    target = known[asked.left].direction == "target"
    if asked.relation in (BETTER, NEARER):
        verdict, note = _by_verdict(asked, row)
    else:
        verdict, note = _by_order(asked.relation, difference, row.p_holm < ALPHA, _equivalent(row, target=target))
    note = _joined(note, _of_seeds(row, verdict))
    found = replace(
        found,
        verdict=verdict,
        difference=difference,
        ci_low=or_none(low),
        ci_high=or_none(high),
        test=row.test,
        p_holm=or_none(row.p_holm),
        seeds=row.seeds,
        each_seed=_each_seed(asked, row, tables.measured),
        note=note,
    )
    aimed = asked.relation in (BETTER, NEARER)
    # more seeds end no verdict at the floor, and how many would show that two are equal is not planned
    beyond = row.note in CHECKPOINTS or asked.relation == EQUAL or (aimed and row.verdict == "floor")
    if verdict != UNDECIDED or beyond:
        return found
    return _with_need(found, seeds_for_pair(tables.measured, row, tables.tested, nearer=aimed))


def _equivalent(row: comparisons.Row, *, target: bool) -> bool:
    """Tell whether a row shows that the values themselves are equivalent; of target metrics, mirror images are too."""
    return row.verdict == "equivalent" and (not target or max(abs(row.ci_low), abs(row.ci_high)) < row.margin)


def _by_verdict(asked: Comparison, row: comparisons.Row) -> tuple[Verdict, str]:
    """Judge who is better as the report does."""
    if row.verdict in ("a", "b"):
        return (HOLDS if {"a": row.a, "b": row.b}[row.verdict] == asked.left else FAILS), ""
    if row.verdict == "equivalent":
        return FAILS, f"the two are equivalent within the margin of {short(row.margin)}"
    return UNDECIDED, comparisons.FLOOR if row.verdict == "floor" else ""


def _by_order(relation: str, difference: float, significant: bool, equivalent: bool) -> tuple[Verdict, str]:
    """Judge which value is larger; a significant difference counts for > and < even if it is within the margin."""
    if relation in _MIRRORED:
        return _by_order(_MIRRORED[relation], -difference, significant, equivalent)
    shown = significant and difference != 0
    if relation == EQUAL:
        return (
            HOLDS if equivalent else FAILS if shown else UNDECIDED,
            "equivalent within the margin" if equivalent else "",
        )
    if relation == AT_LEAST and equivalent:
        return HOLDS, "equivalent within the margin"
    if shown:
        within = equivalent and difference > 0
        return (HOLDS if difference > 0 else FAILS), "though equivalent within the margin" if within else ""
    return (FAILS, "the two are equivalent within the margin") if equivalent else (UNDECIDED, "")


def _of_seeds(row: comparisons.Row, verdict: Verdict) -> str:
    """Say what a test of few seeds speaks of."""
    if row.note not in CHECKPOINTS:
        return row.note
    said = ONE_SEED_EACH if row.note == CHECKPOINTS[0] else ONE_SEED
    return _joined(said, SECOND_SEED) if verdict == UNDECIDED else said


def _untested(found: Judged, known: Mapping[str, leaderboard.Row]) -> Judged:
    """Judge exact values, such as counts; a pair without any test stays undecided."""
    asked = found.comparison
    sides = [known[name] for name in asked.names]
    a, b = (found.values[name] for name in asked.names)
    found = replace(found, difference=a - b)
    if any(row.std_error != 0 for row in sides):
        return replace(found, verdict=UNDECIDED, note="the report has no test of this pair")
    gain = -abs(a - found.values[REAL]) + abs(b - found.values[REAL]) if REAL in found.values else a - b
    if asked.relation == BETTER and sides[0].direction == "lower":
        gain = -gain
    relation = GREATER if asked.relation in (BETTER, NEARER) else asked.relation
    return replace(found, verdict=HOLDS if _is(relation, gain) else FAILS, test=EXACT)


def _is(relation: str, difference: float) -> bool:
    return {
        GREATER: difference > 0,
        LESS: difference < 0,
        AT_LEAST: difference >= 0,
        AT_MOST: difference <= 0,
        EQUAL: difference == 0,
    }[relation]


def _each_equal(found: Judged, tables: _Tables) -> Judged:
    """Judge that a recipe has a number: every seed must have it."""
    asked = found.comparison
    assert asked.number is not None
    wanted = (asked.metric, found.protocol, asked.stratum, asked.left)
    values = [
        line.value
        for line in tables.measured.results
        if (line.metric, line.protocol, line.stratum, line.recipe) == wanted and line.value is not None
    ]
    said = "by seed: " + ", ".join(short(value) for value in values) if len(values) > 1 else ""
    return replace(
        found,
        verdict=HOLDS if set(values) == {asked.number} else FAILS,
        difference=found.values[asked.left] - asked.number,
        test=EACH_SEED if found.seeds else EXACT,
        note=_joined(said, ONE_SEED if found.seeds == 1 else ""),
    )


def _against_number(found: Judged, known: Mapping[str, leaderboard.Row], tables: _Tables) -> Judged:
    """Judge by the recipe's interval: all of it must lie on one side of the number."""
    asked, row = found.comparison, known[found.comparison.left]
    assert asked.number is not None and row.value is not None
    margin = read_margin(row.margin, f"{asked.metric} ({found.protocol})")
    if asked.margin and margin is None:
        return replace(found, verdict=NOT_MEASURED, note=f"{asked.metric} declares no margin: claim the number alone")
    aim = known.get(REAL) if row.direction == "target" else None
    share_of = asked.number if aim is None or aim.value is None else aim.value
    number = asked.number + (asked.margin * margin.of(share_of) if margin else 0.0)
    found = replace(found, difference=row.value - number, note=ONE_SEED if found.seeds == 1 else "")
    if row.ci_low is None or row.ci_high is None:
        return _without_interval(found, row, number, tables.measured)
    low, high, relation = row.ci_low - number, row.ci_high - number, asked.relation
    if relation == BETTER:
        relation = GREATER if row.direction == "higher" else LESS
    found = replace(
        found,
        verdict=_by_interval(relation, low, high),
        ci_low=low,
        ci_high=high,
        test=EXACT if row.std_error == 0 else INTERVAL,
    )
    return found if found.verdict != UNDECIDED else _planned(found, row, number, tables.measured)


def _without_interval(found: Judged, row: leaderboard.Row, number: float, measured: Measured) -> Judged:
    """Leave undecided what has no interval, and say why it has none."""
    if found.seeds > 1 and row.std_error is None:
        return replace(found, verdict=UNDECIDED, note="every seed has the same value, which gives no interval")
    reason = "two seeds are too few for an interval" if found.seeds == 2 else "the value has no interval"
    return _planned(replace(found, verdict=UNDECIDED, note=_joined(reason, found.note)), row, number, measured)


def _planned(found: Judged, row: leaderboard.Row, number: float, measured: Measured) -> Judged:
    """Add the seeds with which the interval would exclude the number."""
    if found.seeds == 1:
        return replace(found, note=_joined(found.note, SECOND_SEED))
    series = series_of(measured, row.metric, row.protocol, row.split, row.stratum, row.recipe)
    samples = values_on(measured, series, row.stratum, (row.recipe,))
    return _with_need(found, seeds_for_number(samples[0], number) if samples and found.seeds else None)


def _by_interval(relation: str, low: float, high: float) -> Verdict:
    """Judge an order by the interval of the difference."""
    if relation in _MIRRORED:
        return _by_interval(_MIRRORED[relation], -high, -low)
    if relation == GREATER:
        return HOLDS if low > 0 else FAILS if high <= 0 else UNDECIDED
    return HOLDS if low >= 0 else FAILS if high < 0 else UNDECIDED


def _with_need(found: Judged, needed: int | None) -> Judged:
    """Add the seeds that would decide; never fewer than one more than there are."""
    if needed is None:
        return found
    if needed > MOST:
        return replace(found, note=_joined(found.note, f"more than {MOST} seeds would be needed on these images"))
    return replace(found, seeds_needed=max(needed, found.seeds + 1))


def _each_seed(asked: Comparison, row: comparisons.Row, measured: Measured) -> tuple[float, ...]:
    """Compute t of the paired test for each seed alone, as a paper with one trained model reports it."""
    pair = sorted(pair_of(measured, row), key=lambda sample: sample.name != asked.left)
    if len(pair) != 2 or not same_images(*pair) or any(sample.influence for sample in pair):
        return ()
    first, second = (sample.values for sample in pair)
    rounds = max(len(first), len(second))
    return tuple(
        statistics.paired_t(first[min(i, len(first) - 1)], second[min(i, len(second) - 1)]).statistic
        for i in range(rounds)
    )


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
