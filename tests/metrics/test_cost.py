"""Parameters and throughput: what the training record says, and nothing without one."""

import pickle

import pytest
import torch

from vaebench.core.context import Context
from vaebench.core.metric import EvalBatch, Need
from vaebench.core.training_facts import TrainingFacts
from vaebench.metrics.cost import parameters, throughput

FACTS = TrainingFacts(parameters=93_322, images_per_second=1234.5, seconds=60.0, steps=1000)


@pytest.mark.parametrize(
    ("factory", "value", "unit", "direction", "protocol"),
    [
        (parameters, 93_322.0, "parameters", "lower", "trained"),
        (throughput, 1234.5, "images/s", "higher", "training"),
    ],
)
def test_value_comes_from_the_record(factory, value, unit, direction, protocol):
    (metric,) = factory()
    assert metric.spec.name == factory.__name__
    assert metric.spec.needs == Need.TRAINING
    assert (metric.spec.unit, metric.spec.direction, metric.spec.protocol) == (unit, direction, protocol)
    score = metric.score(Context(training=FACTS))
    assert (score.value, score.n, score.per_image) == (value, 1, None)
    assert score.std_error == (0.0 if factory is parameters else None)  # a count is exact, one timing is not


@pytest.mark.parametrize("factory", [parameters, throughput])
def test_without_a_record_there_is_no_value(factory):
    (metric,) = factory()
    score = metric.score(Context())
    assert (score.value, score.n, score.note) == (None, 0, "no training record")


@pytest.mark.parametrize("factory", [parameters, throughput])
def test_images_and_merging_change_nothing(factory):
    (metric,), (other,) = factory(), factory()
    before = metric.score(Context(training=FACTS))
    metric.update(EvalBatch(real=torch.zeros(2, 1, 4, 4)))
    metric.merge(pickle.loads(pickle.dumps(other)))  # noqa: S301 our own bytes: how processes exchange it
    assert metric.score(Context(training=FACTS)) == before
