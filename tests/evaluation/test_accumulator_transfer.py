"""What accumulators know travels: a metric packed after half the images merges as if it had been there."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from vaebench import testing
from vaebench.core.context import FeatureSpace
from vaebench.core.distributed import ALONE
from vaebench.core.errors import UserError
from vaebench.core.metric import Facet, Metric, MetricSpec, Need, PerImage
from vaebench.evaluation.accumulator_transfer import pack, unpack
from vaebench.evaluation.protocol import Protocol
from vaebench.runs.recipes import open_dataset


def built() -> list[Metric]:
    return Protocol().build(open_dataset("digits").load("test"))


def accumulator(metric):
    return metric.measurement if isinstance(metric, Facet) else metric


@pytest.fixture(scope="module")
def halves():
    """Two batches with every field that a metric may be fed."""
    data = testing.random_images((1, 28, 28), 20)
    source = testing.image_sources.of_images(
        data.images, data, kind=Need.RECONSTRUCTION, partners=torch.arange(len(data))
    )
    batch = next(source.batches(Need(0), ALONE))
    batch = replace(batch, **testing._more(batch.real, 20))
    return data, [testing._rows(batch, slice(7)), testing._rows(batch, slice(7, 20))]


def test_every_metric_merges_after_a_journey_as_before(halves):
    data, (first, second) = halves
    for metric in built():
        scores = []
        for travels in (False, True):
            ours, theirs, empty = (copy.deepcopy(metric) for _ in range(3))
            try:
                ours.update(first)
                theirs.update(second)
            except (UserError, KeyError):  # it wants what these batches lack: nothing travels
                break
            other = theirs
            if travels:
                (known,), notes = unpack(pack([accumulator(theirs)], ["a note"]), [accumulator(empty)])
                assert notes == ["a note"]
                other = copy.copy(theirs)
                if isinstance(other, Facet):
                    other.measurement = known
                else:
                    other = known
            ours.merge(other)
            scores.append(_score(ours, data))
        assert len(set(map(str, scores))) <= 1, metric.spec.name


def _score(metric, data):
    try:
        score = metric.score(testing._context_of(data))
    except UserError as error:
        return str(error)
    return score.value, score.std_error, score.n


def test_rows_that_several_metrics_keep_travel_once():
    rows = torch.randn(50, 40)
    metrics = [
        PerImage(
            len,
            MetricSpec(
                name=name,
                needs=Need.REAL,
                unit="",
                direction="lower",
                protocol="",
            ),
        )
        for name in "ab"
    ]
    for metric in metrics:
        metric._values = [rows, rows]
    packed = pack(metrics, ["", ""])
    assert len(packed) < 1.5 * rows.nbytes
    made, _ = unpack(packed, metrics)
    assert all(torch.equal(part, rows) for metric in made for part in metric._values)


def carrying(value):
    metric = PerImage(
        len,
        MetricSpec(
            name="a",
            needs=Need.REAL,
            unit="",
            direction="lower",
            protocol="",
        ),
    )
    metric.kept = value
    return metric


@pytest.mark.parametrize("value", [np.ones(3), {"a": 1}, {1, 2}, [{1}], [np.float64(1).astype(object), b"x"], object()])
def test_what_cannot_travel_is_named_and_the_others_travel(value):
    other = carrying([torch.ones(2)])
    (stuck, made), (note, none) = unpack(pack([carrying(value), other], ["", ""]), [carrying(0), carrying(0)])
    assert note.startswith("PerImage.kept is a ") and "cannot go to another process" in note
    assert none == "" and torch.equal(made.kept[0], torch.ones(2))
    assert stuck.kept == 0
    assert unpack(pack([carrying(value)], ["refused before"]), [carrying(0)])[1] == ["refused before"]


@pytest.mark.parametrize("value", ["text", ("a", 1, None, True), (1.5, [2]), 7, None, [("a", 0.5)]])
def test_what_travels_comes_back_as_it_was(value):
    (made,), _ = unpack(pack([carrying(value)], [""]), [carrying("another")])
    assert (made.kept, type(made.kept)) == (value, type(value))


def test_constants_are_those_of_the_process_they_come_to():
    space = FeatureSpace("mnist_cnn", "conv2")
    for constant in (len, Need.REAL, space, (space, 1), ("a", (Need.REAL,)), torch.nn.Identity()):
        (made,), (note,) = unpack(pack([carrying(constant)], [""]), [carrying("its own")])
        assert (made.kept, note) == ("its own", "")
