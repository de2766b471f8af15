"""What train.py times vaebench's trainer against: loops written out in plain PyTorch, with losses written out too."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.model import GenerativeModel
from vaebench.core.recipe import Recipe
from vaebench.models.dcgan import DCGAN
from vaebench.models.vae import VAE
from vaebench.runs.recipes import build_model


class Clock:
    """Seconds of the steps after the first third, which warms up."""

    def __init__(self, steps: int, device: str) -> None:
        self._steps, self._warm, self._done, self._device = steps, max(1, steps // 3), 0, device
        self._began = self._ended = 0.0

    def tick(self) -> bool:
        """One more step is done; whether it was the last."""
        self._done += 1
        if self._done == self._warm:
            self._began = self._now()
        if self._done == self._steps:
            self._ended = self._now()
        return self._done >= self._steps

    @property
    def seconds_a_step(self) -> float:
        return (self._ended - self._began) / (self._steps - self._warm)

    def _now(self) -> float:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()


def vae_loss(model: VAE, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Binary cross-entropy summed over pixels, and the divergence from the prior: a mean over the batch."""
    mean, log_variance = model.encoder(images)
    noise = torch.randn(mean.shape, generator=generator, device=images.device)
    logits = model.decoder(mean + noise * torch.exp(0.5 * log_variance))
    reconstruction = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (reconstruction + divergence) / len(images)


def judged(model: DCGAN, images: Tensor, label: float) -> Tensor:
    """Binary cross-entropy of the discriminator's answer to images in [-1, 1] with a label."""
    logits = model.discriminator(images)
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def drawn(model: DCGAN, n: int, device: str, generator: torch.Generator | None = None) -> Tensor:
    """Images that the generator makes."""
    latents = torch.randn(n, model.latent_dim, generator=generator, device=device)
    return model.generator(latents[:, :, None, None])


def plain_loss(model: GenerativeModel, phase: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """The loss that a phase of vaebench's should have, of images in [0, 1], written out."""
    if isinstance(model, VAE):
        return vae_loss(model, images, generator)
    assert isinstance(model, DCGAN)
    made = drawn(model, len(images), str(images.device), generator)
    if phase == "generator":
        return judged(model, made, 1.0)
    return judged(model, images * 2 - 1, 1.0) + judged(model, made.detach(), 0.0)


def plain_loop(recipe: Recipe, data: ImageDataset, steps: int, device: str) -> float:
    """Seconds a step of what one writes without a toolkit: a DataLoader of float images, float32, torch's defaults."""
    model = build_model(recipe, data.image_shape, 0).to(device).train()
    clock = Clock(steps, device)
    if isinstance(model, VAE):
        _train_vae(model, _batches(to_float(data.images), recipe.batch_size, device), clock.tick)
    else:
        assert isinstance(model, DCGAN)
        _train_dcgan(model, _batches(to_float(data.images) * 2 - 1, recipe.batch_size, device), clock.tick)
    return clock.seconds_a_step


def _batches(images: Tensor, batch_size: int, device: str) -> Iterator[Tensor]:
    """Epoch after epoch."""
    loader = DataLoader(TensorDataset(images), batch_size=batch_size, shuffle=True, drop_last=True)
    while True:
        for (batch,) in loader:
            yield batch.to(device)


def _train_vae(model: VAE, batches: Iterator[Tensor], tick: Callable[[], bool]) -> None:
    optimizer = model.phases()[0].optimizer(model.parameters())
    for images in batches:
        loss = vae_loss(model, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # the loss is looked at, as a progress bar does
        if tick():
            return


def _train_dcgan(model: DCGAN, batches: Iterator[Tensor], tick: Callable[[], bool]) -> None:
    """As PyTorch's DCGAN example has it: three backward passes, and the generator learns from images made before.

    vaebench's second phase draws images of its own, one more pass through the generator; and it freezes the
    discriminator there, whose gradients the example works out and throws away.
    """
    discriminator, generator = (
        phase.optimizer([parameter for module in phase.modules for parameter in module.parameters()])
        for phase in model.phases()
    )
    for images in batches:
        model.discriminator.zero_grad()
        of_real = judged(model, images, 1.0)
        of_real.backward()
        made = drawn(model, len(images), str(images.device))
        of_made = judged(model, made.detach(), 0.0)
        of_made.backward()
        discriminator.step()
        model.generator.zero_grad()
        passing = judged(model, made, 1.0)
        passing.backward()
        generator.step()
        (of_real + of_made).item(), passing.item()  # looked at, as the example prints them
        if tick():
            return
