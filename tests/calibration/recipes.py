"""A small model that trains in seconds, and ways of making it worse without anyone noticing: for the gate to find."""

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from vaebench.core.model import Autoencoder, Phase
from vaebench.core.recipe import Recipe
from vaebench.models.layers import GaussianHeads
from vaebench.models.losses import bernoulli_nll, kl_to_standard_normal, reparameterise


class DenseVAE(Autoencoder):
    """Two dense layers each way; ``spoilt`` tampers with what is decoded, after a training that knows nothing of it."""

    def __init__(self, *, image_shape, spoilt="", latent_dim=8, kl_weight=1.0):
        super().__init__()
        self.latent_dim, self.spoilt, self.kl_weight = latent_dim, spoilt, kl_weight
        pixels = math.prod(image_shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 256), nn.ReLU(), GaussianHeads(256, latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, 256), nn.ReLU(), nn.Linear(256, pixels))
        self.decoder.append(nn.Unflatten(1, image_shape))

    def posterior(self, x):
        mean, log_variance = self.encoder(x)
        return mean.float(), log_variance.float()

    def decode(self, z):
        images = torch.sigmoid(self.decoder(torch.zeros_like(z) if self.spoilt == "collapsed" else z).float())
        if self.spoilt == "blurred":
            return functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), "replicate"), 3, stride=1)
        return images

    def phases(self):
        adam = partial(torch.optim.Adam, lr=1e-3)
        return [Phase(name="vae", modules=[self.encoder, self.decoder], loss=self.loss, optimizer=adam)]

    def loss(self, batch, step):
        mean, log_variance = self.posterior(batch.images)
        logits = self.decoder(reparameterise(mean, log_variance, step.generator))
        kl = kl_to_standard_normal(mean, log_variance).mean()
        return {"reconstruction": bernoulli_nll(logits, batch.images).mean(), "kl": self.kl_weight * kl}


def _recipe(**hyperparameters):
    return Recipe(
        name="dense-gate", model=DenseVAE, dataset="digits", batch_size=64, epochs=50, hyperparameters=hyperparameters
    )


def good():
    return _recipe()


def blurred():
    return _recipe(spoilt="blurred")


def collapsed():
    return _recipe(spoilt="collapsed")


def heavy_kl():
    return _recipe(kl_weight=4.0)
