"""Every test of a pair of recipes worked out anew, by scipy, statsmodels and textbook formulas, without vaebench."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from recomputed_evidence import Sample
from scipy import special, stats
from statsmodels.stats.contingency_tables import mcnemar

NUMBERS = ("n", "mean_difference", "ci_low", "ci_high", "effect_size", "statistic", "df", "p_value")
NAN = math.nan
DECISIVE = ("nested-t", "clustered-t", "paired-t", "welch-t-images")


@dataclass(kw_only=True)
class Outcome:
    """One row of ``comparisons.csv`` as it must be; ``mirror`` is the same test of ``a + b - 2 * real``."""

    a: str
    b: str
    test: str
    numbers: dict[str, float]
    mirror: "Outcome | None" = None
    stratum: str = ""
    more: dict[str, object] = field(default_factory=dict)

    def __getitem__(self, name):
        return self.numbers[name]


def half_width(error, df):
    """Of the 95 % interval; as unknown as the error, and 0 where nothing varies."""
    return stats.t.ppf(0.975, df) * error if error > 0 else error


def variance(x):
    """Sample variance; exactly 0 where all are alike."""
    return float(np.var(x - x[0], ddof=1))


def _ratio(number, by):
    """With the limits that the tables give: nothing over nothing is 0, something over nothing infinite."""
    if number == 0:
        return 0.0
    return number / by if by > 0 else math.copysign(math.inf, number)


def _hedges(effect, df):
    if df < 2:
        return NAN
    return effect * math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) * math.sqrt(2 / df)


def error_and_df(
    samples: Sequence[Sample], weights: Sequence[float], *, shared: bool, borrow: bool = False
) -> tuple[float, float, float]:
    """Standard error of a weighted sum of means, Satterthwaite's df, and the part of the variance from training.

    Analysis of variance in two ways (seeds, images) of each sample: a sample with several seeds adds the variance of
    their means over their number; images add that of their means over theirs, less what belongs to neither. With
    ``borrow`` a trained sample with one seed varies as those with several do, pooled.
    """
    several = [(x, w) for x, w in zip(samples, weights, strict=True) if len(x.values) > 1]
    lent = sum(w**2 for x, w in zip(samples, weights, strict=True) if borrow and not x.fixed and len(x.values) == 1)
    seeds = sum(len(x.values) - 1 for x, _ in several)
    each = [w**2 / len(x.values) + lent * (len(x.values) - 1) / seeds for x, w in several]
    parts = [(k * variance(x.of_seeds), len(x.values) - 1) for k, (x, _) in zip(each, several, strict=True)]
    training = sum(part for part, _ in parts) if parts else NAN
    columns = [w * x.of_images for x, w in zip(samples, weights, strict=True)]
    people = samples[0].people if shared else None
    images = [_of_mean(column, people) for column in ([sum(columns)] if shared else columns)]
    if people is None and all(_shares(x.of_images) for x in samples):
        made_up = weights if len(weights) > 1 else [0, 0, weights[0], weights[0]]
        sets = [(sum(columns), made_up)] if shared else [(x, (0, w)) for x, w in zip(columns, weights, strict=True)]
        images = [(np.var([*x, *pseudo], ddof=1) / len(x), len(x) - 1) for x, pseudo in sets if len(x) > 1]
    images = [part for part in images if part[1] > 0]
    rest = sum(k * len(x.values) * _rest(x, people) for k, (x, _) in zip(each, several, strict=True))
    training = max(0.0, training - rest) if parts else NAN
    whole = sum(part for part, _ in images)
    share = max(0.0, 1 - rest / whole) if whole > 0 else 0.0
    parts += [(part * share, df) for part, df in images]
    if not parts:
        return NAN, NAN, NAN
    total = sum(part for part, _ in parts)
    df = 1 / sum((part / total) ** 2 / df for part, df in parts) if total > 0 else NAN
    if lent and seeds == 1:
        df = min(df, 1.0)  # NaN stays
    return math.sqrt(total), df, training


def error_of_mean(x: Sample) -> tuple[float, float, float]:
    """As :func:`error_and_df` of one sample, but seeds that agree better than draws allow count as the draws do."""
    error, df, training = error_and_df([x], [1], shared=True)
    rest = _rest(x, x.people)
    seeds, images = x.values.shape
    if seeds < 2 or not 0 < variance(x.of_seeds) / seeds < rest:
        return error, df, training
    whole, freedom = _of_mean(x.of_images, x.people)
    parts = [(rest, (seeds - 1) * (images - 1)), (max(0.0, whole - rest), freedom)]
    total = sum(part for part, _ in parts)
    return math.sqrt(total), 1 / sum((part / total) ** 2 / df for part, df in parts), 0.0


def _of_mean(values, people):
    """Variance of the mean of independent images, or of people's images taken together, with its df."""
    if len(values) < 2:
        return 0.0, 0
    if people is None:
        return variance(values) / len(values), len(values) - 1
    totals = np.array([part.sum() for part in _by_person(values - values.mean(), people)])
    count = len(totals)
    return (totals**2).sum() / len(values) ** 2 * count / (count - 1), count - 1


def _shares(values):
    return bool(np.isin(values, (0, 1)).all())


def _by_person(values, people):
    order = np.argsort(people, kind="stable")
    return np.split(values[order], np.flatnonzero(np.diff(people[order])) + 1)


def _rest(x: Sample, people) -> float:
    """Variance of the mean from what neither seed nor image explains: its mean square over seeds and images."""
    seeds, images = x.values.shape
    if seeds < 2 or images < 2:
        return 0.0
    if people is None:
        return (x.residual**2).sum() / ((seeds - 1) * (images - 1)) / (seeds * images)
    return sum(_of_mean(row, people)[0] for row in x.residual) / (seeds * (seeds - 1))


def _combined(test, samples, weights, *, shared, n, effect=NAN):
    mean = sum(w * x.values.mean() for x, w in zip(samples, weights, strict=True))
    error, df, _ = error_and_df(samples, weights, shared=shared, borrow=test == "nested-t")
    statistic, half = _ratio(mean, error), half_width(error, df)
    p = 2 * stats.t.sf(abs(statistic), df) if error > 0 else float(mean == 0)
    return _outcome(test, n, mean, mean - half, mean + half, effect, statistic, df, p)


def _outcome(test, *numbers):
    return Outcome(a="", b="", test=test, numbers=dict(zip(NUMBERS, map(float, numbers), strict=True)))


def _nested(a: Sample, b: Sample, *, shared: bool) -> Outcome:
    several = [x.of_seeds for x in (a, b) if len(x.values) > 1]
    freedom = sum(len(x) - 1 for x in several)
    pooled = math.sqrt(sum((len(x) - 1) * variance(x) for x in several) / freedom) if freedom else 0.0
    counts = [x.values.shape[1] for x in (a, b)]
    n = counts[0] if shared else sum(counts)
    n = n if max(counts) > 1 else sum(map(len, several))
    effect = _hedges(_ratio(a.values.mean() - b.values.mean(), pooled), freedom)
    return _combined("nested-t", [a, b], [1, -1], shared=shared, n=n, effect=effect)


def paired_t(x, y):
    d, n = x - y, len(x)
    if _shares(x) and _shares(y):  # with a pair won and one lost made up (Agresti and Min 2005)
        spread = np.std([*d, 1, -1], ddof=1)
        t, half = d.mean() / spread * math.sqrt(n), half_width(spread / math.sqrt(n), n - 1)
        p = 2 * stats.t.sf(abs(t), n - 1)
        return _outcome("paired-t", n, d.mean(), d.mean() - half, d.mean() + half, d.mean() / spread, t, n - 1, p)
    if np.ptp(d) == 0:
        t = _ratio(d[0], 0)
        return _outcome("paired-t", n, d[0], d[0], d[0], t, t, n - 1, float(d[0] == 0))
    found = stats.ttest_rel(x, y)
    low, high = found.confidence_interval(0.95)
    return _outcome("paired-t", n, d.mean(), low, high, d.mean() / d.std(ddof=1), found.statistic, n - 1, found.pvalue)


def _mcnemar(x, y):
    d, n = x - y, len(x)
    won, lost = int((d > 0).sum()), int((d < 0).sum())
    p = mcnemar([[int((x * y).sum()), won], [lost, int(((1 - x) * (1 - y)).sum())]], exact=True).pvalue
    half = half_width(d.std(ddof=1) / math.sqrt(n), n - 1)
    effect = won / (won + lost) - 0.5 if won + lost else 0.0
    statistic = _ratio(won - lost, math.sqrt(won + lost))
    return _outcome("mcnemar", n, d.mean(), d.mean() - half, d.mean() + half, effect, statistic, n - 1, min(1.0, p))


def _wilcoxon(x, y):
    d = x - y
    if not d.any():
        return _outcome("wilcoxon", len(d), 0, NAN, NAN, 0, 0, NAN, 1)
    found, kept = stats.wilcoxon(d, zero_method="wilcox"), d[d != 0]
    ranks = stats.rankdata(np.abs(kept))
    effect = (ranks[kept > 0].sum() - ranks[kept < 0].sum()) / ranks.sum()
    return _outcome("wilcoxon", len(d), d.mean(), NAN, NAN, effect, found.statistic, NAN, found.pvalue)


def _welch(x, y):
    n, m = len(x), len(y)
    difference = x.mean() - y.mean()
    if _shares(x) and _shares(y):  # with a success and a failure made up on each side (Agresti and Caffo 2000)
        a, b = (np.var([*side, 0, 1], ddof=1) for side in (x, y))
        found = stats.ttest_ind_from_stats(x.mean(), math.sqrt(a), n, y.mean(), math.sqrt(b), m, equal_var=False)
        df = (a / n + b / m) ** 2 / ((a / n) ** 2 / (n - 1) + (b / m) ** 2 / (m - 1))
        half = half_width(math.sqrt(a / n + b / m), df)
        effect = _hedges(difference / math.sqrt(((n - 1) * a + (m - 1) * b) / (n + m - 2)), n + m - 2)
        ends = difference - half, difference + half
        return _outcome("welch-t-images", n + m, difference, *ends, effect, found.statistic, df, found.pvalue)
    pooled = math.sqrt(((n - 1) * x.var(ddof=1) + (m - 1) * y.var(ddof=1)) / (n + m - 2))
    effect = _hedges(_ratio(difference, pooled), n + m - 2)
    if np.ptp(x) == 0 == np.ptp(y):
        equal = float(difference == 0)
        return _outcome("welch-t-images", n + m, *[difference] * 3, effect, _ratio(difference, 0), NAN, equal)
    found = stats.ttest_ind(x, y, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return _outcome("welch-t-images", n + m, difference, low, high, effect, found.statistic, found.df, found.pvalue)


def _mann_whitney(x, y):
    found, middle = stats.mannwhitneyu(x, y, alternative="two-sided"), len(x) * len(y) / 2
    effect, above = found.statistic / middle - 1, found.statistic - middle
    return _outcome("mann-whitney", len(x) + len(y), x.mean() - y.mean(), NAN, NAN, effect, above, NAN, found.pvalue)


def std_error(outcome: Outcome) -> float:
    half = (outcome["ci_high"] - outcome["ci_low"]) / 2
    return half / stats.t.ppf(0.975, outcome["df"]) if half > 0 else half


def tests_of(a: Sample, b: Sample, real: Sample | None) -> Iterator[Outcome]:
    """All tests that a pair allows; mirrored about ``real`` where nearness to it counts."""
    shared = a.ids == b.ids and len(a.ids) > 1
    apart = not shared and min(len(a.ids), len(b.ids)) > 1 and not set(a.ids) & set(b.ids)
    x, y = a.of_images, b.of_images
    ranked = not (a.influence or b.influence)
    tests: list[Callable[[], Outcome]] = []
    if shared:
        clustered = a.people is not None
        tests += [lambda: _clustered(a, b) if clustered else paired_t(x, y)] * (not a.people_withheld)
        binary = bool(np.isin([x, y], (0, 1)).all())
        tests += [lambda: _mcnemar(x, y) if binary else _wilcoxon(x, y)] * (
            ranked and not clustered and not a.people_withheld
        )
    elif apart:
        tests += [lambda: _welch(x, y), *[lambda: _mann_whitney(x, y)] * ranked]
    trained = [len(sample.values) for sample in (a, b) if not sample.fixed]
    varies = any(np.ptp(sample.of_seeds) > 0 for sample in (a, b))
    single = any(sample.fixed and not sample.ids for sample in (a, b))  # a value without an error
    shown = not a.people_withheld if shared else apart or not (a.ids or b.ids or single)
    if shown and max(trained, default=0) >= 2 and (varies or a.ids):
        tests.append(lambda: _nested(a, b, shared=shared))
    for test in tests:
        found = test()
        found.a, found.b = a.name, b.name
        error = std_error(found)
        scale = (x.std() + y.std()) / 10 if math.isnan(error) else error
        found.more |= {"seeds": min(trained, default=0), "scale": float(scale)}
        found.mirror = _mirrored(found.test, a, b, real, shared=shared) if real is not None else None
        yield found


def _clustered(a: Sample, b: Sample) -> Outcome:
    return _combined("clustered-t", [a.seeds_averaged, b.seeds_averaged], [1, -1], shared=True, n=len(a.ids))


def _mirrored(test, a, b, real, *, shared) -> Outcome | None:
    if test == "mann-whitney" or (shared and a.ids != real.ids):
        return None
    if test in ("paired-t", "wilcoxon", "mcnemar"):
        image = 2 * real.of_images - b.of_images
        return (paired_t if test == "paired-t" else _wilcoxon)(a.of_images, image)
    sides = [a, b, real] if test == "nested-t" else [a.seeds_averaged, b.seeds_averaged, real.seeds_averaged]
    return _combined(test, sides, [1, 1, -2], shared=shared, n=NAN)
