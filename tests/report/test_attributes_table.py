"""attributes.csv and its part of the page: ours, baselines and printed rows, each with what it is."""

import csv
from pathlib import Path

import pytest
from handmade import provenance, result
from scipy import stats

from vaebench.core.errors import UserError
from vaebench.core.paths import bundled
from vaebench.report.analysis import attributes
from vaebench.report.analysis.formatting import to_csv
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.published_attributes import BUNDLED

NAMES = ("Bald", "Smiling")
PRINTED = bundled(BUNDLED)


def measured_of(lines, dataset="celeba"):
    return Measured(dataset=dataset, results=lines, values={}, strata={}, labels={})


def probe(recipe, accuracies, seed=0, protocol="official", majority=0.9, note="", n=1000):
    """Lines of one run: the two attributes and their mean, by the three metrics."""
    known = {"protocol": protocol, "dataset": "celeba", "n": n}
    cells = {"all": sum(accuracies) / 2, **dict(zip([f"attribute={name}" for name in NAMES], accuracies, strict=True))}
    lines = []
    for stratum, value in cells.items():
        error = 0.002 if stratum == "all" else 0.01
        lines += [
            result(recipe, seed, "svm_accuracy", value, stratum=stratum, std_error=error, note=note, **known),
            result(recipe, seed, "svm_balanced_accuracy", value - 0.1, stratum=stratum, **known),
            result(recipe, seed, "svm_lift", value - majority, stratum=stratum, **known),
        ]
    return lines


def rows_of(lines, dataset="celeba", folder=PRINTED):
    found = attributes.rows(measured_of(lines, dataset), folder)
    return {(row.method, row.protocol, row.attribute): row for row in found}


def test_a_row_an_attribute_with_wilsons_interval():
    row = rows_of(probe("vae-celeba", (0.98, 0.8)))["vae-celeba", "official", "Bald"]
    low, high = stats.binomtest(980, 1000).proportion_ci(method="wilson")
    assert (row.accuracy, row.balanced_accuracy, row.n, row.seeds) == (0.98, pytest.approx(0.88), 1000, 1)
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
    assert (row.lift, row.majority) == (pytest.approx(0.08), pytest.approx(0.9))
    mean = rows_of(probe("vae-celeba", (0.98, 0.8)))["vae-celeba", "official", attributes.MEAN]
    assert (mean.ci_low, mean.ci_high) == pytest.approx((0.89 - 1.96 * 0.002, 0.89 + 1.96 * 0.002))


def test_seeds_make_one_row_with_an_interval_over_them():
    lines = probe("vae-celeba", (0.98, 0.8), 0) + probe("vae-celeba", (0.97, 0.82), 1)
    row = rows_of(lines)["vae-celeba", "official", "Smiling"]
    low, high = stats.t.interval(0.95, 1, 0.81, stats.sem([0.8, 0.82]))
    assert (row.accuracy, row.seeds) == (pytest.approx(0.81), 2)
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high))


def test_printed_rows_stand_beside_celebas_only():
    lines = probe("vae-celeba", (0.98, 0.8))
    methods = {method for method, _, _ in rows_of(lines)}
    assert {"FaceTracer", "LNets+ANet", "VAE-Z", "VGG-FC", "vae-celeba"} <= methods
    printed = next(row for row in rows_of(lines).values() if (row.method, row.attribute) == ("FaceTracer", "Bald"))
    assert (printed.accuracy, printed.n, printed.source.startswith("Hou")) == (0.89, None, True)
    assert {method for method, _, _ in rows_of(lines, dataset="toyfaces")} == {"vae-celeba"}
    assert {method for method, _, _ in rows_of(lines, folder=Path("none"))} == {"vae-celeba"}


def test_nothing_was_probed():
    assert attributes.rows(measured_of([result("vae-celeba", 0, "mse", 0.1)]), PRINTED) == []


def test_a_broken_table_is_said(tmp_path):
    (tmp_path / attributes.TABLE).write_text("method\nA\n")
    with pytest.raises(UserError, match="line 1"):
        rows_of(probe("vae-celeba", (0.98, 0.8)), folder=tmp_path)


def page_of(lines, dataset="celeba"):
    measured = measured_of(lines, dataset)
    return "\n".join(attributes.section(attributes.rows(measured, PRINTED), measured))


def test_the_page_has_means_and_each_attribute():
    lines = probe("vae-celeba", (0.98, 0.8)) + probe("vae-celeba", (0.97, 0.8), protocol="eteke")
    lines += probe("baseline/majority", (0.9, 0.9), seed=None)
    lines += [
        result("baseline/VGG-FC", None, "svm_accuracy", None, protocol="official", dataset="celeba", note="no weights")
    ]
    lines = [
        type(line)(**{**{name: getattr(line, name) for name in line.__slots__}, "provenance": noted}) for line in lines
    ]
    text = page_of(lines)
    assert "| vae-celeba | official | measured | 89.00 [88.61, 89.39] | 79.00 | -1.00 | 1,000 |" in text
    assert "| vae-celeba | eteke | measured | 88.50" in text
    assert "| majority | official | measured | 90.00" in text
    assert "| VGG-FC | official | measured |" not in text and "- VGG-FC: n/a, no weights" in text
    assert "Ours: a subset of 18,000 images." in text
    header = next(line for line in text.splitlines() if line.startswith("| attribute |"))
    assert header.startswith("| attribute | vae-celeba | majority | FaceTracer |")
    bald = next(line for line in text.splitlines() if line.startswith("| Bald |"))
    assert bald.startswith("| Bald | 98.0 | 90.0 | 89.0 |")


noted = provenance(data_note="a subset of 18,000 images")


def test_classes_have_means_only():
    lines = [result("vae-mnist", 0, "svm_accuracy", 0.9, protocol="official", dataset="mnist", n=100, std_error=0.01)]
    text = page_of(lines, "mnist")
    assert "one for each class" in text and "| vae-mnist | official | measured | 90.00 [88.04, 91.96] |" in text
    assert "| attribute |" not in text and "Published" not in text


def test_the_csv_has_every_cell():
    found = list(rows_of(probe("vae-celeba", (0.98, 0.8))).values())
    table = list(csv.DictReader(to_csv(attributes.Row, found).splitlines()))
    assert len(table) == 3 + 8 * 41
    assert {row["attribute"] for row in table} > {*NAMES, attributes.MEAN}
    ours = next(row for row in table if row["method"] == "vae-celeba" and row["attribute"] == "Bald")
    assert (ours["accuracy"], ours["source"], ours["seeds"]) == ("0.98", "measured", "1")
