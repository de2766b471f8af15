"""What a model costs: its trained parameters, and the speed it was trained at."""

from collections.abc import Callable
from typing import Self

from vaebench.core.metric import Direction, EvalBatch, Metric, Need, Score, TrainingFacts


class FromTraining(Metric):
    """Final: one number out of a run's training record; sees no images. ``n`` is 1, the run.

    An ``exact`` one is a count: its standard error is 0. One that was timed has none from a single run.
    """

    needs = Need.TRAINING

    def __init__(
        self,
        function: Callable[[TrainingFacts], float],
        *,
        name: str,
        unit: str,
        direction: Direction,
        protocol: str,
        exact: bool = False,
    ) -> None:
        self.function, self.exact = function, exact
        self.name, self.unit, self.direction, self.protocol = name, unit, direction, protocol

    def update(self, batch: EvalBatch) -> None:
        """Nothing: the value does not come from images."""

    def merge(self, other: Self) -> None:
        """Nothing: every process reads the same record."""

    def score(self, facts: TrainingFacts | None) -> Score:
        if facts is None:
            return Score(value=None, n=0, note="no training record")
        if not self.exact:
            self.protocol = f"training/{facts.setting}"  # known only now: a timing holds for what it was timed on
        return Score(value=self.function(facts), n=1, std_error=0.0 if self.exact else None)


def _parameters_of(facts: TrainingFacts) -> float:
    return float(facts.parameters)


def _throughput_of(facts: TrainingFacts) -> float:
    return facts.images_per_second


def parameters() -> list[Metric]:
    """Number of parameters that training updated; frozen networks do not count."""
    return [
        FromTraining(
            _parameters_of, name="parameters", unit="parameters", direction="lower", protocol="trained", exact=True
        )
    ]


def throughput() -> list[Metric]:
    """Training images a second, as the run's record has it; compare runs of one device only."""
    return [FromTraining(_throughput_of, name="throughput", unit="images/s", direction="higher", protocol="training")]
