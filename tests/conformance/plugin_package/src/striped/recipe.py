"""A variational autoencoder whose encoder and decoder are one linear layer each."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from vaebench.core.model import Autoencoder, Batch, Phase, Step
from vaebench.core.recipe import Recipe
from vaebench.models.layers import GaussianHeads
from vaebench.models.losses import kl_to_standard_normal, reparameterise


class LinearVAE(Autoencoder):
    """Gaussian decoder of variance 1/2: squared error + KL, both summed, mean over the batch."""

    def __init__(self, *, image_shape: tuple[int, int, int], latent_dim: int = 2, learning_rate: float = 1e-2) -> None:
        super().__init__()
        self.latent_dim, self.image_shape, self.learning_rate = latent_dim, image_shape, learning_rate
        self.encoder = nn.Sequential(nn.Flatten(), GaussianHeads(prod(image_shape), latent_dim))
        self.decoder = nn.Linear(latent_dim, prod(image_shape))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid().unflatten(1, self.image_shape)

    def phases(self) -> Sequence[Phase]:
        optimizer = partial(torch.optim.Adam, lr=self.learning_rate)
        return [Phase(name="vae", modules=[self.encoder, self.decoder], loss=self._loss, optimizer=optimizer)]

    def _loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        mean, log_variance = self.posterior(batch.images)
        decoded = self.decode(reparameterise(mean, log_variance, step.generator))
        squared = (decoded - batch.images).square().flatten(1).sum(1)
        return {"squared": squared.mean(), "kl": kl_to_standard_normal(mean, log_variance).mean()}


def linear_stripes() -> Recipe:
    """Two epochs of ``stripes``."""
    return Recipe(name="linear-stripes", model=LinearVAE, dataset="stripes", batch_size=10, epochs=2)
