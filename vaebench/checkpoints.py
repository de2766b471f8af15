"""A run's weights as files. No pickle anywhere."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vaebench.core.errors import UserError
from vaebench.core.facts import TrainingFacts
from vaebench.core.places import sha256_of, write_atomic
from vaebench.record import RunFolder, RunRecord


def finish(folder: RunFolder, record: RunRecord, modules: Mapping[str, nn.Module], facts: TrainingFacts) -> None:
    """Write the weights, then the record that names their hash: a finished record always has its weights."""
    save_weights(folder.weights, modules)
    sha256 = sha256_of(folder.weights)
    folder.write_record(replace(record, status="finished", weights_sha256=sha256, facts=asdict(facts)))


def module_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Copies of parameters and buffers of the named modules, as ``module.parameter`` -> contiguous CPU tensor."""
    return {
        f"{name}.{key}": copied(tensor)
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def copied(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, and untouched by what becomes of the original."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def save_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Atomically, as safetensors."""
    write_tensors(path, module_tensors(modules))


def write_tensors(path: Path, tensors: dict[str, Tensor], note: dict[str, str] | None = None) -> None:
    """Atomically, as safetensors; ``note`` goes into the file's header."""

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata=note)
        except SafetensorError as error:  # a full disk, for one: an input or output error like any other
            raise OSError(str(error)) from error

    write_atomic(path, write)


def load_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Fill the modules; :class:`UserError` where the file is damaged or of another model."""
    restore_modules(modules, read_tensors(path), path)


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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file; :class:`UserError` where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = f"{path} is missing or damaged ({str(error).splitlines()[0]})"
        raise UserError(f"{reason}: restore it, or move the run away and train again") from error


def count_parameters(modules: Iterable[nn.Module]) -> int:
    """Trained parameters, each counted once."""
    unique = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(unique.values())
