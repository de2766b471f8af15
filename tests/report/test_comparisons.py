"""Every pair, tested: which tests, with what correction, and what may be concluded."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, ids_of, measured, result
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vaebench.core.errors import UserError
from vaebench.report.analysis.comparisons import all_pairs, compare
from vaebench.report.analysis.formatting import to_csv
from vaebench.statistics import nested_t

N = 60


def rows_of(runs, **options):
    return all_pairs(measured(runs, **options))


def by_test(rows, *names):
    return {row.test: row for row in rows if {row.a, row.b} == set(names)}


def seeds_of(recipe, means, first=10, n=N):
    return {(recipe, k): drawn(first + k, n, mean) for k, mean in enumerate(means)}


def test_every_pair_once_and_the_real_images_first():
    names = ["vae", "real", "external/other", "dcgan"]
    rows = rows_of({(name, None): drawn(i, N) for i, name in enumerate(names)})
    pairs = [(row.a, row.b) for row in rows if row.test == "paired-t"]
    assert pairs == list(itertools.combinations(["real", "dcgan", "external/other", "vae"], 2))
    assert {row.test for row in rows} == {"paired-t", "wilcoxon"}
    assert len(rows) == 12


def test_paired_rows_equal_scipy():
    a, b = drawn(0, N, 0.2), drawn(1, N)
    found = by_test(rows_of({("a", 0): a, ("b", 0): b}), "a", "b")
    t, w = stats.ttest_rel(a, b), stats.wilcoxon(a, b)
    row = found["paired-t"]
    assert (row.statistic, row.df, row.p_value) == pytest.approx((t.statistic, t.df, t.pvalue), rel=1e-10)
    assert (row.ci_low, row.ci_high) == pytest.approx(tuple(t.confidence_interval(0.95)), rel=1e-9)
    assert (row.n, row.seeds, row.stratum, row.split) == (N, 1, "all", "test")
    assert (found["wilcoxon"].statistic, found["wilcoxon"].p_value) == pytest.approx((w.statistic, w.pvalue), rel=1e-10)


def test_holm_within_metric_stratum_and_test():
    labels = [i % 3 for i in range(N)]
    runs = {(name, 0): drawn(i, N, 0.12 * i) for i, name in enumerate("abcd")}
    rows = rows_of(runs, labels=labels)
    families = {}
    for row in rows:
        families.setdefault((row.stratum, row.test), []).append(row)
    assert set(families) == {
        (s, t) for s in ("all", "label!=1", "label=0", "label=1", "label=2") for t in ("paired-t", "wilcoxon")
    }
    for family in families.values():
        assert len(family) == 6
        expected = multipletests([row.p_value for row in family], method="holm")[1]
        assert [row.p_holm for row in family] == pytest.approx(expected, rel=1e-12)


def test_a_verdict_needs_the_corrected_p_value():
    runs = {(name, 0): drawn(i, N, 0.2 * i) for i, name in enumerate("abcd")}
    rows = rows_of(runs)
    assert any(row.p_value < 0.05 <= row.p_holm for row in rows)
    assert any(row.p_holm < 0.05 for row in rows)
    for row in rows:
        assert (row.verdict == "unresolved") == (row.p_holm >= 0.05)


def test_strata_are_tested_on_their_own_images():
    labels = [i % 2 for i in range(N)]
    a, b = drawn(0, N, 0.2), drawn(1, N)
    row = next(
        row
        for row in rows_of({("a", 0): a, ("b", 0): b}, labels=labels)
        if (row.stratum, row.test) == ("label=1", "paired-t")
    )
    expected = stats.ttest_rel(a[1::2], b[1::2])
    assert (row.statistic, row.n) == (pytest.approx(expected.statistic, rel=1e-10), N // 2)


@pytest.mark.parametrize("images", [0, 1, 2])
def test_a_stratum_needs_two_images_to_be_tested(images):
    bald = result("a", 0, "mse", None, stratum="Bald=1")
    known = measured({("a", 0): drawn(0, N), ("b", 0): drawn(1, N)}, more=[bald, dataclasses.replace(bald, recipe="b")])
    known = dataclasses.replace(known, strata={FINGERPRINT: {"Bald=1": np.arange(N) < images}})
    assert [row.n for row in all_pairs(known) if (row.stratum, row.test) == ("Bald=1", "paired-t")] == [2] * (
        images > 1
    )


def test_other_images_are_not_paired():
    ids = {"b": ("elsewhere", *ids_of(N)[1:])}
    assert rows_of({("a", 0): drawn(0, N), ("b", 0): drawn(1, N)}, ids=ids) == []


def test_the_same_images_in_another_order_are_not_paired():
    assert rows_of({("a", 0): drawn(0, N), ("b", 0): drawn(1, N)}, ids={"b": ids_of(N)[::-1]}) == []


def test_independent_images_are_tested_as_independent():
    a, b = drawn(0, N, 0.3), drawn(1, N + 11, 0, 2)
    rows = rows_of({("a", 0): a, ("b", 0): b}, ids={"b": ids_of(N + 11, "b")})
    expected = stats.ttest_ind(a, b, equal_var=False)
    row, ranked = rows
    assert row.test == "welch-t-images"
    assert (row.statistic, row.df, row.p_value) == pytest.approx((expected.statistic, expected.df, expected.pvalue))
    assert (ranked.test, ranked.p_value) == ("mann-whitney", pytest.approx(stats.mannwhitneyu(a, b).pvalue))


def test_as_many_independent_images_as_real_ones_still_have_no_strata():
    labels = [i % 2 for i in range(N)]
    runs = {("a", 0): drawn(0, N), ("b", None): drawn(1, N), ("c", 0): drawn(2, N)}
    rows = rows_of(runs, ids={"b": ids_of(N, "b")}, labels=labels)
    assert {row.stratum for row in rows if "b" in (row.a, row.b)} == {"all"}
    assert {row.stratum for row in rows if {row.a, row.b} == {"a", "c"}} == {"all", "label!=1", "label=0", "label=1"}


def test_values_are_averaged_over_seeds_before_images_are_paired():
    runs = {**seeds_of("a", [0.3, 0.4]), ("b", 0): drawn(1, N)}
    row = by_test(rows_of(runs), "a", "b")["paired-t"]
    expected = stats.ttest_rel((runs["a", 0] + runs["a", 1]) / 2, runs["b", 0])
    assert (row.statistic, row.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)
    assert row.seeds == 1  # of the recipe that has fewer


@pytest.mark.parametrize("shared", [True, False])
def test_several_seeds_are_tested_over_seeds_and_images(shared):
    runs = {**seeds_of("a", [0.3, 0.4, 0.2]), **seeds_of("b", [0.0, 0.1], first=20)}
    row = by_test(rows_of(runs, ids={} if shared else {"b": ids_of(N, "b")}), "a", "b")["nested-t"]
    a, b = ([runs[key] for key in runs if key[0] == name] for name in "ab")
    expected = nested_t(a, b, shared=shared)
    assert (row.statistic, row.df, row.p_value) == (expected.statistic, expected.df, expected.p_value)
    over_seeds = stats.ttest_ind(np.mean(a, axis=1), np.mean(b, axis=1), equal_var=False)
    assert abs(row.statistic) <= abs(over_seeds.statistic)  # the images are drawn, too
    assert (row.n, row.seeds) == (N if shared else 2 * N, 2)


@pytest.mark.parametrize("fixed", ["real", "zexternal"])
def test_several_seeds_are_tested_against_fixed_images(fixed):
    runs = {**seeds_of("vae", [0.3, 0.4, 0.2]), (fixed, None): drawn(1, N)}
    row = by_test(rows_of(runs), fixed, "vae")["nested-t"]
    expected = nested_t([runs["vae", k] for k in range(3)], runs[fixed, None][None], shared=True)
    means = [runs["vae", k].mean() for k in range(3)]
    sign = -1 if row.a == fixed else 1
    assert row.a == ("real" if fixed == "real" else "vae")
    assert (sign * row.statistic, row.df, row.p_value) == pytest.approx(
        (expected.statistic, expected.df, expected.p_value)
    )
    assert sign * row.mean_difference == pytest.approx(np.mean(means) - runs[fixed, None].mean())
    assert row.seeds == 3


def test_one_seed_is_tested_over_seeds_only_against_several():
    rows = rows_of({("a", 0): drawn(0, N), ("real", None): drawn(1, N), **seeds_of("b", [0, 1])})
    assert {row.test for row in rows if {row.a, row.b} == {"a", "real"}} == {"paired-t", "wilcoxon"}
    assert {row.test for row in rows if {row.a, row.b} == {"a", "b"}} == {"paired-t", "wilcoxon", "nested-t"}
    assert {row.note for row in rows if (row.test, {row.a, row.b}) == ("nested-t", {"a", "b"})} == {
        "a has one training seed: the training variance of b (2 seeds) is taken for both"
    }
    assert {row.seeds for row in rows if {row.a, row.b} == {"a", "real"}} == {1}


def test_images_alone_count_no_seeds():
    rows = rows_of({("real", None): drawn(0, N), ("external/x", None): drawn(1, N)})
    assert {row.seeds for row in rows} == {0}


NOISE = drawn(99, N, 0, 0.01)


@pytest.mark.parametrize("metric", ["ssim", "mse"])
@pytest.mark.parametrize("a_is_higher", [True, False])
def test_verdict_follows_the_direction(metric, a_is_higher):
    runs = {("a", 0): drawn(0, N), ("b", 0): drawn(0, N) + NOISE + (-1 if a_is_higher else 1)}
    winner = "a" if a_is_higher == (metric == "ssim") else "b"
    assert {row.verdict for row in rows_of(runs, metric=metric)} == {winner}


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [(1.0, 2.0, "a"), (-1.0, -2.0, "a"), (3.0, 2.0, "b"), (-3.0, -2.0, "b")],
)
def test_verdict_of_a_target_metric_is_nearness_to_the_real_images(a, b, verdict):
    base = drawn(0, N)
    runs = {("real", None): base, ("a", 0): base + a + NOISE, ("b", 0): base + b - NOISE}
    assert {row.verdict for row in by_test(rows_of(runs, metric="blur"), "a", "b").values()} == {verdict}


@pytest.mark.parametrize(("a", "b", "verdict"), [(0.1, -2.0, "a"), (2.0, -0.1, "b")])
def test_opposite_sides_of_the_target_are_told_apart_by_the_mirrored_test(a, b, verdict):
    base = drawn(0, N)
    runs = {("real", None): base, ("a", 0): base + a + NOISE, ("b", 0): base + b - NOISE}
    assert {row.verdict for row in by_test(rows_of(runs, metric="blur"), "a", "b").values()} == {verdict}


def test_equal_distances_from_the_target_are_unresolved_however_far_apart():
    base = drawn(0, N)
    runs = {("real", None): base, ("a", 0): base + 1 + NOISE, ("b", 0): base - 1 - NOISE}
    found = by_test(rows_of(runs, metric="blur"), "a", "b")
    assert found["paired-t"].p_holm < 1e-50
    assert {row.verdict for row in found.values()} == {"unresolved"}


def test_the_real_images_are_nearest_to_themselves():
    base = drawn(0, N)
    rows = rows_of({("real", None): base, ("a", 0): base + 1 + NOISE}, metric="blur")
    assert {(row.a, row.verdict) for row in rows} == {("real", "a")}


def test_nearness_over_seeds_is_resolved_only_where_the_mirrored_test_is():
    """a and b lie on the same side of the real mean in their averages, but b's seeds straddle it."""
    runs = {
        ("real", None): np.zeros(N),
        **{("a", k): np.full(N, value) for k, value in enumerate([5.0, 5.1, 4.9])},
        **{("b", k): np.full(N, value) for k, value in enumerate([0.5, -0.4, 0.2])},
        **{("c", k): np.full(N, value) for k, value in enumerate([-0.9, 1.6, 0.5])},
    }
    rows = rows_of(runs, metric="blur")
    assert by_test(rows, "a", "b")["nested-t"].verdict == "b"
    assert by_test(rows, "b", "c")["nested-t"].verdict == "unresolved"


def test_seeds_that_all_agree_are_not_tested_over_seeds():
    """Three times 4 against three times 5 is no evidence of p = 0."""
    lines = [result(name, seed, "active_units", value) for name, value in (("a", 4.0), ("b", 5.0)) for seed in range(3)]
    assert all_pairs(measured({}, more=lines)) == []


def test_nearness_of_samples_counts_the_real_images_own_spread():
    """a and b at equal distances on either side: resolved in about 5 % of trials, not in a quarter of them."""
    wins = 0
    for trial in range(200):
        draws = np.random.default_rng(trial)
        runs = {
            ("real", None): draws.normal(0, 1, 100),
            ("a", 0): draws.normal(0.6, 1, 100),
            ("b", 0): draws.normal(-0.6, 1, 100),
        }
        ids = {name: ids_of(100, name) for name in ("real", "a", "b")}
        row = by_test(rows_of(runs, metric="blur", ids=ids), "a", "b")["welch-t-images"]
        wins += row.verdict != "unresolved"
    assert 2 <= wins <= 20


def test_splits_and_fingerprints_never_meet():
    here, there = (measured({("a", 0): drawn(k, N), ("b", 0): drawn(k + 5, N)}) for k in (0, 1))
    other = dataclasses.replace(
        there,
        values={
            subject: {dataclasses.replace(key, data_fingerprint="e" * 64): value for key, value in known.items()}
            for subject, known in there.values.items()
        },
        results=[
            dataclasses.replace(
                line, provenance=dataclasses.replace(line.provenance, data_fingerprint="e" * 64), recipe=line.recipe
            )
            for line in there.results
        ],
    )
    values = {subject: {**here.values[subject], **other.values[subject]} for subject in here.values}
    both = dataclasses.replace(here, results=[*here.results, *other.results], values=values)
    alone = {row.statistic for known in (here, other) for row in all_pairs(known)}
    assert len(both.parts()) == 2
    assert {row.statistic for row in all_pairs(both)} == alone


def test_metrics_of_one_value_a_run_are_tested_over_seeds():
    values = {"a": [3.0, 3.2, 3.1], "b": [4.0, 4.3, 4.1]}
    lines = [result(name, seed, "fid", value) for name, found in values.items() for seed, value in enumerate(found)]
    (row,) = all_pairs(measured({}, more=lines))
    expected = stats.ttest_ind(values["a"], values["b"], equal_var=False)
    assert (row.a, row.b, row.test, row.seeds, row.verdict) == ("a", "b", "nested-t", 3, "a")
    assert (row.statistic, row.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_one_value_of_one_run_is_tested_by_the_others_training_variance():
    values = {"a": [3.0, 3.2, 3.1], "once": [9.0]}
    lines = [result(name, seed, "fid", value) for name, found in values.items() for seed, value in enumerate(found)]
    (row,) = all_pairs(measured({}, more=lines))
    error = np.std(values["a"], ddof=1) * np.sqrt(1 / 3 + 1)
    assert (row.test, row.seeds, row.df, row.verdict) == ("nested-t", 1, 2, "a")
    assert row.statistic == pytest.approx((np.mean(values["a"]) - 9) / error, rel=1e-9)


def test_a_target_metric_without_real_images_is_unresolved():
    rows = rows_of({("a", 0): drawn(0, N), ("b", 0): drawn(1, N, 5)}, metric="blur")
    assert {row.verdict for row in rows} == {"unresolved"}
    assert all(row.p_holm < 0.05 for row in rows)


def test_no_difference_is_unresolved_with_p_one():
    rows = rows_of({("a", 0): drawn(0, N), ("b", 0): drawn(0, N)})
    assert {(row.verdict, row.p_value, row.p_holm) for row in rows} == {("unresolved", 1.0, 1.0)}


def test_ranks_against_the_means_are_unresolved():
    a = np.full(N, 0.1)
    a[:2] = -50  # a is greater nearly everywhere, but its mean is the smaller one
    row = by_test(rows_of({("a", 0): a + NOISE, ("b", 0): np.zeros(N)}), "a", "b")["wilcoxon"]
    assert row.p_holm < 0.05
    assert row.effect_size > 0 > row.mean_difference
    assert row.verdict == "unresolved"


@pytest.mark.parametrize("metric", ["ssim", "mse", "blur"])
def test_names_swapped_turn_the_sign_and_keep_the_winner(metric):
    base = drawn(0, N)
    runs = {
        ("real", None): base,
        **{("a", k): base + 1 + drawn(k, N, 0, 0.1) for k in range(3)},
        **{("b", k): base + 2 + drawn(9 + k, N, 0, 0.1) for k in range(3)},
    }
    swap = {"a": "b", "b": "a", "real": "real"}
    straight = by_test(rows_of(runs, metric=metric), "a", "b")
    turned = by_test(rows_of({(swap[name], k): v for (name, k), v in runs.items()}, metric=metric), "a", "b")
    assert set(straight) == set(turned) == {"paired-t", "wilcoxon", "nested-t"}
    for test, row in straight.items():
        other = turned[test]
        assert swap[{"a": row.a, "b": row.b}[row.verdict]] == {"a": other.a, "b": other.b}[other.verdict]
        assert other.mean_difference == pytest.approx(-row.mean_difference, rel=1e-12)
        assert other.effect_size == pytest.approx(-row.effect_size, rel=1e-12)
        assert (other.p_value, other.p_holm) == (row.p_value, row.p_holm)


def test_compare_gives_the_rows_of_one_pair():
    known = measured({(name, 0): drawn(i, N) for i, name in enumerate("abc")})
    expected = [row for row in all_pairs(known) if {row.a, row.b} == {"a", "c"}]
    assert to_csv(type(expected[0]), compare(known, "c", "a")) == to_csv(type(expected[0]), expected)


def test_compare_refuses_runs_without_images_in_common():
    known = measured({("a", 0): drawn(0, N), ("b", 0): drawn(1, N)}, ids={"b": ids_of(N)[::-1]})
    with pytest.raises(UserError, match="a and b share no metric on the same image ids"):
        compare(known, "a", "b")


def test_nothing_is_lost_to_underflow():
    rows = rows_of({("a", 0): NOISE, ("b", 0): NOISE + 1e6 + drawn(3, N, 0, 1e-6)})
    row = next(row for row in rows if row.test == "paired-t")
    assert row.p_value < 1e-300 and row.verdict == "a"
    assert math.isfinite(row.statistic)


def test_rows_are_the_same_from_call_to_call():
    known = measured({(name, 0): drawn(i, N) for i, name in enumerate("abcd")})
    assert [dataclasses.astuple(row) for row in all_pairs(known) if row.test == "paired-t"] == [
        dataclasses.astuple(row) for row in all_pairs(known) if row.test == "paired-t"
    ]
