"""A run's weights as files. No pickle anywhere."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of, write_atomic
from vaebench.core.training_facts import TrainingFacts
from vaebench.perceptual.weight_files import save_tensors
from vaebench.runs.record import RunFolder, RunRecord

TRAIN_AGAIN = "move the run away, then train it again"
RESTORE = "restore it, or move the run away and train again"


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
    write_atomic(path, lambda temporary: save_tensors(tensors, temporary, note))


def load_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Fill the modules; :class:`UserError` where the file is damaged or of another model."""
    restore_modules(modules, read_tensors(path), path)


def restore_modules(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill the modules from ``module.parameter`` -> tensor, once every name, shape and dtype is what they have.

    Raises:
        UserError: a tensor is missing, of another shape or dtype, or no module has it; nothing is filled then.
    """
    own = {f"{name}.{key}": part for name, module in modules.items() for key, part in module.state_dict().items()}
    for name, part in own.items():
        check_like(name, tensors.get(name), part, path)
    unknown = sorted(set(tensors) - set(own))
    if unknown:
        raise UserError(f"{path} does not fit the model (it has {unknown[0]}, the model has not): {TRAIN_AGAIN}")
    for name, module in modules.items():
        module.load_state_dict({key: tensors[f"{name}.{key}"] for key in module.state_dict()})


def check_like(name: str, found: Tensor | None, wanted: Tensor, path: Path) -> None:
    """:class:`UserError` unless ``found`` has the shape and dtype of ``wanted``.

    torch casts what has another dtype without a word, and its fused optimisers read past the end of what is shorter.
    """
    if found is None:
        raise UserError(f"{path} does not fit the model (it lacks {name}): {TRAIN_AGAIN}")
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        kinds = [f"{str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}" for part in (found, wanted)]
        raise UserError(f"{path} does not fit the model ({name} is {kinds[0]}, not {kinds[1]}): {TRAIN_AGAIN}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a run's safetensors file; :class:`UserError` where it is missing or damaged."""
    try:
        input_files.checked(path, most=input_files.LARGE, remedy=RESTORE, inside=path.parent)
        return load_file(path)
    except (OSError, SafetensorError, MemoryError) as error:
        raise UserError(f"{path} is missing or damaged ({first_line(error)}): {RESTORE}") from error


def count_parameters(modules: Iterable[nn.Module]) -> int:
    """Trained parameters, each counted once."""
    unique = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(unique.values())
