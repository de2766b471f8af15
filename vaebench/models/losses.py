"""Compute losses, likelihoods and divergences that several model families share: pure functions."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vaebench.core import seeding


def reparameterise(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from N(mean, exp(log_variance)) so that gradients pass through (Kingma and Welling 2014, eq. 4).

    Mean and log-variance float32 (n, d); so is the draw.
    """
    return mean + seeding.normal(mean.shape, generator) * torch.exp(0.5 * log_variance)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute KL(N(mean, exp(log_variance)) || N(0, I)) in nats, summed over latents: (n, d) twice -> (n,).

    Kingma and Welling 2014, appendix B: 1/2 sum(mean^2 + variance - 1 - log variance). In the inputs' dtype.
    """
    # expm1(v) - v, not exp(v) - 1 - v: near the prior the latter cancels
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(1)


def bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """Compute -log p(x|z) in nats for a Bernoulli decoder, summed over channels and pixels: -> (n,).

    Logits any float dtype, images float32 in [0, 1]; Kingma and Welling 2014, appendix C.1. Computed in
    float32 from logits, which stays finite where a saturated sigmoid would not.
    """
    per_pixel = functional.binary_cross_entropy_with_logits(logits.float(), images, reduction="none")
    return per_pixel.flatten(1).sum(1)


def bce_real(logits: Tensor) -> Tensor:
    """Mean binary cross-entropy of a discriminator's logits (n,) with "real": -log sigmoid(logit). Scalar, float32."""
    return functional.softplus(-logits.float()).mean()


def bce_fake(logits: Tensor) -> Tensor:
    """Mean binary cross-entropy of a discriminator's logits (n,) with "made": -log(1 - sigmoid(logit)). Scalar."""
    return functional.softplus(logits.float()).mean()


def gradient_penalty(critic: nn.Module, real: Tensor, made: Tensor, generator: torch.Generator) -> Tensor:
    """Mean of (||gradient of the critic|| - 1)^2 at points between real and made images (n, c, h, w). Scalar.

    Gulrajani et al. 2017, algorithm 1: one point a pair, uniform on the line between them; the norm is over an
    image's pixels. The caller weighs it (theirs: 10). The critic must not mix the images of a batch.
    """
    share = seeding.uniform((len(real), 1, 1, 1), generator)
    between = (share * real + (1 - share) * made).detach().requires_grad_()
    scores = critic(between)
    (slope,) = torch.autograd.grad(scores.float().sum(), between, create_graph=True)
    penalty: Tensor = (slope.float().flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


def clip_weights(module: nn.Module, limit: float) -> None:
    """Clip weights and biases to [-limit, limit], in place (Arjovsky et al. 2017, algorithm 1, line 7).

    Batch normalisation's gains and shifts are left alone: with gains of 0.01 a critic's scores shrink to nothing.
    """
    with torch.no_grad():
        for part in module.modules():
            if not isinstance(part, nn.BatchNorm2d):
                for parameter in part.parameters(recurse=False):
                    parameter.clamp_(-limit, limit)


def mean_squared_distance(made: Tensor, real: Tensor) -> Tensor:
    """Mean over channels and positions of (made - real)^2: features (n, …) twice -> (n,), at least float32.

    The gradient goes to ``made`` alone. Written out, since autograd's chain of casts, squares and means moves
    several times the memory: in bfloat16 a perceptual term takes 0.55 of the time so
    (benchmarks/speed/perceptual_loss.py).
    """
    distance: Tensor = _MeanSquaredDistance.apply(made, real.detach())
    return distance


class _MeanSquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, made: Tensor, real: Tensor) -> Tensor:
        difference = made - real
        ctx.save_for_backward(difference)
        wide = torch.promote_types(difference.dtype, torch.float32)
        norm: Tensor = torch.linalg.vector_norm(difference, dim=tuple(range(1, difference.ndim)), dtype=wide)
        return norm.square() / difference[0].numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        scale = gradient * (2 / difference[0].numel())
        return difference * scale.to(difference.dtype).view(-1, *[1] * (difference.ndim - 1)), None
