"""What a training leaves behind in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What a run's record says of its training: cost metrics read it."""

    parameters: int
    images_per_second: float
    seconds: float
    steps: int
    setting: str = ""  # device, precision and threads: speeds of different ones do not compare
    peak_memory: int = 0  # bytes; 0 where it was not measured
