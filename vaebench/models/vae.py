"""The variational autoencoder (Kingma and Welling 2014), and the plain one's recipes.

One implementation, two objectives: what is summed beside the KL divergence is a function that the
constructor is given; :mod:`vaebench.models.dfcvae` gives it another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder, Batch, Phase, Step
from vaebench.core.recipe import Recipe, nearest_sizes
from vaebench.models.image_sizes import FACE_SIZES
from vaebench.models.layers import digit_decoder, digit_encoder, face_decoder, face_encoder, initialise_glorot_uniform
from vaebench.models.losses import bernoulli_nll, kl_to_standard_normal, reparameterise

# decoder logits and images (n, c, h, w) -> named losses, each (n,)
Objective = Callable[[Tensor, Tensor], Mapping[str, Tensor]]


class VAE(Autoencoder):
    """Loss: mean over the batch of (reconstruction objective + kl_weight * KL summed over latents)."""

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        objective: Objective,
        kl_weight: float,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim, self.kl_weight = latent_dim, kl_weight
        self._objective, self._optimizer, self._schedule = objective, optimizer, schedule

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x)
        return mean.float(), log_variance.float()

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z).float())

    def phases(self) -> Sequence[Phase]:
        return [self.phase(self._loss)]

    def phase(self, loss: Callable[[Batch, Step], Mapping[str, Tensor]]) -> Phase:
        """Build a phase of both networks under this model's optimiser and a loss: its own, or one that a hybrid builds
        on it.
        """
        return Phase(
            name="vae",
            modules=[self.encoder, self.decoder],
            loss=loss,
            optimizer=self._optimizer,
            schedule=self._schedule,
            replayable=True,
        )

    def terms(self, images: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Compute the loss's weighted scalar terms by name, and the reconstructions' logits (n, c, h, w)."""
        mean, log_variance = self.posterior(images)
        logits = self.decoder(reparameterise(mean, log_variance, generator)).float()
        terms = {name: values.mean() for name, values in self._objective(logits, images).items()}
        terms["kl"] = self.kl_weight * kl_to_standard_normal(mean, log_variance).mean()
        return terms, logits

    def _loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        return self.terms(batch.images, step.generator)[0]


def article_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    objective: Objective,
    kl_weight: float,
    learning_rate: float,
) -> VAE:
    """Build the MNIST article's networks and optimiser around an objective.

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


def hou_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    objective: Objective,
    kl_weight: float,
    learning_rate: float,
    epochs_per_halving: int,
) -> VAE:
    """Build the networks and optimiser of Hou et al. 2016 around an objective: Adam, its rate halved as epochs pass.

    ``epochs_per_halving`` 0 never halves it.
    """
    if image_shape[1] % 16 or image_shape[2] % 16:
        nearest = nearest_sizes(max(image_shape[1:]), FACE_SIZES)
        reason = f"this VAE halves its images at least four times, and {image_shape} does not allow it"
        raise UserError(f"{reason}: choose square images of {nearest} pixels a side")
    if latent_dim < 1 or epochs_per_halving < 0:
        raise UserError(
            f"latent_dim={latent_dim} must be 1 or more, epochs_per_halving={epochs_per_halving} 0 (never) or more"
        )
    return VAE(
        encoder=face_encoder(image_shape, latent_dim),
        decoder=face_decoder(image_shape, latent_dim),
        latent_dim=latent_dim,
        objective=objective,
        kl_weight=kl_weight,
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
        schedule=partial(StepLR, step_size=epochs_per_halving, gamma=0.5) if epochs_per_halving else None,
    )


def pixel_likelihood(logits: Tensor, images: Tensor) -> Mapping[str, Tensor]:
    """Compute the plain VAE's objective: Bernoulli negative log-likelihood, in nats summed over pixels, (n,)."""
    return {"reconstruction": bernoulli_nll(logits, images)}


def plain_vae(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 5,
    kl_weight: float = 1.0,
    learning_rate: float = 1e-3,
) -> VAE:
    """Plain VAE for 28 x 28 digits: binary cross-entropy summed over pixels + KL summed over latents."""
    return article_vae(image_shape, latent_dim, pixel_likelihood, kl_weight, learning_rate)


def plain_face_vae(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 100,
    kl_weight: float = 1.0,
    learning_rate: float = 5e-4,
    epochs_per_halving: int = 1,
) -> VAE:
    """Plain VAE for faces, 64 x 64 or larger: binary cross-entropy summed over pixels + KL summed over latents."""
    return hou_vae(image_shape, latent_dim, pixel_likelihood, kl_weight, learning_rate, epochs_per_halving)


def vae_mnist() -> Recipe:
    """Source: the MNIST article ("Deep feature consistent variational auto-encoder").

    5 latents, RMSprop 1e-3, batch 32, 15 epochs. Departure: the article keeps the weights with the best
    loss on the test set; here the last ones count, and the test set is not looked at. The encoder's stride-2
    convolution is padded on all sides; Keras pads it at the right and bottom only.
    """
    return Recipe(name="vae-mnist", model=plain_vae, dataset="mnist", batch_size=32, epochs=15)


def vae_digits() -> Recipe:
    """The MNIST article's model on scikit-learn's digits.

    Departure: 40 epochs, since an epoch has 44 steps here against 1,875 on MNIST.
    """
    return Recipe(name="vae-digits", model=plain_vae, dataset="digits", batch_size=32, epochs=40)


def vae_celeba() -> Recipe:
    """Source: Hou et al. 2016, section 4.2, the plain VAE beside DFC-VAE; the same networks and optimiser.

    100 latents, Adam 5e-4 halved each epoch, batch 64, 5 epochs. The paper leaves the pixel loss open (it names L2
    and logistic regression as usual). Departure: here it is the logistic one, the Bernoulli likelihood that ``nll``
    measures, where the authors' code sums squared errors; and those of ``dfcvae-celeba`` in optimiser and networks. A
    subset of CelebA wants more epochs for as many steps: then raise
    ``epochs_per_halving`` with ``--epochs``.
    """
    return Recipe(
        name="vae-celeba",
        model=plain_face_vae,
        dataset="celeba",
        batch_size=64,
        epochs=5,
        image_sizes=FACE_SIZES,
    )


def vae_toyfaces() -> Recipe:
    """As ``vae-celeba`` on the built-in toy faces.

    Departures, for a CPU's sake: batch 32 and 2 epochs, which is 750 steps.
    """
    return replace(vae_celeba(), name="vae-toyfaces", dataset="toyfaces", batch_size=32, epochs=2)


def vae_lfw() -> Recipe:
    """As ``vae-celeba`` on Labeled Faces in the Wild.

    Departures: 12 epochs, the rate halved every third, since an epoch has some 165 steps here against 2,543.
    """
    return replace(vae_celeba(), name="vae-lfw", dataset="lfw", epochs=12, hyperparameters={"epochs_per_halving": 3})


def vae_folder() -> Recipe:
    """As ``vae-celeba`` on the images of a folder (``--set dataset.path=DIR``); no departure in the settings."""
    return replace(vae_celeba(), name="vae-folder", dataset="folder")
