"""Spread and memorisation of samples, against plain definitions, with real features that lie ready."""

import numpy as np
import pytest
import torch

from vaebench.core.context import Context, FeatureSpace, Reference
from vaebench.core.metric import EvalBatch, Need
from vaebench.evaluation import evaluator
from vaebench.evaluation.source import EvaluationSource
from vaebench.metrics.diversity import diversity, memorisation

D = 6


class Known(Reference):
    def __init__(self, rows):
        self.rows = rows

    @property
    def features(self):
        return self.rows

    def statistic(self, name, compute):
        return compute(self.rows)


def normal(n, seed=0, scale=1.0):
    return scale * torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def scores_of(factory, samples, train=None, test=None, splits=("train", "test"), batches=1, **options):
    """Protocol -> score, of samples whose features are given."""
    rows = {"train": normal(300, 1) if train is None else train, "test": normal(200, 2) if test is None else test}
    context = Context(splits=splits, reference=lambda space, split: Known(rows[split]))
    parts = samples.tensor_split(batches)
    metrics = factory(features="pixels", **options)

    def images(needs, group):
        return (EvalBatch(real=part[:, :, None, None], sample=part[:, :, None, None]) for part in parts)

    subject = EvaluationSource(
        provides=Need.SAMPLE | Need.REAL, batches=images, context=context, ready=lambda space: samples.float()
    )
    return {metric.spec.protocol: score for metric, score in evaluator.measure(metrics, subject)}


def vendi(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / len(rows))
    values = values[values > 1e-12]
    return np.exp(-(values * np.log(values)).sum())


def test_vendi_and_pairwise_are_their_definitions():
    samples = normal(120)
    scores = scores_of(diversity, samples)
    rows = samples.double().numpy()
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert scores["vendi/pixels/samples"].value == pytest.approx(vendi(rows), rel=1e-6)
    assert scores["pairwise/pixels/samples"].value == pytest.approx(distances.sum() / (120 * 119), rel=1e-6)
    assert not scores["vendi/pixels/samples"].note


def test_batches_do_not_matter():
    assert scores_of(diversity, normal(50), batches=1) == scores_of(diversity, normal(50), batches=7)


def test_collapse_is_flagged():
    one = normal(1).repeat(100, 1) + normal(100, scale=1e-3)
    scores = scores_of(diversity, one)
    assert scores["vendi/pixels/samples"].value == pytest.approx(1, abs=0.01)
    assert all(score.note.startswith("collapse: ") for score in scores.values())


def test_memorisation_of_copies_of_held_out_images_and_of_noise():
    train = normal(300, 1)
    (copies,) = scores_of(memorisation, train[:100].clone(), train=train).values()
    (held_out,) = scores_of(memorisation, normal(2000, 3), train=train).values()
    (far,) = scores_of(memorisation, normal(100, 4) + 50, train=train).values()
    assert (copies.value, far.value) == (1.0, 0.0)
    assert 0.3 < held_out.value < 0.7  # as near to train as train's images are to each other
    assert held_out.std_error == pytest.approx(np.sqrt(held_out.value * (1 - held_out.value) / 1999), rel=1e-6)


def test_memorisation_is_its_definition():
    train, samples = normal(40, 1), normal(30, 5)
    (score,) = scores_of(memorisation, samples, train=train).values()
    between = torch.cdist(samples.double(), train.double())
    own = torch.cdist(train.double(), train.double()).fill_diagonal_(float("inf")).amin(1)
    nearest = between.argmin(1)
    assert score.value == pytest.approx((between.amin(1) < own[nearest]).double().mean().item())


def test_what_cannot_be():
    (score,) = scores_of(memorisation, normal(10), splits=("test",)).values()
    assert score.note == "needs a training split beside the one that is measured"
    assert all(
        score.note == "needs 2 images or more, there are 1" for score in scores_of(diversity, normal(1)).values()
    )


@pytest.mark.parametrize(
    ("options", "space"),
    [
        ({}, FeatureSpace("inception", "2048")),
        ({"inception": 768}, FeatureSpace("inception", "768")),
        ({"classifier": "mnist_cnn/dense"}, FeatureSpace("mnist_cnn", "dense")),
        ({"classifier": "mnist_cnn/dense", "features": "pixels"}, FeatureSpace("pixels")),
    ],
)
def test_where_distances_are_taken(options, space):
    assert {metric.spec.space for metric in (*diversity(**options), *memorisation(**options))} == {space}
