"""THE optimisation loop. VAE, GAN and hybrid share it: a training step is a list of phases.

Per phase: unfreeze exactly its modules, sum its terms, check that they are finite, step, refreeze.

A batch normalisation layer in a frozen phase keeps updating its running statistics, as in the reference
implementations of DCGAN and WGAN: the whole model stays in training mode throughout.

Order and noise are functions of (seed, position), so the position is all that a checkpoint adds to weights and
optimisers.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vaebench import history, vitals
from vaebench.checkpoints import RunFolder, count_parameters, load_state, save_state
from vaebench.compute import Compute, forget_peak_memory, keep_freed_memory, peak_memory
from vaebench.core import seeding
from vaebench.core.context import TrainingFacts
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import Interrupted, UserError
from vaebench.core.model import Batch, GenerativeModel, Phase, Step, trained_modules
from vaebench.core.places import write_text
from vaebench.feed import Feed
from vaebench.history import Progress

SHOW_EVERY = 1.0  # seconds between signs of life, for those who watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how a run is trained, logged and saved."""

    seed: int
    batch_size: int
    steps: int
    compute: Compute
    log_every: int = 100  # steps
    save_every: float = 60.0  # seconds


def check_optimisers(model: GenerativeModel) -> None:
    """Build each phase's optimiser and schedule once; :class:`UserError` where one refuses its settings."""
    for phase in model.phases():
        try:
            _PhaseRunner(phase)
        except (ValueError, TypeError) as error:
            raise UserError(f"phase {phase.name} cannot be trained ({error}): change it with --set") from error


def train(
    model: GenerativeModel,
    data: ImageDataset,
    plan: Plan,
    folder: RunFolder,
    *,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> TrainingFacts:
    """Train ``model`` in place to ``plan.steps``, from the state in ``folder`` where there is one.

    Raises :class:`UserError` where a loss is not finite or the data hold less than a batch, and
    :class:`Interrupted` once ``should_stop`` says so, after saving.
    """
    torch.set_num_threads(plan.compute.threads)
    keep_freed_memory()
    feed = Feed(data, seed=plan.seed, batch_size=plan.batch_size, compute=plan.compute)
    model.to(feed.device).to(memory_format=plan.compute.memory_format)
    model.train().requires_grad_(False)
    forget_peak_memory(feed.device)
    workers = [_PhaseRunner(phase) for phase in model.phases()]
    modules = trained_modules(model, [worker.phase for worker in workers])
    adversaries = {worker.phase.name: worker.phase.adversary for worker in workers if worker.phase.adversary}
    observe = _Observer(model, feed) if adversaries else None
    start, spent, log = _restore(folder, modules, workers)
    warned = vitals.log_text(log, adversaries)
    if plan.compute.compile:
        _compile(modules, workers)
    meter = _Meter(plan, feed.per_epoch, spent, start)

    def save(step: int) -> float:
        write_text(folder.history, history.to_text(log))
        if adversaries:
            write_text(folder.warnings, warned)
        _save_state(folder, modules, workers, step, meter.seconds)
        return time.monotonic()

    saved_at = time.monotonic()
    for done in range(start + 1, plan.steps + 1):
        step = feed.step(done - 1, plan.steps)
        for worker in workers:
            for repeat in range(worker.phase.repeats):
                meter.add(worker.run(feed.batch(done - 1, repeat), step, plan.compute))
            if done % feed.per_epoch == 0:
                worker.end_epoch()
        if done % plan.log_every == 0 or done == plan.steps:
            log.append(meter.read(done, observe() if observe else {}))
            meter.begin(done)
            new = vitals.warnings(log, adversaries)
            warned += "".join(f"{text}\n" for text in new)
            on_progress(replace(log[-1], warnings=tuple(new)))
        elif meter.is_due():
            on_progress(meter.read(done))
        if should_stop() and done < plan.steps:
            save(done)
            raise Interrupted(f"stopped at step {done} of {plan.steps}")
        if done == plan.steps or time.monotonic() - saved_at > plan.save_every:
            saved_at = save(done)
    return _facts(plan, modules, meter.seconds, feed.device)


def _facts(plan: Plan, modules: Mapping[str, nn.Module], seconds: float, device: torch.device | str) -> TrainingFacts:
    """Of a training that went on after a stop, the memory is of its last part."""
    return TrainingFacts(
        parameters=count_parameters(modules.values()),
        images_per_second=plan.steps * plan.batch_size / max(seconds, 1e-9),
        seconds=seconds,
        steps=plan.steps,
        peak_memory=peak_memory(device),
    )


def _compile(modules: Mapping[str, nn.Module], workers: "Sequence[_PhaseRunner]") -> None:
    """torch.compile all but critics: a gradient penalty differentiates twice, which compiled modules refuse."""
    critics = [module for worker in workers if worker.phase.adversary == "critic" for module in worker.phase.modules]
    for module in modules.values():
        if module not in critics:
            module.compile()


class _Observer:
    """The state of the samples in numbers: the same latents and real images all through a training."""

    def __init__(self, model: GenerativeModel, feed: Feed) -> None:
        self._model = model
        draw = seeding.generator(feed.seed, "vitals")
        self._latents = torch.randn(vitals.SAMPLES, model.latent_dim, generator=draw).to(feed.device)
        self._real = feed.pixels(torch.randperm(len(feed), generator=draw)[: vitals.SAMPLES].to(feed.device))

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        samples = self._model.eval().decode(self._latents)  # as an evaluation will see them
        self._model.train()
        return vitals.of_samples(samples, self._real)


class _PhaseRunner:
    """A phase with its optimiser and schedule."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        parameters = [parameter for module in phase.modules for parameter in module.parameters()]
        self.optimizer: Optimizer = phase.optimizer(parameters)
        self._schedule: LRScheduler | None = phase.schedule(self.optimizer) if phase.schedule else None

    def run(self, batch: Batch, step: Step, compute: Compute) -> dict[str, Tensor]:
        """One optimiser step; its terms, detached, as ``phase/term``. None where the phase sits the step out."""
        self._free(True)
        with compute.autocast():
            terms = self.phase.loss(batch, step)
        if not terms:
            self._free(False)
            return {}
        total = torch.stack([term.float() for term in terms.values()]).sum()
        if not torch.isfinite(total):
            raise UserError(_not_finite(self.phase, terms, step))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        if self.phase.after_step:
            self.phase.after_step()
        self._free(False)
        return {f"{self.phase.name}/{name}": term.detach() for name, term in terms.items()}

    def _free(self, trainable: bool) -> None:
        for module in self.phase.modules:
            module.requires_grad_(trainable)

    def end_epoch(self) -> None:
        if self._schedule:
            self._schedule.step()

    def schedule_state(self) -> dict[str, object] | None:
        return self._schedule.state_dict() if self._schedule else None

    def load_schedule(self, state: dict[str, object] | None) -> None:
        if self._schedule and state:
            self._schedule.load_state_dict(state)


def _not_finite(phase: Phase, terms: Mapping[str, Tensor], step: Step) -> str:
    bad = [f"{phase.name}/{name} is {term.item()}" for name, term in terms.items() if not torch.isfinite(term)]
    what = ", ".join(bad) or f"the sum of {phase.name}'s terms is not finite"
    return f"loss not finite at step {step.index}: {what}: lower learning_rate with --set, or try --precision fp32"


class _Meter:
    """Sums loss terms on the device and reads their means, with the rate, when a row is due."""

    def __init__(self, plan: Plan, per_epoch: int, spent: float, start: int) -> None:
        self._plan, self._per_epoch, self._spent = plan, per_epoch, spent
        self._began = time.monotonic()
        self.begin(start)

    @property
    def seconds(self) -> float:
        return self._spent + time.monotonic() - self._began

    def begin(self, step: int) -> None:
        """A new row starts after ``step``."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._since = (step, self.seconds)
        self._shown = self.seconds

    def add(self, terms: Mapping[str, Tensor]) -> None:
        for name, term in terms.items():
            self._sums[name] = self._sums[name] + term.float() if name in self._sums else term.float()
            self._counts[name] = self._counts.get(name, 0) + 1

    def is_due(self) -> bool:
        """Whether someone who watches should be shown where training stands, row or no row."""
        return self.seconds - self._shown > SHOW_EVERY

    def read(self, step: int, observed: Mapping[str, float] | None = None) -> Progress:
        steps, seconds = step - self._since[0], self.seconds - self._since[1]
        self._shown = self.seconds
        return Progress(
            step=step,
            steps=self._plan.steps,
            epoch=step / self._per_epoch,
            seconds=self.seconds,
            images_per_second=steps * self._plan.batch_size / max(seconds, 1e-9),
            terms={
                **{name: (total / self._counts[name]).item() for name, total in self._sums.items()},
                **(observed or {}),
            },
        )


def _save_state(
    folder: RunFolder, modules: Mapping[str, nn.Module], workers: Sequence[_PhaseRunner], step: int, seconds: float
) -> None:
    schedules = [worker.schedule_state() for worker in workers]
    position = {"step": step, "seconds": seconds, "schedules": schedules}
    save_state(folder.state, modules, [worker.optimizer for worker in workers], position)


def _restore(
    folder: RunFolder, modules: Mapping[str, nn.Module], workers: Sequence[_PhaseRunner]
) -> tuple[int, float, list[Progress]]:
    """Step, seconds spent and history so far; weights, optimisers and schedules are filled."""
    if not folder.state.exists():
        return 0, 0.0, []
    position = load_state(folder.state, modules, [worker.optimizer for worker in workers])
    for worker, state in zip(workers, position["schedules"], strict=True):  # as many as optimisers, checked above
        worker.load_schedule(state)
    step = int(position["step"])
    return step, float(position["seconds"]), [row for row in history.read(folder.history) if row.step <= step]
