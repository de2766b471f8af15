"""What a training leaves behind in numbers."""

from dataclasses import dataclass

from vaebench.core.validation import Count, NotNegative, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What a run's record says of its training: cost metrics read it."""

    parameters: Count
    images_per_second: NotNegative
    seconds: NotNegative
    steps: Count
    setting: Text = ""  # device, precision and threads: speeds of different ones do not compare
    peak_memory: Count = 0  # bytes; 0 where it was not measured
