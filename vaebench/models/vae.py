"""The variational autoencoder (Kingma and Welling 2014), and the plain one's recipes.

One implementation, two objectives: what is summed beside the KL divergence is a function that the
constructor is given; :mod:`vaebench.models.dfcvae` gives it another.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vaebench.blocks import (
    bernoulli_nll,
    digit_decoder,
    digit_encoder,
    initialise_glorot_uniform,
    kl_to_standard_normal,
    reparameterise,
)
from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder, Batch, Phase, Step
from vaebench.core.recipe import Recipe

# decoder logits and images (n, c, h, w) -> named losses, each (n,)
Objective = Callable[[Tensor, Tensor], Mapping[str, Tensor]]


class VAE(Autoencoder):
    """Loss: mean over the batch of (reconstruction objective + kl_weight * KL divergence), both sums."""

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        objective: Objective,
        kl_weight: float,
        optimizer: Callable[..., torch.optim.Optimizer],
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim, self.kl_weight = latent_dim, kl_weight
        self._objective, self._optimizer = objective, optimizer

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x)
        return mean.float(), log_variance.float()

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z).float())

    def phases(self) -> Sequence[Phase]:
        return [Phase(name="vae", modules=[self.encoder, self.decoder], loss=self._loss, optimizer=self._optimizer)]

    def _loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        mean, log_variance = self.posterior(batch.images)
        logits = self.decoder(reparameterise(mean, log_variance, step.generator))
        terms = {name: values.mean() for name, values in self._objective(logits, batch.images).items()}
        return {**terms, "kl": self.kl_weight * kl_to_standard_normal(mean, log_variance).mean()}


def article_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    objective: Objective,
    kl_weight: float,
    learning_rate: float,
) -> VAE:
    """The MNIST article's networks and optimiser around an objective.

    Glorot-uniform weights; RMSprop as Keras has it (decay 0.9, epsilon 1e-7 outside the root).
    """
    if image_shape != (1, 28, 28):
        raise UserError(f"this VAE is built for grey 28 x 28 images, not {image_shape}: choose another recipe")
    if latent_dim < 1:
        raise UserError(f"latent_dim={latent_dim} is no latent space: give 1 or more")
    model = VAE(
        encoder=digit_encoder(latent_dim),
        decoder=digit_decoder(latent_dim),
        latent_dim=latent_dim,
        objective=objective,
        kl_weight=kl_weight,
        optimizer=partial(torch.optim.RMSprop, lr=learning_rate, alpha=0.9, eps=1e-7),
    )
    initialise_glorot_uniform(model)
    return model


def plain_vae(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 5,
    kl_weight: float = 1.0,
    learning_rate: float = 1e-3,
) -> VAE:
    """Plain VAE for 28 x 28 digits: binary cross-entropy summed over pixels + KL summed over latents."""

    def pixels(logits: Tensor, images: Tensor) -> Mapping[str, Tensor]:
        return {"reconstruction": bernoulli_nll(logits, images)}

    return article_vae(image_shape, latent_dim, pixels, kl_weight, learning_rate)


def vae_mnist() -> Recipe:
    """Source: the MNIST article ("Deep feature consistent variational auto-encoder").

    5 latents, RMSprop 1e-3, batch 32, 15 epochs. Departure: the article keeps the weights with the best
    loss on the test set; here the last ones count, and the test set is not looked at. The encoder's stride-2
    convolution is padded on all sides; Keras pads it at the right and bottom only.
    """
    return Recipe(name="vae-mnist", model=plain_vae, dataset="mnist", batch_size=32, epochs=15)


def vae_digits() -> Recipe:
    """The MNIST article's model on scikit-learn's digits.

    Departure: 60 epochs, since an epoch has 44 steps here against 1,875 on MNIST.
    """
    return Recipe(name="vae-digits", model=plain_vae, dataset="digits", batch_size=32, epochs=60)
