"""Every Eval Ever: the EvalEval coalition's JSON for results of any evaluation, one file a model.

https://github.com/evaleval/every_eval_ever, ``eval.schema.json`` 0.3.0. A value where nearness to the originals counts
is left out, and named: the schema knows "lower is better" and its opposite only, and either would be false.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from vaebench.core.subjects import EXTERNAL
from vaebench.report.analysis.leaderboard import Row
from vaebench.report.emission.values import CONFIDENCE, as_printed, facts_of

SCHEMA_VERSION = "0.3.0"
TARGET = "target"  # the direction of metrics where a model is as good as it is near to the originals
TOLD_ELSEWHERE = ("unit", "direction", "std_error", "ci_low", "ci_high", "confidence_level")  # the schema's own fields


def texts(report: str, recipe: str, rows: Sequence[Row], measured_at: str) -> dict[str, str]:
    """Format one model's file, ``REPORT/DEVELOPER/MODEL/UUID.json`` as the coalition's datastore has it.

    The UUID is made of the evaluation's id, in which the time of measuring stands: a later evaluation is another file.

    Args:
        report: the report's name, which becomes the benchmark's.
        recipe: the model.
        rows: its rows, each with a value.
        measured_at: when it was measured last, ISO 8601, UTC.
    """
    kept = [row for row in rows if row.direction != TARGET]
    if not kept:
        return {}
    near = sorted({f"{row.metric} ({row.protocol})" for row in rows if row.direction == TARGET})
    left_out = (
        {"additional_details": {"left_out": f"{', '.join(near)}: nearer to the originals is better"}} if near else {}
    )
    elsewhere = recipe.startswith(EXTERNAL)
    model = recipe if elsewhere else f"vaebench/{recipe}"
    seconds = f"{datetime.fromisoformat(measured_at).timestamp():.1f}"
    evaluation = f"{report}/{model}/{seconds}"
    content = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation,
        "evaluation_timestamp": measured_at,
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": f"vaebench report {report}",
            "source_type": "evaluation_run",
            "source_organization_name": "not stated",
            "evaluator_relationship": "other" if elsewhere else "first_party",
            **left_out,
        },
        "eval_library": {"name": "vaebench", "version": ", ".join(sorted({row.vaebench_version for row in kept}))},
        "model_info": {
            "name": recipe,
            "id": model,
            "developer": model.partition("/")[0],
            "additional_details": {"deployment_type": "self_deployed", "model_availability": "unknown"},
        },
        "evaluation_results": [_result(row) for row in kept],
    }
    name = uuid.UUID(bytes=hashlib.sha256(evaluation.encode()).digest()[:16], version=4)
    return {f"{report}/{model}/{name}.json": json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"}


def _result(row: Row) -> dict[str, Any]:
    assert row.value is not None
    place = "/".join((row.dataset, row.split, row.stratum))
    return {
        "evaluation_result_id": f"{place}/{row.data_fingerprint[:12]}/{row.metric}/{row.protocol}",
        "evaluation_name": place,
        "source_data": {
            "dataset_name": row.dataset,
            "source_type": "other",
            "additional_details": {
                "split": row.split,
                "stratum": row.stratum,
                "data_fingerprint": row.data_fingerprint,
            },
        },
        "metric_config": {
            "metric_id": f"vaebench.{row.metric}",
            "metric_name": row.metric,
            "metric_unit": row.unit,
            "metric_parameters": {"protocol": row.protocol},
            "lower_is_better": row.direction == "lower",
            "score_type": "continuous",
            "min_score": "-Infinity" if row.lowest is None else as_printed(row.lowest),
            "max_score": "Infinity" if row.highest is None else as_printed(row.highest),
        },
        "score_details": {
            "score": as_printed(row.value),
            "details": {name: str(value) for name, value in facts_of(row).items() if name not in TOLD_ELSEWHERE},
            "uncertainty": _uncertainty(row),
        },
    }


def _uncertainty(row: Row) -> dict[str, Any]:
    """Return standard error and interval, so far as they are known."""
    found: dict[str, Any] = {"num_samples": row.n}
    if row.std_error is not None:
        found["standard_error"] = {"value": as_printed(row.std_error)}
    if row.ci_low is not None and row.ci_high is not None:
        ends = {"lower": as_printed(row.ci_low), "upper": as_printed(row.ci_high)}
        found["confidence_interval"] = {**ends, "confidence_level": CONFIDENCE}
    return found
