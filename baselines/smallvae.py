"""The VAE of the stored checkpoints: vaebench's own class around networks small enough to be committed.

The registered VAEs have two megabytes of weights or more; these have a tenth of a megabyte.
"""

from functools import partial

import torch
from torch import nn

from vaebench.core.recipe import Recipe
from vaebench.models.layers import GaussianHeads
from vaebench.models.vae import VAE, pixel_likelihood


def small_vae(*, image_shape: tuple[int, int, int], latent_dim: int = 5) -> VAE:
    """Build convolutions to 8 and 16 channels, a linear layer to 16 features, and their mirror image."""
    channels, height, width = image_shape
    maps = (16, height // 4, width // 4)
    features = maps[0] * maps[1] * maps[2]
    encoder = nn.Sequential(
        *(nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(features, 16), nn.ReLU()),
        GaussianHeads(16, latent_dim),
    )
    decoder = nn.Sequential(
        *(nn.Linear(latent_dim, features), nn.ReLU(), nn.Unflatten(1, maps)),
        *(nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1), nn.ReLU()),
        nn.ConvTranspose2d(8, channels, 4, stride=2, padding=1),
    )
    return VAE(
        encoder=encoder,
        decoder=decoder,
        latent_dim=latent_dim,
        objective=pixel_likelihood,
        kl_weight=1.0,
        optimizer=partial(torch.optim.Adam, lr=2e-3),
    )


def smallvae_digits() -> Recipe:
    """The small VAE on scikit-learn's digits, which need no download."""
    return Recipe(name="smallvae-digits", model=small_vae, dataset="digits", batch_size=32, epochs=20)
