"""Facts of a training that cost metrics read."""

from dataclasses import dataclass

from vaebench.core.validation import Count, NotNegative, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """Numbers of a training, from a run's record."""

    parameters: Count
    images_per_second: NotNegative
    seconds: NotNegative
    steps: Count
    setting: Text = ""  # device, precision and threads: speeds of different ones do not compare
    peak_memory: Count = 0  # bytes; 0 where it was not measured
    images: Count = 0  # seen, all steps together; 0 in records of earlier versions, which have it otherwise
    flops: NotNegative = 0.0  # floating-point operations of all steps; 0 where they were not counted
