"""Open ONNX graphs of an encoder and a decoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebench.adapters.exported import two_files
from vaebench.adapters.wrapped import WrappedModel
from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.opening import Opening


def open_onnx(what: str, opening: Opening) -> WrappedModel:
    """Open ``ENCODER.onnx,DECODER.onnx`` of ``--model onnx:``, run by onnxruntime on the CPU.

    Raises:
        UserError: onnxruntime is not installed, a file is missing or no graph, or another precision is asked for.
    """
    if opening.precision != "fp32":
        raise UserError(f"an ONNX graph has the precision it was made with: leave --precision {opening.precision} away")
    encoder, decoder = two_files(what, "onnx", ".onnx")
    return WrappedModel(opening, encode=_function(encoder), decode=_function(decoder))


def _function(path: Path) -> Callable[[Tensor], Any]:
    try:
        import onnxruntime  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UserError("--model onnx: needs the package: pip install 'vaebench[onnx]'") from error
    remedy = "give a graph that torch.onnx.export wrote"
    if not path.is_file():
        raise UserError(f"{path} does not exist: {remedy}")
    input_files.checked(path, most=input_files.LARGE, remedy=remedy)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path} cannot be read ({first_line(error)[:150]}): {remedy}") from error
    (given,) = session.get_inputs()

    def run(rows: Tensor) -> Any:
        try:
            made = session.run(None, {given.name: rows.cpu().numpy()})
        except Exception as error:
            raise UserError(
                f"{path} refuses {tuple(rows.shape)} ({first_line(error)[:150]}): export it with a dynamic first "
                "dimension"
            ) from error
        answers = tuple(torch.from_numpy(array).to(rows.device) for array in made)
        return answers if len(answers) > 1 else answers[0]

    return run
