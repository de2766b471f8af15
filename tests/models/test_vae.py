"""Plain VAE and DFC-VAE: the article's architecture, and each loss against an independent computation."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from vaebench.core import seeding
from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.core.model import Batch, Step
from vaebench.datasets.digits import Digits
from vaebench.models.dfcvae import dfc_vae
from vaebench.models.losses import bernoulli_nll, kl_to_standard_normal, reparameterise
from vaebench.models.vae import plain_vae
from vaebench.perceptual.mnist_cnn import mnist_cnn

SHAPE = (1, 28, 28)
FAMILIES = {"vae": plain_vae, "dfcvae": dfc_vae}


def built(family: str, **settings):
    with seeding.isolated(0, "initialisation"):
        return FAMILIES[family](image_shape=SHAPE, **settings)


def batch(n: int = 6) -> Batch:
    return Batch(images=to_float(Digits().load("train").images[:n]))


def step() -> Step:
    return Step(index=0, total=1, generator=torch.Generator().manual_seed(2))


def terms(model) -> dict[str, float]:
    return {name: value.item() for name, value in model.phases()[0].loss(batch(), step()).items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_article_counts_its_parameters(family):
    model = built(family)
    assert sum(p.numel() for p in model.encoder.parameters()) == 494_442
    assert sum(p.numel() for p in model.decoder.parameters()) == 94_017


@pytest.mark.parametrize("family", FAMILIES)
def test_both_families_share_one_architecture_and_start_from_the_same_weights(family):
    for name, value in built(family).state_dict().items():
        assert torch.equal(value, built("vae").state_dict()[name])


def test_glorot_uniform_weights_and_zero_biases():
    model = built("vae")
    weight = model.encoder[9].weight  # dense 12,544 -> 32
    bound = math.sqrt(6 / (12_544 + 32))
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weight.var().item() == pytest.approx(bound**2 / 3, rel=0.02)
    assert all(not part.bias.any() for part in model.modules() if getattr(part, "bias", None) is not None)


def test_plain_loss_is_cross_entropy_summed_over_pixels_and_kl_over_latents_averaged_over_the_batch():
    """Against numpy, from the definitions: Kingma and Welling 2014, appendices B and C.1."""
    model = built("vae")
    images = batch().images
    with torch.no_grad():
        mean, log_variance = model.posterior(images)
        noise = torch.randn(mean.shape, generator=step().generator)
        decoded = model.decode(mean + noise * (log_variance / 2).exp()).double().numpy()
    x, m, v = images.double().numpy(), mean.double().numpy(), log_variance.double().numpy()
    cross_entropy = -(x * np.log(decoded) + (1 - x) * np.log(1 - decoded)).reshape(6, -1).sum(1).mean()
    kl = -0.5 * (1 + v - m**2 - np.exp(v)).sum(1).mean()
    assert terms(model) == pytest.approx({"reconstruction": cross_entropy, "kl": kl}, rel=1e-5)


def test_perceptual_loss_is_the_squared_feature_distance_summed_over_features():
    """Against the article's formula with the classifier's convolutions called by hand."""
    model = built("dfcvae", layer_weights=(1.0, 0.5))
    images = batch().images
    with torch.no_grad():
        mean, log_variance = model.posterior(images)
        noise = torch.randn(mean.shape, generator=step().generator)
        decoded = model.decode(mean + noise * (log_variance / 2).exp())
        stages = mnist_cnn().stages
        first, second = stages["conv1"][0], stages["conv2"][1]

        def features(x):
            one = functional.conv2d(x, first.weight, first.bias).clamp(min=0)
            pooled = functional.max_pool2d(one, 2)
            return one, functional.conv2d(pooled, second.weight, second.bias).clamp(min=0)

        distances = [
            (a - b).square().sum((1, 2, 3)).mean().item()
            for a, b in zip(features(images), features(decoded), strict=True)
        ]
    found = terms(model)
    assert found["perceptual_conv1"] == pytest.approx(distances[0], rel=1e-5)
    assert found["perceptual_conv2"] == pytest.approx(0.5 * distances[1], rel=1e-5)


def test_pinned_losses():
    """Of the weights of seed 0 on fixed noise, after agreement with the references above."""
    assert terms(built("vae")) == pytest.approx(PINNED["vae"], rel=1e-4)
    assert terms(built("dfcvae")) == pytest.approx(PINNED["dfcvae"], rel=1e-4)


PINNED: dict[str, dict[str, float]] = {
    "vae": {"reconstruction": 542.7078, "kl": 0.000857419},
    "dfcvae": {"perceptual_conv1": 328.1755, "perceptual_conv2": 304.477, "kl": 0.000857419},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_parameter_and_bf16_agrees_in_direction(family):
    model = built(family)

    def gradient(enabled: bool) -> torch.Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            sum(model.phases()[0].loss(batch(), step()).values()).backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    assert functional.cosine_similarity(gradient(False), gradient(True), dim=0) > 0.99


@pytest.mark.parametrize("family", FAMILIES)
def test_posterior_and_decoder_keep_their_contracts(family):
    model = built(family, latent_dim=3).eval()
    mean, log_variance = model.posterior(batch().images)
    decoded = model.decode(torch.randn(6, 3) * 5)
    assert mean.shape == log_variance.shape == (6, 3) and model.latent_dim == 3
    assert decoded.shape == (6, *SHAPE) and decoded.dtype == torch.float32
    assert decoded.min() >= 0 and decoded.max() <= 1


def test_kl_weight_scales_its_term_alone():
    once, twice = terms(built("vae")), terms(built("vae", kl_weight=2.0))
    assert twice["kl"] == pytest.approx(2 * once["kl"]) and twice["reconstruction"] == once["reconstruction"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"latent_dim": 0}, "no latent space"),
        ({"layers": ("conv1",)}, "one weight a layer"),
        ({"layers": ("conv1", "conv9")}, "no layer 'conv9'"),
        ({"perceptual": "mnist_cn"}, "did you mean 'mnist_cnn'"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(UserError, match=says):
        dfc_vae(image_shape=SHAPE, **settings)


def test_other_image_shapes_are_refused():
    with pytest.raises(UserError, match="28 x 28"):
        plain_vae(image_shape=(3, 64, 64))


def test_blocks_against_torch_distributions():
    mean, log_variance = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(7, 4).double(), torch.ones(7, 4).double())
    expected = torch.distributions.kl_divergence(normal, prior).sum(1)
    assert torch.allclose(kl_to_standard_normal(mean, log_variance), expected, rtol=1e-12)
    logits, images = torch.randn(7, 1, 5, 5), torch.rand(7, 1, 5, 5).round()
    likelihood = torch.distributions.Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
    assert torch.allclose(bernoulli_nll(logits, images), -likelihood, rtol=1e-5)


def test_reparameterised_draws_have_the_posterior_s_moments_and_pass_gradients():
    mean = torch.full((20_000, 1), 2.0, requires_grad=True)
    log_variance = torch.full((20_000, 1), math.log(9.0), requires_grad=True)
    draws = reparameterise(mean, log_variance, torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(2, abs=0.1) and draws.std().item() == pytest.approx(3, abs=0.1)
    draws.sum().backward()
    assert torch.equal(mean.grad, torch.ones_like(mean)) and log_variance.grad.any()
