"""What the speed scripts share: candidates in processes of their own, made-up images, one way to time the trainer."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vaebench.core.dataset import ImageDataset
from vaebench.core.recipe import Recipe
from vaebench.perceptual.inception import STORED as INCEPTION
from vaebench.perceptual.vgg19 import BLOCKS
from vaebench.perceptual.vgg19 import STORED as VGG19
from vaebench.runs.history import Progress
from vaebench.runs.recipes import build_model
from vaebench.runs.record import RunFolder
from vaebench.training.compute import Compute
from vaebench.training.loop import Plan, train

Measured = TypeVar("Measured")
DISTINCT = 1024  # made-up pictures; more images repeat them, since none of what is timed looks at what they show
NEVER = 1e9  # seconds until a checkpoint: none is written in what is timed, here as in the peers


class Failed(Exception):
    """A candidate ended without an answer; the message is its last words."""


def answer(script: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Any:
    """What one candidate, in a process of its own, prints as its last line of output, which is JSON."""
    command = [sys.executable, script, *(str(part) for part in arguments)]
    inside = {**os.environ, **(environment or {})}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=inside)
    if done.returncode or not done.stdout.strip():
        words = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Failed(f"exit code {done.returncode}: {words[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(
    names: Iterable[str], rounds: int, measure: Callable[[str], Measured], show: Callable[[Measured], str]
) -> dict[str, list[Measured]]:
    """All candidates in every round, so that a machine whose speed drifts slows all alike.

    One that fails is named, and left out of what is returned: the others need not be timed again for its sake.
    """
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in list(found):
            try:
                found[name].append(measure(name))
                print(f"round {number}, {name}: {show(found[name][-1])}", file=sys.stderr, flush=True)
            except Failed as error:
                print(f"{name}: left out ({error})", flush=True)
                del found[name]
    return found


def versions(*names: str) -> str:
    """Of the peers, for the header."""
    return ", ".join(f"{name} {installed(name) or 'not installed'}" for name in names)


def installed(name: str) -> str:
    """Version of a package; empty where it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def pictures(n: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """uint8 (n, c, h, w): smooth blots and some noise."""
    draw = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    distinct = min(n, DISTINCT)
    coarse = torch.rand(distinct, channels, 6, 6, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    smooth += 0.02 * torch.randn(smooth.shape, generator=draw)
    made = (255 * smooth.clamp(0, 1)).to(torch.uint8)
    return made.repeat(math.ceil(n / distinct), 1, 1, 1)[:n]


def dataset(images: Tensor, split: str = "train") -> ImageDataset:
    """Images as vaebench takes them in."""
    return ImageDataset("made-up", split, images, [str(row) for row in range(len(images))])


def trained(
    recipe: Recipe,
    data: ImageDataset,
    compute: Compute,
    steps: int,
    *,
    on_row: Callable[[int], object] = lambda step: None,
) -> tuple[float, int]:
    """Seconds a step of vaebench's trainer, log included, after the first third; and its peak memory in bytes.

    ``on_row`` is called with the step at every third: where the timing begins, and where it ends.
    """
    model = build_model(recipe, data.image_shape, 0)
    rows: list[tuple[int, float]] = []

    def note(row: Progress) -> None:
        rows.append((row.step, time.perf_counter()))  # a row has been read from the device, and samples looked at
        on_row(row.step)

    plan = Plan(
        seed=0,
        batch_size=recipe.batch_size,
        steps=steps,
        compute=compute,
        log_every=max(1, steps // 3),
        save_every=NEVER,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        facts = train(model, data, plan, folder, on_progress=note, should_stop=lambda: False)
    warm, began = next(row for row in rows if row[0] >= plan.log_every)
    done, ended = rows[-1]
    return (ended - began) / (done - warm), facts.peak_memory


def fidelity_inception(state: Mapping[str, Tensor]) -> nn.Module:
    """torch-fidelity's extractor to 2048 features, of uint8 images (n, 3, h, w), with these weights."""
    # here, since scripts that need no Inception run where torch-fidelity is missing
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: PLC0415

    with patch.object(torch, "load", lambda *_, **__: state):
        return FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path="none")


def inception_shapes() -> dict[str, Tensor]:
    """State dict of torch-fidelity's Inception-v3 without memory: names and shapes."""
    with patch.object(nn.Module, "load_state_dict"), torch.device("meta"):
        return fidelity_inception({}).state_dict()


def random_inception() -> dict[str, Tensor]:
    """Weights for Inception-v3, drawn: its time does not depend on what it has learnt."""
    draw = torch.Generator().manual_seed(0)
    state = {name: torch.randn(part.shape, generator=draw) for name, part in inception_shapes().items()}
    for name, part in state.items():
        if name.endswith("conv.weight"):
            part.mul_((2 / part[0].numel()) ** 0.5)
        elif name.endswith(("bn.weight", "running_var")):
            part.fill_(1)
    return state


def random_vgg19() -> dict[str, Tensor]:
    """Weights for VGG-19 to relu3_1, drawn, named as torchvision names them."""
    draw = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    places = (("0", BLOCKS[0][0]), ("2", BLOCKS[0][1]), ("5", BLOCKS[1][0]), ("7", BLOCKS[1][1]), ("10", BLOCKS[2][0]))
    for place, (inputs, outputs) in places:
        weight = torch.randn(outputs, inputs, 3, 3, generator=draw) * (2 / (9 * inputs)) ** 0.5
        state |= {f"features.{place}.weight": weight, f"features.{place}.bias": torch.zeros(outputs)}
    return state


def random_weights(folder: Path) -> dict[str, str]:
    """Files of both in ``folder``, and the environment in which vaebench finds them before any others.

    Without torch-fidelity, whose blocks Inception is made of, of VGG-19 alone.
    """
    save_file(random_vgg19(), folder / VGG19)
    if find_spec("torch_fidelity"):
        save_file(random_inception(), folder / INCEPTION)
    return {"VAEBENCH_WEIGHTS": str(folder)}
