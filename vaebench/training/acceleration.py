"""Faster ways to the same step: fused optimisers, compiled modules, whole phases replayed as CUDA graphs.

Each is a field of :class:`vaebench.training.compute.Compute`, can be switched off, and is held against the plain path
in ``tests/training/test_fast_paths.py``.
"""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaebench.core.errors import first_line
from vaebench.core.model import Batch, Phase, Step
from vaebench.training.compute import Compute

log = logging.getLogger(__name__)
WARM_UP = 3  # steps before a capture, in which libraries choose their algorithms and optimisers make their state


def build_optimizer(phase: Phase, compute: Compute) -> Optimizer:
    """Build the phase's optimiser over its modules' parameters, fused if its constructor can.

    What the phase has chosen itself, as a keyword of a ``functools.partial``, stays.
    """
    parameters = [parameter for module in phase.modules for parameter in module.parameters()]
    known = inspect.signature(phase.optimizer).parameters
    chosen = set(getattr(phase.optimizer, "keywords", ()))
    wanted: dict[str, Any] = {
        "fused": compute.fused and not chosen & {"fused", "foreach", "differentiable"},
        "capturable": compute.cuda_graphs and "capturable" not in chosen,
    }
    return phase.optimizer(parameters, **{name: True for name, asked in wanted.items() if asked and name in known})


def can_be_captured(optimizer: Optimizer) -> bool:
    """Tell whether the optimiser's step can be replayed as a CUDA graph: it counts nothing outside the device."""
    return isinstance(optimizer, torch.optim.SGD) or bool(optimizer.defaults.get("capturable"))


def compile_modules(modules: Mapping[str, nn.Module], phases: Sequence[Phase]) -> None:
    """Compile all modules with torch.compile except critics, whose gradient penalty differentiates twice, which
    compiled modules refuse.
    """
    critics = [module for phase in phases if phase.adversary == "critic" for module in phase.modules]
    for module in modules.values():
        if module not in critics:
            module.compile()


class Replayed:
    """A phase's work on the batches of its repeats, captured once as a CUDA graph and replayed.

    The first steps are done plainly on a stream of their own, as the capture's rules want; they count as any other.
    Batches must keep their shape, and the work must read nothing of a step but its generator (``Phase.replayable``).
    Work that cannot be captured after all is done plainly, and a warning says so once.
    """

    def __init__(self, work: Callable[[Sequence[Batch], Step], Tensor], optimizer: Optimizer, name: str) -> None:
        self._work, self._optimizer, self._name = work, optimizer, name
        self._side = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._refused = False
        self._steps = 0

    def __call__(self, batches: Sequence[Batch], step: Step) -> Tensor:
        self._steps += 1
        if self._steps > WARM_UP and self._graph is None and not self._refused:
            self._try_to_capture(batches, step)
        if self._graph is None:
            return self._plainly(batches, step)
        for place, batch in zip(self._batches, batches, strict=True):
            place.images.copy_(batch.images)
            if place.labels is not None and batch.labels is not None:
                place.labels.copy_(batch.labels)
        self._graph.replay()
        return self._terms.clone()  # the next replay writes over it

    def _plainly(self, batches: Sequence[Batch], step: Step) -> Tensor:
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            terms = self._work(batches, step)
        torch.cuda.current_stream().wait_stream(self._side)
        return terms

    def _try_to_capture(self, batches: Sequence[Batch], step: Step) -> None:
        for group in self._optimizer.param_groups:  # as a tensor, so that schedules reach the graph
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=batches[0].images.device)
        self._batches = [
            Batch(images=batch.images.clone(), labels=None if batch.labels is None else batch.labels.clone())
            for batch in batches
        ]
        self._optimizer.zero_grad(set_to_none=True)
        stream, noise = torch.cuda.current_stream(), step.generator.get_state()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(step.generator)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # checkpoints go on
                self._terms = self._work(self._batches, step)
        except RuntimeError as error:
            self._refused = True
            # torch leaves a broken capture half open: on its stream, and with a generator that may not be drawn from
            torch.cuda.set_stream(stream)
            fresh = torch.Generator(step.generator.device)
            fresh.set_state(noise)
            step.generator.graphsafe_set_state(fresh.graphsafe_get_state())
            log.warning(
                "phase %s cannot be captured as a CUDA graph (%s): it runs plainly", self._name, first_line(error)
            )
        else:
            self._graph = graph
