"""A run's folder: its record, its weights, and the state that training resumes from. No pickle anywhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from vaebench.core.context import TrainingFacts
from vaebench.core.errors import UserError
from vaebench.core.places import sha256_of, write_atomic, write_text

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
        """Whether anything lies there."""
        return self.path.is_dir() and any(self.path.iterdir())

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

    def finish(self, record: RunRecord, modules: Mapping[str, nn.Module], facts: TrainingFacts) -> None:
        """Write the weights, then the record that names their hash: a finished record always has its weights."""
        save_weights(self.weights, modules)
        self.write_record(
            replace(record, status="finished", weights_sha256=sha256_of(self.weights), facts=asdict(facts))
        )


def module_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of the named modules, as ``module.parameter`` -> contiguous CPU tensor."""
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def save_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Atomically, as safetensors."""
    _write_tensors(path, module_tensors(modules))


def _write_tensors(path: Path, tensors: dict[str, Tensor], note: dict[str, str] | None = None) -> None:
    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata=note)
        except SafetensorError as error:  # a full disk, for one: an input or output error like any other
            raise OSError(str(error)) from error

    write_atomic(path, write)


def load_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Fill the modules; :class:`UserError` where the file is damaged or of another model."""
    restore_modules(modules, _read_tensors(path), path)


def restore_modules(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill the modules from ``module.parameter`` -> tensor."""
    try:
        for name, module in modules.items():
            prefix = f"{name}."
            own = {key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}
            module.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit the model ({reason}): train the run again") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = f"{path} is missing or damaged ({str(error).splitlines()[0]})"
        raise UserError(f"{reason}: restore it, or move the run away and train again") from error


def save_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Sequence[Optimizer],
    position: Mapping[str, Any],
) -> None:
    """Weights, optimiser states and position in one file, so that no crash can part them."""
    tensors = {f"model.{name}": tensor for name, tensor in module_tensors(modules).items()}
    scalars: list[dict[str, Any]] = []
    for number, optimizer in enumerate(optimizers):
        packed = optimizer.state_dict()
        rest: dict[str, Any] = {"param_groups": packed["param_groups"], "state": {}}
        for index, entries in packed["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{index}.{key}"] = value.detach().cpu().contiguous()
                else:
                    rest["state"].setdefault(str(index), {})[key] = value
        scalars.append(rest)
    note = {"position": json.dumps(_encoded(position)), "optimizers": json.dumps(_encoded(scalars))}
    _write_tensors(path, tensors, note)


def load_state(path: Path, modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Fill modules and optimisers from :func:`save_state`'s file; returns the position."""
    tensors = _read_tensors(path)
    with safe_open(path, framework="pt") as opened:
        note = opened.metadata() or {}
    try:
        position, scalars = _decoded(json.loads(note["position"])), _decoded(json.loads(note["optimizers"]))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no training state: move the run away and train again") from error
    if len(scalars) != len(optimizers):
        raise UserError(f"{path} is of a recipe with {len(scalars)} phases, not {len(optimizers)}: train it anew")
    restore_modules(modules, _under("model.", tensors), path)
    for number, (optimizer, rest) in enumerate(zip(optimizers, scalars, strict=True)):
        state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["state"].items()}
        for name, tensor in _under(f"optimizer.{number}.", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        try:
            optimizer.load_state_dict({"state": state, "param_groups": rest["param_groups"]})
        except ValueError as error:
            raise UserError(f"{path} does not fit the recipe's optimisers ({error}): train it anew") from error
    return dict(position)


_ITEMS = "__items__"


def _encoded(value: Any) -> Any:
    """For JSON: a mapping whose keys are not all text becomes its items, so that 5 does not come back as "5"."""
    if isinstance(value, Mapping):
        pairs = [[key, _encoded(item)] for key, item in value.items()]
        return dict(pairs) if all(isinstance(key, str) for key in value) else {_ITEMS: pairs}
    return [_encoded(item) for item in value] if isinstance(value, list | tuple) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = value.get(_ITEMS, value.items())
        return {key: _decoded(item) for key, item in pairs}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def count_parameters(modules: Iterable[nn.Module]) -> int:
    """Trained parameters, each counted once."""
    unique = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(unique.values())


def package_versions() -> dict[str, str]:
    """Versions that decide a number: Python, torch, numpy."""
    import platform  # noqa: PLC0415

    import numpy  # noqa: PLC0415

    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}
