"""Losses of games, against formulas written out with numpy and against torch's own."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from vaebench.models.losses import bce_fake, bce_real, clip_weights, gradient_penalty, mean_squared_distance


def logits(n: int = 50) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(0)) * 6


def test_bce_is_torch_s_with_targets_one_and_zero():
    scores = logits().double()
    for ours, target in ((bce_real, torch.ones_like), (bce_fake, torch.zeros_like)):
        expected = functional.binary_cross_entropy_with_logits(scores, target(scores))
        assert ours(scores).item() == pytest.approx(expected.item(), rel=1e-6)


def test_bce_of_a_discriminator_that_cannot_tell_is_two_log_two():
    assert (bce_real(torch.zeros(4)) + bce_fake(torch.zeros(4))).item() == pytest.approx(2 * math.log(2))


def test_bce_stays_finite_where_a_sigmoid_saturates():
    assert bce_real(torch.tensor([-200.0])).item() == pytest.approx(200)
    assert bce_fake(torch.tensor([200.0])).item() == pytest.approx(200)


class Quadratic(nn.Module):
    """critic(x) = w/2 |x|^2, whose gradient is w x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight / 2 * images.square().flatten(1).sum(1)


def test_gradient_penalty_is_gulrajani_s_formula_and_its_gradient_the_derivative():
    """For critic w/2 |x|^2: mean (w |x_hat| - 1)^2, with derivative 2 mean (w |x_hat| - 1) |x_hat| by w."""
    draw = torch.Generator().manual_seed(1)
    real, made = (torch.rand(6, 3, 4, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    critic = Quadratic(0.3)
    penalty = gradient_penalty(critic, real, made, torch.Generator().manual_seed(7))
    share = torch.rand((6, 1, 1, 1), generator=torch.Generator().manual_seed(7)).double().numpy()
    between = share * real.numpy() + (1 - share) * made.numpy()
    norms = np.sqrt((between**2).reshape(6, -1).sum(1))
    assert penalty.item() == pytest.approx(((0.3 * norms - 1) ** 2).mean(), rel=1e-6)
    penalty.backward()
    assert critic.weight.grad.item() == pytest.approx((2 * (0.3 * norms - 1) * norms).mean(), rel=1e-5)


def test_gradient_penalty_of_a_critic_of_slope_one_is_zero():
    slope = torch.randn(48, generator=torch.Generator().manual_seed(2))
    slope /= slope.norm()
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 1, bias=False), nn.Flatten(0))
    critic[1].weight.data = slope[None]
    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    assert gradient_penalty(critic, images, images.flip(0), torch.Generator().manual_seed(0)).item() < 1e-10


def test_clipping_leaves_what_is_inside_and_bounds_the_rest():
    """Not what source 004's code does, which sets every weight to one constant."""
    module = nn.Linear(3, 1)
    module.weight.data = torch.tensor([[0.5, -0.5, 0.004]])
    module.bias.data = torch.tensor([-0.003])
    clip_weights(module, 0.01)
    assert module.weight.tolist() == [[pytest.approx(0.01), pytest.approx(-0.01), pytest.approx(0.004)]]
    assert module.bias.item() == pytest.approx(-0.003)
    norm = nn.BatchNorm2d(2)
    clip_weights(nn.Sequential(norm), 0.01)
    assert norm.weight.tolist() == [1, 1]  # a gain of 0.01 would shrink a critic's scores to nothing


def test_mean_squared_distance_and_its_gradient():
    draw = torch.Generator().manual_seed(0)
    made, real = (torch.randn(3, 4, 5, 6, generator=draw, dtype=torch.float64) for _ in range(2))
    made.requires_grad_()
    expected = (made - real).square().flatten(1).mean(1)
    assert torch.allclose(mean_squared_distance(made, real), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: mean_squared_distance(x, real), (made,))


def test_mean_squared_distance_of_half_precision_features_is_summed_in_full():
    made = torch.ones(2, 64, 32, 32, dtype=torch.bfloat16, requires_grad=True)
    distance = mean_squared_distance(made, torch.zeros_like(made))
    assert distance.dtype == torch.float32 and distance.tolist() == pytest.approx([1, 1])
    distance.sum().backward()
    assert made.grad.dtype == torch.bfloat16 and made.grad.float().sum().item() == pytest.approx(2 * 2, rel=0.01)
