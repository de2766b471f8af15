"""One recipe, and three ways of making it worse without anyone noticing: for the gate to notice."""

import torch
from torch.nn import functional

from vaebench.core.model import Autoencoder
from vaebench.core.recipe import Recipe
from vaebench.models.vae import plain_vae


class Spoilt(Autoencoder):
    """A plain VAE, trained as it should be, whose decoder is tampered with."""

    def __init__(self, *, image_shape, how="nothing"):
        super().__init__()
        self.vae, self.how = plain_vae(image_shape=image_shape), how
        self.latent_dim = self.vae.latent_dim

    def posterior(self, x):
        return self.vae.posterior(x)

    def phases(self):
        return self.vae.phases()

    def decode(self, z):
        images = self.vae.decode(torch.zeros_like(z) if self.how == "collapsed" else z)
        if self.how == "blurred":
            return functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), "replicate"), 3, stride=1)
        return images


def good():
    return Recipe(name="vae-gate", model=Spoilt, dataset="digits", batch_size=32, epochs=40)


def blurred():
    return Recipe(
        name="vae-gate", model=Spoilt, dataset="digits", batch_size=32, epochs=40, hyperparameters={"how": "blurred"}
    )


def collapsed():
    return Recipe(
        name="vae-gate", model=Spoilt, dataset="digits", batch_size=32, epochs=40, hyperparameters={"how": "collapsed"}
    )
