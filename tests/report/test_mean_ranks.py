"""Places over several metrics, and what seeds do to them."""

import itertools

import numpy as np
import pytest
from handmade import measured, result

from vaebench.core.results import Facts
from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.report.analysis.mean_ranks import mean_ranks


def stand(values, real=()):
    """``values``: metric -> recipe -> values of seeds; ``blur`` has the target in ``real``."""
    lines = [
        result(name, seed, metric, value, margin="5%", facts=Facts(question=QUESTIONS.get(metric, metric)))
        for metric, recipes in values.items()
        for name, seeds in recipes.items()
        for seed, value in enumerate(seeds)
    ]
    lines += [result("real", None, metric, value, margin="5%") for metric, value in real]
    known = measured({}, more=lines)
    return mean_ranks(known, leaderboard(known, all_pairs(known)))


QUESTIONS = {"mse": "near", "ssim": "alike", "blur": "sharp", "psnr": "near", "kl": "prior"}


def test_mean_ranks_are_over_one_metric_a_question_that_all_have():
    values = {
        "mse": {"a": [1.0], "b": [2.0], "c": [3.0]},
        "ssim": {"a": [0.9], "b": [0.8], "c": [0.95]},
        "blur": {"a": [5.0], "b": [9.0], "c": [1.0]},
        "psnr": {"a": [1.0], "b": [2.0], "c": [3.0]},  # of mse's question, and behind it
        "kl": {"a": [1.0], "b": [2.0]},
    }
    found = stand(values, real=[("blur", 4.0)])
    assert found.names == ("a", "c", "b")
    assert found.average_ranks == pytest.approx((4 / 3, 2, 8 / 3))
    assert set(found.metrics) == {"blur (recon)", "mse (recon)", "ssim (recon)"}
    assert found.stability == {}


def test_the_share_of_seed_draws_that_are_best_is_a_count_of_all_draws():
    seeds = {"a": [1.0, 2.0, 3.5], "b": [1.5, 2.5], "c": [3.0, 0.5, 4.0]}
    share = stand({"mse": seeds}).stability["mse", "recon"]
    draws = list(itertools.product(*seeds.values()))
    counted = {name: np.mean([min(draw) == draw[place] for draw in draws]) for place, name in enumerate(seeds)}
    assert share == pytest.approx(counted)
    assert sum(share.values()) == pytest.approx(1)


def test_a_tie_is_shared_among_those_that_tie():
    share = stand({"mse": {name: [1.0, 1.0] for name in "abc"}}).stability["mse", "recon"]
    assert share == pytest.approx(dict.fromkeys("abc", 1 / 3))


def test_one_seed_each_says_nothing_of_stability_and_one_metric_nothing_of_places():
    found = stand({"mse": {"a": [1.0], "b": [2.0]}})
    assert (found.names, found.stability) == ((), {})


def test_costs_do_not_count():
    lines = [result(name, 0, metric, 1.0 + k) for metric in ("mse", "kl") for k, name in enumerate("ab")]
    known = measured({}, more=lines)
    assert mean_ranks(known, leaderboard(known, all_pairs(known))).names == ()
