"""A run's folder and its record ``run.json``: all that is needed to build the model again."""

import json
import re
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.setting_names import BATCH_SIZE, OF_DATASET, typed_value
from vaebench.core.training_facts import TrainingFacts
from vaebench.core.validation import Count, Name, Positive, RecipeName, Text, Token

FORMAT = 1
ELSEWHERE = "begun elsewhere"  # of a training that went on on another machine
SNAPSHOTS = "snapshots"  # folder of the model as it was in the course of its training


REMEDY = "move the folder away, then train again"


Side = Annotated[int, Meta(ge=1, le=65_536)]


Shape = Annotated[list[Side], Meta(min_length=3, max_length=3)]


Threads = Annotated[int, Meta(ge=1, le=4_096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCompute:
    """Compute settings as ``run.json`` stores them; fields of later versions default to what earlier ones did."""

    device: Text
    precision: Literal["fp32", "bf16"]
    threads: Threads
    channels_last: bool = True
    compile: bool = False
    fused: bool = False
    cuda_graphs: bool = False
    stream: bool = False
    processes: Positive = 1
    sync_batch_norm: bool = True
    machine: Text = ""
    earlier: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """``run.json``: all that is needed to build the model again and to repeat the training."""

    recipe: RecipeName  # the recipe's own name, with the settings that are not its own
    reference: Text  # a registered name, or path.py:function; without settings
    seed: Count
    dataset: Name
    dataset_options: dict[str, Any]
    data_fingerprint: Token
    images: Positive
    image_shape: Shape
    hyperparameters: dict[str, Any]
    batch_size: Positive
    steps: Positive
    compute: dict[str, Any]  # as RecordedCompute
    versions: dict[str, Text]
    command: Text
    created: Text
    status: Literal["training", "finished"] = "training"
    weights_sha256: Token = ""
    facts: dict[str, Any] = field(default_factory=dict)  # as TrainingFacts, of a finished run
    format: int = FORMAT
    resumed: list[Text] = field(default_factory=list)  # when, UTC, ISO 8601
    settings: list[Text] = field(default_factory=list)  # keys of those in the recipe's name

    def resumed_by_faulty_version(self) -> bool:
        """Tell whether the run was resumed by a version that gave weights the optimiser moments of others.

        That befell channels_last weights under fused optimisers; what was resumed since is noted in ``resumed``, and
        a change of machine since then with its time.
        """
        compute = self.compute
        known = [each for each in compute.get("earlier", []) if "resumed" not in each]
        return bool(known and compute.get("channels_last", True) and compute.get("fused", False))

    def conflicts(self, other: "RunRecord") -> list[str]:
        """Names of the fields in which two records describe different trainings."""
        names = ("reference", "dataset_options", "data_fingerprint", "hyperparameters", "batch_size", "steps")
        mine, theirs = (json.loads(json.dumps(asdict(record))) for record in (self, other))
        return [name for name in names if mine[name] != theirs[name]]

    def differences(self, other: "RunRecord") -> list[str]:
        """Say how each field of :meth:`conflicts` differs: ``latent_dim is 5 there, 7 was asked for``."""
        mine, theirs = (json.loads(json.dumps(asdict(record))) for record in (self, other))
        said = []
        for name in self.conflicts(other):
            parts = [(name, mine[name], theirs[name])]
            if isinstance(mine[name], dict):
                keys = sorted(mine[name].keys() | theirs[name].keys())
                parts = [(key, mine[name].get(key), theirs[name].get(key)) for key in keys]
            said += [
                f"{key} is {_brief(there)} there, {_brief(asked)} was asked for"
                for key, there, asked in parts
                if there != asked
            ]
        return said

    def all_settings(self) -> dict[str, Any]:
        """Return every setting with its value, under the key that ``--set`` takes."""
        options = {OF_DATASET + key: value for key, value in self.dataset_options.items()}
        return {**self.hyperparameters, BATCH_SIZE: self.batch_size, **options}

    def set_options(self) -> list[str]:
        """Return the values of ``--set`` that give the recipe the settings of this run."""
        known = self.all_settings()
        return [f"{key}={typed_value(known[key])}" for key in self.settings if key in known]

    def train_command(self) -> list[str]:
        """Return the words of a command line that trains this recipe with these settings; seeds are to follow."""
        options = [word for setting in self.set_options() for word in ("--set", setting)]
        return ["vaebench", "train", self.reference, *options]

    def resume_command(self) -> list[str]:
        """Return the words of a command line that goes on with this run; a suite's is what began it."""
        words = shlex.split(self.command)
        if words[1:2] in (["suite"], ["quickstart"]):
            return words
        return [*self.train_command(), "--seeds", str(self.seed), "--resume"]

    def training_facts(self) -> TrainingFacts:
        """Facts that cost metrics read; only of a finished run."""
        compute = self.compute
        setting = f"{compute['device']}/{compute['precision']}/threads={compute['threads']}"
        if compute.get("processes", 1) > 1:
            setting += f"/processes={compute['processes']}"
        if compute.get("earlier"):
            setting += f"/{ELSEWHERE}"
        seen = self.facts.get("images") or self.facts.get("steps", 0) * self.batch_size
        return TrainingFacts(**{**self.facts, "images": seen, "setting": setting})


_STEP = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)


def _brief(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


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

    def snapshot(self, step: int) -> "RunFolder":
        """Return the folder of the model as it was after a step: a finished run of that length."""
        return RunFolder(self.path / SNAPSHOTS / str(step))

    def snapshots(self) -> "list[RunFolder]":
        """List the snapshots that were kept while this run was trained, by step."""
        found = [path for path in (self.path / SNAPSHOTS).glob("*") if _STEP.fullmatch(path.name)]
        return [RunFolder(path) for path in sorted(found, key=lambda path: int(path.name))]

    def title_of(self, record: RunRecord) -> str:
        """Name the run that lies here, as messages do."""
        run = f"{record.recipe}/seed-{record.seed}"
        return f"{run} after {record.steps:,} steps" if self.is_snapshot else run

    @property
    def is_snapshot(self) -> bool:
        """Whether a run in the course of its training lies here, and not the run itself."""
        return self.path.parent.name == SNAPSHOTS

    def exists(self) -> bool:
        """Whether anything lies there; hidden files are locks, and what a broken write left."""
        return self.path.is_dir() and any(not path.name.startswith(".") for path in self.path.iterdir())

    def read_record(self) -> RunRecord:
        """The run's record, every field checked; :class:`UserError` where it is missing or is none."""
        where = str(self.record_file)
        try:
            content = input_files.read_bytes(self.record_file, most=input_files.SMALL, remedy=REMEDY, inside=self.path)
        except FileNotFoundError:
            reason = f"{self.path} holds no run.json (an interrupted write, or no run at all)"
            raise UserError(f"{reason}: {REMEDY}") from None
        found = validation.from_json(content, dict[str, Any], where, REMEDY)
        if found.get("format") != FORMAT:
            raise UserError(f"{where} has format {found.get('format')!r:.20}: train with this version anew")
        record: RunRecord = validation.strictly(found, RunRecord, where, REMEDY)
        validation.strictly(record.compute, RecordedCompute, f"{where}, compute", REMEDY)
        if record.recipe in validation.RESERVED:
            raise UserError(f"{where} cannot be read (no recipe is named '{record.recipe}'): {REMEDY}")
        if record.status == "finished":
            validation.strictly(record.facts, TrainingFacts, f"{where}, facts", REMEDY)
            if not record.weights_sha256:
                raise UserError(f"{where} cannot be read (weights_sha256 is empty): {REMEDY}")
        return record

    def read_warnings(self) -> list[str]:
        """Lines of ``warnings.log``, none where there is no file."""
        try:
            text = input_files.read_text(self.warnings, most=input_files.SMALL, remedy="delete it", inside=self.path)
        except FileNotFoundError:
            return []
        return [validation.plain_line(line) for line in text.splitlines()]

    def write_record(self, record: RunRecord) -> None:
        """Write ``run.json`` atomically."""
        write_text(self.record_file, json.dumps(asdict(record), indent=2, sort_keys=True) + "\n")
