"""Format numbers and names for the page, and order its metrics."""

import math
import shlex
from collections.abc import Sequence

from vaebench.core import questions
from vaebench.report.analysis.formatting import p_text
from vaebench.report.analysis.leaderboard import Row


def reading_order(row: Row) -> tuple[object, ...]:
    """Sort key of a metric's rows: by question, and by the place that the metric declares there; then by name."""
    return (questions.place(row.facts.question), row.facts.place, row.metric, row.protocol)


def kind_of(protocol: str) -> str:
    """Classify a protocol by its images: ``reconstructions``, ``samples`` or ``other``."""
    parts = protocol.split("/")
    if "recon" in parts:
        return "reconstructions"
    return "samples" if "samples" in parts else "other"


def rank_text(low: int | None, high: int | None) -> str:
    if low is None:
        return ""
    return str(low) if low == high else f"{low}\N{EN DASH}{high}"


def sortable(value: float | None) -> str:
    """Return what a column is sorted by; empty for a missing value, which comes last."""
    return "" if value is None or math.isnan(value) else repr(float(value))


def p_said(value: float) -> str:
    """Format a p-value for people."""
    if math.isnan(value):
        return "n/a"
    return p_text(value) if value < 1e-300 else f"{value:.2g}"


def run_name(recipe: str, seed: int | None) -> str:
    return recipe if seed is None else f"{recipe}/seed-{seed}"


def typed(words: Sequence[str]) -> str:
    """Format a command line as one would type it."""
    return shlex.join(words)
