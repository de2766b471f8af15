"""The deep-feature-consistent VAE (Hou, Shen, Sun and Qiu 2016): a VAE with a perceptual loss, and its recipes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaebench.builtins import PERCEPTUAL
from vaebench.core.errors import UserError
from vaebench.core.perceptual import Perceptual
from vaebench.core.recipe import Recipe
from vaebench.models.vae import VAE, Objective, article_vae


def squared_feature_distance(network: Perceptual, layers: Sequence[str], weights: Sequence[float]) -> Objective:
    """The MNIST article's ``perceptual_loss``: per layer, weight * sum of squared feature differences.

    Features of the real images need no gradient; those of the decoded ones pass it on. Differences are
    squared and summed in float32 whatever the precision of the features.
    """

    def objective(logits: Tensor, images: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad():
            wanted = network.features(images, layers)
        decoded = network.features(torch.sigmoid(logits.float()), layers)
        return {
            f"perceptual_{layer}": weight * (real.float() - made.float()).square().flatten(1).sum(1)
            for layer, weight, real, made in zip(layers, weights, wanted, decoded, strict=True)
        }

    return objective


def dfc_vae(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 5,
    kl_weight: float = 1.0,
    learning_rate: float = 1e-3,
    perceptual: str = "mnist_cnn",
    layers: tuple[str, ...] = ("conv1", "conv2"),
    layer_weights: tuple[float, ...] = (1.0, 1.0),
) -> VAE:
    """DFC-VAE for 28 x 28 digits: perceptual squared distance summed over features + KL summed over latents."""
    if len(layers) != len(layer_weights):
        raise UserError(f"{len(layers)} layers but {len(layer_weights)} layer_weights: give one weight a layer")
    network = PERCEPTUAL.get(perceptual)()
    network.check(layers, channels=image_shape[0])
    objective = squared_feature_distance(network, layers, layer_weights)
    return article_vae(image_shape, latent_dim, objective, kl_weight, learning_rate)


def dfcvae_mnist() -> Recipe:
    """Source: the MNIST article. As ``vae-mnist``, but for the loss: first and second convolution, weights 1.0.

    Departures: those of ``vae-mnist``; and the classifier is vaebench's own (see its model card), since the
    article's weights are not published with a licence.
    """
    return Recipe(name="dfcvae-mnist", model=dfc_vae, dataset="mnist", batch_size=32, epochs=15)


def dfcvae_digits() -> Recipe:
    """The MNIST article's DFC-VAE on scikit-learn's digits; departures as ``vae-digits`` and ``dfcvae-mnist``."""
    return Recipe(name="dfcvae-digits", model=dfc_vae, dataset="digits", batch_size=32, epochs=60)
