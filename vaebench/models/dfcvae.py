"""The deep-feature-consistent VAE (Hou, Shen, Sun and Qiu 2016): a VAE with a perceptual loss, and its recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.core.perceptual import Perceptual
from vaebench.core.recipe import Recipe
from vaebench.models.image_sizes import FACE_SIZES
from vaebench.models.losses import mean_squared_distance
from vaebench.models.vae import VAE, Objective, article_vae, hou_vae
from vaebench.perceptual import PERCEPTUAL


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


def feature_reconstruction(network: Perceptual, layers: Sequence[str], weight: float) -> Objective:
    """Hou et al. 2016, section 3.2: per layer, weight / (2 C W H) * the squared distance of the features.

    Features of the real images need no gradient.
    """

    def objective(logits: Tensor, images: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad():
            wanted = network.features(images, layers)
        decoded = network.features(torch.sigmoid(logits.float()), layers)
        return {
            f"perceptual_{layer}": weight / 2 * mean_squared_distance(made, real)
            for layer, real, made in zip(layers, wanted, decoded, strict=True)
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
    network.check(layers, channels=image_shape[0], side=image_shape[1])
    objective = squared_feature_distance(network, layers, layer_weights)
    return article_vae(image_shape, latent_dim, objective, kl_weight, learning_rate)


def dfc_face_vae(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 100,
    kl_weight: float = 0.02,
    feature_weight: float = 0.8,
    learning_rate: float = 5e-4,
    epochs_per_halving: int = 1,
    perceptual: str = "vgg19",
    layers: tuple[str, ...] = ("relu1_2", "relu2_1", "relu3_1"),
) -> VAE:
    """DFC-VAE for faces, 64 x 64 or larger: feature reconstruction averaged over features + KL summed over latents."""
    network = PERCEPTUAL.get(perceptual)()
    network.check(layers, channels=image_shape[0], side=image_shape[1])
    objective = feature_reconstruction(network, layers, feature_weight)
    return hou_vae(image_shape, latent_dim, objective, kl_weight, learning_rate, epochs_per_halving)


def dfcvae_mnist() -> Recipe:
    """Source: the MNIST article. As ``vae-mnist``, but for the loss: first and second convolution, weights 1.0.

    Departures: those of ``vae-mnist``; and the classifier is vaebench's own (see its model card), since the
    article's weights are not published with a licence.
    """
    return Recipe(name="dfcvae-mnist", model=dfc_vae, dataset="mnist", batch_size=32, epochs=15)


def dfcvae_digits() -> Recipe:
    """The MNIST article's DFC-VAE on scikit-learn's digits; departures as ``vae-digits`` and ``dfcvae-mnist``."""
    return Recipe(name="dfcvae-digits", model=dfc_vae, dataset="digits", batch_size=32, epochs=40)


def dfcvae_celeba() -> Recipe:
    """Source: Hou et al. 2016: VGG-19's relu1_2, relu2_1 and relu3_1 (VAE-123), 100 latents, batch 64, 5 epochs.

    Hyperparameters are the defaults of :func:`dfc_face_vae`: alpha is its ``kl_weight``, beta its ``feature_weight``.
    Adam 5e-4, halved each epoch as the paper says (the published code halves it inside the iteration loop, and so
    stops learning after little more than one). beta = 0.8 weighs the features.

    Departures. alpha, the KL's weight, is 0.02 where the paper says 1. Every term here is a mean over the batch, KL
    a sum over latents, features 1/(2CWH) of images in [0, 1]. The published code sums KL over its batch of 40, weighs
    KL so 40 times heavier than a mean over samples would, and takes features of Caffe's VGG at pixels of 0 to 255,
    which are 57 times larger than torchvision's at pixels divided by their deviation, and their squares 3,300 times.
    In our units the published code's weight of the KL is 40 * (0.4 / 0.5) / 3,300, about 0.01; this recipe takes 0.02,
    twice that, so that draws from the prior decode better.
    ``vgg19-normalised`` and ``toyfaces_cnn``, whose activations average 1, are near that scale, not on it.
    Also: Adam's beta1 0.9 (code: 0.5), a sigmoid behind the decoder (none), no ReLU behind its linear layer (one),
    torch's initial weights (N(0, 0.02)).
    """
    return Recipe(
        name="dfcvae-celeba",
        model=dfc_face_vae,
        dataset="celeba",
        batch_size=64,
        epochs=5,
        image_sizes=FACE_SIZES,
    )


def dfcvae345_celeba() -> Recipe:
    """As ``dfcvae-celeba`` with relu3_1, relu4_1 and relu5_1 (VAE-345 of Hou et al.'s later version)."""
    layers = {"layers": ("relu3_1", "relu4_1", "relu5_1")}
    return replace(dfcvae_celeba(), name="dfcvae345-celeba", hyperparameters=layers)


def dfcvae345_lfw() -> Recipe:
    """As ``dfcvae345-celeba`` on Labeled Faces in the Wild; departure: epochs and halving as ``vae-lfw``."""
    settings = {**dfcvae345_celeba().hyperparameters, "epochs_per_halving": 3}
    return replace(dfcvae345_celeba(), name="dfcvae345-lfw", dataset="lfw", epochs=12, hyperparameters=settings)


def dfcvae345_folder() -> Recipe:
    """As ``dfcvae345-celeba`` on the images of a folder; no departure in the settings."""
    return replace(dfcvae345_celeba(), name="dfcvae345-folder", dataset="folder")


def dfcvae_celeba_eteke() -> Recipe:
    """Source: Eteke, Kirmizioglu and Kavakli's replication: Adam 1e-4, not halved, batch 32, 10 epochs.

    Departure: as ``dfcvae-celeba`` in LeakyReLU (they use ReLU), in KL's weight (theirs is not given), and in the
    weights of VGG-19 (theirs are a TensorFlow port).
    """
    settings = {"learning_rate": 1e-4, "epochs_per_halving": 0}
    return replace(dfcvae_celeba(), name="dfcvae-celeba-eteke", batch_size=32, epochs=10, hyperparameters=settings)


def dfcvae_toyfaces() -> Recipe:
    """As ``dfcvae-celeba`` on the built-in toy faces.

    Departures: the perceptual network is ``toyfaces_cnn``, so that nothing is downloaded; batch 32 and 2 epochs as
    ``vae-toyfaces``.
    """
    settings = {"perceptual": "toyfaces_cnn", "layers": ("conv1", "conv2", "conv3")}
    return replace(
        dfcvae_celeba(), name="dfcvae-toyfaces", dataset="toyfaces", batch_size=32, epochs=2, hyperparameters=settings
    )


def dfcvae_lfw() -> Recipe:
    """As ``dfcvae-celeba`` on Labeled Faces in the Wild; departure: epochs and halving as ``vae-lfw``."""
    return replace(
        dfcvae_celeba(), name="dfcvae-lfw", dataset="lfw", epochs=12, hyperparameters={"epochs_per_halving": 3}
    )


def dfcvae_folder() -> Recipe:
    """As ``dfcvae-celeba`` on the images of a folder (``--set dataset.path=DIR``); no departure in the settings."""
    return replace(dfcvae_celeba(), name="dfcvae-folder", dataset="folder")
