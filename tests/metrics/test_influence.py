"""What each image contributes to a metric of all: against leaving it out, and the errors against repetition."""

import math

import numpy as np
import pytest
import torch

from vaebench.core.metric import Score
from vaebench.metrics.frechet import Moments, frechet_derivatives, frechet_distance
from vaebench.metrics.functional import screening
from vaebench.metrics.functional.diversity import mean_pairwise_distance, vendi_score
from vaebench.metrics.functional.neighbours import density_coverage, precision_recall
from vaebench.metrics.kernel import mmd_derivatives, polynomial_mmd
from vaebench.metrics.latent import mmd_to_standard_normal
from vaebench.metrics.probes.latent_classifiers import balanced


def rows(n, d, seed=0, scale=1.0, shift=0.0):
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=draw) / math.sqrt(d)
    return torch.randn(n, d, generator=draw) @ mixing * scale + shift


REAL = rows(500, 4, seed=1)
REAL_MOMENTS = Moments.of(REAL)


def frechet(made):
    moments = Moments.of(made)
    gaussians = (moments.mean, moments.covariance, REAL_MOMENTS.mean, REAL_MOMENTS.covariance)
    return frechet_distance(*gaussians), frechet_derivatives(made, *gaussians)


def kernel(made):
    return polynomial_mmd(made, REAL), mmd_derivatives(made, REAL)


def vendi(made):
    found = vendi_score(made)
    return found.value, found.derivatives


def pairwise(made):
    found = mean_pairwise_distance(made)
    return found.value, found.derivatives


FUNCTIONS = [frechet, kernel, vendi, pairwise, mmd_to_standard_normal]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_leaving_an_image_out_changes_the_value_by_its_share(function):
    made = rows(1_500, 4, seed=2, scale=0.7, shift=0.3)
    value, derivatives = function(made)
    centred = derivatives - derivatives.mean()
    for left_out in (0, 7, 1_499):
        without = function(torch.cat([made[:left_out], made[left_out + 1 :]]))[0]
        # dropping one of n is a step of -1 / (n - 1) towards it; what is left is of the second order
        assert (value - without) * (len(made) - 1) == pytest.approx(
            centred[left_out].item(), abs=0.02 * centred.std().item()
        )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_standard_error_is_the_spread_of_repetitions(function):
    scores = []
    for seed in range(200):
        draw = torch.Generator().manual_seed(seed)
        # at a value's extreme (Vendi of round features is the largest there is) the first derivative says nothing
        made = torch.randn(300, 4, generator=draw) * torch.tensor([0.9, 0.7, 0.4, 0.2]) + 0.2
        scores.append(Score.influenced(*function(made)))
    spread = np.std([score.value for score in scores], ddof=1)
    said = math.sqrt(np.mean([score.std_error**2 for score in scores]))
    assert said == pytest.approx(spread, rel=0.15)  # the spread of 200 is itself known to 5 %


def test_the_contributions_mean_the_value():
    value, derivatives = frechet(rows(60, 4, seed=3))
    score = Score.influenced(value, derivatives)
    assert score.per_image.mean().item() == pytest.approx(value, rel=1e-12)
    assert score.influence
    assert score.std_error == pytest.approx(derivatives.std().item() / math.sqrt(60), rel=1e-12)


def test_as_many_images_as_dimensions_have_no_derivative():
    assert frechet(rows(7, 4))[1] is None
    assert frechet(rows(8, 4))[1] is not None


def test_units_that_never_fire_do_not_matter_to_the_derivative():
    made = rows(500, 4, seed=2, scale=0.7)
    dead = torch.nn.functional.pad(made, (0, 3))
    real = Moments.of(torch.nn.functional.pad(REAL, (0, 3)))
    moments = Moments.of(dead)
    found = frechet_derivatives(dead, moments.mean, moments.covariance, real.mean, real.covariance)
    torch.testing.assert_close(found, frechet(made)[1], rtol=1e-7, atol=1e-9)


def test_a_unit_that_only_the_real_images_fire_leaves_a_derivative():
    made = rows(1_500, 4, seed=2, scale=0.7)
    made[:, 3] = 0
    value, derivatives = frechet(made)
    centred = derivatives - derivatives.mean()
    without = frechet(made[1:])[0]
    assert (value - without) * 1_499 == pytest.approx(centred[0].item(), abs=0.02 * centred.std().item())


def test_vendi_is_the_same_by_its_two_matrices():
    made = rows(30, 40, seed=4)
    wide = vendi_score(made)
    padded = vendi_score(torch.nn.functional.pad(made[:, :20], (0, 20)))
    narrow = vendi_score(made[:, :20])
    assert padded.value == pytest.approx(narrow.value, rel=1e-9)
    torch.testing.assert_close(padded.derivatives, narrow.derivatives, rtol=1e-7, atol=1e-9)
    assert wide.derivatives.shape == (30,)


def test_balanced_accuracy_is_of_independent_shares():
    draw = torch.Generator().manual_seed(5)
    truth = (torch.rand(200, generator=draw) < 0.2).long()
    correct = (torch.rand(200, generator=draw) < 0.8).double()
    score = balanced(correct, truth)
    shares = [correct[truth == label].mean().item() for label in (0, 1)]
    numbers = [(truth == label).sum().item() for label in (0, 1)]
    variance = sum(share * (1 - share) / number for share, number in zip(shares, numbers, strict=True)) / 4
    assert score.value == pytest.approx(sum(shares) / 2)
    assert score.std_error == pytest.approx(math.sqrt(variance * 200 / 199), rel=1e-9)
    assert balanced(correct, torch.zeros(200, dtype=torch.int64)).value is None


def without_each(function, made):
    return torch.tensor(
        [function(torch.cat([made[:left_out], made[left_out + 1 :]])) for left_out in range(len(made))],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("block", [7, 2048])
def test_recall_and_coverage_owe_to_each_image_what_they_lose_without_it(k, block, monkeypatch):
    monkeypatch.setattr(screening, "BLOCK", block)
    real, made = rows(60, 2, seed=6), rows(40, 2, seed=7, scale=0.8)
    recalled, covered = precision_recall(real, made, k), density_coverage(real, made, k)
    lost = recalled.recall - without_each(lambda rest: precision_recall(real, rest, k).recall, made)
    torch.testing.assert_close(recalled.recall_derivatives, 39 * lost, rtol=1e-9, atol=1e-9)
    lost = covered.coverage - without_each(lambda rest: density_coverage(real, rest, k).coverage, made)
    torch.testing.assert_close(covered.coverage_derivatives, 39 * lost, rtol=1e-9, atol=1e-9)
    assert (recalled.recall_derivatives < 0).any()  # without some, others reach further
    assert covered.coverage_derivatives.sum() > 0


def test_recall_of_as_few_images_as_there_can_be():
    found = precision_recall(rows(9, 2, seed=8), rows(4, 2, seed=9), 3)
    assert found.recall_derivatives.isfinite().all()
