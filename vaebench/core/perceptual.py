"""Frozen feature extractors: perceptual losses read them, nothing ever trains or saves them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vaebench.core.errors import UserError
from vaebench.core.frozen_layers import laid_out


@dataclass(frozen=True, eq=False)
class Perceptual:
    """A pretrained network cut into named stages. Deliberately no ``nn.Module``.

    A model that holds one does not see it among its submodules: ``.train()`` cannot flip it, an
    optimiser cannot reach it, a checkpoint cannot swell by it. Gradients still flow to its input.

    Attributes:
        name: registered name, e.g. ``mnist_cnn``.
        stages: layer name -> module; a layer's features are the output of all stages up to it.
        channels: input channels.
        sha256: of the weights file.
        sides: layer -> the one side of square images that it takes, of layers behind a flattening; others take any.
        remedy: what to do where a layer is asked for that these weights do not reach; empty where all are there.
    """

    name: str
    stages: Mapping[str, nn.Module]
    channels: int
    sha256: str
    remedy: str = ""
    sides: Mapping[str, int] = field(default_factory=dict)
    _laid_out: dict[tuple[str, torch.device, torch.dtype], nn.Module] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for stage in self.stages.values():
            stage.requires_grad_(False).eval()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be asked for, shallow to deep."""
        return tuple(self.stages)

    def check(self, layers: Sequence[str], channels: int, side: int | None = None) -> None:
        """Raise :class:`UserError` unless these layers exist and images of ``channels`` channels, and of ``side`` where
        it is known, fit.
        """
        unknown = [layer for layer in layers if layer not in self.stages]
        if unknown or not layers:
            mend = f"choose from {', '.join(self.layers)}" + (f", or {self.remedy}" if self.remedy else "")
            raise UserError(f"{self.name} has no layer {', '.join(unknown)!r}: {mend}")
        if channels != self.channels:
            raise UserError(f"{self.name} wants {self.channels}-channel images, not {channels}: choose another network")
        unfit = [layer for layer in layers if side is not None and self.sides.get(layer, side) != side]
        if unfit:
            fitting = [layer for layer in self.layers if layer not in self.sides]
            wanted = f"{self.sides[unfit[0]]} x {self.sides[unfit[0]]}"
            mend = f"choose from {', '.join(fitting)}, which take any size, or another network"
            raise UserError(f"{self.name}'s layer '{unfit[0]}' takes {wanted} images, not {side} x {side}: {mend}")

    def features(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Features of float images (n, c, h, w) in [0, 1] at each of ``layers``, in the order asked."""
        found: dict[str, Tensor] = {}
        hidden = images
        for name in self.stages:
            hidden = self._stage(name, images.device)(hidden)
            if name in layers:
                found[name] = hidden
            if len(found) == len(set(layers)):
                break
        return [found[layer] for layer in layers]

    def _stage(self, name: str, device: torch.device) -> nn.Module:
        """Return a stage on the device; under autocast in its precision, cast and laid out once."""
        if not torch.is_autocast_enabled(device.type):
            return self.stages[name].to(device)
        key = name, device, torch.get_autocast_dtype(device.type)
        if key not in self._laid_out:
            self._laid_out[key] = laid_out(self.stages[name], key[2]).to(device)
        return self._laid_out[key]


TRAINED = "judge-"  # names of those that are trained here begin so
