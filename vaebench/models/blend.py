"""Feature blending (Salomon Ruiz and Lipson, "Feature blending with VAEs and GANs") and its recipes.

An autoencoder whose decoded mean of two latents must pass for real, before a discriminator or a Wasserstein critic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder, Batch, Phase, Step
from vaebench.core.recipe import Recipe
from vaebench.models.chunks import CHUNKS, PUBLISHED, chunk_sides, feature_inverse, feature_network
from vaebench.models.image_sizes import FACE_SIZES
from vaebench.models.layers import GaussianHeads
from vaebench.models.losses import bce_fake, bce_real, clip_weights, kl_to_standard_normal, reparameterise


class BlendingAutoencoder(Autoencoder):
    """Autoencoder whose odd updates (the first, third, …) reconstruct and whose even ones blend; the adversary judges
    what the update made.

    Reconstruction: (1 - adversarial_weight) * mean squared error + adversarial_weight * adversarial loss + KL.
    Blending: the posterior means of two images are averaged and decoded; the adversarial loss alone counts. The two
    are phases with optimisers of their own: in one Adam the larger gradients of the one would set the step of the
    other. Without ``clip`` the adversary is a discriminator with binary cross-entropy; with it, a critic whose every
    weight is clipped into [-clip, clip] (Arjovsky et al. 2017).
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        adversary: nn.Module,
        latent_dim: int,
        adversarial_weight: float,
        kl_weight: float,
        optimizer: Callable[..., Optimizer],
        adversary_optimizer: Callable[..., Optimizer],
        adversary_steps: int,
        clip: float | None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.adversary = encoder, decoder, adversary
        self.latent_dim = latent_dim
        self._adversarial_weight, self._kl_weight = adversarial_weight, kl_weight
        self._optimizer, self._adversary_optimizer = optimizer, adversary_optimizer
        self._adversary_steps, self._clip = adversary_steps, clip

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x)
        return mean.float(), log_variance.float()

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z).float())

    def phases(self) -> Sequence[Phase]:
        kind: Literal["discriminator", "critic"] = "discriminator" if self._clip is None else "critic"
        return [
            Phase(
                name=kind,
                modules=[self.adversary],
                loss=self._adversary_loss,
                optimizer=self._adversary_optimizer,
                repeats=self._adversary_steps,
                after_step=None if self._clip is None else partial(clip_weights, self.adversary, self._clip),
                adversary=kind,
            ),
            self._phase("autoencoder", self._reconstruction_loss),
            self._phase("blending", self._blending_loss),
        ]

    def _phase(self, name: str, loss: Callable[[Batch, Step], Mapping[str, Tensor]]) -> Phase:
        return Phase(name=name, modules=[self.encoder, self.decoder], loss=loss, optimizer=self._optimizer)

    def _adversary_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        with torch.no_grad():
            mean, log_variance = self.posterior(batch.images)
            made = self.decode(_blended(mean) if _blends(step) else reparameterise(mean, log_variance, step.generator))
        real, fake = self.adversary(batch.images), self.adversary(made)
        if self._clip is None:
            return {"real": bce_real(real), "fake": bce_fake(fake)}
        return {"real": -real.float().mean(), "fake": fake.float().mean()}

    def _blending_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        if not _blends(step):
            return {}
        mean, _ = self.posterior(batch.images)
        return {"adversarial": self._passing(self.decode(_blended(mean)))}

    def _reconstruction_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        if _blends(step):
            return {}
        mean, log_variance = self.posterior(batch.images)
        made = self.decode(reparameterise(mean, log_variance, step.generator))
        squared = (made - batch.images).square().mean()
        return {
            "reconstruction": (1 - self._adversarial_weight) * squared,
            "kl": self._kl_weight * kl_to_standard_normal(mean, log_variance).mean(),
            "adversarial": self._adversarial_weight * self._passing(made),
        }

    def _passing(self, made: Tensor) -> Tensor:
        """Return how far the adversary is from taking these images for real: the gradient passes through the images."""
        scores = self.adversary(made)
        return bce_real(scores) if self._clip is None else -scores.float().mean()


def _blends(step: Step) -> bool:
    return step.index % 2 == 1


def _blended(mean: Tensor) -> Tensor:
    """Average each latent with that of the next image of the batch: (n, d) -> (n, d)."""
    return (mean + mean.roll(1, 0)) / 2


def blend(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 200,
    adversarial_weight: float = 0.1,
    kl_weight: float = 1e-5,
    learning_rate: float = 2e-4,
    adversary_learning_rate: float = 1e-4,
    adversary_steps: int = 1,
    clip: float | None = None,
) -> BlendingAutoencoder:
    """The blending autoencoder; with ``clip`` against a Wasserstein critic, without it against a discriminator."""
    channels, side, width = image_shape
    if side != width or side < 16:
        raise UserError(f"blending wants square images of 16 pixels or more, not {image_shape}: choose others")
    if clip is not None and clip <= 0:
        raise UserError(f"clip={clip} leaves a critic no weights: give more than 0, or None for a discriminator")
    if not 0 <= adversarial_weight <= 1 or latent_dim < 1 or adversary_steps < 1:
        raise UserError(
            f"adversarial_weight={adversarial_weight} must lie in 0 to 1, latent_dim={latent_dim} and "
            f"adversary_steps={adversary_steps} must be 1 or more"
        )
    features = CHUNKS[-1][0] * chunk_sides(side)[-1][1] ** 2
    encoding = nn.Linear(features, latent_dim)
    judging = [nn.Linear(features, 250), nn.ReLU(), nn.Linear(250, 80), nn.ReLU()]
    judging += [nn.Linear(80, 1, bias=clip is None), nn.Flatten(0)]  # a critic's loss cancels its last bias
    rule = torch.optim.Adam if clip is None else torch.optim.RMSprop  # momentum makes clipped critics unstable
    return BlendingAutoencoder(
        encoder=nn.Sequential(feature_network(channels, side), encoding, GaussianHeads(latent_dim, latent_dim)),
        decoder=nn.Sequential(nn.Linear(latent_dim, features), nn.ReLU(), feature_inverse(channels, side)),
        adversary=nn.Sequential(feature_network(channels, side), *judging),
        latent_dim=latent_dim,
        adversarial_weight=adversarial_weight,
        kl_weight=kl_weight,
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
        adversary_optimizer=partial(rule, lr=adversary_learning_rate),
        adversary_steps=adversary_steps,
        clip=clip,
    )


WASSERSTEIN = {"clip": 0.01, "adversary_steps": 5, "adversary_learning_rate": 5e-5}  # Arjovsky et al. 2017, section 4


def blend_lfw() -> Recipe:
    """Source: Salomon Ruiz and Lipson: 250 x 250 faces, 10,368 features, 2,000 latents, loss 0.9 and 0.1, rates 1e-5.

    Their pages call the data Toronto Face Dataset and cite Labeled Faces in the Wild, whose 13,233 images of
    250 x 250 they describe. Departures: their decoder pools after the deconvolutions, which cannot end at 250; here
    each mirrored chunk upsamples first, which does. KL, which they leave open, is weighed by 1e-5 a nat against the
    mean squared error. They average two batches' latents; here each image of a batch meets the next, and posterior
    means are averaged. The two kinds of update have an Adam each. Batch 32, 50 epochs (theirs: collapse "after about
    50"). Their published code keeps the
    adversarial gradient from the generator (it detaches the image); here it reaches it, as their text says.
    """
    settings = {"latent_dim": 2000, "learning_rate": 1e-5, "adversary_learning_rate": 1e-5}
    return Recipe(
        name="blend-lfw",
        model=blend,
        dataset="lfw",
        batch_size=32,
        epochs=50,
        hyperparameters=settings,
        dataset_options={"size": PUBLISHED},
        image_sizes=sorted((*FACE_SIZES, PUBLISHED)),
    )


def blend_celeba() -> Recipe:
    """As ``blend-lfw`` at 64 x 64 on CelebA.

    Departures: convolutions are padded, since six kernels of 7 and 9 would use up 64 pixels; 2,048 features, 200
    latents (the text gives both 2,000 and 200), rates 2e-4 and 1e-4, batch 64, 10 epochs.
    """
    return Recipe(
        name="blend-celeba",
        model=blend,
        dataset="celeba",
        batch_size=64,
        epochs=10,
        image_sizes=FACE_SIZES,
    )


def blend_toyfaces() -> Recipe:
    """As ``blend-celeba`` on the built-in toy faces; no further departure."""
    return replace(blend_celeba(), name="blend-toyfaces", dataset="toyfaces")


def blend_folder() -> Recipe:
    """As ``blend-celeba`` on the images of a folder (``--set dataset.path=DIR``); no further departure."""
    return replace(blend_celeba(), name="blend-folder", dataset="folder")


def blend_mnist() -> Recipe:
    """As ``blend-celeba`` on MNIST. Departure: 20 latents, since digits need no more."""
    return replace(blend_celeba(), name="blend-mnist", dataset="mnist", hyperparameters={"latent_dim": 20})


def blend_digits() -> Recipe:
    """As ``blend-mnist`` on scikit-learn's digits. Departure: 100 epochs, since an epoch has 22 steps here."""
    return replace(blend_mnist(), name="blend-digits", dataset="digits", epochs=100)


def _wasserstein(recipe: Recipe) -> Recipe:
    settings = {**recipe.hyperparameters, **WASSERSTEIN}
    return replace(recipe, name=recipe.name.replace("blend-", "blendw-"), hyperparameters=settings)


def blendw_lfw() -> Recipe:
    """``blend-lfw`` against a Wasserstein critic: the discriminator without its sigmoid.

    Clipping to 0.01, five critic steps and RMSprop 5e-5 are Arjovsky et al. 2017's, whom the source follows. Its
    published code sets every critic weight to one constant; here each is clipped into [-0.01, 0.01], but batch
    normalisation's gains and shifts are not, since they would shrink the scores to nothing.
    """
    return _wasserstein(blend_lfw())


def blendw_celeba() -> Recipe:
    """``blend-celeba`` against a Wasserstein critic, as ``blendw-lfw``."""
    return _wasserstein(blend_celeba())


def blendw_toyfaces() -> Recipe:
    """``blend-toyfaces`` against a Wasserstein critic, as ``blendw-lfw``."""
    return _wasserstein(blend_toyfaces())


def blendw_folder() -> Recipe:
    """``blend-folder`` against a Wasserstein critic, as ``blendw-lfw``."""
    return _wasserstein(blend_folder())


def blendw_mnist() -> Recipe:
    """``blend-mnist`` against a Wasserstein critic, as ``blendw-lfw``."""
    return _wasserstein(blend_mnist())


def blendw_digits() -> Recipe:
    """``blend-digits`` against a Wasserstein critic, as ``blendw-lfw``."""
    return _wasserstein(blend_digits())
