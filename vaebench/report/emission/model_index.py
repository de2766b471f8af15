"""Hugging Face's model-index: the metadata block of a model card, one a recipe, to be put before its README.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md: a result has a task, a dataset and metrics with type,
name, value, config and args. Values over all images only: a card is read by people, and strata are in
``leaderboard.csv``.
"""

from collections.abc import Sequence
from itertools import groupby

from vaebench.report.analysis.leaderboard import Row
from vaebench.report.emission.values import as_printed, facts_of
from vaebench.report.emission.yaml_text import Plain, to_yaml

TASK = {"type": "unconditional-image-generation", "name": "Image generation and reconstruction"}
WHOLE = "all"  # the stratum


def texts(report: str, recipe: str, rows: Sequence[Row], measured_at: str) -> dict[str, str]:
    """Format one recipe's card: ``RECIPE.md``, which is nothing but the block between its two lines of dashes.

    Args:
        report: the report's name, which a card does not say.
        recipe: the model.
        rows: its rows, each with a value.
        measured_at: when it was measured last.
    """
    whole = [row for row in rows if row.stratum == WHOLE]
    if not whole:
        return {}
    results: list[Plain] = [_result(list(part)) for _, part in groupby(whole, _images)]
    card: Plain = {
        "library_name": "vaebench",
        "tags": ["vaebench", "image-generation"],
        "model-index": [{"name": recipe, "results": results}],
    }
    return {f"{recipe}.md": f"---\n{to_yaml(card)}---\n"}


def _images(row: Row) -> tuple[str, str, str]:
    return row.dataset, row.split, row.data_fingerprint


def _result(rows: Sequence[Row]) -> Plain:
    """Return what was measured on the same images."""
    dataset, split, fingerprint = _images(rows[0])
    return {
        "task": TASK,
        "dataset": {"type": dataset, "name": dataset, "split": split, "args": {"data_fingerprint": fingerprint}},
        "metrics": [_metric(row) for row in rows],
    }


def _metric(row: Row) -> Plain:
    assert row.value is not None
    return {
        "type": row.metric,
        "name": f"{row.metric} ({row.protocol})",
        "value": as_printed(row.value),
        "config": row.protocol,
        "args": facts_of(row),
    }
