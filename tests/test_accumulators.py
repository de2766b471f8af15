"""What accumulators know travels: a metric packed after half the images merges as if it had been there."""

import copy
from dataclasses import replace

import pytest
import torch

from vaebench import testing
from vaebench.accumulators import pack, unpack
from vaebench.core.errors import UserError
from vaebench.core.metric import Facet, Metric, Need, PerImage
from vaebench.protocol import Protocol
from vaebench.runs import open_dataset


def built() -> list[Metric]:
    return Protocol().build(open_dataset("digits").load("test"))


def accumulator(metric):
    return metric.study if isinstance(metric, Facet) else metric


@pytest.fixture(scope="module")
def halves():
    """Two batches with every field that a metric may be fed."""
    data = testing.random_images((1, 28, 28), 20)
    batch = next(testing.subjects.of_images(data.images, data, kind=Need.RECONSTRUCTION, paired=True).batches)
    batch = replace(batch, **testing._more(batch.real, 20))
    return data, [testing._rows(batch, slice(7)), testing._rows(batch, slice(7, 20))]


def test_every_metric_merges_after_a_journey_as_before(halves):
    data, (first, second) = halves
    for position, metric in enumerate(built()):
        scores = []
        for travels in (False, True):
            ours, theirs = built()[position], built()[position]
            try:
                ours.update(first)
                theirs.update(second)
            except (UserError, KeyError):  # it wants what these batches lack: nothing travels
                break
            other = theirs
            if travels:
                (known,), notes = unpack(pack([accumulator(theirs)], ["a note"]), [accumulator(built()[position])])
                assert notes == ["a note"]
                other = copy.copy(theirs)
                if isinstance(other, Facet):
                    other.study = known
                else:
                    other = known
            ours.merge(other)
            scores.append(_score(ours, data))
        assert len(set(map(str, scores))) <= 1, metric.name


def _score(metric, data):
    try:
        score = metric.score(testing._surroundings(data))
    except UserError as error:
        return str(error)
    return score.value, score.std_error, score.n


def test_rows_that_several_metrics_keep_travel_once():
    rows = torch.randn(50, 40)
    metrics = [PerImage(len, name=name, needs=Need.REAL, unit="", direction="lower", protocol="") for name in "ab"]
    for metric in metrics:
        metric._values = [rows, rows]
    packed = pack(metrics, ["", ""])
    assert len(packed) < 1.5 * rows.nbytes
    made, _ = unpack(packed, metrics)
    assert all(torch.equal(part, rows) for metric in made for part in metric._values)


def test_what_cannot_travel_is_named():
    metric = PerImage(len, name="a", needs=Need.REAL, unit="", direction="lower", protocol="")
    metric._values = [{1, 2}]
    with pytest.raises(UserError, match=r"PerImage\._values is a set, which cannot go to another process"):
        pack([metric], [""])
    metric._values, metric.counts = [], {}
    with pytest.raises(UserError, match=r"PerImage\.counts is a dict"):
        pack([metric], [""])
