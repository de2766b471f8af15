"""Evaluate a model that was trained elsewhere: open it, try it, measure it under a name of the user's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vaebench.adapters.opened import OpenedModel, fault_of, name_of, open_model
from vaebench.core.device import pick_device
from vaebench.core.errors import UserError
from vaebench.core.image_model import Capability
from vaebench.core.opening import Opening, read_range
from vaebench.core.paths import runs_dir
from vaebench.core.recipe import parse_options
from vaebench.evaluation import model_source
from vaebench.evaluation.evaluate import SEED, draw, measure_into, measure_real, unmeasured
from vaebench.evaluation.external import check_name, named_split
from vaebench.evaluation.features import Networks
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.source import Identity
from vaebench.evaluation.split_context import SplitContext
from vaebench.evaluation.trial import try_model
from vaebench.runs.recipes import named_dataset
from vaebench.runs.record import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideModel:
    """Options of the command line for a model that was trained elsewhere."""

    spec: Any  # --model SPEC, or from Python the model itself
    name: str  # NAME or NAME@SEED
    dataset: str  # NAME or ./file.py:function, also with :SPLIT
    options: tuple[str, ...] = ()  # of the dataset: OPTION=VALUE
    precision: str = "fp32"
    range: str = ""  # LOW,HIGH


def evaluate_model(given: OutsideModel, protocol: Protocol, say: Callable[[str], None]) -> dict[str, list[RunFolder]]:
    """Open, try and measure the model, and the real images it is measured on; return the dataset.

    Raises:
        UserError: the name or the model cannot be used, or the trial found a fault; then nothing is written.
    """
    name, seed = read_name(given.name)
    split = _split(given, protocol.networks())
    data = split.data
    low, high = read_range(given.range) if given.range else (0.0, 1.0)
    opening = Opening(
        image_shape=data.image_shape,
        device=pick_device(protocol.device),
        precision=given.precision,
        low=low,
        high=high,
        range_known=bool(given.range),
    )
    opened = open_model(given.spec, opening)
    try:
        try_model(opened.model, data, opening)
    except Exception as error:
        raise fault_of(error, name_of(given.spec)) from error
    if protocol.posterior == "sample" and Capability.VARIANCE not in opened.model.can:
        raise UserError(model_source.NO_VARIANCE)
    measure_real(split, protocol)
    fresh = _measure(opened, name, seed, split, protocol, opening)
    shown = name if seed is None else f"{name}@{seed}"
    say(f"external/{shown}: {'measured' if fresh else 'nothing new to measure'} on {data.name}:{data.split}")
    return {data.name: []}


def read_name(text: str) -> tuple[str, int | None]:
    """Split ``NAME`` or ``NAME@SEED``.

    Raises:
        UserError: it is no name, or the seed is no number.
    """
    name, at, seed = text.partition("@")
    check_name(name)
    if at and not (seed.isascii() and seed.isdigit() and len(seed) <= 9):
        raise UserError(f"--name {text[:40]!r}: {seed!r} is no training seed: write {name}@0, {name}@1 and so on")
    return name, int(seed) if at else None


def _split(given: OutsideModel, networks: Networks) -> SplitContext:
    if not given.dataset:
        raise UserError("--model needs --dataset NAME or NAME:SPLIT, whose images it is measured on: vaebench list")
    dataset, split = named_split("--dataset", given.dataset)
    pairs = dict(option.split("=", 1) for option in given.options)
    made = named_dataset(dataset)
    return SplitContext.of_split(made(**parse_options(f"dataset {dataset}", pairs, made)), split, networks)


def _measure(
    opened: OpenedModel, name: str, seed: int | None, split: SplitContext, protocol: Protocol, opening: Opening
) -> bool:
    """Write results, per-image values and pictures; return whether anything was missing."""
    folder = RunFolder(runs_dir() / "external" / (name if seed is None else f"{name}@{seed}"))
    identity = Identity(f"external/{name}", seed, opened.sha256, opening.device)
    metrics = unmeasured(folder, identity, split, split.metrics(protocol), protocol)
    if not metrics:
        return False
    source = model_source.of_model(
        opened.model,
        split.data,
        samples=protocol.samples,
        seed=SEED,
        context=split.context(),
        identity=identity,
        posterior=protocol.posterior,
    )
    measure_into(folder, source, split, metrics, samples=protocol.samples, needed=True)
    draw(folder, source, split.data)
    return True
