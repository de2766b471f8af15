"""Serialise accumulators as bytes that travel between processes: tensors as safetensors, the rest as JSON."""

import copy
import enum
import json
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor

from vaebench.core.context import FeatureSpace
from vaebench.core.errors import UserError
from vaebench.core.metric import Accumulator, MetricSpec

Kind = TypeVar("Kind", bound=Accumulator)
_STRUCTURE = "structure"
_TENSOR, _DEVICE, _TUPLE, _INSIDE = "tensor", "device", "tuple", "inside"  # what stands for what JSON lacks


def pack(accumulators: Sequence[Accumulator], notes: Sequence[str]) -> bytes:
    """Serialise each accumulator, with a note on each.

    One with an attribute that cannot travel (neither one of those that :class:`vaebench.core.metric.Accumulator` names,
    nor a constant) knows nothing, and its note says why, unless it has one.
    """
    tensors: list[Tensor] = []
    structure: list[list[Any]] = [[], []]
    for accumulator, note in zip(accumulators, notes, strict=True):
        try:
            known, reason = _known(accumulator, tensors), ""
        except UserError as error:
            known, reason = {}, str(error)
        structure[0].append(known)
        structure[1].append(note or reason)
    content = torch.frombuffer(bytearray(json.dumps(structure).encode()), dtype=torch.uint8)
    numbered = {str(number): tensor.detach().to("cpu", copy=True).contiguous() for number, tensor in enumerate(tensors)}
    packed: bytes = save({**numbered, _STRUCTURE: content})
    return packed


def unpack(content: bytes, like: Sequence[Kind]) -> tuple[list[Kind], list[str]]:
    """Rebuild accumulators of the kinds in ``like`` from what :func:`pack` wrote; return them with the notes."""
    tensors = load(content)
    structure, notes = json.loads(tensors[_STRUCTURE].numpy().tobytes())
    made = [copy.copy(part) for part in like]
    for accumulator, known in zip(made, structure, strict=True):
        _learn(accumulator, known, tensors)
    return made, notes


def _known(accumulator: Accumulator, tensors: list[Tensor]) -> dict[str, Any]:
    """Collect the attributes that travel, by name."""
    found = {}
    for name, value in vars(accumulator).items():
        if isinstance(value, Accumulator):
            found[name] = {_INSIDE: _known(value, tensors)}
        elif not _constant(value):
            found[name] = _written(value, tensors, f"{type(accumulator).__name__}.{name}")
    return found


def _constant(value: object) -> bool:
    """Tell whether a value is what its metric was built with, and so is the same in every process."""
    if isinstance(value, tuple):  # a study's key, for one
        return any(map(_constant, value)) and not any(isinstance(part, Tensor | list) for part in value)
    return callable(value) or isinstance(value, enum.Enum | FeatureSpace | MetricSpec)


def _written(value: Any, tensors: list[Tensor], name: str) -> Any:
    if isinstance(value, Tensor):
        place = next((at for at, known in enumerate(tensors) if known is value), len(tensors))
        tensors[place:] = tensors[place:] or [value]  # several metrics keep the same rows: they go once
        return {_TENSOR: place, _DEVICE: value.device.type}
    if isinstance(value, list):
        return [_written(item, tensors, name) for item in value]
    if isinstance(value, tuple):
        return {_TUPLE: [_written(item, tensors, name) for item in value]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise _stuck(name, value)


def _stuck(name: str, value: object) -> UserError:
    kind = type(value).__name__
    return UserError(f"{name} is a {kind}, which cannot go to another process: keep tensors, or use one process")


def _learn(accumulator: Accumulator, known: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    for name, value in known.items():
        if isinstance(value, dict) and _INSIDE in value:
            inside = copy.copy(getattr(accumulator, name))
            _learn(inside, value[_INSIDE], tensors)
            setattr(accumulator, name, inside)
        else:
            setattr(accumulator, name, _read(value, tensors))


def _read(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_read(item, tensors) for item in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[str(value[_TENSOR])].to(value[_DEVICE])
        return tuple(_read(item, tensors) for item in value[_TUPLE])
    return value
