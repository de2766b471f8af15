"""Decide between two recipes after each training seed, by a test that holds whenever one stops."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vaebench import statistics
from vaebench.core.errors import UserError
from vaebench.core.subjects import REAL
from vaebench.report.analysis.comparisons import FLOOR, Declared, means_of, vacuous
from vaebench.report.analysis.formatting import short
from vaebench.report.analysis.measured import Measured, all_folders, collect
from vaebench.report.analysis.pair_tests import independent, same_images
from vaebench.report.analysis.samples import Direction, Sample, every_series, samples_of, whole_values
from vaebench.runs.per_image import Series
from vaebench.statistics import Look

SPLIT = "test"
LAST = 99  # the place of protocols that are no headline
SEVERAL = 2  # seeds: from there on a variance can be estimated
REMEMBER = (
    "wrong in at most 5 of 100 such comparisons, whenever you stop; the report's own tests assume that the number of "
    "seeds was chosen beforehand"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two recipes, and what decides between them.

    Attributes:
        a, b: recipes of one dataset.
        dataset: its name.
        metric: name of the metric.
        protocol: how it is computed; empty for the metric's headline protocol.
    """

    a: str
    b: str
    dataset: str
    metric: str
    protocol: str = ""

    def __str__(self) -> str:
        """Return the pair as the command line takes it."""
        return f"{self.a},{self.b}:{self.metric}" + (f":{self.protocol}" if self.protocol else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the first seeds of two recipes say.

    Attributes:
        line: the look, as a line for a terminal.
        verdict: ``a``, ``b``, ``equivalent`` or ``floor``, as in ``comparisons.csv``; empty while it is open.
        said: the verdict in words.
    """

    line: str
    verdict: str = ""
    said: str = ""


def state(pair: Pair, seeds: int) -> State:
    """Decide between two recipes by their seeds from 0 up to ``seeds``, all of which were measured.

    Args:
        pair: the recipes and the metric.
        seeds: of either recipe; the first one has nothing to say yet, but may show that the metric cannot be taken.

    Returns:
        The look with its verdict.

    Raises:
        UserError: a side has no value of the metric, its seeds were trained or measured differently, or the protocol is
            none of the metric's.
    """
    measured = _first_seeds(pair, seeds)
    series, others = _series(measured, pair, seeds)
    more = f"; not by {', '.join(others)} ({_chosen(pair, others[0])})" if others and not pair.protocol else ""
    if seeds < SEVERAL:
        return State(line=f"decides by {pair.metric} ({series.protocol}){more}; a = {pair.a}, b = {pair.b}")
    a, b, real = _sides(measured, pair, series)
    declared = Declared.of(measured, series)
    means = means_of([a, b] if real is None else [a, b, real])
    margin = declared.margin_between(pair.a, pair.b, means)
    difference, verdict = decide(a, b, real, declared.direction, margin)
    if verdict == "equivalent" and vacuous(margin, pair.a, pair.b, means):
        verdict = "floor"
    metric = f"{pair.metric} ({series.protocol})"
    said = _in_words(pair, metric, verdict, margin)
    line = f"{seeds} seeds each: {metric}, a - b = {_interval(difference)}: {said or 'not decided yet'}"
    return State(line=line, verdict=verdict, said=said)


def decide(a: Sample, b: Sample, real: Sample | None, direction: Direction, margin: float) -> tuple[Look, str]:
    """Look at two recipes' values, as many seeds of both, and return the difference with its verdict.

    Args:
        a, b: the recipes' values.
        real: those of the real images, where a target may count; None if there are none.
        direction: the metric's.
        margin: the difference that does not matter, in its unit; NaN for none.

    Returns:
        The difference ``a - b``; and ``a``, ``b``, ``equivalent``, or nothing while it is open.
    """
    difference, mirror = _looks(a, b, real if direction == "target" else None)
    return difference, _verdict(difference, mirror, margin, direction)


def _first_seeds(pair: Pair, seeds: int) -> Measured:
    """Return what was measured of the two recipes' first seeds, and of the real images."""
    whole = collect(pair.dataset, all_folders())
    wanted = {(name, seed) for name in (pair.a, pair.b) for seed in range(seeds)} | {(REAL, None)}
    measured = replace(
        whole,
        results=[line for line in whole.results if (line.recipe, line.seed) in wanted and line.split == SPLIT],
        values={subject: known for subject, known in whole.values.items() if subject in wanted},
        records={subject: record for subject, record in whole.records.items() if subject in wanted},
    )
    for name, fields in measured.mixed().items():
        raise UserError(
            f"the first {seeds} seeds of {name} were trained with different {', '.join(fields)}: "
            "move those away that do not fit, or train into another place (VAEBENCH_RUNS=DIR)"
        )
    return measured


def _series(measured: Measured, pair: Pair, seeds: int) -> tuple[Series, list[str]]:
    """Choose the series that decides, and list the metric's other protocols.

    A rule that no value bears upon: the protocol that is asked for, else the first in the order of the report's
    headlines, of those the one with the most images.
    """
    facts = measured.facts()
    known: dict[Series, int] = {}
    for series in every_series(measured):
        if series.metric == pair.metric and series.stratum == "all":
            sides = [sample for sample in whole_values(measured, series) if sample.name in (pair.a, pair.b)]
            if [len(sample.values) for sample in sides] == [seeds, seeds]:
                known[series] = min(line.n for line in measured.results if _is_of(line.metric, line.protocol, series))

    def order(series: Series) -> tuple[int, int, int, str, str]:
        fact = facts[series.metric, series.protocol]
        return (fact.headline or LAST, fact.place, -known[series], series.protocol, series.data_fingerprint)

    found = [series for series in sorted(known, key=order) if pair.protocol in ("", series.protocol)]
    names = list(dict.fromkeys(series.protocol for series in sorted(known, key=order)))
    if not found:
        raise UserError(_nothing(measured, pair, names))
    return found[0], [name for name in names if name != found[0].protocol]


def _is_of(metric: str, protocol: str, series: Series) -> bool:
    return (metric, protocol) == (series.metric, series.protocol)


def _nothing(measured: Measured, pair: Pair, protocols: Sequence[str]) -> str:
    """Say why there is nothing to decide by."""
    if protocols:
        return f"{pair.metric} has no protocol '{pair.protocol}': choose from {', '.join(protocols)}"
    lacking = [line for line in measured.results if line.metric == pair.metric and line.value is None and line.note]
    for line in lacking:
        if line.recipe in (pair.a, pair.b):
            return f"{line.recipe} has no value of '{pair.metric}' ({line.note}): decide by another metric"
    return f"{pair.a} and {pair.b} have no value of '{pair.metric}' in common: decide by another metric"


def _chosen(pair: Pair, protocol: str) -> str:
    return f"--until-decided {shlex.quote(str(replace(pair, protocol=protocol)))}"


def _sides(measured: Measured, pair: Pair, series: Series) -> tuple[Sample, Sample, Sample | None]:
    """Return the values of both recipes, image by image where there are such, and of the real images."""
    detailed = {sample.name: sample for sample in samples_of(measured, series)}
    plain = {sample.name: sample for sample in whole_values(measured, series)}
    side = detailed if {pair.a, pair.b} <= detailed.keys() else plain
    a, b, real = side[pair.a], side[pair.b], side.get(REAL)
    if a.extractor != b.extractor:
        raise UserError(f"{pair.a} and {pair.b} were measured with other weights of the features: evaluate both again")
    if a.ids and not (same_images(a, b) or independent(a, b)):
        a, b, real = plain[pair.a], plain[pair.b], plain.get(REAL)
    return a, b, real if real is not None and real.extractor == a.extractor else None


def _looks(a: Sample, b: Sample, real: Sample | None) -> tuple[Look, Look | None]:
    """Look at ``a - b``, and where nearness to the real images counts at ``a + b - 2 * real``."""
    shared = same_images(a, b)
    clusters = a.clusters if shared else None
    means = a.values.mean(axis=1), b.values.mean(axis=1)
    error, df = statistics.images_error([a.values, b.values], (1, -1), shared=shared, clusters=clusters)
    difference = statistics.look(*means, images_error=error, images_df=df)
    if real is None or (shared and real.ids != a.ids):
        return difference, None
    sides = [a.values, b.values, real.values]
    error, df = statistics.images_error(sides, (1, 1, -2), shared=shared, clusters=clusters)
    mirrored = 2 * float(real.values.mean()) - means[1]
    return difference, statistics.look(means[0], mirrored, images_error=error, images_df=df)


def _verdict(difference: Look, mirror: Look | None, margin: float, direction: Direction) -> str:
    """Return the verdict, empty while it is open, by the rules of ``comparisons.csv``.

    With a target the better one is nearer to the real images' value: the signs of the difference and of the mirrored
    one must both be sure, and either within the margin means equally near. Both intervals hold at 95 %, and a wrong
    verdict needs one particular end of one or the other to fail.
    """
    if difference.within(margin) or (mirror is not None and mirror.within(margin)):
        return "equivalent"
    sign = difference.sign
    if direction == "target":
        sign = 0 if mirror is None else -sign * mirror.sign
    elif direction == "lower":
        sign = -sign
    return {1: "a", -1: "b", 0: ""}[sign]


def _in_words(pair: Pair, metric: str, verdict: str, margin: float) -> str:
    if verdict in ("a", "b"):
        return f"{pair.a if verdict == 'a' else pair.b} is better by {metric}"
    if verdict == "floor":
        return f"{FLOOR} by {metric}: no difference that matters"
    return f"equivalent by {metric}: surely within the margin of {short(margin)}" if verdict else ""


def _interval(look: Look) -> str:
    if math.isinf(look.ci_low):
        return f"{short(look.mean_difference)}, no interval yet"
    return f"{short(look.mean_difference)} [{short(look.ci_low)}, {short(look.ci_high)}]"


def summary(pair: Pair, found: State, seeds: int, most: int) -> list[str]:
    """Return the last lines: the verdict with its price in seeds, or what to do where it stays open."""
    if found.verdict:
        return [f"decided after {seeds} seeds each (of {most} at most): {found.said}", REMEMBER]
    longer = f"go on with --most {2 * most}"
    planned = shlex.join(["vaebench", "plan", pair.a, pair.b, "--metric", pair.metric])
    return [f"undecided after {seeds} seeds each: {longer}, or see what would decide: {planned}", REMEMBER]
