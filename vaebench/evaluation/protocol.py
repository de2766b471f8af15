"""The protocol of an evaluation: metrics by name with their options, built for the data at hand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, overload

import torch

from vaebench.core.dataset import ImageDataset
from vaebench.core.device import pick_device
from vaebench.core.errors import UserError
from vaebench.core.metric import Metric, Need
from vaebench.core.recipe import hyperparameters_of, parse_options
from vaebench.core.registry import did_you_mean, load_file_attribute
from vaebench.evaluation.features import Networks
from vaebench.evaluation.judges import judge_network
from vaebench.metrics import METRICS
from vaebench.runs.recipe_files import is_file_reference

POSTERIORS = ("mean", "sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Which metrics to measure, with which options, on how many samples."""

    metrics: tuple[str, ...] = ()  # empty: all
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # metric -> option -> text
    given: Mapping[str, str] = field(default_factory=dict)  # option -> text, for every metric that has it
    samples: int = 10_000
    again: bool = False  # measure what was measured already, too
    posterior: str = "mean"  # what reconstructions are decoded from: the posterior's mean, or a draw (``sample``)
    device: str = "auto"
    tf32: bool = False  # whether a GPU may round float32 products and convolutions, which makes them faster
    prepared: str = ""  # how images made elsewhere were cropped and scaled; empty: they are as they were given

    def builds_as(self, other: "Protocol") -> bool:
        """Tell whether both build the same metrics on the same data: they may differ in what is not the metrics'."""
        return self == replace(other, samples=self.samples, again=self.again, device=self.device)

    def build(self, data: ImageDataset | None = None) -> "BuiltMetrics":
        """Build the metrics; :class:`UserError` for unknown metrics or options.

        A factory with a parameter named as one of ``given`` takes it from there, and with one named as a fact of
        ``data`` (:func:`_facts_of`) from the data, unless an option of its own says otherwise.
        """
        if self.posterior not in POSTERIORS:
            raise UserError(f"--posterior {self.posterior!r} is unknown: {did_you_mean(self.posterior, POSTERIORS)}")
        names = self.metrics or tuple(METRICS.names())
        for owner in self.options:
            if owner not in names:
                raise UserError(f"--set {owner}.…: no metric '{owner}' is measured: {did_you_mean(owner, names)}")
        broken, facts_of_data = self._broken(), _facts_of(data)
        factories: list[Callable[[], Iterable[Metric]]] = []
        for name in [name for name in names if name not in broken]:
            factory = load_file_attribute(name) if is_file_reference(name) else METRICS.get(name)
            known = hyperparameters_of(factory)
            shared = {key: text for key, text in self.given.items() if key in known}
            facts = {key: fact for key, fact in facts_of_data.items() if key in known}
            options = {**facts, **parse_options(name, {**shared, **self.options.get(name, {})}, factory)}
            factories.append(partial(self._made, factory, options))
        return BuiltMetrics(factories)

    def _made(self, factory: Callable[..., Iterable[Metric]], options: Mapping[str, Any]) -> list[Metric]:
        """Call a factory, and mark its metrics by how the images that they are fed were made."""
        made = list(factory(**options))
        for metric in made:
            drawn = self.posterior != "mean" and Need.RECONSTRUCTION in metric.spec.needs
            rounded = self.tf32 and bool(metric.spec.needs & ~Need.TRAINING)
            marks = [f"posterior={self.posterior}" if drawn else "", "tf32" if rounded else "", self.prepared]
            metric.made_from = "/".join(mark for mark in marks if mark)
        return made

    def networks(self) -> Networks:
        """Return the networks that features come from, on the device that is asked for.

        Raises:
            UserError: there is no such device, or it knows no TF32.
        """
        device = pick_device(self.device)
        if self.tf32 and torch.device(device).type != "cuda":
            raise UserError("--tf32 is a GPU's way to multiply, and this evaluation runs on the CPU: leave it away")
        return Networks(device, allow_tf32=self.tf32)

    def passed_over(self) -> list[str]:
        """Say why metrics that nobody asked for by name are left out: their plugins are broken."""
        return list(self._broken().values())

    def _broken(self) -> dict[str, str]:
        found = {}
        for name in () if self.metrics else METRICS.names():
            try:
                METRICS.get(name)
            except UserError as error:
                found[name] = str(error)
        return found


class BuiltMetrics(Sequence[Metric]):
    """Metrics of a protocol on one dataset: built once for what they declare, and anew for each measurement.

    A metric that has taken in images cannot take in those of another source, so those here are never fed.
    """

    def __init__(self, factories: Sequence[Callable[[], Iterable[Metric]]]) -> None:
        self._built = [(factory, tuple(factory())) for factory in factories]
        self._metrics = [metric for _, made in self._built for metric in made]

    @overload
    def __getitem__(self, position: int) -> Metric: ...
    @overload
    def __getitem__(self, position: slice) -> list[Metric]: ...
    def __getitem__(self, position: int | slice) -> Metric | list[Metric]:
        return self._metrics[position]

    def __len__(self) -> int:
        return len(self._metrics)

    def fresh(self, chosen: Iterable[Metric]) -> list[Metric]:
        """Build those of ``chosen``, which are some of these, anew: to be fed."""
        wanted = {id(metric) for metric in chosen}
        assert wanted <= set(map(id, self._metrics)), "metrics of another protocol or split"
        return [
            new
            for factory, made in self._built
            if any(id(old) in wanted for old in made)
            for old, new in zip(made, factory(), strict=True)
            if id(old) in wanted
        ]


def _facts_of(data: ImageDataset | None) -> dict[str, object]:
    """Facts of the data that metrics choose their defaults by."""
    if data is None:
        return {}
    judge = judge_network(data)
    return {"classifier": data.classifier, "attributes": data.attributes is not None, "judge": judge}
