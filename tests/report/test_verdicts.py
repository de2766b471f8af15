"""What may be concluded beside better and worse: equivalence, what could have been shown, attributes, people."""

import dataclasses
import math

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, ids_of, measured, result
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.runs.per_image import PerImageValues, Series
from vaebench.statistics import nested_mean, nested_t

N = 60
BASE, NOISE = drawn(0, N, 10), drawn(99, N, 0, 0.01)


def with_margin(known, margin):
    return dataclasses.replace(known, results=[dataclasses.replace(line, margin=margin) for line in known.results])


def pair(runs, margin="", metric="mse", **options):
    rows = all_pairs(with_margin(measured(runs, metric=metric, **options), margin))
    return {row.test: row for row in rows if {row.a, row.b} == {"a", "b"}}


def test_a_difference_within_the_margin_is_equivalent_though_it_is_significant():
    runs = {("a", 0): BASE, ("b", 0): BASE + 0.1 + NOISE}
    row = pair(runs, "5%")["paired-t"]
    assert row.p_holm < 1e-50
    assert row.verdict == "equivalent"
    assert row.margin == pytest.approx(0.05 * (BASE.mean() + (BASE + 0.1 + NOISE).mean()) / 2)
    assert row.p_equivalent == pytest.approx(ttost_paired(BASE, runs["b", 0], -row.margin, row.margin)[0], rel=1e-6)
    assert math.isnan(row.detectable)
    assert pair(runs, "0.01")["paired-t"].verdict == "a"
    assert pair(runs)["paired-t"].verdict == "a"
    assert math.isnan(pair(runs)["paired-t"].p_equivalent)


def test_equivalence_is_held_to_holms_correction_too():
    runs = {(name, 0): BASE + drawn(k, N, 0, 0.5) for k, name in enumerate("abc")}
    rows = [row for row in all_pairs(with_margin(measured(runs), "0.25")) if row.test == "paired-t"]
    raw = [ttost_paired(runs[row.a, 0], runs[row.b, 0], -0.25, 0.25)[0] for row in rows]
    assert [row.p_equivalent for row in rows] == pytest.approx(multipletests(raw, method="holm")[1].tolist(), rel=1e-9)


def test_an_unresolved_row_says_what_it_could_have_shown():
    row = pair({("a", 0): BASE, ("b", 0): BASE + drawn(1, N)})["paired-t"]
    assert row.verdict == "unresolved"
    error = stats.sem(drawn(1, N))
    assert 2.8 * error < row.detectable < 2.95 * error


def test_mirror_images_about_the_target_are_equally_near():
    runs = {("real", None): BASE, ("a", 0): BASE + 1 + NOISE, ("b", 0): BASE - 1 - NOISE}
    row = pair(runs, "5%", metric="blur")["paired-t"]
    assert row.verdict == "equivalent"
    assert row.margin == pytest.approx(0.05 * BASE.mean())
    assert pair({**runs, ("b", 0): BASE - 3 - NOISE}, "5%", metric="blur")["paired-t"].verdict == "a"


def test_equivalent_recipes_share_their_ranks():
    shifts = {"a": 0.0, "b": 0.1, "c": 5.0}
    runs = {(name, k): BASE + shift + drawn(k, N, 0, 0.01) for name, shift in shifts.items() for k in range(3)}
    known = with_margin(measured(runs), "5%")
    ranks = {row.recipe: (row.rank_low, row.rank_high) for row in leaderboard(known, all_pairs(known))}
    assert ranks == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def attributes(accuracies, names=("Bald", "Male", "Young")):
    """Correctness of attributes' SVMs, of one or more seeds, image by image."""
    values, lines = {}, []
    for (recipe, seed), columns in accuracies.items():
        values[recipe, seed] = {}
        for name, column in zip(names, columns, strict=True):
            key = Series("toy", "test", FINGERPRINT, "svm_accuracy", "official", f"attribute={name}")
            values[recipe, seed][key] = PerImageValues(ids_of(len(column)), np.asarray(column, float))
            lines.append(
                result(
                    recipe,
                    seed,
                    "svm_accuracy",
                    float(np.mean(column)),
                    protocol="official",
                    stratum=f"attribute={name}",
                    direction="higher",
                    n=len(column),
                )
            )
    return dataclasses.replace(measured({}, more=lines), values=values)


def right(seed, share, n=200):
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def test_attributes_are_tested_by_mcnemar_with_holm_over_the_attributes():
    known = attributes(
        {
            ("a", 0): [right(1, 0.9), right(2, 0.8), right(3, 0.7)],
            ("b", 0): [right(4, 0.6), right(5, 0.79), right(6, 0.6)],
        }
    )
    rows = [row for row in all_pairs(known) if row.test == "mcnemar"]
    assert [row.stratum for row in rows] == ["attribute=Bald", "attribute=Male", "attribute=Young"]
    raw = [row.p_value for row in rows]
    assert [row.p_holm for row in rows] == pytest.approx(multipletests(raw, method="holm")[1].tolist(), rel=1e-12)
    won, lost = (rows[0].statistic > 0), rows[0].verdict
    assert (won, lost) == (True, "a")


def test_pairs_and_attributes_are_one_family():
    columns = {name: [right(k + i, 0.9 - 0.1 * k) for i in range(3)] for k, name in enumerate("abc")}
    rows = all_pairs(attributes({(name, 0): found for name, found in columns.items()}))
    for test in ("paired-t", "mcnemar"):  # the one that decides, and another kind
        found = [row for row in rows if row.test == test]
        assert len(found) == 9
        raw = [row.p_value for row in found]
        assert [row.p_holm for row in found] == pytest.approx(multipletests(raw, method="holm")[1].tolist(), rel=1e-12)


def test_tests_that_decide_are_one_family_of_whatever_kind():
    """A third recipe on images of its own is tested by another kind: it must not make the others' family smaller."""
    runs = {(name, 0): BASE + drawn(k, N, 0.3 * k) for k, name in enumerate("ab")} | {("c", 0): drawn(7, N, 10)}
    rows = all_pairs(measured(runs, ids={"c": ids_of(N, "c")}))
    decide = [row for row in rows if row.test in ("paired-t", "welch-t-images")]
    assert [row.test for row in decide].count("welch-t-images") == 2
    raw = [row.p_value for row in decide]
    assert [row.p_holm for row in decide] == pytest.approx(multipletests(raw, method="holm")[1].tolist(), rel=1e-12)


@pytest.mark.parametrize(("size", "verdict"), [(0.02, "floor"), (0.039, "floor"), (0.041, "equivalent")])
def test_values_as_small_as_the_margin_are_at_the_floor(size, verdict):
    small = drawn(3, N, 0, 1e-4)
    values = small - small.mean() + size
    row = pair({("a", 0): values, ("b", 0): values - 1e-5 + NOISE * 1e-4}, "0.02")
    assert row["paired-t"].verdict == verdict


def test_attributes_have_intervals_over_their_images():
    known = attributes({("a", 0): [right(1, 0.9), right(2, 0.8), right(3, 0.7)]})
    row = next(row for row in leaderboard(known, []) if row.stratum == "attribute=Male")
    expected = nested_mean(right(2, 0.8)[None])
    assert (row.ci_low, row.ci_high) == pytest.approx((expected.ci_low, expected.ci_high), rel=1e-9)


def test_images_of_one_person_are_no_independent_evidence():
    people = np.repeat(np.arange(N // 3), 3)
    shared = drawn(5, N // 3)[people]
    runs = {("a", 0): BASE + shared, ("b", 0): BASE + 0.4 + NOISE}
    known = measured(runs)
    grouped = dataclasses.replace(
        known, people={FINGERPRINT: {image: int(person) for image, person in zip(ids_of(N), people, strict=True)}}
    )
    tests = {row.test: row for row in all_pairs(grouped)}
    expected = nested_t(runs["a", 0][None], runs["b", 0][None], shared=True, clusters=people)
    assert "paired-t" not in tests
    assert tests["clustered-t"].statistic == expected.statistic
    assert abs(expected.statistic) < 0.7 * abs(
        next(row for row in all_pairs(known) if row.test == "paired-t").statistic
    )
    alone, together = (next(row for row in leaderboard(each, []) if row.recipe == "a") for each in (known, grouped))
    assert together.std_error > 1.2 * alone.std_error
    assert (together.value, together.df) == (alone.value, N // 3 - 1)


def test_what_images_contribute_has_no_test_of_ranks():
    known = measured({("a", 0): BASE, ("b", 0): BASE + NOISE})
    values = {
        subject: {series: dataclasses.replace(content, influence=True) for series, content in kept.items()}
        for subject, kept in known.values.items()
    }
    assert {row.test for row in all_pairs(dataclasses.replace(known, values=values))} == {"paired-t"}
