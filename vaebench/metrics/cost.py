"""Report what a model costs: its trained parameters, and the time, steps, speed and memory of its training.

Costs describe: a cheaper model is no better one, so none of them is ranked.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Self

from vaebench.core import questions
from vaebench.core.context import Context
from vaebench.core.metric import Direction, EvalBatch, Metric, MetricSpec, Need, Score
from vaebench.core.training_facts import TrainingFacts


class FromTraining(Metric):
    """Final: one number out of a run's training record; sees no images. ``n`` is 1, the run.

    An ``exact`` one is a count: its standard error is 0. One that was measured has none from a single run, and its
    protocol says on what. A function that gives ``None`` has nothing to say of this training.
    """

    def __init__(
        self, function: Callable[[TrainingFacts], float | None], spec: MetricSpec, *, exact: bool = False
    ) -> None:
        self.function, self.spec, self.exact = function, spec, exact

    def update(self, batch: EvalBatch) -> None:
        """Do nothing: the value does not come from images."""

    def merge(self, other: Self) -> None:
        """Do nothing: every process reads the same record."""

    def score(self, context: Context) -> Score:
        facts = context.training
        if facts is None:
            return Score(value=None, n=0, note="no training record")
        value = self.function(facts)
        if value is None:
            return Score(value=None, n=1, note="was not recorded when the run was trained")
        if self.exact:
            return Score(value=float(value), n=1, std_error=0.0)
        # a measured number holds for what it was measured on
        return Score(value=float(value), n=1, protocol=f"training/{facts.setting}")


def _mebibytes(facts: TrainingFacts) -> float | None:
    return facts.peak_memory / 2**20 if facts.peak_memory else None


def _spec(name: str, unit: str, protocol: str, *, place: int, direction: Direction = "lower") -> MetricSpec:
    """Declare a cost: it comes from a training's record, describes, and is never below 0."""
    return MetricSpec(
        name=name,
        needs=Need.TRAINING,
        unit=unit,
        direction=direction,
        lowest=0.0,
        protocol=protocol,
        question=questions.COST,
        ranked=False,
        place=place,
    )


def parameters() -> list[Metric]:
    """Number of parameters that training updated; frozen networks do not count."""
    return [
        FromTraining(
            attrgetter("parameters"),
            _spec("parameters", "parameters", "trained", place=1),
            exact=True,
        )
    ]


def training_steps() -> list[Metric]:
    """Steps trained: what was spent, so that a table can be read at equal cost."""
    return [
        FromTraining(
            attrgetter("steps"),
            _spec("training_steps", "steps", "trained", place=3),
            exact=True,
        )
    ]


def training_images() -> list[Metric]:
    """Training images seen, all steps together: what was spent, whatever the batch."""
    return [
        FromTraining(
            lambda facts: facts.images or None,
            _spec("training_images", "images", "trained", place=3),
            exact=True,
        )
    ]


def training_seconds() -> list[Metric]:
    """Seconds of training on the wall clock; compare runs of one device only."""
    return [
        FromTraining(
            attrgetter("seconds"),
            _spec("training_seconds", "s", "training", place=2),
        )
    ]


def throughput() -> list[Metric]:
    """Training images a second, as the run's record has it; compare runs of one device only."""
    return [
        FromTraining(
            attrgetter("images_per_second"),
            _spec("throughput", "images/s", "training", place=4, direction="higher"),
        )
    ]


def peak_memory() -> list[Metric]:
    """Largest memory of the training in MiB: of tensors on a GPU, of the whole process on a CPU, images included."""
    return [
        FromTraining(
            _mebibytes,
            _spec("peak_memory", "MiB", "training", place=5),
        )
    ]
