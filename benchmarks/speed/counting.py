"""Floating-point operations and bytes of one training step, counted by running the model's own phases once.

Operations: torch.utils.flop_counter's, of all phases with their repeats, forward and backward; matrix products and
convolutions count, what is done an element at a time does not. Bytes, at the least: what autograd keeps is written
once and read once (frozen networks' weights among it, which are read forward and backward); weights are read forward,
read backward, read and written by the optimiser; gradients are written and read; each of the optimiser's states is
read and written; images come as uint8. Whatever else a step moves is not counted, so that the true floor is no lower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from vaebench.core.dataset import to_float
from vaebench.core.model import Batch, GenerativeModel, Phase, Step
from vaebench.training.compute import Compute
from vaebench.training.operations import HOOK

Storages = dict[int, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one training step."""

    operations: int
    weights: int  # bytes of weights, gradients and optimisers' states
    activations: int  # bytes of what autograd keeps
    images: int  # bytes of uint8 images

    @property
    def moved(self) -> int:
        """All bytes."""
        return self.weights + self.activations + self.images


def count(model: GenerativeModel, images: Tensor, compute: Compute) -> Cost:
    """Of a step on a batch of uint8 images (n, c, h, w), at the precision of ``compute``; updates the model."""
    model.to(compute.device).to(memory_format=compute.memory_format)
    model.train().requires_grad_(False)
    floats = to_float(images.to(compute.device)).contiguous(memory_format=compute.memory_format)
    generator = torch.Generator(compute.device).manual_seed(0)
    step = Step(index=0, total=1, generator=generator)
    operations = weights = activations = shown = 0
    for phase in model.phases():
        with patch(HOOK), FlopCounterMode(display=False) as counter:
            kept, moved = _run(phase, Batch(images=floats), step, compute)
        repeats = phase.repeats
        operations += repeats * counter.get_total_flops()
        activations += repeats * 2 * kept
        weights += repeats * moved
        shown += (repeats - 1) * images.numel()  # repeats draw fresh images; other phases see the same ones
    return Cost(operations=operations, weights=weights, activations=activations, images=images.numel() + shown)


def _run(phase: Phase, batch: Batch, step: Step, compute: Compute) -> tuple[int, int]:
    """Loss, gradient and update of one phase: bytes that autograd kept, bytes that the update moves."""
    for module in phase.modules:
        module.requires_grad_(True)
    parameters = [parameter for module in phase.modules for parameter in module.parameters()]
    optimizer = phase.optimizer(parameters)
    trained = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: Storages = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in trained:
            kept.setdefault(place, tensor)  # held on to, lest another tensor get its place
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        with compute.autocast():
            terms = phase.loss(batch, step)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
    loss.backward()
    optimizer.step()
    for module in phase.modules:
        module.requires_grad_(False)
    return sum(part.untyped_storage().nbytes() for part in kept.values()), _update_bytes(parameters, optimizer.state)


def _update_bytes(parameters: Sequence[nn.Parameter], state: Mapping[nn.Parameter, Mapping[str, object]]) -> int:
    weights = sum(parameter.nbytes for parameter in parameters)
    gradients = sum(parameter.grad.nbytes for parameter in parameters if parameter.grad is not None)
    states = sum(
        part.nbytes
        for parameter in parameters
        for part in state[parameter].values()
        if isinstance(part, Tensor) and part.shape == parameter.shape
    )
    return 4 * weights + 2 * gradients + 2 * states
