"""Answer what a report was written for: per question the model that leads, by how much, and whether it is decided."""

import math
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from vaebench.core import questions
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import REAL, is_model
from vaebench.report.analysis.claims import Claim
from vaebench.report.analysis.comparisons import Row as Tested
from vaebench.report.analysis.comparisons import decisive
from vaebench.report.analysis.formatting import half_width
from vaebench.report.analysis.leaderboard import Row, protocol_ends
from vaebench.report.analysis.needed_seeds import MOST, seeds_for_pair
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.report.answer import Answer, Claimed, Finding, Line, Missing, Value, Verdict
from vaebench.report.section import Section

COSTS = 2  # metrics of costs that an answer shows
Cells = Mapping[tuple[str, str], Mapping[str, Row]]  # metric and protocol -> recipe -> its row over all images
Tests = Mapping[tuple[str, str, frozenset[str]], Tested]  # metric, protocol and pair -> its deciding test


def answer(part: Section, asked: Collection[Claim] = ()) -> Answer:
    """Answer the questions of one part of a report.

    Args:
        part: rows of the leaderboard, their tests, and verdicts on claims.
        asked: the claims of the suite that was run.

    Returns:
        The answer, in the order in which reports ask questions.
    """
    cells = _cells(part.ranked)
    models = [name for name in part.measured.models() if is_model(name)]
    models = [name for name in models if any(name in row_of for row_of in cells.values())]
    tests = _tests(part.tested)
    seeds = {name: max((row.seeds for row in part.ranked if row.recipe == name), default=0) for name in models}
    trained = [count for count in seeds.values() if count]
    findings = [_finding(row_of, tests, part) for row_of in _one_a_question(cells)]
    lines = [_line(row_of, tests) for row_of in _headlines(cells)]
    costs = [_line(row_of, tests) for row_of in _costs(cells)]
    newest = part.measured.results[0]
    return Answer(
        title=part.heading,
        dataset=part.measured.dataset,
        split=newest.split,
        images=max((row.n for row in part.ranked if row.recipe == REAL and row.stratum == "all"), default=0),
        models=models,
        seeds=seeds,
        checkpoints=bool(trained) and max(trained) == 1,
        lines=lines,
        costs=costs,
        others=_others(cells, [*lines, *costs], tests),
        findings=findings,
        claims=[
            Claimed(verdict=judged.verdict, says=judged.claim.says, own=judged.claim in asked) for judged in part.held
        ],
        missing=_missing(part.ranked, cells, models),
        next=_next(findings, tests),
    )


def _cells(ranked: Iterable[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in ranked:
        if row.stratum == "all" and row.value is not None and (is_model(row.recipe) or row.recipe == REAL):
            found.setdefault((row.metric, row.protocol), {})[row.recipe] = row
    return {key: row_of for key, row_of in found.items() if any(map(is_model, row_of))}


def _any(row_of: Mapping[str, Row]) -> Row:
    return next(row for name, row in row_of.items() if is_model(name))


def _place(row: Row) -> tuple[object, ...]:
    return (row.facts.headline or 99, row.facts.place, row.metric, row.protocol)


def _headlines(cells: Cells) -> list[Mapping[str, Row]]:
    """List the headline metrics; one that stands in for another is left out where that one was measured."""
    headlines = [row_of for row_of in cells.values() if _any(row_of).facts.headline]
    found = sorted(headlines, key=lambda row_of: _place(_any(row_of)))
    measured = {(row.metric, row.protocol.split("/")[-1]) for row in map(_any, found)}
    kept = []
    for row_of in found:
        row = _any(row_of)
        if (row.facts.stands_in_for, row.protocol.split("/")[-1]) not in measured:
            kept.append(row_of)
    return kept


def _costs(cells: Cells) -> list[Mapping[str, Row]]:
    """List the costs that are looked for first, each in every setting: of trainings in two ways neither has all."""
    costs = [row_of for row_of in cells.values() if _any(row_of).facts.question == questions.COST]
    costs.sort(key=lambda row_of: _place(_any(row_of)))
    shown = list(dict.fromkeys(_any(row_of).metric for row_of in costs))[:COSTS]
    return [row_of for row_of in costs if _any(row_of).metric in shown]


def _others(cells: Cells, shown: Sequence[Line], tests: Tests) -> list[Line]:
    """List the metrics that are not shown yet, in reading order."""
    known = {(line.metric, line.protocol) for line in shown}
    rest = [row_of for key, row_of in cells.items() if key not in known]
    return [_line(row_of, tests) for row_of in sorted(rest, key=lambda row_of: _place(_any(row_of)))]


def _one_a_question(cells: Cells) -> list[Mapping[str, Row]]:
    """Choose the metric that answers each question: the first headline, or else the first in reading order.

    One that a single model has compares nothing, and so stands behind those that several have.
    """
    chosen: dict[str, Mapping[str, Row]] = {}
    for row_of in sorted(cells.values(), key=lambda row_of: (_is_of_one(row_of), *_place(_any(row_of)))):
        row = _any(row_of)
        if row.facts.ranked and row.facts.averaged:
            chosen.setdefault(row.facts.question, row_of)
    return [chosen[question] for question in sorted(chosen, key=questions.place)]


def _is_of_one(row_of: Mapping[str, Row]) -> bool:
    return sum(map(is_model, row_of)) == 1


def _tests(tested: Iterable[Tested]) -> Tests:
    """Return the deciding test of each metric, protocol and pair over all images."""
    whole = [row for row in tested if row.stratum == "all"]
    return {(row.metric, row.protocol, frozenset((row.a, row.b))): row for row in decisive(whole)}


def distance(row: Row, row_of: Mapping[str, Row]) -> float:
    """Return a number that is smaller the better the row is; NaN where nobody can say."""
    value = math.nan if row.value is None else row.value
    if row.direction == "target":
        real = row_of.get(REAL)
        return math.nan if real is None or real.value is None else abs(value - real.value)
    return -value if row.direction == "higher" else value


def _ordered(row_of: Mapping[str, Row]) -> list[Row]:
    """List models' rows, the best value first; empty where nobody can say which is better."""
    rows = [row for name, row in row_of.items() if is_model(name)]
    scores = {row.recipe: distance(row, row_of) for row in rows}
    if any(map(math.isnan, scores.values())):
        return []
    return sorted(rows, key=lambda row: (scores[row.recipe], order_of(row.recipe)))


def _standing(best: Row, other: Row, tests: Tests) -> Literal["worse", "equal", "open"]:
    """Say how a model stands to the one of the best value."""
    test = tests.get(_pair(best.recipe, other.recipe, best))
    if test is None:
        exact = best.std_error == 0 and other.std_error == 0
        return "equal" if best.value == other.value else "worse" if exact else "open"
    if test.verdict in ("equivalent", "floor"):
        return "equal"
    winner = {"a": test.a, "b": test.b}.get(test.verdict)
    return "worse" if winner == best.recipe else "open"


def _line(row_of: Mapping[str, Row], tests: Tests) -> Line:
    sample, ordered = _any(row_of), _ordered(row_of)
    ranked = sample.facts.ranked and len(ordered) > 1
    first = {row.recipe for row in ordered if _standing(ordered[0], row, tests) != "worse"} if ranked else set()
    if ranked:
        first.add(ordered[0].recipe)
    return Line(
        question=sample.facts.question,
        metric=sample.metric,
        protocol=sample.protocol,
        unit=sample.unit,
        direction=sample.direction,
        values={
            name: _value(row, first=name in first)
            for name, row in sorted(row_of.items(), key=lambda item: order_of(item[0]))
        },
        ranked=sample.facts.ranked,
    )


def _finding(row_of: Mapping[str, Row], tests: Tests, part: Section) -> Finding:
    """Say who leads by one metric."""
    sample, ordered = _any(row_of), _ordered(row_of)
    best = ordered[0] if ordered else sample
    standing = {row.recipe: _standing(best, row, tests) for row in ordered[1:]}
    near = [name for name, how in standing.items() if how != "worse"]
    still_open = [name for name in near if standing[name] == "open"]
    verdict: Verdict = "undecided" if still_open else "tied" if near else "leads"
    if not standing:
        verdict = "alone" if ordered else "no target"
    real = row_of.get(REAL) if sample.direction == "target" else None
    needed = _seeds_needed(best, still_open, tests, part)
    return Finding(
        question=sample.facts.question,
        metric=sample.metric,
        protocol=sample.protocol,
        verdict=verdict,
        first=[best.recipe, *near] if ordered else [],
        behind=[name for name in standing if name not in near],
        open=still_open,
        values={name: _value(row) for name, row in row_of.items() if is_model(name)},
        originals=_value(real) if real else None,
        seeds_needed=None if needed is None else min(needed, MOST),
        more_needed=needed is not None and needed > MOST,
        untested=[name for name in still_open if _pair(best.recipe, name, sample) not in tests],
    )


def _pair(a: str, b: str, row: Row) -> tuple[str, str, frozenset[str]]:
    """Return the key of two recipes' test by a row's metric."""
    return row.metric, row.protocol, frozenset((a, b))


def _value(row: Row, *, first: bool = False) -> Value:
    return Value(value=row.value, half=half_width(row.value, row.ci_high, row.std_error), first=first)


def _seeds_needed(best: Row, still_open: Sequence[str], tests: Tests, part: Section) -> int | None:
    """Return how many seeds would tell the best from the first that is open; None where that cannot be known."""
    for name in still_open[:1]:
        test = tests.get(_pair(best.recipe, name, best))
        if test is not None and test.note not in CHECKPOINTS:
            return seeds_for_pair(part.measured, test, part.tested, nearer=True)
    return None


def _missing(ranked: Iterable[Row], cells: Cells, models: Sequence[str]) -> list[Missing]:
    """Group what models have no value of by its reason, leaving out what another protocol answers."""
    valued = [row for row_of in cells.values() for row in row_of.values()]
    has = {(row.recipe, *protocol_ends(row.metric, row.protocol)) for row in valued}
    found: dict[str, Missing] = {}
    for row in ranked:
        lacks = row.stratum == "all" and row.value is None and row.note and row.recipe in models
        if not lacks or (row.recipe, *protocol_ends(row.metric, row.protocol)) in has:
            continue
        known = found.setdefault(row.note, Missing(reason=row.note, models=[], metrics=[]))
        known.models.extend([row.recipe] if row.recipe not in known.models else [])
        known.metrics.extend([row.metric] if row.metric not in known.metrics else [])
    return list(found.values())


def _next(findings: Sequence[Finding], tests: Tests) -> list[str]:
    """Suggest a plan for the first question whose number of seeds is known, or else the first tests of two models."""
    tested = {pair for _, _, pair in tests}
    for found in findings:
        if found.seeds_needed is not None:
            return [shlex.join(["vaebench", "plan", found.first[0], found.open[0], "--metric", found.metric])]
    for found in findings:
        pair = [*found.first, *found.behind][:2]
        if len(pair) == 2 and frozenset(pair) in tested:
            return [shlex.join(["vaebench", "compare", *pair])]
    return []
