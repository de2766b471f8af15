"""Trainings killed at random moments and resumed, under the settings that users have: the same bits and history."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vaebench.core.errors import UserError
from vaebench.runs.recipes import find_recipe

DISTINCT = ("vae-digits", "dfcvae-digits", "dcgan-digits", "vaewgan-digits", "blend-digits", "blendw-digits")
STEPS = {"vaewgan-digits": 24, "blend-digits": 24, "blendw-digits": 12}
KILLS = 7
TIMED = ("seconds", "images_per_second")


def started(home: Path, recipe: str, steps: int, *more: str) -> subprocess.Popen[bytes]:
    """The command as a user gives it, but that it saves often."""
    environment = {**os.environ, **{f"VAEBENCH_{name}": str(home / name.lower()) for name in ("RUNS", "CACHE", "DATA")}}
    words = ["train", recipe, "--steps", str(steps), "--save-every", "0.05", *more]
    command = [sys.executable, "-m", "vaebench", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def left(home: Path, recipe: str) -> tuple[bytes, list[dict[str, str]]]:
    """Weights, and the history without what a clock decides."""
    folder = home / "runs" / recipe / "seed-0"
    with (folder / "history.csv").open() as file:
        rows = [{name: cell for name, cell in row.items() if name not in TIMED} for row in csv.DictReader(file)]
    return (folder / "weights.safetensors").read_bytes(), rows


def check_kills(tmp_path: Path, measured_defaults: Callable[[Path], None], recipe: str, kills: int, seed: int) -> None:
    """Kill a training at ``kills`` random moments, then let it end; held against one that nobody disturbed."""
    try:
        find_recipe(recipe)
    except UserError as error:
        pytest.skip(str(error))
    steps, draw = STEPS.get(recipe, 120), random.Random(seed)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for home in (whole, broken):
        measured_defaults(home / "cache")
    began = time.monotonic()
    assert started(whole, recipe, steps).wait(600) == 0
    took = time.monotonic() - began
    for _ in range(kills):
        process = started(broken, recipe, steps, "--resume")
        time.sleep(draw.uniform(0, took))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert started(broken, recipe, steps, "--resume").wait(600) == 0
    assert left(broken, recipe) == left(whole, recipe)
    assert not list((broken / "runs").rglob(".tmp*"))


@pytest.mark.faults
@pytest.mark.parametrize("recipe", DISTINCT)
def test_killed_and_resumed_is_the_same_training(tmp_path, measured_defaults, found, recipe):
    check_kills(tmp_path, measured_defaults, recipe, kills=KILLS, seed=DISTINCT.index(recipe))
    found(f"killed {KILLS} times, weights and history as uninterrupted")


@pytest.mark.parametrize("recipe", ["dcgan-digits"])
def test_an_extended_training_is_one_that_was_longer_from_the_beginning(tmp_path, measured_defaults, recipe):
    """Under the measured defaults, through the command line; weights are channels_last and optimisers fused."""
    whole, extended = tmp_path / "whole", tmp_path / "extended"
    for home in (whole, extended):
        measured_defaults(home / "cache")
    assert started(whole, recipe, 5).wait(600) == 0
    assert started(extended, recipe, 2).wait(600) == 0
    assert started(extended, recipe, 5, "--resume").wait(600) == 0
    assert left(extended, recipe) == left(whole, recipe)
