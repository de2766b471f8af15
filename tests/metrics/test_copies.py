"""Copies and near-copies: found, and counted once in the errors of every metric of a whole set."""

import math

import numpy as np
import pytest
import torch

from vaebench.core.context import Context, FeatureSpace, Reference
from vaebench.core.metric import EvalBatch, Score
from vaebench.metrics.diversity import diversity, memorisation
from vaebench.metrics.fidelity import coverage, density, precision, recall
from vaebench.metrics.frechet import FrechetDistance
from vaebench.metrics.functional.copies import copies, copies_counted_once
from vaebench.metrics.kernel import KernelDistance

SPACE = FeatureSpace("made-up", "6")


def rows(n, d=6, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def doubled(features, noise=0.0, times=2):
    draw = torch.Generator().manual_seed(9)
    return torch.cat([features + noise * torch.randn(features.shape, generator=draw) for _ in range(times)])


def test_a_set_without_copies_has_no_groups():
    assert copies(rows(2_000)) is None
    assert copies(rows(2)) is None


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("times", [2, 3])
def test_copies_and_near_copies_are_grouped(noise, times):
    group = copies(doubled(rows(500), noise, times))
    assert group.bincount().tolist() == [times] * 500
    assert torch.equal(group[:500], group[500:1000])


def test_one_copy_among_many_is_found():
    features = rows(1_000)
    features[700] = features[3]
    group = copies(features)
    assert int(group.max()) == 998 and group[700] == group[3]


def test_all_alike_are_one_observation():
    found = copies_counted_once(torch.ones(20, 3), lambda part: Score.mean_of(part[:, 0]))
    assert (found.value, found.std_error) == (1, None)
    assert "19 of 20 images are copies" in found.note


def test_the_error_of_a_mean_is_that_of_the_distinct_rows():
    features = rows(300)
    plain = Score.mean_of(features[:, 0])
    found = copies_counted_once(doubled(features), lambda part: Score.mean_of(part[:, 0]))
    assert found.value == pytest.approx(plain.value)
    assert found.std_error == pytest.approx(plain.std_error, rel=1e-6)
    assert found.per_image.mean().item() == pytest.approx(plain.value)
    assert "300 of 600 images are copies or near-copies" in found.note


class Real(Reference):
    def __init__(self, features):
        self._features = features

    @property
    def features(self):
        return self._features

    def statistic(self, name, compute):
        return compute(self._features)


METRICS = {
    "fd": lambda: FrechetDistance("fid", SPACE, "samples"),
    "kid": lambda: KernelDistance(SPACE, "samples", 20, 100, "as they are"),
    **{
        name: lambda make=make: next(metric for metric in make() if metric.spec.protocol.endswith("samples"))
        for name, make in {"precision": precision, "recall": recall, "density": density, "coverage": coverage}.items()
    },
    "vendi": lambda: diversity(features="made-up/6")[0],
    "memorisation": lambda: memorisation(features="made-up/6")[0],
}


@pytest.mark.parametrize("name", METRICS)
def test_doubling_a_set_leaves_its_error(name):
    made, real = rows(200, seed=1) * 0.9, rows(300, seed=2)
    scores = []
    for features in (made, doubled(made, 1e-4)):
        metric = METRICS[name]()
        metric.update(EvalBatch(features={"sample": features}))
        context = Context(reference=lambda space, split: Real(real), split="test", splits=("train", "test"))
        scores.append(metric.score(context))
    once, twice = scores
    assert twice.n == 400 and "200 of 400 images are copies or near-copies" in twice.note
    assert once.note == "" or "copies" not in once.note
    assert twice.std_error == pytest.approx(once.std_error, rel=0.25)
    assert math.isfinite(float(np.std(twice.per_image.numpy())))
