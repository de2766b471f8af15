"""Runs a phase of a training step: loss, gradients, their mean over the processes, the optimiser's step."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.model import Batch, Phase, Step
from vaebench.training.acceleration import Replayed, build_optimizer, can_be_captured
from vaebench.training.batches import TrainingBatches
from vaebench.training.checkpoint import check_schedule
from vaebench.training.compute import Compute
from vaebench.training.loss_log import Terms

Work = Callable[[Sequence[Batch], Step], Tensor]  # batches of a phase's repeats -> its terms, (repeats, terms)
log = logging.getLogger(__name__)


class PhaseRunner:
    """A phase with its optimiser and schedule.

    On a GPU its work is replayed as a CUDA graph where it can be: all of it with its repeats in one graph; of several
    processes forward and backward passes, since what they tell each other is no part of a graph.
    """

    def __init__(self, phase: Phase, compute: Compute, group: Group) -> None:
        self.phase = phase
        self.optimizer = build_optimizer(phase, compute)
        self._compute, self._group = compute, group
        self._names: tuple[str, ...] = ()
        self._schedule: LRScheduler | None = phase.schedule(self.optimizer) if phase.schedule else None
        self._gradients: Work = self._forward_and_backward
        self._work: Work = self._update
        if compute.cuda_graphs and self._can_be_replayed():
            if group.size == 1:
                self._work = Replayed(self._update, self.optimizer, phase.name)
            else:
                self._gradients = Replayed(self._forward_and_backward, self.optimizer, phase.name)

    def run(self, batches: Sequence[Batch], step: Step) -> list[Terms]:
        """Take an optimiser step on each batch; return the detached loss terms of each, empty ones where the phase
        skips the step.
        """
        self._free(True)
        values = self._work(batches, step)
        self._free(False)
        return [Terms(step.index, self.phase.name, self._names, row) for row in values]

    def end_epoch(self) -> None:
        """Step the schedule."""
        if self._schedule:
            self._schedule.step()

    def schedule_state(self) -> dict[str, object] | None:
        """Return the schedule's state for a checkpoint."""
        return self._schedule.state_dict() if self._schedule else None

    def load_schedule(self, state: object, path: Path) -> None:
        """Restore the schedule's state; :class:`UserError` if it is of another kind of schedule."""
        own = self.schedule_state()
        if self._schedule is not None and own is not None and state is not None:
            check_schedule(self._schedule, own, state, path)
            assert isinstance(state, dict)
            self._schedule.load_state_dict(state)

    def _can_be_replayed(self) -> bool:
        """Tell whether the work can be captured, and say why where it cannot."""
        if not self.phase.replayable:
            why = "its Phase does not say replayable=True"
        elif not can_be_captured(self.optimizer):
            why = f"{type(self.optimizer).__name__} counts its steps outside the GPU"
        elif self._group.size > 1 and self._compute.sync_batch_norm:
            why = "batch normalisation asks other processes (--no-sync-batch-norm lets it run with them)"
        else:
            return True
        log.info("phase %s runs without CUDA graphs: %s", self.phase.name, why)
        return False

    def _update(self, batches: Sequence[Batch], step: Step) -> Tensor:
        """Take the steps; values are (repeats, terms)."""
        rows = []
        for batch in batches:
            values = self._gradients([batch], step)[0]
            if self._names:
                self._group.average_([*_gradients(self.phase), values])
                self.optimizer.step()
                if self.phase.after_step:
                    self.phase.after_step()
            rows.append(values)
        return torch.stack(rows)

    def _forward_and_backward(self, batches: Sequence[Batch], step: Step) -> Tensor:
        """Compute the terms of one batch, (1, terms), and their sum's gradients."""
        (batch,) = batches
        with self._compute.autocast():
            terms = self.phase.loss(batch, step)
        _check_terms(self.phase.name, terms)
        self._names = tuple(terms)
        if not terms:
            return torch.empty(1, 0)
        values = torch.stack([term.float() for term in terms.values()])
        self.optimizer.zero_grad(set_to_none=True)
        values.sum().backward()
        return values.detach()[None]

    def _free(self, trainable: bool) -> None:
        for module in self.phase.modules:
            module.requires_grad_(trainable)


def take_step(runners: Sequence[PhaseRunner], batches: TrainingBatches, done: int, total: int) -> list[Terms]:
    """Run every phase of the ``done``-th of ``total`` steps, counted from 1, with its repeats; return their terms."""
    step = batches.step(done - 1, total)
    terms: list[Terms] = []
    for runner in runners:
        terms += runner.run([batches.batch(done - 1, repeat) for repeat in range(runner.phase.repeats)], step)
        if done % batches.per_epoch == 0:
            runner.end_epoch()
    return terms


def _check_terms(phase: str, terms: object) -> None:
    """Refuse what a loss may not return; what is in order costs no wait for the device.

    Raises:
        UserError: it is no mapping of names to scalar tensors.
    """
    if not isinstance(terms, Mapping):
        raise UserError(
            f"the loss of phase {phase} returns {type(terms).__name__}: return {{'name': scalar tensor, ...}}"
        )
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.numel() != 1 or term.ndim:
            found = f"has the shape {tuple(term.shape)}" if isinstance(term, Tensor) else f"is {type(term).__name__}"
            raise UserError(f"loss term '{name}' of phase {phase} {found}: return a scalar tensor, such as its mean")


def _gradients(phase: Phase) -> list[Tensor]:
    parameters = (parameter for module in phase.modules for parameter in module.parameters())
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
