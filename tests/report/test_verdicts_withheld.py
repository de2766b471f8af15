"""What must not be concluded: from one person, from a single value, across extractors, from values since replaced."""

import dataclasses
import math

import numpy as np
from handmade import FINGERPRINT, drawn, ids_of, measured, result, series

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.report.analysis.measured import all_folders, collect
from vaebench.runs import per_image
from vaebench.runs.per_image import PerImageValues, Series
from vaebench.runs.record import RunFolder
from vaebench.statistics import nested_mean, training_deviation

N = 40


def test_values_of_attributes_come_from_disk():
    for name, share in (("a", 0.9), ("b", 0.5)):
        folder = RunFolder(runs_dir() / name / "seed-0")
        right = (np.random.default_rng(len(name)).random(N) < share).astype(float)
        key = Series("toy", "test", FINGERPRINT, "svm_accuracy", "official", "attribute=Male")
        per_image.write(folder.path / "per_image.parquet", {key: PerImageValues(ids_of(N), right)})
        line = result(name, 0, "svm_accuracy", right.mean(), protocol="official", stratum="attribute=Male", n=N)
        whole = dataclasses.replace(line, stratum="all")
        results.append(folder.results, [whole, line])
    known = collect("toy", all_folders())
    assert {key.stratum for kept in known.values.values() for key in kept} == {"attribute=Male"}
    assert "mcnemar" in {row.test for row in all_pairs(known) if row.stratum == "attribute=Male"}


def test_a_metric_that_has_no_values_an_image_any_more_leaves_none(tmp_path):
    path = tmp_path / "per_image.parquet"
    per_image.write(path, {series(name): PerImageValues(ids_of(3), np.ones(3)) for name in ("fid", "mse")})
    per_image.write(path, {}, gone=[series("fid")])
    assert set(per_image.read(path)) == {series("mse")}
    per_image.write(path, {}, gone=[series("mse")])
    assert not path.exists()


def test_images_of_one_person_decide_nothing():
    known = measured({("a", 0): drawn(0, N), ("b", 0): drawn(1, N, 5)})
    alone = dataclasses.replace(known, people={FINGERPRINT: dict.fromkeys(ids_of(N), 7)})
    (row,) = all_pairs(alone)
    assert (row.test, row.verdict) == ("clustered-t", "unresolved")
    assert math.isnan(row.p_value)
    assert {(row.ci_low, row.rank_low, row.rank_high) for row in leaderboard(alone, [row])} == {(None, None, None)}


def test_a_pair_of_which_one_side_lacks_values_an_image_is_tested_over_seeds():
    known = measured({(name, seed): drawn(9 * k + seed, N, k) for k, name in enumerate("ab") for seed in range(3)})
    lines = [result("c", seed, "mse", value, n=N) for seed, value in enumerate([5.0, 5.1, 5.2])]
    both = dataclasses.replace(known, results=[*known.results, *lines])
    rows = all_pairs(both)
    assert {row.test for row in rows if "c" not in (row.a, row.b)} == {"paired-t", "wilcoxon", "nested-t"}
    assert {row.test for row in rows if "c" in (row.a, row.b)} == {"nested-t"}
    ranks = {row.recipe: (row.rank_low, row.rank_high) for row in leaderboard(both, rows)}
    assert ranks == {"a": (1, 1), "b": (2, 2), "c": (3, 3)}


def test_a_single_value_without_an_error_is_nothing_to_test_against():
    lines = [result("a", seed, "fid", value) for seed, value in enumerate([10.0, 10.1, 10.05])]
    assert all_pairs(measured({}, more=[*lines, result("external/x", None, "fid", 10.5)])) == []


def test_features_of_different_networks_never_meet():
    known = measured({("a", 0): drawn(0, N), ("b", 0): drawn(1, N, 5)})
    other = [
        dataclasses.replace(line, provenance=dataclasses.replace(line.provenance, extractor_sha256=line.recipe * 64))
        for line in known.results
    ]
    assert all_pairs(dataclasses.replace(known, results=other)) == []


def test_noise_of_images_is_not_the_trainings():
    draws = np.random.default_rng(0)
    shares = [nested_mean(draws.normal(0, 1, (5, 400))).training for _ in range(200)]
    assert np.median(shares) < 0.3
    trained = [nested_mean(draws.normal(0, 1, (5, 1)) + draws.normal(0, 1, (5, 400))).training for _ in range(50)]
    assert np.median(trained) > 0.95
    assert (
        0.8
        < np.mean([training_deviation(draws.normal(0, 1, (5, 1)) + draws.normal(0, 1, (5, 400))) for _ in range(200)])
        < 1.1
    )
