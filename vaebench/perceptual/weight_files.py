"""Find and read files of pretrained weights without running anything."""

from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of
from vaebench.core.paths import hub_dir, weights_dir


def find_weights(*names: str) -> Path | None:
    """Find the first of the files that lies in ``VAEBENCH_WEIGHTS`` or in torch hub's checkpoint directory."""
    places = [folder / name for name in names for folder in (weights_dir(), hub_dir())]
    return next((path for path in places if path.is_file()), None)


def read_tensors(path: Path, published: str = "") -> dict[str, Tensor]:
    """Read tensors of a safetensors file, or of a ``.pth``.

    A ``.pth`` is read by torch's restricted loader, which makes tensors and runs nothing. Where the file bears the
    ``published`` name, whose end is the first digits of its sha256, its content must be what the name says.
    """
    input_files.checked(path, most=input_files.LARGE, remedy="replace it")
    try:
        if path.name == published and not sha256_of(path).startswith(path.stem.rpartition("-")[2]):
            raise UserError(f"{path} is not the published file (its sha256 is not that of its name): replace it")
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # its own message advises to trust the file
        raise UserError(f"{path} cannot be read as weights (it holds more than tensors): replace it") from error
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, MemoryError) as error:
        raise UserError(f"{path} cannot be read as weights ({first_line(error)}): replace it") from error
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path} cannot be read as weights (it holds a {type(loaded).__name__}): replace it")
    return {name: tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}


def save_tensors(tensors: Mapping[str, Tensor], path: Path, note: Mapping[str, str] | None = None) -> None:
    """Write contiguous tensors as safetensors, ``note`` into its header; OSError where that fails, such as a full disk.

    For :func:`vaebench.core.files.write_atomic`: safetensors' own writing to a path makes another temporary file,
    readable by its owner alone, which a kill leaves behind.
    """
    path.write_bytes(save(dict(tensors), metadata=None if note is None else dict(note)))


def downloaded(get: Callable[[], object], what: str, published: str, name: str) -> Path:
    """Download the ``published`` file to torch hub's folder by ``get``; return its path."""
    try:
        get()
    except (OSError, RuntimeError, HTTPException) as error:
        advice = f"copy {published} from elsewhere and run 'vaebench fetch {name} --from FILE'"
        raise UserError(f"{what}'s weights could not be downloaded ({first_line(error)}): {advice}") from error
    return hub_dir() / published


def given(source: Path, published: str = "") -> dict[str, Tensor]:
    """Read tensors of a file that a user names."""
    if not source.is_file():
        raise UserError(f"{source} is no file: give a safetensors file or a .pth")
    return read_tensors(source, published)
