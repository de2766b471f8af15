"""Compares a training's rate with the best that its recipe reached on this machine at the same settings."""

from vaebench.core import trials
from vaebench.core.machine import machine
from vaebench.runs.history import Progress
from vaebench.training.autotune import Trial
from vaebench.training.compute import Compute

WINDOW = 10.0  # seconds of training that a rate is taken over
FAR_BELOW = 3  # times


TRAINED = ", trained"  # ends the keys of trainings' rates, which lie beside the trials' and not among them


def kept_rate(recipe: str, compute: Compute) -> float:
    """Return the best images per second that trainings of a recipe reached here at these settings; 0 if none did."""
    return trials.known_rates().get(_key(recipe, compute), {}).get(_way(compute), 0.0)


def _key(recipe: str, compute: Compute) -> str:
    return f"{machine(compute.device)}, {recipe}{TRAINED}"


def _way(compute: Compute) -> str:
    return str(Trial(compute.precision, compute.threads, compute.channels_last, compute.cuda_graphs))


class Pace:
    """Watches a training's progress for a rate far below the kept one, and keeps its own best.

    It says so once a training: what slows it is as a rule another program, and whoever started it can act on that.
    """

    def __init__(self, recipe: str, compute: Compute) -> None:
        self._recipe, self._compute = recipe, compute
        self._kept = kept_rate(recipe, compute)
        self._since: tuple[int, float] | None = None  # step and seconds at which the window began
        self._best, self._said = 0.0, False

    def note(self, row: Progress, batch_size: int) -> str:
        """Take note of a row of progress; return a warning, or nothing.

        Args:
            row: of a training, one after the other.
            batch_size: images of a step.
        """
        if self._since is None or row.step < self._since[0]:
            self._since = row.step, row.seconds
            return ""
        steps, seconds = row.step - self._since[0], row.seconds - self._since[1]
        if seconds < WINDOW:
            return ""
        rate = steps * batch_size / seconds
        self._since = row.step, row.seconds
        self._best = max(self._best, rate)
        if self._said or FAR_BELOW * rate > max(self._kept, self._best):
            return ""
        self._said = True
        return f"{self._slow(rate)}: {self._way_out()}"

    def keep(self) -> None:
        """Keep the best rate for trainings to come; a shorter training than a window has none."""
        if self._best > self._kept:
            trials.keep_best(_key(self._recipe, self._compute), _way(self._compute), self._best)

    def _slow(self, rate: float) -> str:
        usual = max(self._kept, self._best)
        reached = f"where this machine has reached {usual:.0f}"
        return f"training at {rate:.0f} images/s, {reached}; other programs seem to slow it"

    def _way_out(self) -> str:
        if self._compute.device == "cpu" and self._compute.threads > 1:
            return "stop them, or start trainings with --threads 1, which loses least beside others"
        return "stop them, or wait until they end"
