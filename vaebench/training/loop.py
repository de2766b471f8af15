"""The training loop. VAEs, GANs and hybrids share it: a training step is a list of phases.

Per phase: unfreeze exactly its modules, sum its terms, average gradients over the processes, step, refreeze
(:mod:`vaebench.training.phases`). The loop checks that all loss terms are finite whenever it writes a row of the
history and before it saves a checkpoint.

A batch normalisation layer in a frozen phase keeps updating its running statistics, as in the reference
implementations of DCGAN and WGAN: the whole model stays in training mode throughout.

The seed and the training position determine the order of the images and the random noise, so a checkpoint holds the
weights, the optimisers and the position, and nothing else. The number of processes changes neither order nor noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import Interrupted, UserError
from vaebench.core.memory import forget_peak_memory, keep_freed_memory, peak_memory
from vaebench.core.model import GenerativeModel, Phase, trained_modules
from vaebench.core.training_facts import TrainingFacts
from vaebench.runs import history
from vaebench.runs.history import Progress
from vaebench.runs.record import RunFolder
from vaebench.runs.weights import count_parameters
from vaebench.trackers.tracking import Tracking
from vaebench.training import gan_diagnostics
from vaebench.training.acceleration import compile_modules
from vaebench.training.batches import TrainingBatches
from vaebench.training.checkpoint import Position, Saver, load_state
from vaebench.training.compute import Compute
from vaebench.training.loss_log import LossLog
from vaebench.training.phases import PhaseRunner, take_step
from vaebench.training.sync_batch_norm import has_batch_norm, synchronise_batch_norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a run is trained, and how it is logged and saved."""

    seed: int
    batch_size: int  # of all processes together
    steps: int
    compute: Compute
    log_every: int = 100  # steps
    save_every: float = 60.0  # seconds
    snapshots: tuple[int, ...] = ()  # steps after which the model is kept as it is then
    pictures: tuple[int, ...] = ()  # steps after which its samples are shown


def check_optimisers(model: GenerativeModel, compute: Compute) -> None:
    """Build each phase's optimiser and schedule once; :class:`UserError` if one refuses its settings."""
    phases: object = model.phases()  # of a user's own class: anything
    if not (isinstance(phases, Sequence) and phases and all(isinstance(phase, Phase) for phase in phases)):
        kind, found = type(model).__name__, type(phases).__name__
        raise UserError(f"{kind}.phases() returns {found}: return a list of one vaebench.core.model.Phase or more")
    for phase in phases:
        try:
            PhaseRunner(phase, replace(compute, cuda_graphs=False), ALONE)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"phase {phase.name} cannot be trained ({error}): change it with --set") from error


def train(
    model: GenerativeModel,
    data: ImageDataset,
    plan: Plan,
    folder: RunFolder,
    *,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    on_resumed: Callable[[], object] = lambda: None,
    keep: Callable[[Mapping[str, nn.Module], TrainingFacts], None] = lambda modules, facts: None,
    show_samples: Callable[[int], None] = lambda step: None,
    tracking: Tracking | None = None,
    group: Group = ALONE,
) -> TrainingFacts:
    """Train ``model`` in place to ``plan.steps``, from the checkpoint in ``folder`` if there is one.

    Every process of ``group`` calls it alike; the first one writes. ``on_resumed`` is called once a state has been read
    and fits: until then nothing in the folder has changed. ``keep`` takes the modules after each step of
    ``plan.snapshots``, with the facts of the training so far, and ``show_samples`` the number of each step of
    ``plan.pictures``, in every process. ``tracking`` gets the history's rows, those from before a resume too. Raises
    :class:`UserError` where a loss is not finite or the data hold less than a batch, and :class:`Interrupted` once
    ``should_stop`` of any says so, after saving.
    """
    torch.set_num_threads(plan.compute.threads)
    keep_freed_memory()
    batches = TrainingBatches(data, seed=plan.seed, batch_size=plan.batch_size, compute=plan.compute, group=group)
    model.to(batches.device).to(memory_format=plan.compute.memory_format)
    model.train().requires_grad_(False)
    forget_peak_memory(batches.device)
    together = plan.compute.sync_batch_norm and has_batch_norm(model)
    runners = [PhaseRunner(phase, replace(plan.compute, sync_batch_norm=together), group) for phase in model.phases()]
    modules = trained_modules(model, [runner.phase for runner in runners])
    adversaries = {runner.phase.name: runner.phase.adversary for runner in runners if runner.phase.adversary}
    observe = _Observer(model, batches) if adversaries else None
    found, row, rows = _restore(folder, modules, runners, plan, on_resumed)
    past = _History(rows, adversaries)
    tracking = tracking or Tracking()
    tracking.begin(rows)
    if together:
        synchronise_batch_norm(model, group)
    if plan.compute.compile:
        compile_modules(modules, [runner.phase for runner in runners])
    loss_log = LossLog(
        steps=plan.steps,
        batch_size=plan.batch_size,
        per_epoch=batches.per_epoch,
        spent=found.seconds,
        start=found.step,
        group=group,
    )
    loss_log.resume(found.row, row)

    with Saver(folder.state, modules, [runner.optimizer for runner in runners], every=plan.save_every) as saver:
        for done in range(found.step + 1, plan.steps + 1):
            for terms in take_step(runners, batches, done, plan.steps):
                loss_log.add(terms)
            stop, show, save = group.any(should_stop(), loss_log.is_due(), group.leads and saver.is_due())
            if done % plan.log_every == 0 or done == plan.steps:
                newest = past.add(loss_log.read(done, observe))
                if done % plan.log_every == 0:  # a last row that is shorter is continued if the training is extended
                    loss_log.begin(done)
                on_progress(newest)
                tracking.row(newest)
            elif show:
                on_progress(loss_log.read(done))
            if done in plan.snapshots:  # before a checkpoint: what is resumed after it would not come by here again
                loss_log.check(done, modules)
                keep(modules, _facts(plan, done, modules, loss_log.seconds, batches.device))
            if done in plan.pictures:
                show_samples(done)
            if save or stop or done == plan.steps:
                loss_log.check(done, modules)
                if group.leads:
                    position, row = _position(done, loss_log, runners)
                    saver.save(position, past.texts(folder), row)
            if stop and done < plan.steps:
                raise Interrupted(f"stopped at step {done} of {plan.steps}" if group.leads else "")
    return _facts(plan, plan.steps, modules, loss_log.seconds, batches.device)


class _History:
    """The rows so far, and the warnings that they cause in a game of adversaries."""

    def __init__(self, rows: list[Progress], adversaries: Mapping[str, str]) -> None:
        self._rows, self._adversaries = rows, adversaries
        self._warned = gan_diagnostics.log_text(rows, adversaries)

    def add(self, row: Progress) -> Progress:
        """Append a row, and return it with the warnings that it causes."""
        self._rows.append(row)
        new = gan_diagnostics.warnings(self._rows, self._adversaries)
        self._warned += "".join(f"{text}\n" for text in new)
        return replace(row, warnings=tuple(new))

    def texts(self, folder: RunFolder) -> dict[Path, str]:
        """Return the files that belong beside a checkpoint, by path."""
        warned = {folder.warnings: self._warned} if self._adversaries else {}
        return {folder.history: history.to_text(self._rows), **warned}


def _facts(
    plan: Plan, steps: int, modules: Mapping[str, nn.Module], seconds: float, device: torch.device | str
) -> TrainingFacts:
    """Collect the facts of so many steps. Peak memory is that of the last part of a resumed training, and of rank 0."""
    return TrainingFacts(
        parameters=count_parameters(modules.values()),
        images_per_second=steps * plan.batch_size / max(seconds, 1e-9),
        seconds=seconds,
        steps=steps,
        images=steps * plan.batch_size,
        peak_memory=peak_memory(device),
    )


class _Observer:
    """GAN diagnostics during training: the same latents and real images are used at every row."""

    def __init__(self, model: GenerativeModel, batches: TrainingBatches) -> None:
        self._model = model
        draw = seeding.generator(batches.seed, "vitals")
        self._latents = torch.randn(gan_diagnostics.SAMPLES, model.latent_dim, generator=draw).to(batches.device)
        self._real = batches.pixels(torch.randperm(len(batches), generator=draw)[: gan_diagnostics.SAMPLES])

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        samples = self._model.eval().decode(self._latents)  # as an evaluation will see them
        self._model.train()
        return gan_diagnostics.of_samples(samples, self._real)


def _position(step: int, loss_log: LossLog, runners: Sequence[PhaseRunner]) -> tuple[Position, dict[str, Tensor]]:
    """Return the training's position, and the tensors of the history's unfinished row."""
    row, tensors = loss_log.open_row()
    schedules = [runner.schedule_state() for runner in runners]
    return Position(step=step, seconds=loss_log.seconds, schedules=schedules, row=row), tensors


def _restore(
    folder: RunFolder,
    modules: Mapping[str, nn.Module],
    runners: Sequence[PhaseRunner],
    plan: Plan,
    on_resumed: Callable[[], object],
) -> tuple[Position, dict[str, Tensor], list[Progress]]:
    """Load the checkpoint into weights, optimisers and schedules; return position, unfinished row and history so far.

    If the number of steps was raised, the result is that of a training which had been this long from the start: the
    last row of the history, which the earlier end cut short, is continued.
    """
    if not folder.state.exists():
        return Position(step=0, seconds=0.0), {}, []
    found, row = load_state(folder.state, modules, [runner.optimizer for runner in runners], plan.steps)
    if len(found.schedules) != len(runners):
        raise UserError(f"{folder.state} is of a recipe with {len(found.schedules)} schedules: train it anew")
    for runner, state in zip(runners, found.schedules, strict=True):
        runner.load_schedule(state, folder.state)
    log = [replace(line, steps=plan.steps) for line in history.read(folder.history) if line.step <= found.step]
    if log and found.row is not None and found.row.begun < log[-1].step < plan.steps:
        log.pop()
    on_resumed()
    return found, row, log
