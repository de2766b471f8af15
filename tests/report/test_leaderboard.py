"""One row a recipe and measurement: intervals, ranks that the tests support, and what could not be taken."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, ids_of, measured, provenance, result
from handmade_page import record
from scipy import stats

from vaebench.core.errors import UserError
from vaebench.core.results import Facts
from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.formatting import to_csv
from vaebench.report.analysis.leaderboard import Row, leaderboard
from vaebench.report.gate.table import read_table
from vaebench.statistics import nested_mean

N = 60
COLUMNS = (
    "dataset, split, stratum, recipe, metric, protocol, unit, direction, value, std_error, ci_low, ci_high, seeds, n, "
    "rank_low, rank_high, data_fingerprint, extractor_sha256, vaebench_version, device, note, margin, df, "
    "by_seed, lowest, highest"
)


def ranked(runs, **options):
    known = measured(runs, **options)
    return leaderboard(known, all_pairs(known))


def row_of(rows, recipe, metric="mse", stratum="all"):
    (found,) = [row for row in rows if (row.recipe, row.metric, row.stratum) == (recipe, metric, stratum)]
    return found


def ranks(rows, names, **cell):
    return {name: (row_of(rows, name, **cell).rank_low, row_of(rows, name, **cell).rank_high) for name in names}


def tight(recipe, mean, seeds=3):
    return {(recipe, k): drawn(0, N) + mean + drawn(50 + k, N, 0, 0.01) for k in range(seeds)}


def test_columns_are_the_public_ones():
    header = to_csv(Row, ranked(tight("a", 0))).splitlines()[0]
    assert header == COLUMNS.replace(" ", "")


def test_one_seed_has_an_interval_over_images():
    values = drawn(0, N, 3)
    row = row_of(ranked({("a", 0): values}), "a")
    assert (row.value, row.std_error) == pytest.approx((values.mean(), stats.sem(values)), rel=1e-12)
    expected = stats.t.interval(0.95, N - 1, loc=values.mean(), scale=stats.sem(values))
    assert (row.ci_low, row.ci_high) == pytest.approx(expected, rel=1e-12)
    assert (row.seeds, row.n) == (1, N)
    assert row.note == "one training seed: the interval is over images, of this checkpoint only"


def test_several_seeds_have_an_interval_over_seeds_and_images():
    runs = {("a", k): drawn(k, N, 3 + 0.1 * k) for k in range(4)}
    row = row_of(ranked(runs), "a")
    expected = nested_mean(list(runs.values()))
    numbers = (row.value, row.std_error, row.ci_low, row.ci_high, row.df)
    assert numbers == pytest.approx(
        (expected.value, expected.std_error, expected.ci_low, expected.ci_high, expected.df), rel=1e-9
    )
    assert row.std_error > stats.sem([values.mean() for values in runs.values()])
    assert (row.seeds, row.n, row.note) == (4, N, "")


@pytest.mark.parametrize("name", ["real", "external/x"])
def test_images_without_training_have_no_seeds(name):
    row = row_of(ranked({(name, None): drawn(0, N)}), name)
    assert (row.seeds, row.note) == (0, "")
    assert row.ci_low < row.value < row.ci_high


def test_a_value_without_error_has_no_interval():
    row = row_of(ranked({}, more=[result("a", 0, "fid", 9.0)]), "a", "fid")
    assert (row.value, row.std_error, row.ci_low, row.ci_high, row.note) == (9.0, None, None, None, "")


def test_what_cannot_be_taken_stays_a_row_with_its_reason():
    lacking = result("gan", 0, "mse", None, n=0, note="needs reconstructions")
    rows = ranked(tight("a", 0), more=[lacking])
    row = row_of(rows, "gan")
    assert (row.value, row.std_error, row.ci_low, row.rank_low, row.note) == (None,) * 4 + ("needs reconstructions",)
    (cells,) = [line for line in csv.DictReader(io.StringIO(to_csv(Row, rows))) if line["recipe"] == "gan"]
    assert (cells["value"], cells["ci_low"], cells["note"]) == ("", "", "needs reconstructions")
    assert ranks(rows, ["a"]) == {"a": (None, None)}  # nobody to be ranked against


def test_seeds_without_a_value_do_not_count():
    runs = {("a", k): drawn(k, N) for k in range(2)}
    row = row_of(ranked(runs, more=[result("a", 2, "mse", None, n=0, note="not finite")]), "a")
    said = " and ".join(f"{drawn(k, N).mean():.4g}" for k in range(2))
    few = f"two training seeds ({said}) are too few for an interval: train one more"
    assert (row.seeds, row.note) == (2, f"not finite; {few}")
    assert (row.ci_low, row.ci_high) == (None, None)


@pytest.mark.parametrize(("metric", "order"), [("mse", "abc"), ("ssim", "cba")])
@pytest.mark.parametrize("seeds", [2, 4])
def test_ranks_of_what_clearly_differs(metric, order, seeds):
    runs = {**tight("a", 0, seeds), **tight("b", 1, seeds), **tight("c", 2, seeds)}
    rows = ranked(runs, metric=metric)
    assert ranks(rows, order, metric=metric) == {name: (i, i) for i, name in enumerate(order, start=1)}


def test_single_checkpoints_rank_no_recipe():
    runs = {**tight("a", 0, 1), **tight("b", 1, 1), **tight("c", 2, 1)}
    known = measured(runs)
    tested = all_pairs(known)
    assert {row.verdict for row in tested if row.test == "paired-t"} == {"a"}
    note = "one training seed each: this checkpoint against that one, not recipe against recipe"
    assert {row.note for row in tested} == {note}
    assert ranks(leaderboard(known, tested), "abc") == dict.fromkeys("abc", (None, None))


def test_one_seed_takes_the_training_variance_of_several():
    """Three seeds scatter far more than images: another recipe's single seed within their scatter wins nothing."""
    base = drawn(0, N)
    runs = {("a", k): base + shift + drawn(50 + k, N, 0, 0.01) for k, shift in enumerate([-1.0, 0.0, 1.0])}
    runs |= {("b", 0): base - 0.9 + drawn(60, N, 0, 0.01)}
    rows = ranked(runs)
    assert ranks(rows, "ab") == {"a": (1, 2), "b": (1, 2)}
    note = "b has one training seed: the training variance of a (3 seeds) is taken for both"
    assert all(note in row_of(rows, name).note for name in "ab")
    far = ranked({**runs, ("b", 0): base - 30 + drawn(60, N, 0, 0.01)})
    assert ranks(far, "ab") == {"b": (1, 1), "a": (2, 2)}


def test_ranks_that_the_data_leave_open_are_ranges():
    runs = {("a", 0): drawn(0, N), ("b", 0): drawn(1, N), **tight("c", 9)}
    assert ranks(ranked(runs), "abc") == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_nearness_to_the_real_images_ranks_a_target_metric():
    runs = {("real", None): drawn(0, N), **tight("a", 3), **tight("b", 1), **tight("c", 2)}
    rows = ranked(runs, metric="blur")
    assert ranks(rows, "abc", metric="blur") == {"b": (1, 1), "c": (2, 2), "a": (3, 3)}
    assert ranks(rows, ["real"], metric="blur") == {"real": (None, None)}


@pytest.mark.parametrize(("a", "expected"), [(3, {"a": (2, 2), "b": (1, 1)}), (1, {"a": (1, 2), "b": (1, 2)})])
def test_on_either_side_of_the_target_the_nearer_one_ranks_first(a, expected):
    runs = {("real", None): drawn(0, N), **tight("a", a), **tight("b", -1)}
    assert ranks(ranked(runs, metric="blur"), "ab", metric="blur") == expected


def test_tests_over_seeds_outrank_tests_over_images():
    base = drawn(0, N)
    # a is better than b on every image average, but its seeds scatter more than the two differ
    runs = {
        **{("a", k): base + shift + drawn(k, N, 0, 0.01) for k, shift in enumerate([-3, 2.6])},
        **{("b", k): base + shift + drawn(9 + k, N, 0, 0.01) for k, shift in enumerate([-2.4, 3.4])},
    }
    known = measured(runs)
    tested = {row.test: row for row in all_pairs(known)}
    assert (tested["paired-t"].verdict, tested["nested-t"].verdict) == ("a", "unresolved")
    assert ranks(leaderboard(known, list(tested.values())), "ab") == {"a": (1, 2), "b": (1, 2)}


def test_untested_values_have_no_rank():
    runs = {**tight("a", 0), **tight("b", 1)}
    rows = ranked(runs, ids={"b": ids_of(N)[::-1]})  # other images: not to be compared
    assert ranks(rows, "ab") == {"a": (None, None), "b": (None, None)}


@pytest.mark.parametrize("seeds", [1, 2])
def test_exact_values_rank_by_themselves(seeds):
    more = [
        result(name, k, "parameters", value, std_error=0.0, facts=Facts())  # of a plugin that ranks a count
        for name, value in [("a", 7.0), ("b", 5.0), ("c", 7.0)]
        for k in range(seeds)
    ]
    rows = ranked({}, more=more)
    assert ranks(rows, "abc", metric="parameters") == {"a": (2, 3), "b": (1, 1), "c": (2, 3)}
    row = row_of(rows, "a", "parameters")
    assert (row.value, row.std_error, row.ci_low, row.ci_high, row.note) == (7.0, 0.0, 7.0, 7.0, "")


def test_values_of_unknown_error_have_no_rank():
    more = [result(name, 0, "fid", value) for name, value in [("a", 7.0), ("b", 5.0)]]
    assert ranks(ranked({}, more=more), "ab", metric="fid") == {"a": (None, None), "b": (None, None)}


def test_ranks_of_strata_are_their_own():
    labels = [i % 2 for i in range(N)]
    better_on_ones = drawn(0, N) + np.where(np.array(labels) == 1, -1, 1) + drawn(1, N, 0, 0.01)
    runs = {("a", k): better_on_ones + drawn(20 + k, N, 0, 0.01) for k in range(3)}
    rows = ranked(runs | tight("b", 0), labels=labels)
    assert ranks(rows, "ab", stratum="label=1") == {"a": (1, 1), "b": (2, 2)}
    assert ranks(rows, "ab", stratum="label=0") == {"a": (2, 2), "b": (1, 1)}
    assert row_of(rows, "a", stratum="label=1").n == N // 2


def test_other_data_are_another_table():
    elsewhere = result("b", 0, "parameters", 1.0, provenance=provenance(data_fingerprint="0" * 64))
    rows = ranked({}, more=[result("a", 0, "parameters", 2.0), elsewhere])
    assert {(row.recipe, row.data_fingerprint, row.rank_low) for row in rows} == {
        ("a", FINGERPRINT, None),
        ("b", "0" * 64, None),
    }


def test_rows_are_ordered_and_each_cell_stands_once():
    labels = [i % 2 for i in range(N)]
    rows = ranked({("real", None): drawn(0, N), **tight("b", 0, 2), **tight("a", 0, 1)}, labels=labels)
    keys = [(row.metric, row.protocol, row.stratum, row.recipe) for row in rows]
    assert len(set(keys)) == len(keys) == 12
    assert [row.recipe for row in rows[:3]] == ["real", "a", "b"]
    assert [row.stratum for row in rows[::3]] == ["all", "label!=1", "label=0", "label=1"]


def test_interface_names_these_columns():
    interface = Path(__file__).parents[3] / "shared" / "INTERFACE.md"
    if not interface.exists():
        pytest.skip("INTERFACE.md lies outside the repository")
    assert f"`{COLUMNS.removesuffix(', note, margin, df, by_seed, lowest, highest')}`" in interface.read_text()


def test_rows_of_seeds_that_were_not_trained_alike_say_so_and_are_not_gated(tmp_path):
    known = measured(tight("a", 0, 2) | tight("b", 1, 2))
    settings = [record("a", 0), record("a", 1, hyperparameters={"beta": 4}), record("b", 0), record("b", 1)]
    known = replace(known, records={(each.recipe, each.seed): each for each in settings})
    rows = leaderboard(known, all_pairs(known))
    assert "mixed settings: its seeds differ in hyperparameters" in row_of(rows, "a").note
    assert "mixed" not in row_of(rows, "b").note
    (tmp_path / "table.csv").write_text(to_csv(Row, rows))
    with pytest.raises(UserError, match="were not trained alike"):
        read_table(tmp_path / "table.csv")


@pytest.mark.parametrize(("metric", "beyond"), [("mse", "below the floor"), ("ssim", "above the ceiling")])
def test_what_reads_better_than_real_training_images_says_so(metric, beyond):
    sign = 1 if metric == "mse" else -1
    runs = {**tight("near", sign * 1), **tight("far", sign * 9), ("real/train", None): drawn(7, N, sign * 5, 0.01)}
    known = measured(runs, metric=metric, ids={"real/train": ids_of(N, "train")})
    rows = leaderboard(known, all_pairs(known))
    near, far, real = (row_of(rows, name, metric) for name in ("near", "far", "real/train"))
    assert near.note == near.beyond_real == f"{beyond} of real images: {N} training images read {real.value:.4g}"
    assert far.beyond_real == far.note == real.beyond_real == real.note == ""
    assert (real.rank_low, near.rank_low, far.rank_low) == (None, 1, 2)  # ranks are of models alone


def test_of_another_protocol_training_images_are_no_floor():
    runs = {**tight("a", 1), **tight("b", 2)}
    more = [result("real/train", None, "mse", 5.0, protocol="n=100/samples")]
    assert not any(row.beyond_real for row in ranked(runs, more=more))


def test_no_gate_is_about_training_images(tmp_path):
    runs = {**tight("a", 1), ("real/train", None): drawn(7, N, 5, 0.01)}
    (tmp_path / "table.csv").write_text(to_csv(Row, ranked(runs, ids={"real/train": ids_of(N, "train")})))
    lines = read_table(tmp_path / "table.csv").lines
    assert {line.recipe: line.of_a_model for line in lines} == {"a": True, "real/train": False}
