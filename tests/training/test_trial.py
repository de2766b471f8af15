"""A recipe's own first steps at given settings: every family, rates and losses; the pace of a training against them."""

from dataclasses import replace

import pytest
import torch

from vaebench.core import trials
from vaebench.runs.history import Progress
from vaebench.runs.recipes import find_recipe, open_dataset
from vaebench.training import pace, trial
from vaebench.training.autotune import Trial
from vaebench.training.compute import TOLERANCE, Compute, disagreement
from vaebench.training.pace import Pace

PLAIN = Compute(device="cpu", precision="fp32", channels_last=False, compile=False, threads=1, fused=True)


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits").load("train")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    monkeypatch.setattr(trial, "BLOCKS", 1)
    monkeypatch.setattr(trial, "LEAST", 1)


@pytest.mark.parametrize("family", ["vae", "dfcvae", "dcgan", "vaewgan"])
@pytest.mark.parametrize("size", [16, 32])
def test_a_fast_way_s_losses_are_within_the_tolerance_of_the_plain_way_s(family, size, digits):
    recipe, _ = find_recipe(f"{family}-digits", [f"batch_size={size}"])
    before = torch.get_rng_state()
    plain = trial.take_steps(recipe, digits, PLAIN)
    fast = trial.take_steps(recipe, digits, replace(PLAIN, precision="bf16", channels_last=True))
    assert len(plain.losses) == trial.COMPARED and plain.rate > 0
    assert 0 < disagreement(fast.losses, plain.losses) < TOLERANCE["bf16"]
    assert disagreement(plain.losses, trial.take_steps(recipe, digits, PLAIN).losses) == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_wrong_way_is_seen(digits, monkeypatch):
    """What a graph that replays its first batch for ever would do."""
    recipe, _ = find_recipe("vae-digits")
    plain = trial.take_steps(recipe, digits, PLAIN)
    real = trial.TrainingBatches.batch
    monkeypatch.setattr(
        trial.TrainingBatches,
        "batch",
        lambda self, index, repeat=0: (
            real(self, 0, repeat)
            if index == 0
            else replace(real(self, index, repeat), images=real(self, index, repeat).images * 0)
        ),
    )
    assert disagreement(trial.take_steps(recipe, digits, PLAIN).losses, plain.losses) > TOLERANCE["bf16"]


def rows(*rates, batch=32):
    """Progress of a training at these images/s, ten seconds and more each."""
    step, seconds, made = 0, 0.0, [Progress(step=0, steps=10**6, epoch=0, seconds=0, images_per_second=0, terms={})]
    for rate in rates:
        step, seconds = step + round(rate * pace.WINDOW / batch) + 1, seconds + pace.WINDOW + 0.01
        made.append(replace(made[0], step=step, seconds=seconds))
    return made


def notes(watch, *rates):
    return [watch.note(row, 32) for row in rows(*rates)]


def test_a_training_far_below_its_kept_rate_says_so_once():
    first = Pace("vae-digits", replace(PLAIN, threads=2))
    assert not any(notes(first, 800, 830, 790))
    first.keep()
    said = [text for text in notes(Pace("vae-digits", replace(PLAIN, threads=2)), 100, 90, 95) if text]
    assert len(said) == 1
    assert "training at 102 images/s, where this machine has reached 831; other programs seem to slow it" in said[0]
    assert "stop them, or start trainings with --threads 1" in said[0]
    assert not any(notes(Pace("vae-digits", replace(PLAIN, threads=1)), 100, 90))  # another setting's rate is another


def test_a_training_that_slows_down_says_so_without_any_kept_rate():
    assert sum(map(bool, notes(Pace("dcgan-digits", PLAIN), 800, 780, 100, 100))) == 1
    assert "wait until they end" in "".join(notes(Pace("dcgan-digits", PLAIN), 800, 100))


def test_a_training_s_rate_is_not_among_those_that_decide_its_settings():
    watch = Pace("vae-digits", PLAIN)
    notes(watch, 800)
    watch.keep()
    assert all(key.endswith("trained") or "vae-digits" not in key for key in trials.known_rates())
    slower = Pace("vae-digits", PLAIN)
    notes(slower, 500)
    slower.keep()
    (kept,) = [rates for key, rates in trials.known_rates().items() if "vae-digits" in key]
    assert kept[str(Trial("fp32", 1, channels_last=False))] > 790
