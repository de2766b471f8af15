"""Open programs that torch wrote: torch.export's and TorchScript's."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from vaebench.adapters.export_archive import refuse_code
from vaebench.adapters.wrapped import WrappedModel, of_module
from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.opening import Opening


def open_export(what: str, opening: Opening) -> WrappedModel:
    """Open ``ENCODER.pt2,DECODER.pt2`` of ``--model export:``, programs of torch.export.

    A program holds operators and tensors, and no Python code.

    Raises:
        UserError: a file is missing or no such program.
    """
    encoder, decoder = two_files(what, "export", ".pt2")
    return _of_pair(_program(encoder), _program(decoder), opening)


def open_torchscript(what: str, opening: Opening) -> WrappedModel:
    """Open ``FILE``, a TorchScript module with methods encode and decode, or ``ENCODER,DECODER``.

    TorchScript is interpreted by torch, and reaches nothing of Python.

    Raises:
        UserError: a file is missing or no TorchScript.
    """
    if "," not in what:
        return of_module(_script(Path(what).expanduser()), opening)
    encoder, decoder = two_files(what, "torchscript", ".pt")
    return _of_pair(_script(encoder), _script(decoder), opening)


def two_files(what: str, adapter: str, suffix: str) -> tuple[Path, Path]:
    """Split ``ENCODER,DECODER``.

    Raises:
        UserError: there are not two.
    """
    parts = [part.strip() for part in what.split(",")]
    if len(parts) != 2 or not all(parts):
        example = f"--model {adapter}:encoder{suffix},decoder{suffix}"
        raise UserError(f"--model {adapter}:{what} names {len(parts)} files: name an encoder and a decoder, {example}")
    return Path(parts[0]).expanduser(), Path(parts[1]).expanduser()


def _of_pair(encoder: nn.Module, decoder: nn.Module, opening: Opening) -> WrappedModel:
    return WrappedModel(opening, encode=encoder, decode=decoder, modules=[encoder, decoder])


class _Program(nn.Module):
    """Module of an exported program, which knows no evaluation mode: it is what it was exported as."""

    def __init__(self, program: Any, path: Path) -> None:
        super().__init__()
        self.program, self._path = program.module(), path

    def train(self, mode: bool = True) -> "_Program":
        self.training = mode
        return self

    def forward(self, rows: Tensor) -> Any:
        try:
            return self.program(rows)
        except (AssertionError, RuntimeError) as error:
            raise UserError(
                f"{self._path} refuses {tuple(rows.shape)} ({first_line(error)[:150]}): export it with a dynamic first "
                "dimension, torch.export.export(..., dynamic_shapes=({0: torch.export.Dim('n')},))"
            ) from error


def _program(path: Path) -> nn.Module:
    return _Program(_read(path, "give a program that torch.export.save wrote", _without_code), path)


def _without_code(path: str) -> Any:
    """Load a program; what torch would unpickle beside tensors is refused."""
    refuse_code(Path(path))
    with patch.object(torch, "load", partial(_tensors_alone, torch.load)):
        return torch.export.load(path)


def _tensors_alone(load: Callable[..., Any], *given: Any, **options: Any) -> Any:
    return load(*given, **{**options, "weights_only": True})


def _script(path: Path) -> nn.Module:
    remedy = "give a module that torch.jit.save wrote"
    with warnings.catch_warnings():  # that TorchScript is deprecated, which its reader knows
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        module: nn.Module = _read(path, remedy, lambda file: torch.jit.load(file, map_location="cpu"))
    return module


def _read(path: Path, remedy: str, load: Callable[[str], Any]) -> Any:
    if not path.is_file():
        raise UserError(f"{path} does not exist: {remedy}")
    input_files.checked(path, most=input_files.LARGE, remedy=remedy)
    try:
        return load(str(path))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read ({first_line(error)[:150]}): {remedy}") from error
