"""A run's folder and its record: what it takes to build the model again, to read without an engine."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vaebench.core.errors import UserError
from vaebench.core.facts import TrainingFacts
from vaebench.core.places import write_text

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """``run.json``: everything that it takes to build the model again and to repeat the training."""

    recipe: str
    reference: str  # a registered name, or path.py:function
    seed: int
    dataset: str
    dataset_options: dict[str, Any]
    data_fingerprint: str
    images: int
    image_shape: list[int]
    hyperparameters: dict[str, Any]
    batch_size: int
    steps: int
    compute: dict[str, Any]
    versions: dict[str, str]
    command: str
    created: str
    status: Literal["training", "finished"] = "training"
    weights_sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def conflicts(self, other: "RunRecord") -> list[str]:
        """Names of the fields in which two records describe different trainings."""
        names = ("reference", "dataset_options", "data_fingerprint", "hyperparameters", "batch_size", "steps")
        mine, theirs = (json.loads(json.dumps(asdict(record))) for record in (self, other))
        return [name for name in names if mine[name] != theirs[name]]

    def training_facts(self) -> TrainingFacts:
        """What cost metrics read; only of a finished run."""
        compute = self.compute
        setting = f"{compute['device']}/{compute['precision']}/threads={compute['threads']}"
        if compute.get("processes", 1) > 1:
            setting += f"/processes={compute['processes']}"
        if compute.get("earlier"):
            setting += "/begun elsewhere"
        return TrainingFacts(**{**self.facts, "setting": setting})


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "training_state.safetensors"

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def warnings(self) -> Path:
        return self.path / "warnings.log"

    @property
    def results(self) -> Path:
        return self.path / "results.jsonl"

    @property
    def per_image(self) -> Path:
        return self.path / "per_image.parquet"

    def exists(self) -> bool:
        """Whether anything lies there; hidden files are locks, and what a broken write left."""
        return self.path.is_dir() and any(not path.name.startswith(".") for path in self.path.iterdir())

    def read_record(self) -> RunRecord:
        """The run's record; :class:`UserError` where it is missing or cannot be read."""
        try:
            fields = json.loads(self.record_file.read_text(encoding="utf-8"))
            if fields.get("format") != FORMAT:
                raise UserError(f"{self.record_file} has format {fields.get('format')}: train with this version anew")
            return RunRecord(**fields)
        except FileNotFoundError:
            reason = f"{self.path} holds no run.json (an interrupted write, or no run at all)"
            raise UserError(f"{reason}: move the folder away, then train again") from None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            reason = f"{self.record_file} cannot be read ({str(error).splitlines()[0]})"
            raise UserError(f"{reason}: move the folder away, then train again") from error

    def write_record(self, record: RunRecord) -> None:
        write_text(self.record_file, json.dumps(asdict(record), indent=2, sort_keys=True) + "\n")


def package_versions() -> dict[str, str]:
    """Versions that decide a number: Python, torch, numpy."""
    import platform  # noqa: PLC0415

    import numpy  # noqa: PLC0415
    import torch  # noqa: PLC0415

    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}
