"""Say what of a suite is done, what is left, and how long that will take here."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from vaebench.core import results
from vaebench.core.dataset import ImageDataset
from vaebench.runs.history import read
from vaebench.runs.recipes import dataset_of_recipe, load_split
from vaebench.training.compute import Choose
from vaebench.training.job import Job, differences
from vaebench.training.pace import kept_rate
from vaebench.training.trial import take_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One training of a suite: steps taken and asked for, whether it was measured, seconds that are left.

    ``other`` says how the run that is there is another training, which the suite would refuse.
    """

    run: str
    done: int
    steps: int
    measured: bool
    seconds: float
    other: str = ""

    @property
    def trained(self) -> bool:
        """Whether no step is left."""
        return self.done >= self.steps and not self.other


def states(jobs: Sequence[Job], metrics: Collection[str], choose: Choose) -> Iterator[State]:
    """Yield the state of each training; what is left is timed by the recipe's rate here, from a trial if need be.

    Args:
        jobs: the trainings.
        metrics: that each is to be measured by; empty for any.
        choose: completes compute settings.
    """
    compute, rates = choose(), dict[str, float]()
    data: ImageDataset | None = None
    for job in jobs:
        if data is None:
            data = load_split(dataset_of_recipe(job.recipe), "train")
        steps = job.length(len(data))
        done = _done(job)
        seconds = 0.0
        if done < steps:
            name = job.recipe.name
            rates[name] = rates.get(name) or kept_rate(name, compute) or take_steps(job.recipe, data, compute).rate
            seconds = (steps - done) * job.recipe.batch_size / rates[name]
        yield State(
            run=f"{job.recipe.name}/seed-{job.seed}",
            done=done,
            steps=steps,
            measured=_is_measured(job, metrics),
            seconds=seconds,
            other="; ".join(differences(job, data, compute)),
        )


def _is_measured(job: Job, metrics: Collection[str]) -> bool:
    """Tell whether the run's weights, and not earlier ones, were measured by all of the metrics."""
    if not (job.is_finished() and job.folder.results.exists()):
        return False
    weights = job.folder.read_record().weights_sha256
    known = {line.metric for line in results.read(job.folder.results) if line.provenance.weights_sha256 == weights}
    return bool(known) and known.issuperset(metrics)


def _done(job: Job) -> int:
    """Return the steps of a run's history so far."""
    if job.is_finished():
        return job.folder.read_record().steps
    rows = read(job.folder.history) if job.folder.history.exists() else []
    return rows[-1].step if rows else 0
