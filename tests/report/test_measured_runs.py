"""What the report reads from disk: the latest results of the weights that are there, and their own values."""

import dataclasses
import json
from dataclasses import asdict

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, measured, provenance, result, series, write_real, write_run

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.paths import runs_dir
from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.measured import all_folders, collect, current, datasets_measured, provenance_lines
from vaebench.runs import per_image
from vaebench.runs.per_image import PerImageValues
from vaebench.runs.record import RunFolder, RunRecord

N = 20
LABELS = [i % 2 for i in range(N)]


def record(weights):
    return RunRecord(
        recipe="a",
        reference="a",
        seed=0,
        dataset="toy",
        dataset_options={},
        data_fingerprint=FINGERPRINT,
        images=N,
        image_shape=[1, 2, 2],
        hyperparameters={},
        batch_size=1,
        steps=1,
        compute={"device": "cpu", "precision": "fp32", "threads": 1},
        versions={},
        command="",
        created="",
        status="finished",
        weights_sha256=weights,
        facts={"parameters": 1, "images_per_second": 1.0, "seconds": 1.0, "steps": 1},
    )


def with_record(folder, weights):
    write_text(folder.record_file, json.dumps(asdict(record(weights))))


def by_weights(metric, value, weights):
    return result("a", 0, metric, value, provenance=provenance(weights_sha256=weights))


def test_everything_of_a_dataset_is_read():
    write_real({"blur": drawn(0, N)}, LABELS)
    write_run("b", 0, {"blur": drawn(1, N)})
    write_run("a", 0, {"blur": drawn(2, N), "mse": drawn(3, N)})
    write_run("external/x", None, {"blur": drawn(4, N)})
    found = collect("toy", all_folders())
    assert found.recipes() == ["real", "a", "b", "external/x"]
    assert set(found.values) == {("real", None), ("a", 0), ("b", 0), ("external/x", None)}
    np.testing.assert_array_equal(found.values["a", 0][series("mse")].values, drawn(3, N).astype(np.float32))
    assert list(found.strata[FINGERPRINT]) == ["label!=1", "label=0", "label=1"]
    assert found.labels[FINGERPRINT] == {"label": LABELS}
    assert datasets_measured(all_folders()) == ["toy"]


def test_the_latest_result_counts():
    folder = write_run("a", 0, {"mse": drawn(0, N)})
    results.append(folder.results, [result("a", 0, "mse", 7.0)])
    assert [line.value for line in collect("toy", all_folders()).results] == [7.0]


def test_results_of_replaced_weights_are_left_out():
    folder = write_run("a", 0, {"mse": drawn(0, N)})
    with_record(folder, "new")
    write_run("b", 0, {"mse": drawn(1, N)})
    found = collect("toy", all_folders())
    assert found.recipes() == ["b"]
    assert set(found.values) == {("b", 0)}


def test_values_of_replaced_weights_are_not_compared():
    folder = write_run("a", 0, {"mse": drawn(0, N), "kl": drawn(1, N)})
    write_run("b", 0, {"mse": drawn(2, N), "kl": drawn(3, N)})
    with_record(folder, "new")  # trained on, then measured by one metric only
    per_image.write(folder.per_image, {series("kl"): PerImageValues(tuple(map(str, range(N))), drawn(4, N))})
    results.append(folder.results, [by_weights("kl", 1.0, "new")])
    found = collect("toy", all_folders())
    assert set(found.values["a", 0]) == {series("kl")}
    assert {row.metric for row in all_pairs(found)} <= {"kl"}


def test_values_of_a_metric_that_became_undefined_are_not_compared():
    folder = write_run("a", 0, {"mse": drawn(0, N)})
    results.append(folder.results, [result("a", 0, "mse", None, n=0, note="not finite")])
    assert collect("toy", all_folders()).values["a", 0] == {}


def test_labels_are_read_though_nothing_was_measured_of_the_real_images():
    write_real({}, LABELS)
    write_run("a", 0, {"mse": drawn(0, N)})
    assert list(collect("toy", all_folders()).strata[FINGERPRINT]) == ["label!=1", "label=0", "label=1"]


def test_labels_of_other_images_are_not_read():
    write_run("a", 0, {"mse": drawn(0, N)})
    other = write_run("real", None, {}, name="real/toy-test-000000000000")
    per_image.write_labels(other.path / "images.parquet", ["x"], {"label": [1]})
    assert collect("toy", all_folders()).strata == {}


def test_another_dataset_is_not_mixed_in():
    write_run("a", 0, {"mse": drawn(0, N)})
    folder = RunFolder(runs_dir() / "b" / "seed-0")
    results.append(folder.results, [dataclasses.replace(result("b", 0, "mse", 1.0), dataset="faces")])
    assert collect("toy", all_folders()).recipes() == ["a"]
    assert datasets_measured(all_folders()) == ["faces", "toy"]
    with pytest.raises(UserError, match="nothing was measured on 'mnist'"):
        collect("mnist", all_folders())


def test_a_damaged_line_is_named(caplog):
    folder = write_run("a", 0, {"mse": drawn(0, N)})
    folder.results.write_text(folder.results.read_text() + "{\n")
    write_run("b", 0, {"mse": drawn(0, N)})
    assert collect("toy", all_folders()).recipes() == ["b"]
    assert "left out" in caplog.text and "results.jsonl line 2 cannot be read" in caplog.text


def test_a_damaged_table_is_named(caplog):
    folder = write_run("a", 0, {"mse": drawn(0, N)})
    folder.per_image.write_bytes(b"PAR1 no more")
    write_run("b", 0, {"mse": drawn(0, N)})
    assert collect("toy", all_folders()).recipes() == ["b"]
    assert "left out" in caplog.text and "per_image.parquet cannot be read" in caplog.text


def test_current_without_a_record_is_the_latest():
    folder = write_run("external/x", None, {"mse": drawn(0, N)})
    assert current(folder, None) == results.latest(results.read(folder.results))


def test_real_images_stand_first_whatever_their_neighbours_are_called():
    known = measured({(name, 0): drawn(0, N) for name in ["zz", "AA", "real"]})
    assert known.recipes() == ["real", "AA", "zz"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (result("a", 3, "mse", 0.123456789012), "value             0.123456789"),
        (result("a", 3, "mse", 0.5, std_error=0.25), "0.5 ± 0.25"),
        (result("a", 3, "mse", None, note="needs samples"), "value             n/a"),
        (result("a", 3, "mse", None, note="needs samples"), "note              needs samples"),
        (result("a", 3, "mse", 1.0), "training seed     3"),
        (result("x", None, "mse", 1.0), "training seed     none"),
    ],
)
def test_facts_of_one_number(line, text):
    assert any(text in fact for fact in provenance_lines(line))
