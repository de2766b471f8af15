"""Tell whether runs differ, by how much, and how surely: pure functions on numbers, all computed in float64.

Inputs are finite and long enough, or ``ValueError`` is raised with what is wrong. Differences are always ``a - b``.
Samples without any spread are answered, not refused: no difference has p 1, a constant difference has an infinite
statistic and p 0.
"""

from vaebench.statistics.base import Comparison, Vector
from vaebench.statistics.decisions import detectable, equivalence_p, holm
from vaebench.statistics.means import mean_interval, paired_t, welch_t
from vaebench.statistics.nested import (
    Estimate,
    combination,
    comparison_of,
    images_error,
    nested_mean,
    nested_t,
    training_deviation,
)
from vaebench.statistics.planning import VarianceParts, planned_power, seeds_needed, variance_parts
from vaebench.statistics.proportions import mcnemar
from vaebench.statistics.ranks import mann_whitney, wilcoxon
from vaebench.statistics.sequential import Look, look

__all__ = [
    "Comparison",
    "Estimate",
    "Look",
    "VarianceParts",
    "Vector",
    "combination",
    "comparison_of",
    "detectable",
    "equivalence_p",
    "holm",
    "images_error",
    "look",
    "mann_whitney",
    "mcnemar",
    "mean_interval",
    "nested_mean",
    "nested_t",
    "paired_t",
    "planned_power",
    "seeds_needed",
    "training_deviation",
    "variance_parts",
    "welch_t",
    "wilcoxon",
]
