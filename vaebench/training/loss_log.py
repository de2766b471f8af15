"""The loss log: means of loss terms as rows of the history, read late so that nothing waits for the device."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaebench.core.distributed import ALONE, Group
from vaebench.runs.history import Progress
from vaebench.training.checkpoint import OpenRow, RowTerms

REMEDY = "lower learning_rate with --set, or try --precision fp32"
SHOW_EVERY = 1.0  # seconds between signs of life, for those who watch


@dataclass(frozen=True, slots=True)
class Terms:
    """A phase's loss terms at one step; ``values`` (k,) stay on the device."""

    step: int  # steps done before it
    phase: str
    names: tuple[str, ...]
    values: Tensor


class LossLog:
    """Keeps loss terms on the device, and reads their means and the training rate when a row is due.

    Whether they are finite is seen then, too, and of the weights as well before each checkpoint: a step that went wrong
    is in none.
    """

    def __init__(
        self, *, steps: int, batch_size: int, per_epoch: int, spent: float, start: int, group: Group = ALONE
    ) -> None:
        self._group = group
        self._steps, self._batch_size, self._per_epoch, self._spent = steps, batch_size, per_epoch, spent
        self._began = time.monotonic()
        self.begin(start)

    def resume(self, row: OpenRow | None, tensors: Mapping[str, Tensor]) -> None:
        """Continue the row that :meth:`open_row` stored in a checkpoint; ``None`` begins a new row."""
        if row is None:
            return
        self._since = (row.begun, row.seconds)
        for part in row.terms:
            values = tensors.get(part.tensor)
            if values is None or values.shape != (len(part.steps), len(part.names)):
                raise self._group.error(f"loss terms of {part.phase} are damaged in the training state: train it anew")
            for step, line in zip(part.steps, values.float(), strict=True):
                self.add(Terms(step, part.phase, part.names, line))

    def open_row(self) -> tuple[OpenRow, dict[str, Tensor]]:
        """Return the unfinished row for a checkpoint: where it began, and its terms so far with tensors (steps, names)
        by name.
        """
        terms: list[RowTerms] = []
        tensors: dict[str, Tensor] = {}
        for (phase, names), kept in self._kept.items():
            if names:
                name = f"row.{len(terms)}"
                tensors[name] = torch.stack([part.values.cpu() for part in kept])
                steps = tuple(part.step for part in kept)
                terms.append(RowTerms(phase=phase, names=names, steps=steps, tensor=name))
        begun, seconds = self._since
        return OpenRow(begun=begun, seconds=seconds, terms=tuple(terms)), tensors

    @property
    def seconds(self) -> float:
        """Seconds spent on this training, including before it was resumed."""
        return self._spent + time.monotonic() - self._began

    def begin(self, step: int) -> None:
        """Begin a new row after ``step``."""
        self._kept: dict[tuple[str, tuple[str, ...]], list[Terms]] = {}
        self._since = (step, self.seconds)
        self._shown = self.seconds

    def add(self, terms: Terms) -> None:
        """Add a phase's terms at one step; each repeat of a phase counts."""
        self._kept.setdefault((terms.phase, terms.names), []).append(terms)

    def is_due(self) -> bool:
        """Tell whether live progress is due, row or no row."""
        return self.seconds - self._shown > SHOW_EVERY

    def read(self, step: int, observe: Callable[[], Mapping[str, float]] | None = None) -> Progress:
        """Return the means since :meth:`begin`; :class:`UserError` names the step and term that was not finite."""
        means = self._means()
        steps, seconds = step - self._since[0], self.seconds - self._since[1]
        self._shown = self.seconds
        return Progress(
            step=step,
            steps=self._steps,
            epoch=step / self._per_epoch,
            seconds=self.seconds,
            images_per_second=steps * self._batch_size / max(seconds, 1e-9),
            terms={**means, **(observe() if observe else {})},
        )

    def check(self, step: int, modules: Mapping[str, nn.Module]) -> None:
        """Raise :class:`UserError` as :meth:`read` does, or if a weight is not finite: no loss has seen the last
        step's.
        """
        self._means()
        named = [(name, part.detach()) for name, module in modules.items() for part in module.parameters()]
        if named and not bool(torch.stack([part.isfinite().all() for _, part in named]).all()):  # waits once
            bad = next(name for name, part in named if not part.isfinite().all())
            raise self._group.error(f"weights of {bad} not finite after step {step}: {REMEDY}")

    def _means(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        wrong: list[tuple[int, str]] = []
        for (phase, names), kept in self._kept.items():
            # waits for the device, once; after a resume, the first ones come from a file
            values = [terms.values for terms in kept]
            alike = len({value.device for value in values}) == 1
            table = torch.stack(values if alike else [value.cpu() for value in values]).cpu().double()
            wrong += [(terms.step, _not_finite(terms, row.tolist())) for terms, row in _broken(kept, table)]
            for name, total in zip(names, table.sum(0).tolist(), strict=True):
                key = f"{phase}/{name}"
                sums[key] = sums.get(key, 0.0) + total
                counts[key] = counts.get(key, 0) + len(kept)
        if wrong:
            raise self._group.error(min(wrong)[1])
        return {name: total / counts[name] for name, total in sums.items()}


def _broken(kept: Sequence[Terms], table: Tensor) -> list[tuple[Terms, Tensor]]:
    # the sum, too: finite terms may add up to more than float32 holds
    fine = table.isfinite().all(1) & table.float().sum(1).isfinite()
    return [(kept[at], table[at]) for at in (~fine).nonzero().flatten().tolist()]


def _not_finite(terms: Terms, values: Sequence[float]) -> str:
    bad = [
        f"{terms.phase}/{name} is {value}"
        for name, value in zip(terms.names, values, strict=True)
        if not math.isfinite(value)
    ]
    what = ", ".join(bad) or f"the sum of {terms.phase}'s terms is not finite"
    return f"loss not finite at step {terms.step}: {what}: {REMEDY}"
