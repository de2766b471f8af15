"""Test every pair of recipes on the same images: the rows of ``comparisons.csv``."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vaebench import statistics
from vaebench.core.errors import UserError
from vaebench.core.margin import Margin
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import REAL, is_real
from vaebench.report.analysis.measured import Mask, Measured
from vaebench.report.analysis.pair_tests import CHECKPOINTS, DECISIVE, Tested, tests_of
from vaebench.report.analysis.samples import (
    Direction,
    Sample,
    direction_of,
    every_series,
    margin_of,
    samples_of,
    whole_values,
)
from vaebench.runs.per_image import Series
from vaebench.statistics import Comparison

ALPHA = 0.05
FLOOR = "both at the floor"  # how a page says the verdict ``floor``
DECIDES = "decides"  # the family of the tests that decide
MEANINGFUL = 0.5  # of the larger value: a margin as wide as that, or wider, would call any two small values equivalent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One test of one pair: a row of ``comparisons.csv``, whose columns scripts rely on."""

    dataset: str
    split: str
    stratum: str
    metric: str
    protocol: str
    a: str
    b: str
    test: str
    n: int
    seeds: int
    mean_difference: float
    ci_low: float
    ci_high: float
    effect_size: float
    statistic: float
    df: float
    p_value: float
    p_holm: float
    verdict: str
    p_equivalent: float  # Holm's, of two one-sided tests against the margin; NaN where there is none
    margin: float  # in the metric's unit
    detectable: float  # the smallest difference that this test would have shown 4 times in 5; NaN unless unresolved
    note: str = ""  # what a test of few seeds speaks of


def verdict_in_words(row: Row, name: Callable[[str], str] = str) -> str:
    """Return a row's verdict as a reader is told it; ``name`` gives the two sides their titles."""
    said = {"a": name(row.a), "b": name(row.b), "floor": FLOOR}.get(row.verdict, row.verdict)
    return f"{said} (this checkpoint)" if row.note in CHECKPOINTS and row.verdict in ("a", "b") else said


def deciding(rows: Iterable[Row]) -> Row | None:
    """Return the test that decides, of all tests of one pair, metric, protocol and stratum; None if there is none."""
    by_test = {row.test: row for row in rows}
    return next((by_test[name] for name in DECISIVE if name in by_test), None)


def decisive(rows: Iterable[Row]) -> list[Row]:
    """Return the deciding test of each pair, metric, protocol and stratum, in the order of the rows."""
    pairs: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        pairs.setdefault((row.split, row.metric, row.protocol, row.stratum, row.a, row.b), []).append(row)
    return [best for tests in pairs.values() if (best := deciding(tests)) is not None]


def all_pairs(measured: Measured) -> list[Row]:
    """Test every pair, metric, protocol and stratum of one dataset.

    p-values are Holm's: those of the deciding tests over all pairs of one metric, protocol and stratum, of whatever
    kind; those of the other tests within their kind. Of parts (attributes, conditions) a family is all
    pairs times all parts. Pairs whose image ids differ are
    not paired: they are left out where ids name real images, and tested as independent where they name samples.
    Metrics with one value a run are tested over training seeds alone.
    """
    return [row for part in measured.parts() for row in _pairs_of(part)]


def _pairs_of(measured: Measured) -> list[Row]:
    rows: list[Row] = []
    every = every_series(measured)
    for series in [series for series in every if series.stratum == "all"]:
        groups, declared = samples_of(measured, series), Declared.of(measured, series)
        for stratum, mask, cut in _strata(measured, series):
            present = [group.on(mask) for group in groups if mask is None or group.name in cut]
            whole = whole_values(measured, series) if mask is None else []
            rows.extend(_family(present, whole, series, stratum, declared))
    parts = [series for series in every if series.stratum != "all"]
    for _, found in itertools.groupby(parts, key=lambda series: (series.metric, series.protocol)):
        rows.extend(_attribute_families(measured, list(found)))
    return sorted(rows, key=lambda row: (row.split, row.metric, row.protocol))


def compare(measured: Measured, a: str, b: str) -> list[Row]:
    """Return the rows of one pair, with the p-values and verdicts that they have in :func:`all_pairs`.

    Raises :class:`UserError` where the two were never measured on the same images.
    """
    rows = [row for row in all_pairs(measured) if {row.a, row.b} == {a, b}]
    if not rows:
        raise UserError(f"{a} and {b} share no metric on the same image ids: evaluate both on the same split")
    return rows


def _strata(measured: Measured, series: Series) -> Iterator[tuple[str, Mask | None, set[str]]]:
    """Return ``all``, and the strata in which this metric was reported, with the recipes that reported it.

    Images that belong to no real image have no strata, however many of them there are.
    """
    yield "all", None, set()
    reported: dict[str, set[str]] = {}
    for line in measured.results:
        if (line.metric, line.protocol, line.split) == (series.metric, series.protocol, series.split):
            reported.setdefault(line.stratum, set()).add(line.recipe)
    for name, mask in measured.strata.get(series.data_fingerprint, {}).items():
        if name in reported:
            yield name, mask, reported[name]


def _family(
    groups: Sequence[Sample], whole: Sequence[Sample], series: Series, stratum: str, declared: "Declared"
) -> list[Row]:
    """Test all pairs of one metric and stratum, with Holm's correction within each test.

    A pair of which one side has no values image by image is tested by ``whole``, one value a run.
    """
    detailed = {group.name: group for group in groups if group.values.size}  # a stratum may hold no image
    plain = {group.name: group for group in whole}
    names = sorted(detailed.keys() | plain.keys(), key=lambda name: (not is_real(name), order_of(name)))
    tested: list[Tested] = []
    for one, other in itertools.combinations(names, 2):
        side = detailed if {one, other} <= detailed.keys() else plain
        a, b, real = side[one], side[other], side.get(REAL)
        if a.extractor == b.extractor:
            near = declared.direction == "target" and real is not None and a.extractor == real.extractor
            tested.extend(tests_of(a, b, real if near and one != REAL else None))
    means = means_of([*plain.values(), *detailed.values()])
    return _rows(tested, series, [stratum] * len(tested), declared, [means] * len(tested))


def means_of(groups: Iterable[Sample]) -> dict[str, float]:
    return {group.name: float(group.values.mean()) for group in groups}


def _attribute_families(measured: Measured, parts: Sequence[Series]) -> list[Row]:
    """Test each pair on one metric, an attribute at a time, with Holm's correction over pairs and attributes."""
    tested: list[Tested] = []
    strata: list[str] = []
    means: list[Mapping[str, float]] = []
    groups = {series: {group.name: group for group in samples_of(measured, series)} for series in parts}
    names = list(dict.fromkeys(name for known in groups.values() for name in known))
    for a, b in itertools.combinations(names, 2):
        both = [series for series in parts if _comparable(groups[series], a, b)]
        for series in both:
            found = _tests_of_part(measured, series, groups[series], a, b)
            tested += found
            strata += [series.stratum] * len(found)
            means += [means_of(groups[series].values())] * len(found)
    return _rows(tested, parts[0], strata, Declared.of(measured, parts[0]), means) if tested else []


def _comparable(known: Mapping[str, Sample], a: str, b: str) -> bool:
    return {a, b} <= known.keys() and known[a].extractor == known[b].extractor


def _tests_of_part(measured: Measured, series: Series, known: Mapping[str, Sample], a: str, b: str) -> list[Tested]:
    """Run a pair's tests of one part; for target metrics against the real images' value."""
    target = direction_of(measured, series) == "target" and REAL not in (a, b)
    real = known.get(REAL) if target and _comparable(known, a, REAL) else None
    return list(tests_of(known[a], known[b], real))


@dataclass(frozen=True, slots=True)
class Declared:
    """What a metric declares about itself."""

    direction: Direction
    margin: Margin | None

    @classmethod
    def of(cls, measured: Measured, series: Series) -> "Declared":
        return cls(direction_of(measured, series), margin_of(measured, series))

    def margin_between(self, a: str, b: str, means: Mapping[str, float]) -> float:
        """Return the margin in the metric's unit, NaN where there is none: a share is one of the pair's mean value, or
        of the real images' value for target metrics.
        """
        if self.margin is None:
            return math.nan
        if self.direction == "target" and REAL in means:
            return self.margin.of(means[REAL])
        return self.margin.of((abs(means.get(a, 0.0)) + abs(means.get(b, 0.0))) / 2)


def _rows(
    tested: Sequence[Tested],
    series: Series,
    strata: Sequence[str],
    declared: Declared,
    means: Sequence[Mapping[str, float]],
) -> list[Row]:
    """Make one row a test, with Holm's correction over the tests that decide, and over the others of each kind."""
    families = _families(tested, strata)
    margins = [declared.margin_between(pair.a, pair.b, known) for pair, known in zip(tested, means, strict=True)]
    p_holm = _holm(families, [pair.difference.p_value for pair in tested])
    p_mirror = _holm(families, [pair.mirror.p_value if pair.mirror else math.nan for pair in tested])
    p_equal = _holm(families, [_equal(pair, margin) for pair, margin in zip(tested, margins, strict=True)])
    rows = []
    for position, pair in enumerate(tested):
        verdict = _verdict(pair, p_holm[position], p_mirror[position], p_equal[position], declared.direction)
        if verdict == "equivalent" and vacuous(margins[position], pair.a, pair.b, means[position]):
            verdict = "floor"
        size = families.count(families[position])
        rows.append(
            Row(
                dataset=series.dataset,
                split=series.split,
                stratum=strata[position],
                metric=series.metric,
                protocol=series.protocol,
                a=pair.a,
                b=pair.b,
                seeds=pair.seeds,
                p_holm=p_holm[position],
                verdict=verdict,
                p_equivalent=p_equal[position],
                margin=margins[position],
                detectable=math.nan if verdict != "unresolved" else _detectable(pair, size),
                note=pair.note,
                **{name: getattr(pair.difference, name) for name in Comparison.__slots__},
            )
        )
    return rows


def _families(tested: Sequence[Tested], strata: Sequence[str]) -> list[str]:
    """Name each test's family: the tests that decide are one, whatever their kind; the others are one a kind."""
    kinds: dict[tuple[str, str, str], set[str]] = {}
    for pair, stratum in zip(tested, strata, strict=True):
        kinds.setdefault((pair.a, pair.b, stratum), set()).add(pair.difference.test)
    decisive = {key: next((name for name in DECISIVE if name in found), "") for key, found in kinds.items()}
    return [
        DECIDES if decisive[pair.a, pair.b, stratum] == pair.difference.test else pair.difference.test
        for pair, stratum in zip(tested, strata, strict=True)
    ]


def vacuous(margin: float, a: str, b: str, means: Mapping[str, float]) -> bool:
    """Tell whether a margin is so wide beside the values that any two such values are equivalent."""
    return margin >= MEANINGFUL * max(abs(means.get(a, 0.0)), abs(means.get(b, 0.0)))


def _detectable(pair: Tested, tests: int) -> float:
    """Return the smallest difference that would be detected, at the level of Holm's first step; a target metric's
    mirrored test asks for no less.
    """
    return statistics.detectable(pair.difference, ALPHA / tests)


def _holm(kinds: Sequence[str], p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm within each family; NaN, where there was no test, stays and counts for none."""
    adjusted = list(p_values)
    for kind in set(kinds):
        places = [place for place, p in enumerate(p_values) if kinds[place] == kind and not math.isnan(p)]
        for place, p in zip(places, statistics.holm([p_values[place] for place in places]), strict=True):
            adjusted[place] = float(p)
    return adjusted


def _equal(pair: Tested, margin: float) -> float:
    """Return the p-value of equivalence; for target metrics, images on either side of the target are equally near, too:

    of the two ways the better one counts, twice (Bonferroni).
    """
    p = statistics.equivalence_p(pair.difference, margin)
    if pair.mirror is None or math.isnan(p):
        return p
    return min(1.0, 2 * min(p, statistics.equivalence_p(pair.mirror, margin)))


def _verdict(pair: Tested, p_holm: float, p_mirror: float, p_equal: float, direction: Direction) -> str:
    """Return ``equivalent`` if the difference is surely within the margin (``floor`` in :func:`_rows` if any two values
    as small would be), else ``a`` or ``b``, whichever is
    significantly better, else ``unresolved``. A difference that is real, but surely too small to matter, is no reason
    to choose.

    For a ``target`` metric the better one is nearer to the real images' value t. Since
    (a - t)^2 - (b - t)^2 = (a - b)(a + b - 2t), that is resolved where both factors' signs are: the test of the
    difference and the same test of a against b mirrored about t must be significant.
    """
    test, mirror = pair.difference, pair.mirror
    if p_equal < ALPHA:
        return "equivalent"
    if not p_holm < ALPHA or not _agrees(test):  # NaN decides nothing
        return "unresolved"
    if direction != "target":
        a_wins = (test.mean_difference > 0) == (direction == "higher")
    elif REAL in (pair.a, pair.b):
        a_wins = pair.a == REAL
    elif mirror is None or not p_mirror < ALPHA or not _agrees(mirror):
        return "unresolved"
    else:
        a_wins = test.mean_difference * mirror.mean_difference < 0
    return "a" if a_wins else "b"


def _agrees(test: Comparison) -> bool:
    """Tell whether there is a difference, and Wilcoxon's ranks point the same way as the means."""
    return test.mean_difference != 0 and not test.effect_size * test.mean_difference < 0
