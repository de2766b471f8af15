"""Split a value's uncertainty into training seeds, images, and draws from the prior (``variance.csv``)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaebench import statistics
from vaebench.core.subjects import is_model
from vaebench.report.analysis.formatting import or_none
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.samples import Sample, samples_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Variance parts of one recipe's metric: standard deviations in the metric's unit; ``None``, an empty cell, where
    one cannot be estimated.

    ``training_sd`` is of retraining with another seed, images and draws held fixed; ``image_sd`` of the value of one
    test image; ``sampling_sd`` of that of one draw from the prior. ``training_share`` is the part of the squared
    standard error that comes from training.
    """

    dataset: str
    split: str
    recipe: str
    metric: str
    protocol: str
    seeds: int
    n: int
    training_sd: float | None
    image_sd: float | None
    sampling_sd: float | None
    std_error: float | None
    training_share: float | None


def rows(measured: Measured) -> list[Row]:
    """Make one part's rows: each recipe and each metric with per-image values, over all images."""
    found = []
    every = sorted({series for known in measured.values.values() for series in known if series.stratum == "all"})
    for series in every:
        for group in samples_of(measured, series):
            if not is_model(group.name) or group.values.shape[1] < 2:
                continue
            found.append(
                Row(
                    dataset=series.dataset,
                    split=series.split,
                    recipe=group.name,
                    metric=series.metric,
                    protocol=series.protocol,
                    seeds=len(group.values),
                    n=group.values.shape[1],
                    **_parts(group, sampled=_sampled(group)),
                )
            )
    return found


def _sampled(group: Sample) -> bool:
    """Tell whether the values are of samples, which are named after the recipe, and not of images of the split."""
    return group.ids[0].startswith(f"{group.name}/")


def _parts(group: Sample, *, sampled: bool) -> dict[str, float | None]:
    whole = statistics.nested_mean(group.values, group.clusters)
    training = statistics.training_deviation(group.values)
    # each seed's own spread over images or draws, pooled
    within = math.sqrt(float(group.values.var(axis=1, ddof=1).mean()))
    return {
        "training_sd": or_none(training),
        "image_sd": None if sampled else within,
        "sampling_sd": within if sampled else None,
        "std_error": or_none(whole.std_error),
        "training_share": or_none(whole.training),
    }


def in_words(table: Sequence[Row]) -> str:
    """Summarise the variances in one sentence; empty if no recipe has several seeds."""
    shares = sorted(row.training_share for row in table if row.training_share is not None)
    if not shares:
        return ""
    middle = shares[len(shares) // 2]
    return (
        f"Of the squared standard errors, {100 * middle:.0f} % (median over metrics and recipes) come from training "
        "seeds, the rest from images and draws: variance.csv.\n"
    )
