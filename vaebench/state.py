"""What a training resumes from: weights, optimisers and position in one file, written beside the training."""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from safetensors import safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from vaebench.checkpoints import copied, module_tensors, read_tensors, restore_modules, write_tensors
from vaebench.core.errors import UserError
from vaebench.core.places import write_text

IMPLEMENTATION = ("foreach", "fused", "capturable")  # how an optimiser computes, not what: this machine's, not a file's


class Saver:
    """Final: writes checkpoints while training goes on. What is saved is copied at once, and written by a thread.

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
        """Whether the last one lies ``every`` seconds back."""
        return time.monotonic() - self._saved_at > self._every

    def save(self, position: Mapping[str, Any], texts: Mapping[Path, str]) -> None:
        """The state as it is now, and before it the texts that belong to it."""
        self._saved_at = time.monotonic()
        tensors, note = _packed(self._modules, self._optimizers, position)
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
    write_tensors(path, tensors, note)


def _packed(
    modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer], position: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors = {f"model.{name}": tensor for name, tensor in module_tensors(modules).items()}
    scalars: list[dict[str, Any]] = []
    for number, optimizer in enumerate(optimizers):
        packed = optimizer.state_dict()
        rest: dict[str, Any] = {"param_groups": packed["param_groups"], "state": {}}
        for index, entries in packed["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{index}.{key}"] = copied(value)
                else:
                    rest["state"].setdefault(str(index), {})[key] = value
        scalars.append(rest)
    return tensors, {"position": json.dumps(_encoded(position)), "optimizers": json.dumps(_encoded(scalars))}


def load_state(path: Path, modules: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Fill modules and optimisers from a :class:`Saver`'s file; returns the position."""
    tensors = read_tensors(path)
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
        for old, new in zip(rest["param_groups"], optimizer.param_groups, strict=False):  # torch counts them below
            old.update({name: new[name] for name in IMPLEMENTATION if name in new})
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
