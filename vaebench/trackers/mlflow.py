"""MLflow: a store that is named, ``MLFLOW_TRACKING_URI``, or a file beside the runs."""

import logging
import os
import shlex
import time
from collections.abc import Mapping

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from numpy.typing import NDArray

from vaebench.core.files import make_dir
from vaebench.trackers.tracker import Outcome, TrackedRun, plain_metric

EXPERIMENT = "vaebench"
IDENTITY = "vaebench.training"  # a tag: MLflow gives its runs ids of its own
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
MOST_PARAMS, LONGEST = 100, 500  # of one request, and of a value in the oldest stores


class _Mlflow:
    def __init__(self, client: MlflowClient, run_id: str, store: str) -> None:
        self._client, self._id = client, run_id
        self.shown_by = store if store.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(store)}"

    def row(self, step: int, values: Mapping[str, float]) -> None:
        self._log(step, values)

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        image = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        self._client.log_image(self._id, image, artifact_file=f"samples/{step}.png")

    def final(self, step: int, facts: Mapping[str, float]) -> None:
        self._log(step, {f"final/{name}": value for name, value in facts.items()})

    def close(self, outcome: Outcome) -> None:
        self._client.set_terminated(self._id, status=STATUS[outcome])

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(
            self._id, metrics=[Metric(plain_metric(name), value, now, step) for name, value in values.items()]
        )


def open_tracker(run: TrackedRun, where: str, after: int | None) -> _Mlflow:
    """Open the run that has the training's tag, or a new one, in ``MLFLOW_EXPERIMENT_NAME`` or ``vaebench``."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of every table that they make
    store = where or os.environ.get("MLFLOW_TRACKING_URI", "")
    artifacts = None
    if not store:
        root = make_dir(run.root).resolve()
        store, artifacts = f"sqlite:///{root / 'mlflow.db'}", (root / "mlflow-artifacts").as_uri()
    client = MlflowClient(tracking_uri=store)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name, artifact_location=artifacts)
    found = client.search_runs([experiment], filter_string=f"tags.`{IDENTITY}` = '{run.identity}'", max_results=1)
    if found:
        run_id = found[0].info.run_id
        client.update_run(run_id, status="RUNNING")
        return _Mlflow(client, run_id, store)
    run_id = client.create_run(experiment, run_name=run.name, tags={IDENTITY: run.identity}).info.run_id
    params = [Param(plain_metric(key), str(value)[:LONGEST]) for key, value in run.settings.items()]
    for first in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[first : first + MOST_PARAMS])
    return _Mlflow(client, run_id, store)
