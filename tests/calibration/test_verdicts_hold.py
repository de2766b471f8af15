"""Whole tables of recipes that are equal: how often a verdict or a rank says otherwise."""

import dataclasses

import numpy as np
import pytest
from handmade import measured
from noted import TRIALS, note

from vaebench.report.analysis.comparisons import all_pairs, decisive
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.statistics import VarianceParts, nested_t, planned_power

pytestmark = pytest.mark.calibration
IMAGES, TABLES = 60, TRIALS // 5
PARTS = {  # standard deviations of training, images and what neither explains
    "training dominates": (1.0, 0.5, 0.5),
    "images dominate": (0.02, 1.0, 1.0),
    "rest dominates": (0.1, 0.1, 2.0),
}
UNEQUAL = (
    "False alarms, unequal numbers of seeds",
    "Two equal recipes of which one has fewer training seeds (100 images): how often they differ significantly at "
    "0.05. A single seed takes the other side's training variance. Aim: at most 6.5 %.",
    ["seeds", "significant"],
)
EQUAL_TABLES = (
    "Tables of equal recipes",
    f"{TABLES} tables of four equal recipes each, {IMAGES} images: how often any verdict, and any rank, tells two "
    "apart. Aim: at most 5 % (Holm's correction over all pairs).",
    ["training seeds of the recipes", "any verdict", "any rank"],
)


def percent(share):
    return f"{100 * share:.1f} %"


def recipes(draws, seeds, parts, images=IMAGES, mean=10.0):
    """Per-image values (recipe, seed) -> (images,) of equal recipes: images are the same for all."""
    training, image, rest = parts
    shared = draws.normal(0, image, images)
    return {
        (name, seed): mean + draws.normal(0, training) + shared + draws.normal(0, rest, images)
        for name, count in zip("abcd", seeds, strict=False)
        for seed in range(count)
    }


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seeds", [(1, 2), (1, 3), (2, 3), (1, 5)])
def test_fewer_seeds_win_nothing(seeds, parts):
    draws, found = np.random.default_rng(11), []
    for _ in range(TRIALS):
        runs = recipes(draws, seeds, PARTS[parts], 100, 0.0)
        a, b = (np.stack([values for (of, _), values in runs.items() if of == name]) for name in "ab")
        found.append(nested_t(a, b, shared=True, fixed=(False, False)).p_value < 0.05)
    note(*UNEQUAL, f"{seeds[0]} against {seeds[1]}, {parts}", percent(np.mean(found)))
    assert np.mean(found) <= 0.065


@pytest.mark.parametrize("parts", ["training dominates", "rest dominates"])
@pytest.mark.parametrize("seeds", [(3, 3, 3, 3), (3, 3, 3, 1), (3, 2, 2, 1), (5, 5, 1, 1)])
def test_equal_recipes_are_not_ranked_apart(seeds, parts):
    draws, verdicts, ranks = np.random.default_rng(12), [], []
    for _ in range(TABLES):
        known = measured(recipes(draws, seeds, PARTS[parts]))
        tested = all_pairs(known)
        told = [row for row in decisive(tested) if row.verdict in ("a", "b") and row.note not in CHECKPOINTS]
        verdicts.append(bool(told))
        rows = leaderboard(known, tested)
        ranks.append(any((row.rank_low, row.rank_high) not in ((1, 4), (None, None)) for row in rows))
    note(*EQUAL_TABLES, f"{', '.join(map(str, seeds))}; {parts}", percent(np.mean(verdicts)), percent(np.mean(ranks)))
    assert max(np.mean(verdicts), np.mean(ranks)) <= 0.05 + 2 * (0.05 * 0.95 / TABLES) ** 0.5


def test_single_checkpoints_are_told_apart_but_not_ranked():
    draws, verdicts, ranks = np.random.default_rng(13), [], []
    for _ in range(TABLES // 2):
        known = measured(recipes(draws, (1, 1, 1, 1), PARTS["training dominates"]))
        tested = all_pairs(known)
        verdicts.append(any(row.verdict in ("a", "b") for row in decisive(tested)))
        ranks.append(any(row.rank_low is not None for row in leaderboard(known, tested)))
    words = "1, 1, 1, 1; training dominates (verdicts are about these checkpoints)"
    note(*EQUAL_TABLES, words, percent(np.mean(verdicts)), percent(np.mean(ranks)))
    assert np.mean(verdicts) > 0.5 and np.mean(ranks) == 0


@pytest.mark.parametrize(
    ("mean", "words"), [(0.02, "values as large as the margin"), (1.0, "values 50 times as large")]
)
def test_equivalence_below_the_margin_is_called_the_floor(mean, words):
    draws, found = np.random.default_rng(14), []
    for _ in range(TABLES // 2):
        runs = recipes(draws, (3, 3), (1e-4, 1e-3, 1e-3), mean=mean)
        known = measured(runs)
        lines = [dataclasses.replace(line, margin="0.02") for line in known.results]
        found += [row.verdict for row in decisive(all_pairs(dataclasses.replace(known, results=lines)))]
    shares = [percent(np.mean([verdict == word for verdict in found])) for word in ("equivalent", "floor")]
    lead = "Two equal recipes, three seeds each, margin 0.02: how often they are called so."
    note("Equivalence and the floor", lead, ["values", "equivalent", "both at the floor"], words, *shares)
    assert shares == (["0.0 %", "100.0 %"] if mean == 0.02 else ["100.0 %", "0.0 %"])


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_planned_power_is_what_simulation_finds(seeds, parts):
    draws = np.random.default_rng(15)
    training, _, rest = PARTS[parts]
    known = VarianceParts(training=(training**2,) * 2, images=0.0, rest=(rest**2,) * 2)
    error = (2 * (training**2 + rest**2 / 100) / seeds) ** 0.5
    difference = 3.2 * error
    found = []
    for _ in range(TRIALS // 2):
        runs = recipes(draws, (seeds, seeds), PARTS[parts], 100, 0.0)
        a, b = (np.stack([values for (of, _), values in runs.items() if of == name]) for name in "ab")
        found.append(nested_t(a + difference, b, shared=True).p_value < 0.05)
    planned = planned_power(known, seeds, 100, difference)
    lead = (
        "`vaebench plan`: predicted power beside the share of simulated tests that showed the difference (100 images)."
    )
    note(
        "Planned power",
        lead,
        ["seeds each", "predicted", "found"],
        f"{seeds}, {parts}",
        percent(planned),
        percent(np.mean(found)),
    )
    assert abs(planned - np.mean(found)) <= 0.05
