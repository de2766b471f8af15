"""Looks at two recipes' first seeds: which way is better, equivalence, the floor, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import drawn, write_real, write_run

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.report.sequential import Pair, state, summary

N = 60


def runs(name, shift, seeds, metric="mse", spread=0.1, base=10.0):
    """Seeds that scatter by ``spread`` about ``base + shift``, each on the same images."""
    return [
        write_run(
            name, seed, {metric: base + shift + drawn(0, N) + spread * drawn(100 + seed, 1) + drawn(seed, N, 0, 0.1)}
        )
        for seed in range(seeds)
    ]


def pair(metric="mse", protocol=""):
    return Pair(a="a", b="b", dataset="toy", metric=metric, protocol=protocol)


def test_the_lower_error_is_better_and_either_order_says_so():
    runs("a", 0.0, 5)
    runs("b", 2.0, 5)
    found = state(pair(), 5)
    assert found.verdict == "a" and found.said == "a is better by mse (recon)"
    turned = state(Pair(a="b", b="a", dataset="toy", metric="mse"), 5)
    assert turned.verdict == "b" and turned.said == found.said
    assert found.line.startswith("5 seeds each: mse (recon), a - b = -") and found.line.endswith(found.said)


def test_the_higher_similarity_is_better():
    runs("a", 0.0, 4, "ssim")
    runs("b", 2.0, 4, "ssim")
    assert state(pair("ssim"), 4).verdict == "b"


def test_only_the_first_seeds_count_and_two_are_too_few():
    runs("a", 0.0, 6)
    runs("b", 2.0, 6)
    assert state(pair(), 2).line.endswith("no interval yet: not decided yet")
    before = state(pair(), 4)
    write_run("a", 5, {"mse": drawn(0, N) + 1e6})
    assert state(pair(), 4) == before and state(pair(), 6) != before


def test_the_first_seed_says_what_decides():
    runs("a", 0.0, 1)
    runs("b", 2.0, 1)
    assert state(pair(), 1).line == "decides by mse (recon); a = a, b = b"


@pytest.mark.parametrize(("a", "b", "better"), [(-0.5, -4.0, "a"), (0.5, -4.0, "a"), (-4.0, 0.5, "b"), (3.0, -3.0, "")])
def test_nearness_to_the_real_images_counts(a, b, better):
    write_real({"blur": drawn(0, N) + 10})
    runs("a", a, 5, "blur")
    runs("b", b, 5, "blur")
    assert state(pair("blur"), 5).verdict == better


def with_margin(folders, margin):
    for folder in folders:
        lines = [replace(line, margin=margin) for line in results.read(folder.results)]
        results.append(folder.results, lines)


@pytest.mark.parametrize(("base", "verdict"), [(10.0, "equivalent"), (0.0, "floor")])
def test_a_difference_within_the_margin_is_equivalent_or_at_the_floor(base, verdict):
    folders = [*runs("a", 0.0, 6, spread=0.01, base=base), *runs("b", 0.02, 6, spread=0.01, base=base)]
    with_margin(folders, "0.5")
    found = state(pair(), 6)
    assert found.verdict == verdict
    assert ("within the margin of 0.5" if verdict == "equivalent" else "both at the floor") in found.said


def test_equally_near_on_either_side_of_the_real_images_is_equivalent():
    folders = [write_real({"blur": drawn(0, N) + 10}), *runs("a", 2.0, 6, "blur"), *runs("b", -2.0, 6, "blur")]
    with_margin(folders, "10%")
    assert state(pair("blur"), 6).verdict == "equivalent"


def test_seeds_without_values_of_each_image_are_compared_by_their_values():
    for name, shift in (("a", 0.0), ("b", 3.0)):
        for folder in runs(name, shift, 5):
            folder.per_image.unlink()
    assert state(pair(), 5).verdict == "a"


def test_what_cannot_be_compared():
    runs("a", 0.0, 3)
    with pytest.raises(UserError, match="a and b have no value of 'mse' in common"):
        state(pair(), 3)
    runs("b", 0.0, 3)
    with pytest.raises(UserError, match="mse has no protocol 'samples': choose from recon"):
        state(pair(protocol="samples"), 3)
    lines = [replace(line, value=None, note="cannot encode") for line in results.read(runs("b", 0, 1)[0].results)]
    results.append(runs("b", 0, 1)[0].results, lines)
    with pytest.raises(UserError, match=r"b has no value of 'mse' \(cannot encode\): decide by another metric"):
        state(pair(), 3)


def test_the_protocol_is_chosen_by_a_rule_that_no_value_bears_upon():
    folders = [*runs("a", 0.0, 3), *runs("b", 2.0, 3)]
    for folder in folders:
        lines = [replace(line, protocol="other") for line in results.read(folder.results)]
        results.append(folder.results, lines)
    assert "decides by mse (other); not by recon (--until-decided a,b:mse:recon)" in state(pair(), 1).line
    assert state(pair(protocol="recon"), 3).line.startswith("3 seeds each: mse (recon)")


def test_the_summary_says_what_to_do():
    runs("a", 0.0, 3, spread=1.0)
    runs("b", 0.1, 3, spread=1.0)
    found = state(pair(), 3)
    assert found.verdict == ""
    line, _ = summary(pair(), found, 3, 3)
    assert (
        line.startswith("undecided after 3 seeds each: go on with --most 6,")
        and "vaebench plan a b --metric mse" in line
    )
    assert summary(pair(), replace(found, verdict="a", said="a is better"), 3, 9)[0] == (
        "decided after 3 seeds each (of 9 at most): a is better"
    )


def test_images_that_all_seeds_share_are_not_taken_for_certainty():
    """Seeds that agree to the last digit on a few images say nothing of other images."""
    few, images = 5, np.array([1.0, -1.0, 2.0, 0.5, -0.2])
    for seed in range(few):
        write_run("a", seed, {"mse": 10 + images + 1e-6 * drawn(seed, few)})
        write_run("b", seed, {"mse": 10 + 1e-6 * drawn(50 + seed, few)})
    assert state(pair(), few).verdict == ""
