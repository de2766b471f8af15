"""Checkpoints: weights, optimiser states and position in one file, written by a thread while training goes on."""

import copy
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from vaebench.core import validation
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.validation import Count, NotNegative
from vaebench.runs.weights import (
    TRAIN_AGAIN,
    check_like,
    copied,
    module_tensors,
    read_tensors,
    restore_modules,
    write_tensors,
)

IMPLEMENTATION = ("foreach", "fused", "capturable")  # how an optimiser computes, not what: this machine's, not a file's
NOTES = {"position", "optimizers", "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTerms:
    """One phase's loss terms since the last row of the history; ``values`` (steps, names) is stored as a tensor.

    ``tensor`` is that tensor's name, set when it is written.
    """

    phase: str
    names: tuple[str, ...]
    steps: tuple[Count, ...]
    tensor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRow:
    """The unfinished row of the history at a checkpoint: the step it began at, and its loss terms so far."""

    begun: Count  # step
    seconds: NotNegative  # spent on the training by then
    terms: tuple[RowTerms, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The step and the counts that a checkpoint stores beside its tensors.

    Attributes:
        step: optimisation steps done.
        seconds: spent, in earlier sittings too.
        schedules: each phase's schedule, as its ``state_dict`` has it.
        row: the history's unfinished row; ``None`` in files of versions that did not keep it.
    """

    step: Count
    seconds: NotNegative
    schedules: list[Any] = field(default_factory=list)
    row: OpenRow | None = None


class Saver:
    """Final: writer of checkpoints. State is copied at once and written to disk by a thread.

    A failed write is a :class:`UserError` at the next save or at the end; leaving waits for the last one.
    """

    def __init__(
        self, path: Path, modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer], *, every: float
    ) -> None:
        self._path, self._modules, self._optimizers, self._every = path, modules, optimizers, every
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether the last checkpoint is at least ``every`` seconds old."""
        return time.monotonic() - self._saved_at > self._every

    def save(self, position: Position, texts: Mapping[Path, str], row: Mapping[str, Tensor] | None = None) -> None:
        """Write the current state, and before it the text files that belong to it.

        Args:
            position: where the training stands.
            texts: file -> content.
            row: tensors that ``position.row`` names.
        """
        self._saved_at = time.monotonic()
        tensors, note = _packed(self._modules, self._optimizers, position)
        tensors |= {name: copied(part) for name, part in (row or {}).items()}
        self._settle()
        self._writing = self._thread.submit(_write, self._path, tensors, note, dict(texts))

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        self._settle()


def _write(path: Path, tensors: dict[str, Tensor], note: dict[str, str], texts: Mapping[Path, str]) -> None:
    for text_path, text in texts.items():
        write_text(text_path, text)
    write_tensors(path, tensors, {**note, "sha256": _digest(tensors, note)})


def _digest(tensors: Mapping[str, Tensor], note: Mapping[str, str]) -> str:
    """Compute a SHA-256 over every tensor's name, dtype, shape and bytes, the position and the optimisers."""
    digest = hashlib.sha256(json.dumps([note["position"], note["optimizers"]]).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _packed(
    modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer], position: Position
) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors = {f"model.{name}": tensor for name, tensor in module_tensors(modules).items()}
    scalars: list[dict[str, Any]] = []
    for number, optimizer in enumerate(optimizers):
        packed = optimizer.state_dict()
        weights = sum(len(group["params"]) for group in packed["param_groups"])
        rest: dict[str, Any] = {
            "param_groups": packed["param_groups"],
            "state": {},
            "stateless": [index for index in range(weights) if not packed["state"].get(index)],
        }
        for index, entries in packed["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{index}.{key}"] = copied(value)
                else:
                    rest["state"].setdefault(str(index), {})[key] = value
        scalars.append(rest)
    # schedules as they are: asdict would make something else of their counters
    row = None if position.row is None else asdict(position.row)
    where = {"step": position.step, "seconds": position.seconds, "schedules": position.schedules, "row": row}
    return tensors, {"position": json.dumps(_encoded(where)), "optimizers": json.dumps(_encoded(scalars))}


def load_state(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer], steps: int
) -> tuple[Position, dict[str, Tensor]]:
    """Fill modules and optimisers from a :class:`Saver`'s file, after checking that all of it fits them.

    Args:
        path: the file.
        modules: as they were saved.
        optimizers: as they were saved; how they compute stays theirs.
        steps: of the whole training, which the position must not pass.

    Returns:
        Where the training stands, and the tensors of its history's unfinished row by name.

    Raises:
        UserError: the file is damaged, or a name, shape, dtype or number is not what these optimisers have.
    """
    tensors = read_tensors(path)
    position, scalars = _read_notes(path, tensors)
    if position.step > steps:
        raise UserError(f"{path} stands at step {position.step}, beyond the {steps} of its plan: {TRAIN_AGAIN}")
    if len(scalars) != len(optimizers):
        raise UserError(f"{path} is of a recipe with {len(scalars)} phases, not {len(optimizers)}: train it anew")
    states: list[dict[str, Any]] = []
    for number, (optimizer, rest) in enumerate(zip(optimizers, scalars, strict=True)):
        state: dict[int, dict[str, Any]] = defaultdict(dict[str, Any])
        for index, values in rest["state"].items():
            state[int(index)].update(values)
        for name, tensor in _under(f"optimizer.{number}.", tensors).items():
            index, _, key = name.partition(".")
            if not index.isdigit():
                raise UserError(f"{path} does not fit the recipe's optimisers ({name}): {TRAIN_AGAIN}")
            state[int(index)][key] = tensor
        _check_state(optimizer, state, rest.get("stateless"), f"optimizer.{number}", path)
        states.append({"state": dict(state), "param_groups": _groups(optimizer, rest["param_groups"], path)})
    restore_modules(modules, _under("model.", tensors), path)
    for optimizer, made in zip(optimizers, states, strict=True):
        optimizer.load_state_dict(made)
        _lay_out_as_weights(optimizer)
    return position, {name: tensor for name, tensor in tensors.items() if name.startswith("row.")}


def _lay_out_as_weights(optimizer: Optimizer) -> None:
    """Give optimiser state of a weight's shape the weight's memory layout, as the optimiser itself creates it.

    Files hold contiguous tensors. A fused kernel walks a weight and its moments in the order in which they lie: beside
    a channels_last weight, a contiguous moment would meet other elements.
    """
    for weight, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                entries[key] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _read_notes(path: Path, tensors: Mapping[str, Tensor]) -> tuple[Position, list[dict[str, Any]]]:
    """Read the position and the optimisers' numbers; :class:`UserError` if they are missing or the file is damaged."""
    with safe_open(path, framework="pt") as opened:
        note = opened.metadata() or {}
    if not {"position", "optimizers"} <= set(note) <= NOTES:
        raise UserError(f"{path} is no training state: {TRAIN_AGAIN}")
    if "sha256" in note and note["sha256"] != _digest(tensors, note):  # earlier versions wrote none
        raise UserError(f"{path} is damaged (its sha256 is not that of its content): {TRAIN_AGAIN}")
    position: Position = validation.converted(
        _decoded_note(note, "position", dict[str, Any], path), Position, f"{path}, position", TRAIN_AGAIN
    )
    scalars: list[dict[str, Any]] = _decoded_note(note, "optimizers", list[dict[str, Any]], path)
    for rest in scalars:
        fields = {"param_groups": list[dict[str, Any]], "state": dict[str, dict[str, Any]]}
        for name, wanted in fields.items():
            validation.converted(rest.get(name), wanted, f"{path}, optimizers, {name}", TRAIN_AGAIN)
        if not all(index.isdigit() for index in rest["state"]):
            raise UserError(f"{path} does not fit the recipe's optimisers (state of no weight): {TRAIN_AGAIN}")
        validation.converted(rest.get("stateless"), list[int] | None, f"{path}, optimizers, stateless", TRAIN_AGAIN)
    return position, scalars


def _decoded_note(note: Mapping[str, str], name: str, kind: type, path: Path) -> Any:
    try:
        return _decoded(validation.from_json(note[name], kind, f"{path}, {name}", TRAIN_AGAIN))
    except (TypeError, ValueError) as error:  # items that are no pairs
        raise UserError(f"{path}, {name} is damaged: {TRAIN_AGAIN}") from error


def _check_state(
    optimizer: Optimizer,
    state: Mapping[int, Mapping[str, Any]],
    stateless: Sequence[int] | None,
    title: str,
    path: Path,
) -> None:
    """Raise :class:`UserError` unless each weight has exactly the state that a step of this optimiser creates, or
    none.
    """
    fresh = _fresh_state(optimizer)
    if not set(state) <= set(range(len(fresh))):
        raise UserError(f"{path} does not fit the recipe's optimisers ({title} has more weights): {TRAIN_AGAIN}")
    for index, wanted in enumerate(fresh):
        entries = state.get(index, {})
        if not entries:
            if stateless is not None and index not in stateless:
                raise UserError(f"{path} lacks the state of {title}.{index}: {TRAIN_AGAIN}")
            continue
        if set(entries) != set(wanted):
            odd = sorted(set(entries) ^ set(wanted))
            raise UserError(f"{path} does not fit the recipe's optimisers ({title}.{index}: {odd[0]}): {TRAIN_AGAIN}")
        for key, value in wanted.items():
            if isinstance(value, Tensor):
                found = entries[key] if isinstance(entries[key], Tensor) else None
                check_like(f"{title}.{index}.{key}", found, value, path)
            elif not _is_like(entries[key], value):
                raise UserError(f"{path} holds no number as {title}.{index}.{key}: {TRAIN_AGAIN}")


def _fresh_state(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the state that one step on zeros creates for each weight: names, and values of the right shape and
    dtype.
    """
    known: dict[tuple[int, torch.Size, torch.dtype], dict[str, Any]] = {}
    found: list[dict[str, Any]] = []
    for number, group in enumerate(optimizer.param_groups):
        for weight in group["params"]:
            key = (number, weight.shape, weight.dtype)
            if key not in known:
                zeros = nn.Parameter(torch.zeros_like(weight))
                zeros.grad = torch.zeros_like(weight)
                twin = copy.copy(optimizer)
                twin.state, twin.param_groups = defaultdict(dict), [{**group, "params": [zeros]}]
                type(optimizer).step(twin)  # not twin.step: a schedule has put its counter before that one
                known[key] = twin.state[zeros]
            found.append(known[key])
    return found


def _groups(optimizer: Optimizer, saved: Sequence[Mapping[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return the optimiser's parameter groups with the saved numbers, such as a learning rate lowered by a schedule."""
    own: list[dict[str, Any]] = optimizer.state_dict()["param_groups"]
    if [group.get("params") for group in saved] != [group["params"] for group in own]:
        raise UserError(f"{path} does not fit the recipe's optimisers (they have other weights): {TRAIN_AGAIN}")
    for mine, theirs in zip(own, saved, strict=True):
        for name in set(mine) & set(theirs) - {"params", *IMPLEMENTATION}:
            if not _is_like(theirs[name], mine[name]):
                raise UserError(f"{path} holds {theirs[name]!r} as {name} of an optimiser: {TRAIN_AGAIN}")
            mine[name] = tuple(theirs[name]) if isinstance(mine[name], tuple) else theirs[name]
    return own


def check_schedule(schedule: object, own: Mapping[str, Any], saved: object, path: Path) -> None:
    """Raise :class:`UserError` unless ``saved`` is a state of this schedule, which would accept anything."""
    fits = isinstance(saved, Mapping) and set(own) <= set(saved)
    if fits:
        assert isinstance(saved, Mapping)
        more = set(saved) - set(own)
        fits = all(_is_like(saved[name], own[name]) for name in own)
        fits = fits and not any(hasattr(type(schedule), str(name)) for name in more)
    if not fits:
        raise UserError(f"{path} does not fit the recipe's schedules: {TRAIN_AGAIN}")


def _is_like(found: object, own: object) -> bool:
    """Tell whether a value from JSON can replace ``own``: numbers for numbers, the same names in mappings."""
    if isinstance(own, Tensor):
        own = own.item()
    if isinstance(own, bool) or own is None or isinstance(own, str):
        return type(found) is type(own) or (own is None and isinstance(found, int | float))
    if isinstance(own, int | float):
        return isinstance(found, int | float) and not isinstance(found, bool)
    if isinstance(own, list | tuple):
        return isinstance(found, list | tuple) and len(found) == len(own) and all(map(_is_like, found, own))
    if isinstance(own, Mapping) and isinstance(found, Mapping):
        return set(found) == set(own) and all(_is_like(found[name], own[name]) for name in own)
    return False


_ITEMS = "__items__"


def _encoded(value: Any) -> Any:
    """Encode for JSON: a mapping whose keys are not all text becomes its items, so that 5 does not come back as "5"."""
    if isinstance(value, Mapping):
        pairs = [[key, _encoded(item)] for key, item in value.items()]
        return dict(pairs) if all(isinstance(key, str) for key in value) else {_ITEMS: pairs}
    if isinstance(value, Tensor):  # a learning rate that a CUDA graph reads
        return value.item()
    return [_encoded(item) for item in value] if isinstance(value, list | tuple) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = value.get(_ITEMS, value.items())
        return {key: _decoded(item) for key, item in pairs}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
