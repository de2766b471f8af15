"""What models are made of: encoders, decoders, likelihoods, divergences. Pure functions and plain modules."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GaussianHeads(nn.Module):
    """Two linear heads: features (n, features) -> mean and log-variance, each (n, latent_dim)."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(hidden), self.log_variance(hidden)


def digit_encoder(latent_dim: int) -> nn.Sequential:
    """Grey 28 x 28 images -> posterior mean and log-variance; 494,442 parameters for 5 latents.

    Source: the MNIST article's encoder. Keras pads its stride-2 convolution at the right and bottom only;
    here the padding is symmetric, as torch has it.
    """
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 14 * 14, 32),
        nn.ReLU(),
        GaussianHeads(32, latent_dim),
    )


def digit_decoder(latent_dim: int) -> nn.Sequential:
    """Latents (n, latent_dim) -> logits (n, 1, 28, 28); 94,017 parameters for 5 latents. Source: as the encoder."""
    return nn.Sequential(
        nn.Linear(latent_dim, 64 * 14 * 14),
        nn.ReLU(),
        nn.Unflatten(1, (64, 14, 14)),
        nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )


def initialise_glorot_uniform(module: nn.Module) -> None:
    """Glorot and Bengio 2010, eq. 16, for every convolution and linear layer; biases 0. Keras's default."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def reparameterise(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """A draw from N(mean, exp(log_variance)) that gradients pass through (Kingma and Welling 2014, eq. 4).

    Mean and log-variance float32 (n, d); so is the draw.
    """
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + noise * torch.exp(0.5 * log_variance)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats, summed over latents: (n, d) twice -> (n,).

    Kingma and Welling 2014, appendix B: 1/2 sum(mean^2 + variance - 1 - log variance). In the inputs' dtype.
    """
    # expm1(v) - v, not exp(v) - 1 - v: near the prior the latter cancels
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(1)


def bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """-log p(x|z) in nats for a Bernoulli decoder, summed over channels and pixels: -> (n,).

    Logits any float dtype, images float32 in [0, 1]; Kingma and Welling 2014, appendix C.1. Computed in
    float32 from logits, which stays finite where a saturated sigmoid would not.
    """
    per_pixel = functional.binary_cross_entropy_with_logits(logits.float(), images, reduction="none")
    return per_pixel.flatten(1).sum(1)
