"""Quality against compute: names of parts, ranges that none beats, and costs that no figure can hold."""

from dataclasses import replace

import pytest

from vaebench.core.errors import UserError
from vaebench.core.results import Provenance, Result
from vaebench.report.analysis.equal_compute import Row, _with_fronts, front
from vaebench.report.analysis.measured import Measured
from vaebench.report.compute_wording import costs, duration, operations, share_names, unbeaten, values
from vaebench.report.figures.equal_compute import draw_compute, in_words

ROW = Row(
    dataset="d",
    split="test",
    recipe="a",
    metric="m",
    protocol="p",
    unit="u",
    direction="lower",
    share=1.0,
    steps=8,
    images=80,
    flops=8e9,
    seconds=8.0,
    setting="here",
    value=1.0,
    ci_low=None,
    ci_high=None,
    seeds=1,
    by_seed="0=1",
)


def at(steps, front, **other):
    one = replace(ROW, steps=steps, share=steps / 8, flops=steps * 1e9, seconds=float(steps), **other)
    return replace(one, flops_front=front, seconds_front=front)


def test_a_range_holds_no_point_that_is_beaten():
    cells = [at(1, True), at(2, False), at(4, True), at(8, True), at(3, True, recipe="b")]
    assert front(cells, "flops") == [("a", 1e9, 1e9), ("b", 3e9, 3e9), ("a", 4e9, 8e9)]
    (said,) = unbeaten(cells)
    assert (
        "for operations a (1 GFLOP, 4 GFLOP to 8 GFLOP), b (3 GFLOP)" in said and "for time a (1 s, 4 s to 8 s)" in said
    )


@pytest.mark.parametrize(
    ("shares", "names"),
    [
        ([0.125, 0.25, 0.5, 1.0], ["1/8", "1/4", "1/2", "whole"]),
        ([22 / 175, 1.0], ["1/8", "whole"]),  # rounded to whole steps
        ([0.12, 0.125, 0.13], ["12 %", "1/8", "13 %"]),
        ([0.996, 1.0], ["99.6 %", "whole"]),
        ([0.001, 0.002, 0.004], ["0.1 %", "0.2 %", "0.4 %"]),
    ],
)
def test_parts_of_trainings_have_names_of_their_own(shares, names):
    assert share_names(shares) == dict(zip(shares, names, strict=True))
    cells = [replace(ROW, share=share, value=float(place + 1)) for place, share in enumerate(shares)]
    head, (line,) = values(cells)
    assert head == ["model", *names] and [text.split(" ")[0] for text in line[1:]] == [
        f"{place + 1}.000" for place in range(len(shares))
    ]


def test_costs_are_written_as_one_would_say_them():
    assert [duration(each) for each in (0.42, 5.4, 45, 119.4, 7164, 7200)] == [
        *("0.42 s", "5.4 s", "45 s", "119 s"),
        *("119 min", "2.0 h"),
    ]
    assert [operations(each) for each in (None, 999.9e9, 1.513e15)] == ["not counted", "1 TFLOP", "1.51 PFLOP"]


def test_costs_are_of_whole_trainings_and_say_of_which_seeds():
    whole = [replace(ROW, seeds=2, by_seed="0=1 2=3"), replace(at(4, True), recipe="b")]
    assert costs(whole) == [["a", "seeds 0, 2", "8", "80", "8 GFLOP", "8 s", "here"]]
    assert "a, seed 0: 1.000 after" in in_words([ROW]) and "seed" not in in_words(whole[:1])


def test_costs_that_no_axis_can_hold_are_left_out():
    odd = [replace(at(1, True), seconds=0.0), replace(at(8, True), seconds=0.0)]
    assert draw_compute(odd, {}).startswith("<svg")
    assert draw_compute([replace(row, flops=None, flops_front=None, seconds_front=None) for row in odd], {}) == ""


@pytest.mark.parametrize(
    ("settings", "fronts"),
    [
        ({"a": "here", "b": "here", "c": "here"}, {"a": True, "b": False, "c": True}),
        ({"a": "here", "b": "here", "c": "two threads"}, {"a": True, "b": False, "c": None}),
        ({"a": "two threads", "b": "here", "c": "here"}, {"a": None, "b": True, "c": True}),
        ({"a": "here", "b": "there", "c": "two threads"}, dict.fromkeys("abc")),
        ({"a": "here"}, {"a": True}),
        ({"a": "here; two threads", "b": "here; two threads"}, dict.fromkeys("ab")),  # each of seeds in both
        ({"a": "begun elsewhere, here", "b": "begun elsewhere, here"}, dict.fromkeys("ab")),
    ],
)
def test_seconds_are_compared_among_models_that_were_trained_alike(settings, fronts):
    """``b`` takes longer than ``a`` for less, ``c`` takes longest for most; operations are compared of all."""
    known = {"a": (1.0, 5.0), "b": (2.0, 6.0), "c": (3.0, 1.0)}
    cells = [
        replace(ROW, recipe=name, setting=setting, seconds=known[name][0], flops=1e9, value=known[name][1])
        for name, setting in settings.items()
    ]
    found = _with_fronts(cells, 0.0)
    assert {row.recipe: row.seconds_front for row in found} == fronts
    assert all(row.flops_front is not None for row in found)


def test_time_is_drawn_of_models_that_were_trained_alike():
    cells = [at(1, True), at(8, True), at(1, True, recipe="b"), replace(at(8, None, recipe="c"), flops_front=True)]
    assert draw_compute(cells, {}).count("time of training") == 1
    svg = draw_compute([replace(row, flops_front=None, flops=None) for row in cells], {})
    assert svg.count("<title>") <= 1 and "c" in svg
    alone = draw_compute([replace(row, flops_front=None, flops=None) for row in cells[:3]], {})
    assert svg.count("<circle") == alone.count("<circle") + 1  # of the legend


def line(recipe, seed, fingerprint):
    source = Provenance(
        data_fingerprint=fingerprint,
        weights_sha256="w",
        extractor_sha256="",
        vaebench_version="0",
        versions={},
        device="cpu",
        command="",
        created="2026-01-01T00:00:00+00:00",
        seconds=0.0,
    )
    return Result(
        recipe=recipe,
        seed=seed,
        dataset="folder",
        split="test",
        stratum="all",
        metric="mse",
        protocol="p",
        unit="u",
        direction="lower",
        value=1.0,
        std_error=None,
        n=1,
        note="",
        provenance=source,
    )


def test_a_suite_s_report_takes_in_no_images_that_its_models_were_not_measured_on():
    lines = [line("real", None, "one"), line("real", None, "two"), line("a", 0, "one"), line("b", 0, "two")]
    lines += [line("a", 5, "one"), line("baseline/pca-5", None, "two")]
    whole = Measured(dataset="folder", results=lines, values={}, strata={}, labels={})
    kept = whole.only({"a"}, {0})
    assert [(one.recipe, one.seed) for one in kept.results] == [("real", None), ("a", 0)]
    with pytest.raises(UserError, match="none of these models was measured"):
        whole.only({"c"}, {0})
