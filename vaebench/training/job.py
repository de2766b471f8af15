"""Train one run in its folder: claims the folder, resumes an unfinished run, leaves a finished one unchanged."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

from torch import nn

from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import Busy, Interrupted, UserError
from vaebench.core.files import exclusive, make_dir, remove_leftovers
from vaebench.core.interrupts import noted
from vaebench.core.model import trained_modules
from vaebench.core.paths import runs_dir
from vaebench.core.recipe import Recipe
from vaebench.core.training_facts import TrainingFacts
from vaebench.runs.history import Progress
from vaebench.runs.provenance import command_line, now, package_versions
from vaebench.runs.recipe_files import is_file_reference, trust
from vaebench.runs.recipes import build_model
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.runs.weights import finish
from vaebench.trackers import Wanted
from vaebench.trackers.tracking import Tracking
from vaebench.training.compute import Compute, describe
from vaebench.training.loop import Plan, check_optimisers, train
from vaebench.training.operations import training_flops
from vaebench.training.tracked import OnSamples, numbers_of, show_samples, tracked_run

# of a run that goes on, the settings that decide the last bits are those that it was begun with
DECISIVE = ("precision", "channels_last", "compile", "threads", "fused", "sync_batch_norm")
PLACE_OF_TRAINING = (
    "device",
    "machine",
    "processes",
)  # what may change from one sitting to the next, and changes the rate

EIGHTHS = tuple(part / 8 for part in range(1, 8))  # of a training, after which its samples are shown
Outcome = Literal["trained", "finished", "busy"]  # finished: before this; busy: another process is at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training to do: a configured recipe, its reference, a seed, a length, and the shares of it after which the
    model is kept as it is then.
    """

    recipe: Recipe
    reference: str
    seed: int
    steps: int | None = None
    epochs: int | None = None
    snapshots: tuple[float, ...] = ()  # in (0, 1)

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(runs_dir() / self.recipe.name / f"seed-{self.seed}")

    def length(self, images: int) -> int:
        """Return the steps of the training on so many images: those that are asked for, or of whole epochs."""
        epochs = self.recipe.epochs if self.epochs is None else self.epochs
        return images // self.recipe.batch_size * epochs if self.steps is None else self.steps

    def is_finished(self) -> bool:
        """Tell whether the run's record says that it is finished."""
        return self.folder.record_file.exists() and self.folder.read_record().status == "finished"


def train_run(
    job: Job,
    data: ImageDataset,
    compute: Compute,
    *,
    resume: bool,
    save_every: float,
    on_progress: Callable[[Progress], None],
    trackers: Sequence[Wanted] = (),
    on_samples: OnSamples | None = None,
    group: Group = ALONE,
) -> Outcome:
    """Train one run in its folder, all processes of ``group`` together. Nothing that exists is lost.

    Args:
        job: what to train.
        data: its training images.
        compute: how; a found record decides what decides the last bits.
        resume: continue an unfinished run.
        save_every: seconds between checkpoints.
        on_progress: called with rows of the history, and with live progress between them.
        trackers: what rank 0 passes the history's rows, samples and the final facts to, beside ``history.csv``.
        on_samples: called after each eighth of the training and at snapshots with a function that draws samples,
            uint8 (n, h, w, c), always of the same latents.
        group: processes that share the training.

    Returns:
        ``trained``; ``finished`` if it was before; ``busy`` if another process trains it.

    Raises:
        UserError: the folder holds another training, or an interrupted one and ``resume`` is not set.
        Interrupted: SIGINT or SIGTERM came, and the state is saved.
    """
    model = build_model(job.recipe, data.image_shape, job.seed)  # first: refused settings must leave no folder behind
    check_optimisers(model, compute)
    with ExitStack() as held:
        claimed = group.led(partial(_claim_folder, held, job, data, compute, resume=resume))
        if claimed is None:
            return "busy"
        if group.leads and is_file_reference(job.reference):
            trust(job.reference, runs_dir())
        record, compute = claimed
        group.agree(data.fingerprint, f"processes have different {data.name} images: give all the same VAEBENCH_DATA")
        if record.status == "finished":
            return "finished"
        plan = Plan(
            seed=job.seed,
            batch_size=record.batch_size,
            steps=record.steps,
            compute=compute,
            save_every=save_every,
            snapshots=tuple(snapshot_steps(job.snapshots, record.steps)),
            pictures=tuple(snapshot_steps([*EIGHTHS, *job.snapshots], record.steps)),
        )
        flops = training_flops(job.recipe, data) if job.snapshots and group.leads else 0.0
        tracking = Tracking(tracked_run(job.folder, record), trackers if group.leads else ())
        show = partial(show_samples, model, job.seed, tracking, on_samples)
        with noted() as should_stop, tracking:
            facts = train(
                model,
                data,
                plan,
                job.folder,
                on_progress=on_progress,
                should_stop=should_stop,
                on_resumed=partial(job.folder.write_record, record) if group.leads else lambda: None,
                keep=partial(_keep, job.folder, record, flops) if group.leads else lambda modules, facts: None,
                show_samples=show if group.leads else lambda step: None,
                tracking=tracking,
                group=group,
            )
            if group.leads:
                facts = _counted(facts, flops)
                finish(job.folder, record, trained_modules(model, model.phases()), facts)
                show_samples(model, job.seed, tracking, None, facts.steps)
                tracking.final(facts.steps, numbers_of(facts))
            (stop,) = group.any(should_stop())
            if stop:
                said = f"{job.folder.path} is finished, what comes after it is not begun"
                raise Interrupted(said if group.leads else "")
    return "trained"


def snapshot_steps(shares: Iterable[float], steps: int) -> list[int]:
    """Return the steps that end parts of a training: the first at least, and not the last, which is the run."""
    return sorted({max(1, round(share * steps)) for share in shares} - {steps})


def lacking_snapshots(job: Job) -> list[int]:
    """Return the steps of a finished run at which the job wants a snapshot and there is none."""
    if not job.snapshots:
        return []
    wanted = snapshot_steps(job.snapshots, job.folder.read_record().steps)
    return [step for step in wanted if not job.folder.snapshot(step).record_file.exists()]


def _keep(
    folder: RunFolder,
    record: RunRecord,
    flops: float,
    modules: Mapping[str, nn.Module],
    facts: TrainingFacts,
) -> None:
    """Write the model as it is now into a folder of its own, as a finished run of so many steps."""
    kept = folder.snapshot(facts.steps)
    make_dir(kept.path)
    finish(kept, replace(record, steps=facts.steps), modules, _counted(facts, flops))


def _counted(facts: TrainingFacts, flops: float) -> TrainingFacts:
    """Add the operations of all steps, where those of one were counted."""
    return replace(facts, flops=flops * facts.steps)


def _claim_folder(
    held: ExitStack, job: Job, data: ImageDataset, compute: Compute, *, resume: bool
) -> tuple[RunRecord, Compute] | None:
    """Lock the folder until ``held`` closes or this process ends; None if another process has it."""
    make_dir(job.folder.path)
    try:
        held.enter_context(exclusive(job.folder.path, wait=False))
    except Busy:
        return None
    remove_leftovers(job.folder.path)
    return _claim(job, data, compute, resume=resume)


def _claim(job: Job, data: ImageDataset, compute: Compute, *, resume: bool) -> tuple[RunRecord, Compute]:
    """Return the run's record, new or found, and its compute settings; a found record decides them, since they decide
    the last bits.
    """
    folder = job.folder
    wanted = _new_record(job, data, compute)
    if not folder.exists():
        folder.write_record(wanted)
        return wanted, compute
    found = folder.read_record()
    if resume and job.steps is None and job.epochs is None:
        wanted = replace(wanted, steps=found.steps)  # go on as begun, unless a length is asked for
    conflicts = found.conflicts(wanted)
    if conflicts and found.status != "finished" and not folder.state.exists():
        folder.write_record(wanted)  # it failed before its first checkpoint: there is nothing to lose
        found, conflicts = wanted, []
        resume = True
    if resume and _extends(wanted, found, folder):
        found = replace(found, steps=wanted.steps, status="training", weights_sha256="", facts={})
    elif conflicts:
        raise UserError(
            f"{folder.path} holds a run with other {', '.join(conflicts)} ({'; '.join(found.differences(wanted))}): "
            "move it away, or train into another place (VAEBENCH_RUNS=DIR)"
        )
    if found.status != "finished" and not resume:
        raise UserError(f"{folder.path} holds an interrupted run: add --resume to go on, or move the folder away")
    if found.status == "finished" and not folder.weights.exists():
        raise UserError(f"{folder.weights} is missing: restore it, or move {folder.path} away and train again")
    return _gone_on(found, compute, folder)


def _extends(wanted: RunRecord, found: RunRecord, folder: RunFolder) -> bool:
    """Tell whether a training asks for more steps of the one that is found, and nothing else."""
    return found.conflicts(wanted) == ["steps"] and found.steps < wanted.steps and folder.state.exists()


def differences(job: Job, data: ImageDataset, compute: Compute) -> list[str]:
    """Say how the run in a job's folder is another training, which :func:`train_run` would refuse to go on with."""
    folder = job.folder
    if not folder.record_file.exists():
        return []
    found, wanted = folder.read_record(), _new_record(job, data, compute)
    begun_in_vain = found.status != "finished" and not folder.state.exists()
    return [] if begun_in_vain or _extends(wanted, found, folder) else found.differences(wanted)


def _gone_on(found: RunRecord, compute: Compute, folder: RunFolder) -> tuple[RunRecord, Compute]:
    """Return the record and compute settings of a resumed run; the record says when it was resumed, and what differs.

    It is written by the training, once the state is known to fit.
    """
    unrecorded = {one.name: one.default for one in fields(Compute) if one.name in DECISIVE}  # by earlier versions
    begun = {name: found.compute.get(name, default) for name, default in unrecorded.items()}
    compute = replace(compute, **begun)
    now_is = describe(compute)
    if found.status == "finished" or not folder.state.exists():
        return found, compute
    resumed_at = now()
    found = replace(found, resumed=[*found.resumed, resumed_at])
    if any(found.compute.get(name) not in (now_is[name], None) for name in PLACE_OF_TRAINING):
        before = {name: found.compute.get(name) for name in PLACE_OF_TRAINING}
        earlier = [*found.compute.get("earlier", []), {**before, "resumed": resumed_at}]
        found = replace(found, compute={**now_is, "earlier": earlier})
    return found, compute


def _new_record(job: Job, data: ImageDataset, compute: Compute) -> RunRecord:
    recipe = job.recipe
    per_epoch = len(data) // recipe.batch_size
    if per_epoch < 1:
        raise UserError(f"{data.name} has {len(data)} training images, less than batch_size={recipe.batch_size}")
    steps = job.length(len(data))
    if steps < 1:
        raise UserError(f"{recipe.name} would train {steps} steps: give --steps or --epochs of 1 or more")
    return RunRecord(
        recipe=recipe.name,
        reference=job.reference,
        seed=job.seed,
        dataset=recipe.dataset,
        dataset_options=dict(recipe.dataset_options),
        data_fingerprint=data.fingerprint,
        images=len(data),
        image_shape=list(data.image_shape),
        hyperparameters=recipe.resolved(),
        batch_size=recipe.batch_size,
        steps=steps,
        compute=describe(compute),
        versions=package_versions(),
        command=command_line(),
        created=now(),
        settings=list(recipe.settings),
    )
