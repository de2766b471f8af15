"""The deep convolutional GAN (Radford, Metz and Chintala 2016), for faces and for 28 x 28 digits, and its recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.core.model import Batch, GenerativeModel, Phase, Step
from vaebench.core.recipe import Recipe
from vaebench.models.image_sizes import DIGITS, FACE_SIZES, check_square, halvings, widths
from vaebench.models.losses import bce_fake, bce_real

SIZES = (DIGITS, *FACE_SIZES)


class DCGAN(GenerativeModel):
    """Two phases: the discriminator learns to tell, then the generator to pass (non-saturating; Goodfellow 2014).

    The generator ends in tanh, mapped to [0, 1] at the door; the discriminator sees [-1, 1], as published. Each
    phase draws latents of its own. Batch normalisation sees real and made images apart.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        latent_dim: int = 100,
        feature_maps: int = 64,
        learning_rate: float = 2e-4,
        discriminator_learning_rate: float = 2e-4,
        beta1: float = 0.5,
    ) -> None:
        super().__init__()
        check_square(image_shape, SIZES, "DCGAN")
        channels, side, _ = image_shape
        if latent_dim < 1 or feature_maps < 1:
            raise UserError(f"latent_dim={latent_dim}, feature_maps={feature_maps}: both must be 1 or more")
        self.latent_dim = latent_dim
        growing = widths(feature_maps, layers_of(side))
        self.generator = generator_network(channels, side, latent_dim, growing[::-1])
        self.discriminator = discriminator_network(channels, side, growing)
        self.apply(initialise_normal)
        self._rates = learning_rate, discriminator_learning_rate
        self._adam = partial(torch.optim.Adam, betas=(beta1, 0.999))

    def decode(self, z: Tensor) -> Tensor:
        return (self._made(z).float() + 1) / 2

    def phases(self) -> Sequence[Phase]:
        generator_rate, discriminator_rate = self._rates
        return [
            Phase(
                name="discriminator",
                modules=[self.discriminator],
                loss=self._discriminator_loss,
                optimizer=partial(self._adam, lr=discriminator_rate),
                replayable=True,
                adversary="discriminator",
            ),
            Phase(
                name="generator",
                modules=[self.generator],
                loss=self._generator_loss,
                optimizer=partial(self._adam, lr=generator_rate),
                replayable=True,
            ),
        ]

    def _made(self, z: Tensor) -> Tensor:
        images: Tensor = self.generator(z[:, :, None, None])
        return images

    def _drawn(self, batch: Batch, step: Step) -> Tensor:
        return self._made(seeding.normal((len(batch.images), self.latent_dim), step.generator))

    def _discriminator_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        with torch.no_grad():
            made = self._drawn(batch, step)
        real = self.discriminator(batch.images * 2 - 1)
        return {"real": bce_real(real), "fake": bce_fake(self.discriminator(made))}

    def _generator_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        return {"adversarial": bce_real(self.discriminator(self._drawn(batch, step)))}


def layers_of(side: int) -> int:
    """Count the layers that halve or double images of ``side``: 28 twice, faces four times or more."""
    return halvings(side, side, least=2 if side == DIGITS else 4)


def generator_network(channels: int, side: int, latent_dim: int, widths: Sequence[int]) -> nn.Sequential:
    """Latents (n, latent_dim, 1, 1) -> images (n, channels, side, side) in [-1, 1].

    4 x 4 transposed convolutions of stride 2 through ``widths``, batch normalisation and ReLU between them, tanh at
    the end.
    """
    first = side >> layers_of(side)
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], first, bias=False)]
    for inputs, outputs in pairwise((*widths, channels)):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
    return nn.Sequential(*layers, nn.Tanh())


def discriminator_network(channels: int, side: int, widths: Sequence[int], *, critic: bool = False) -> nn.Sequential:
    """Images (n, channels, side, side) -> logits (n,): the generator mirrored, through ``widths``.

    4 x 4 convolutions of stride 2 with LeakyReLU 0.2, batch normalisation but for the first layer. A Wasserstein
    ``critic`` has no normalisation, which a gradient penalty forbids, and no last bias, which its loss cancels.
    """
    last = side >> layers_of(side)
    layers: list[nn.Module] = []
    for position, (inputs, outputs) in enumerate(pairwise((channels, *widths))):
        norm = not critic and position > 0
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not norm))
        layers += [nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)] if norm else [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, last, bias=not critic), nn.Flatten(0))


def initialise_normal(module: nn.Module) -> None:
    """Radford et al. 2016, section 4: weights from N(0, 0.02); normalisation's from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def dcgan_celeba() -> Recipe:
    """Source: Radford et al. 2016 in their Torch code, which Hou et al. 2016 set beside DFC-VAE.

    Generator 100 -> 512-256-128-64-3, Adam 2e-4 with betas (0.5, 0.999), batch 64, 25 epochs, N(0, 0.02) weights.
    Departure: latents from N(0, I), as Hou et al. draw them, where Radford et al. draw from a uniform.
    """
    return Recipe(
        name="dcgan-celeba",
        model=DCGAN,
        dataset="celeba",
        batch_size=64,
        epochs=25,
        image_sizes=FACE_SIZES,
    )


def dcgan_toyfaces() -> Recipe:
    """As ``dcgan-celeba`` on the built-in toy faces.

    Departures, for a CPU's sake: half as many feature maps in every layer, batch 32, 2 epochs.
    """
    settings = {"feature_maps": 32}
    return replace(
        dcgan_celeba(), name="dcgan-toyfaces", dataset="toyfaces", batch_size=32, epochs=2, hyperparameters=settings
    )


def dcgan_lfw() -> Recipe:
    """As ``dcgan-celeba`` on Labeled Faces in the Wild. Departure: 100 epochs, for a similar number of steps."""
    return replace(dcgan_celeba(), name="dcgan-lfw", dataset="lfw", epochs=100)


def dcgan_folder() -> Recipe:
    """As ``dcgan-celeba`` on the images of a folder (``--set dataset.path=DIR``); no departure in the settings."""
    return replace(dcgan_celeba(), name="dcgan-folder", dataset="folder")


def dcgan_mnist() -> Recipe:
    """DCGAN in a 28 x 28 form (100 -> 128-64-1 from a 7 x 7 map) with the hyperparameters of ``dcgan-celeba``.

    Departures: the form, since Radford et al. give none for this size; 10 epochs, which is 9,370 steps.
    """
    return replace(dcgan_celeba(), name="dcgan-mnist", dataset="mnist", epochs=10)


def dcgan_digits() -> Recipe:
    """As ``dcgan-mnist`` on scikit-learn's digits. Departure: 40 epochs, since an epoch has 22 steps here."""
    return replace(dcgan_celeba(), name="dcgan-digits", dataset="digits", epochs=40)
