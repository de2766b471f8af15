"""What adversarial training fails by, in made-up samples and histories whose condition is known."""

import numpy as np
import pytest
import torch

from vaebench.runs.history import Progress
from vaebench.training import gan_diagnostics


def faces(n: int = 32, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(seed))


def test_diversity_is_the_ratio_of_mean_pairwise_distances():
    samples, real = faces(seed=1) * 0.5, faces()
    pairs = [
        np.mean([np.linalg.norm(a - b) for i, a in enumerate(flat) for b in flat[:i]])
        for flat in (samples.flatten(1).numpy(), real.flatten(1).numpy())
    ]
    assert gan_diagnostics.of_samples(samples, real)[gan_diagnostics.DIVERSITY] == pytest.approx(
        pairs[0] / pairs[1], rel=1e-5
    )


def test_the_data_are_as_diverse_as_themselves_and_copies_have_no_diversity():
    real = faces()
    assert gan_diagnostics.of_samples(real, real) == {
        gan_diagnostics.DIVERSITY: pytest.approx(1),
        gan_diagnostics.COLOUR_CAST: pytest.approx(0),
    }
    assert gan_diagnostics.of_samples(real[:1].expand(32, -1, -1, -1), real)[gan_diagnostics.DIVERSITY] == 0


def test_a_cast_is_one_channel_s_and_brightness_is_none():
    real = faces() * 0.5
    green = real.clone()
    green[:, 1] += 0.3
    assert gan_diagnostics.of_samples(green, real)[gan_diagnostics.COLOUR_CAST] == pytest.approx(
        0.2, abs=1e-5
    )  # 0.3 less their mean
    assert gan_diagnostics.of_samples(real + 0.3, real)[gan_diagnostics.COLOUR_CAST] == pytest.approx(0, abs=1e-6)
    assert gan_diagnostics.COLOUR_CAST not in gan_diagnostics.of_samples(faces(channels=1), faces(channels=1))


def test_few_images_will_do():
    found = gan_diagnostics.of_samples(faces(32), faces(3, seed=2))
    assert 0.5 < found[gan_diagnostics.DIVERSITY] < 2 and abs(found[gan_diagnostics.COLOUR_CAST]) < 0.1
    assert gan_diagnostics.of_samples(faces(1), faces(1))[gan_diagnostics.DIVERSITY] == 0


def history(**terms: list[float]) -> list[Progress]:
    length = max(map(len, terms.values()))
    named = {name.replace("__", "/"): values for name, values in terms.items()}
    return [
        Progress(
            step=100 * (row + 1),
            steps=100 * length,
            epoch=0.0,
            seconds=0.0,
            images_per_second=0.0,
            terms={name: values[row] for name, values in named.items()},
        )
        for row in range(length)
    ]


DISCRIMINATOR = {"discriminator": "discriminator"}


def healthy(n: int = 30) -> dict[str, list[float]]:
    draw = np.random.default_rng(0)
    return {
        "discriminator__real": list(0.5 + 0.05 * draw.standard_normal(n)),
        "discriminator__fake": list(0.5 + 0.05 * draw.standard_normal(n)),
        "generator__adversarial": list(1.0 + 0.05 * draw.standard_normal(n)),
        "samples__diversity": [0.9] * n,
        "samples__colour_cast": [0.01] * n,
    }


def test_a_healthy_game_gives_no_warning():
    assert gan_diagnostics.log_text(history(**healthy()), DISCRIMINATOR) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"samples__diversity": [0.9] * 10 + [0.31] * 20},
            "step 1100: mode collapse? samples vary 0.31 as much as real images do (at best 0.90",
        ),
        (
            {"samples__colour_cast": [0.0] * 10 + [-0.12] * 20},
            "step 1100: colour cast: one channel of the samples stra",
        ),
        (
            {"discriminator__real": [0.5] * 10 + [0.01] * 20, "discriminator__fake": [0.5] * 10 + [0.02] * 20},
            "step 1500: discriminator wins outright: its loss is 0.030",
        ),
        (
            {
                "discriminator__real": list(1 + np.sin(np.arange(30) / 2)),
                "discriminator__fake": list(1 + np.sin(np.arange(30) / 2)),
                "generator__adversarial": list(2 - np.sin(np.arange(30) / 2)),
            },
            "step 1000: losses chase each other",
        ),
    ],
)
def test_each_failure_is_warned_of_once_with_its_number(change, words):
    lines = gan_diagnostics.log_text(history(**{**healthy(), **change}), DISCRIMINATOR).splitlines()
    assert len(lines) == 1 and lines[0].startswith(words), lines


def test_the_first_rows_of_a_healthy_training_are_no_collapse():
    """Untrained generators draw one picture; that they do not yet vary says nothing."""
    rising = [0.2, 0.4, 0.5, 0.8, 0.9, 0.95]
    assert gan_diagnostics.log_text(history(samples__diversity=rising), {}) == ""
    stuck = [0.2] * 8
    assert gan_diagnostics.log_text(history(samples__diversity=stuck), {}).startswith("step 600: mode collapse?")
    fallen = [0.2, 0.9, 0.4]
    assert gan_diagnostics.log_text(history(samples__diversity=fallen), {}).startswith("step 300: mode collapse?")


def test_a_warning_comes_again_after_the_condition_has_gone():
    diversity = [0.9] * 5 + [0.2] * 5 + [0.9] * 5 + [0.2] * 5
    lines = gan_diagnostics.log_text(history(samples__diversity=diversity), {}).splitlines()
    assert len(lines) == 2 and [line.split(":")[0] for line in lines] == ["step 600", "step 1600"]


def test_a_critic_s_losses_do_not_saturate():
    """Wasserstein distances have no zero to sink to: only a discriminator's cross-entropy saturates."""
    rows = history(critic__real=[-0.01] * 30, critic__fake=[0.02] * 30)
    assert gan_diagnostics.log_text(rows, {"critic": "critic"}) == ""
