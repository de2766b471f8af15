"""How often sequential training decides between equal recipes, and how many seeds it takes beside a plan.

Every sequence is looked at after each seed, and the first look that decides ends it.
"""

from functools import cache

import numpy as np
import pytest
from noted import TRIALS, note
from scipy import optimize, stats

from vaebench.report.analysis.samples import Sample
from vaebench.report.sequential import decide
from vaebench.statistics import VarianceParts, planned_power
from vaebench.statistics.sequential import IMAGES_LEVEL, critical_t, degrees_of_freedom

pytestmark = pytest.mark.calibration
SEQUENCES, LONGEST, SHARES = 10 * TRIALS, 50, np.linspace(1, 2, 41)
EQUAL = (
    "Sequential training, equal recipes",
    f"`train --until-decided` between two equal recipes, {SEQUENCES:,} sequences looked at after every seed: how often "
    "any look decides. Aim: at most 5 %, whatever the ratio of the two variances.",
    ["variance of one to the other", "up to 10 seeds", "up to 50 seeds"],
)
IMAGES = (
    "Sequential training, equal recipes on the same images",
    f"Likewise from values of 60 images each, {TRIALS:,} sequences of up to 10 seeds. Aim: at most 5 %.",
    ["standard deviations: training of one, of the other, images of one, rest; metric", "a look decides"],
)
SHARED = (
    "Sequential training, equal recipes and an error of the images",
    f"{SEQUENCES:,} sequences whose seeds share an error of the images, likewise. Aim: at most 5 %.",
    ["variance of one to the other", "images' error, in deviations of a pair of seeds", "up to 50 seeds"],
)
MARGIN = (
    "Sequential training, a difference as large as the margin",
    f"{SEQUENCES:,} sequences of up to 50 seeds: how often a look calls it equivalent. Aim: at most 5 %.",
    ["margin, in deviations of a pair of seeds", "equivalent"],
)
PLANS = (
    "Sequential training beside a fixed plan",
    "Seeds of either recipe that `vaebench plan` asks for to show a difference in 4 of 5 cases, and the mean number "
    "that sequential training takes: with the limit from which on it shows that difference in 4 of 5 cases, too; with "
    "that limit where the true difference is 1.25 and 1.5 times the planned one; and with `--most 10`.",
    [
        *("ratio of variances", "fixed plan", "sequential, limit", "mean seeds"),
        *("1.25 times: mean seeds (power)", "1.5 times: mean seeds (power)", "--most 10: mean seeds (power)"),
    ],
)


def percent(share):
    return f"{100 * share:.1f} %"


def allowed(trials):
    """5 % and what chance may add to it once in a thousand times."""
    return 0.05 + 3.1 * (0.05 * 0.95 / trials) ** 0.5


@cache
def critical():
    """Critical t statistics by seeds and degrees of freedom over the least; the test's own, on a grid."""
    return [[critical_t((seeds - 1) * share, seeds) for share in SHARES] for seeds in range(2, LONGEST + 1)]


def looks(draws, count, ratio, effect):
    """Differences and half-widths (count, looks); a pair of seeds has deviation 1."""
    seeds = np.arange(1, LONGEST + 1)
    means, variances = [], []
    for variance, mean in ((ratio / (1 + ratio), effect), (1 / (1 + ratio), 0.0)):
        values = draws.normal(mean, variance**0.5, (count, LONGEST))
        means.append(values.cumsum(axis=1) / seeds)
        squares = np.square(values).cumsum(axis=1) - seeds * means[-1] ** 2
        variances.append(squares[:, 1:] / (seeds[1:] - 1))
    share = degrees_of_freedom(*variances, seeds[1:]) / (seeds[1:] - 1)
    with np.errstate(invalid="ignore"):  # between infinite ones, which two seeds have
        reach = np.stack([np.interp(share[:, look], SHARES, row) for look, row in enumerate(critical())], axis=1)
    reach[np.isnan(reach)] = np.inf
    return (means[0] - means[1])[:, 1:], reach * np.sqrt(sum(variances) / seeds[1:])


@pytest.mark.parametrize("ratio", [1, 2, 4, 9, 25, 50, 100, 1000, 1e9])
def test_looking_after_every_seed_tells_equal_recipes_apart_in_5_percent(ratio):
    difference, half = looks(np.random.default_rng(21), SEQUENCES, ratio, 0.0)
    decided = np.abs(difference) > half
    shares = [decided[:, : most - 1].any(axis=1).mean() for most in (10, LONGEST)]
    note(*EQUAL, f"{ratio:g}", *map(percent, shares))
    assert max(shares) <= allowed(SEQUENCES)


@pytest.mark.parametrize("ratio", [1, 4, 50])
@pytest.mark.parametrize("error", [0.05, 0.1, 0.2, 0.4, 1.0, 5.0, 100.0])
def test_an_error_of_the_images_is_allowed_for(ratio, error):
    draws = np.random.default_rng(25)
    difference, half = looks(draws, SEQUENCES, ratio, 0.0)
    wide = np.hypot(half, stats.norm.isf(IMAGES_LEVEL / 2) * error)
    share = (np.abs(difference + draws.normal(0, error, (SEQUENCES, 1))) > wide).any(axis=1).mean()
    note(*SHARED, ratio, error, percent(share))
    assert share <= allowed(SEQUENCES)


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(margin):
    difference, half = looks(np.random.default_rng(22), SEQUENCES, 4.0, margin)
    called = (np.abs(difference) + half < margin).any(axis=1).mean()
    note(*MARGIN, margin, percent(called))
    assert called <= allowed(SEQUENCES)


MIXES = {  # deviations of training of a and b, of images of a, and of what neither explains; metric
    "training dominates": (1.0, 1.0, 0.1, 0.1, "lower"),
    "training dominates, unequal": (1.0, 0.15, 0.1, 0.1, "lower"),
    "images dominate": (0.001, 0.001, 1.0, 0.1, "lower"),
    "images dominate, unequal": (0.01, 0.001, 1.0, 0.01, "higher"),
    "both": (0.13, 0.13, 1.0, 0.5, "lower"),
    "both, unequal": (0.25, 0.03, 1.0, 0.5, "lower"),
    "rest dominates": (0.01, 0.01, 0.05, 2.0, "lower"),
    "away from the target": (1.0, 0.5, 0.1, 0.1, "away"),
    "at the target": (1.0, 0.5, 0.1, 0.1, "target"),
    "both beside the target, images dominate": (0.01, 0.01, 1.0, 0.1, "away"),
}


@pytest.mark.parametrize("mix", MIXES)
def test_images_that_seeds_share_are_allowed_for(mix):
    *deviations, kind = MIXES[mix]
    draws, images, decided = np.random.default_rng(23), 60, 0
    ids = tuple(map(str, range(images)))
    for _ in range(TRIALS):
        training_a, training_b, image, rest = deviations
        common = draws.normal(0, 1, images)  # the images' own, for recipes and real images alike
        own = common + draws.normal(0, image, images)
        values = [
            mean + draws.normal(0, training, (10, 1)) + part + draws.normal(0, rest, (10, images))
            for training, part, mean in ((training_a, own, 0.0), (training_b, common, 0.0))
        ]
        target = common + (9.0 if kind == "away" else 0.0)
        real = Sample("real", ids, target[None], True)
        for seeds in range(2, 11):
            a, b = (Sample(name, ids, table[:seeds], False) for name, table in zip("ab", values, strict=True))
            direction = "target" if kind == "away" else kind
            if decide(a, b, real, direction, np.nan)[1]:
                decided += 1
                break
    note(*IMAGES, f"{', '.join(map(str, deviations))}; {mix}", percent(decided / TRIALS))
    assert decided / TRIALS <= allowed(TRIALS)


def ends(difference, half):
    """The number of seeds after which each sequence decides rightly; far too many if it never does, or wrongly."""
    hit = np.abs(difference) > half
    right = hit.any(axis=1) & (np.take_along_axis(difference, hit.argmax(axis=1)[:, None], axis=1)[:, 0] > 0)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 2, 10**6), right


@pytest.mark.parametrize("ratio", [1, 4, 9])
@pytest.mark.parametrize("plan", [3, 4, 5, 6, 8, 10, 15])
def test_seeds_beside_the_fixed_plan(plan, ratio):
    parts = VarianceParts(training=(ratio / (1 + ratio), 1 / (1 + ratio)), images=0.0, rest=(0.0, 0.0))
    effect = optimize.brentq(lambda shift: planned_power(parts, plan, 1, shift) - 0.8, 0.1, 20, xtol=1e-3)
    found = []
    for times in (1.0, 1.25, 1.5):
        end, right = ends(*looks(np.random.default_rng(24), 5 * TRIALS, ratio, times * effect))
        if times == 1.0:
            power = [(right & (end <= most)).mean() for most in range(LONGEST + 1)]
            limit = next(most for most, share in enumerate(power) if share >= 0.8)
            ten = f"{np.minimum(end, 10).mean():.2f} ({percent(power[10])})"
            # between two limits, so that the power is that of the plan
            more = (0.8 - power[limit - 1]) / (power[limit] - power[limit - 1])
            means = [np.minimum(end, most).mean() for most in (limit - 1, limit)]
            found.append((1 - more) * means[0] + more * means[1])
        else:
            found.append(np.minimum(end, limit).mean())
            found.append((right & (end <= limit)).mean())
    mean, larger, power_larger, largest, power_largest = found
    more = [f"{larger:.2f} ({percent(power_larger)})", f"{largest:.2f} ({percent(power_largest)})"]
    note(*PLANS, ratio, plan, limit, f"{mean:.2f}", *more, ten)
    assert min(power_larger, power_largest) >= 0.9
    # where a plan is small, or one side scatters far more, looking costs more than it saves at the planned difference
    assert mean <= (plan + 1.8 if plan < 8 else plan if ratio == 1 else 1.1 * plan)
    assert largest < plan or plan < 6
