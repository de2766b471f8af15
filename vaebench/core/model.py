"""The types that trainer and evaluator see of a generative model: phases, a decoder, perhaps a posterior."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Training images: float32 (n, c, h, w) in [0, 1]; labels int64 (n,) where the dataset has them."""

    images: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The training's position, and the step's own source of randomness.

    Attributes:
        index: optimisation steps done before this one.
        total: steps of the whole training.
        generator: on the model's device; seeded by (seed, index), shared by the step's phases in turn. Draw from it
            by :func:`vaebench.core.seeding.normal` and ``uniform``, which know of other processes' rows.
    """

    index: int
    total: int
    generator: torch.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One optimiser's share of a training step.

    Attributes:
        name: prefixes its terms in the log.
        modules: exactly what it updates; everything else is frozen while it runs.
        loss: weighted scalar terms by name; the trainer sums them, checks that they are finite, logs them. No terms:
            the phase sits this step out.
        optimizer: called with the parameters of ``modules``.
        schedule: stepped by the trainer once an epoch.
        repeats: how often the phase runs per training step (critic steps). The first time on the step's batch, then
            each time on a fresh one, as Arjovsky et al. 2017 and Gulrajani et al. 2017 sample (algorithms 1).
        after_step: called after each optimiser step (weight clipping).
        replayable: whether the phase does the same at every step, and reads nothing of it but its generator: then its
            work may be captured once and replayed (``--cuda-graphs``).
        adversary: what the phase trains against the others: a ``discriminator``, a Wasserstein ``critic``, or
            nothing. Where there is one, the trainer watches for what such games fail by
            (:mod:`vaebench.training.gan_diagnostics`); the other phases call their part of the game ``adversarial``.
    """

    name: str
    modules: Sequence[nn.Module]
    loss: Callable[[Batch, Step], Mapping[str, Tensor]]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    schedule: Callable[[Optimizer], LRScheduler] | None = None
    repeats: int = 1
    replayable: bool = False
    after_step: Callable[[], None] | None = None
    adversary: Literal["discriminator", "critic"] | None = None


class GenerativeModel(nn.Module, ABC):
    """Draws images from latents. Families differ by their phases, never by their trainer."""

    latent_dim: int

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """The optimisers' shares of one training step, in order; cheap, and the same at every call."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Latents float32 (n, latent_dim) -> images float32 (n, c, h, w) in [0, 1]."""


class Autoencoder(GenerativeModel):
    """A generative model that also encodes."""

    @abstractmethod
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, c, h, w) in [0, 1] -> mean and log-variance of q(z|x), each float32 (n, latent_dim)."""


def trained_modules(model: GenerativeModel, phases: Sequence[Phase]) -> dict[str, nn.Module]:
    """The modules that the phases update, each once, by their names in the model.

    Their union is what a checkpoint holds: a perceptual network is in no phase, so it is never saved.
    """
    wanted = {id(module) for phase in phases for module in phase.modules}
    found = {name: module for name, module in model.named_modules() if id(module) in wanted}
    if len(found) != len(wanted):
        raise TypeError(f"a phase of {type(model).__name__} updates a module that the model does not hold")
    return found
