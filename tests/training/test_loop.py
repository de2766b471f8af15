"""The one loop: phases, freezing, schedules, checkpoints, and resuming to the same bits."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import Interrupted, UserError
from vaebench.core.model import Batch, GenerativeModel, Phase, Step, trained_modules
from vaebench.runs.history import read as read_history
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.runs.record import RunFolder
from vaebench.training.batches import TrainingBatches
from vaebench.training.compute import Compute
from vaebench.training.loop import Plan, check_optimisers, train

pytestmark = pytest.mark.usefixtures("defaults_known")

PLAIN = Compute(device="cpu", precision="fp32", channels_last=False, compile=False, threads=1)


def images(n: int = 40, side: int = 28) -> ImageDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 1, side, side), dtype=torch.uint8, generator=generator)
    return ImageDataset(name="noise", split="train", images=pixels, ids=[str(i) for i in range(n)])


def plan(**changes: object) -> Plan:
    settings = {"seed": 0, "batch_size": 8, "steps": 12, "compute": PLAIN, "log_every": 4, "save_every": 1e9}
    return Plan(**{**settings, **changes})  # type: ignore[arg-type]


def run(model: GenerativeModel, folder: Path, data: ImageDataset | None = None, *, stop_after: int = -1, **changes):
    """Train; ``stop_after`` asks to stop once that many steps of this call are done."""
    folder.mkdir(parents=True, exist_ok=True)
    calls = itertools.count(1)
    return train(
        model,
        images() if data is None else data,
        plan(**changes),
        RunFolder(folder),
        on_progress=lambda row: None,
        should_stop=lambda: next(calls) == stop_after,
    )


class Duel(GenerativeModel):
    """Two phases, as a GAN has them, with batch normalisation in the generator."""

    latent_dim = 2

    def __init__(self, repeats: int = 1) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Linear(16, 784))
        self.judge = nn.Linear(784, 1)
        self.repeats, self.clipped, self.free = repeats, 0, []

    def decode(self, z: Tensor) -> Tensor:
        return self.maker(z).sigmoid().view(-1, 1, 28, 28)

    def _made(self, batch: Batch, step: Step) -> Tensor:
        return self.decode(torch.randn(len(batch.images), 2, generator=step.generator)).flatten(1)

    def _judge_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        self.free.append(self._trainable())
        made = self._made(batch, step)
        return {"real": -self.judge(batch.images.flatten(1)).mean(), "made": self.judge(made).mean()}

    def _maker_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        self.free.append(self._trainable())
        return {"adversarial": -self.judge(self._made(batch, step)).mean()}

    def _trainable(self) -> str:
        return "+".join(name for name, part in self.named_children() if any(p.requires_grad for p in part.parameters()))

    def _clip(self) -> None:
        self.clipped += 1

    def phases(self) -> Sequence[Phase]:
        sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
        halving = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
        return [
            Phase(
                name="critic",
                modules=[self.judge],
                loss=self._judge_loss,
                optimizer=sgd,
                repeats=self.repeats,
                after_step=self._clip,
                schedule=halving,
            ),
            Phase(name="generator", modules=[self.maker], loss=self._maker_loss, optimizer=partial(torch.optim.Adam)),
        ]


def test_each_phase_frees_exactly_its_modules_and_repeats_as_declared(tmp_path):
    model = Duel(repeats=3)
    run(model, tmp_path, steps=2)
    assert model.free == (["judge"] * 3 + ["maker"]) * 2
    assert model.clipped == 6
    assert model._trainable() == ""  # everything is frozen again


def test_batch_norm_of_a_frozen_phase_keeps_updating_its_statistics(tmp_path):
    """The decision in training.py: as the reference implementations of DCGAN and WGAN do."""
    model = Duel()
    run(model, tmp_path, steps=2)
    assert model.maker[1].num_batches_tracked.item() == 4  # two phases decode in each of two steps


def test_schedules_step_once_an_epoch(tmp_path):
    model = Duel()
    run(model, tmp_path, steps=12)  # 40 images, batch 8: five steps an epoch, two epochs done
    state = load_file(tmp_path / "training_state.safetensors")
    assert any(name.startswith("optimizer.0.") for name in state)
    position = _position(tmp_path)
    assert position["schedules"][0]["last_epoch"] == 2
    assert position["schedules"][0]["_last_lr"] == [0.1 * 0.25]


def _position(folder: Path) -> dict:
    import json

    from safetensors import safe_open

    with safe_open(folder / "training_state.safetensors", framework="pt") as opened:
        return json.loads(opened.metadata()["position"])


class Milestones(Duel):
    """A schedule whose state has whole numbers for keys, which JSON alone would turn into text."""

    def phases(self) -> Sequence[Phase]:
        steps = partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[1], gamma=0.1)
        return [dataclasses.replace(phase, schedule=steps) for phase in super().phases()]


def test_a_schedule_resumes_though_its_state_has_numbers_for_keys(tmp_path):
    run(seeded(Milestones), tmp_path / "whole", steps=12)
    with pytest.raises(Interrupted):
        run(seeded(Milestones), tmp_path / "parts", steps=12, stop_after=3)
    run(seeded(Milestones), tmp_path / "parts", steps=12)
    whole, parts = (load_file(tmp_path / name / "training_state.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_state_of_other_phases_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        run(Duel(), tmp_path, stop_after=3)
    alone = Duel()
    alone.phases = lambda: Duel.phases(alone)[1:]  # type: ignore[method-assign]
    with pytest.raises(UserError, match="2 phases, not 1"):
        run(alone, tmp_path)


def test_damaged_history_is_named(tmp_path):
    (tmp_path / "history.csv").write_text("step,steps\n4,x\n")
    with pytest.raises(UserError, match=r"history\.csv, line 2 is damaged"):
        read_history(tmp_path / "history.csv")


class LateTerm(Duel):
    def _maker_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        terms = super()._maker_loss(batch, step)
        return {**terms, "late": torch.ones(())} if step.index >= 6 else terms


def test_a_term_that_begins_late_has_its_own_column_and_mean(tmp_path):
    run(LateTerm(), tmp_path, steps=12, log_every=4)
    rows = read_history(tmp_path / "history.csv")
    assert ["generator/late" in row.terms for row in rows] == [False, True, True]
    assert rows[1].terms["generator/late"] == 1.0  # of the two steps that had it, not of all four


def test_who_watches_is_shown_progress_between_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("vaebench.training.loss_log.SHOW_EVERY", 0.0)
    seen: list[int] = []
    train(
        Duel(),
        images(),
        plan(steps=8),
        RunFolder(tmp_path),
        on_progress=lambda row: seen.append(row.step),
        should_stop=lambda: False,
    )
    assert seen == list(range(1, 9))
    assert [row.step for row in read_history(tmp_path / "history.csv")] == [4, 8]


def test_resuming_keeps_the_length_it_was_begun_with(cli):
    short = ["train", "vae-digits", "--precision", "fp32", "--threads", "1"]
    assert cli([*short, "--steps", "2"]).code == 0
    again = cli([*short, "--resume"])
    assert again.code == 0
    assert "already trained" in again.out


def test_a_training_that_failed_before_its_first_checkpoint_blocks_nothing(cli):
    short = ["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"]
    failed = cli([*short, "--set", "learning_rate=1e30"])
    assert (failed.code, "not finite" in failed.err) == (2, True)
    again = cli([*short[:3], "3", *short[4:], "--set", "learning_rate=1e30"])  # another training in that folder
    assert (again.code, "not finite" in again.err) == (2, True)
    assert cli(short).code == 0


@pytest.mark.parametrize("rate", [float("nan"), -1.0])
def test_settings_that_an_optimiser_refuses_are_bad_input(rate):
    recipe, _ = find_recipe("vae-digits", [f"learning_rate={rate}"])
    with pytest.raises(UserError, match="phase vae cannot be trained"):
        check_optimisers(build_model(recipe, (1, 28, 28), 0), PLAIN)


class Diverging(Duel):
    def _maker_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        terms = super()._maker_loss(batch, step)
        return {**terms, "penalty": terms["adversarial"] * (float("nan") if step.index >= 6 else 1.0)}


def test_a_loss_that_is_not_finite_stops_the_run_with_its_name_and_keeps_the_last_checkpoint(tmp_path):
    model = Diverging()
    with pytest.raises(Interrupted):
        run(model, tmp_path, stop_after=4)
    before = (tmp_path / "training_state.safetensors").read_bytes()
    with pytest.raises(UserError, match="generator/penalty is nan") as caught:
        run(Diverging(), tmp_path)
    assert "step 6" in str(caught.value) and "adversarial" not in str(caught.value)
    assert (tmp_path / "training_state.safetensors").read_bytes() == before


def test_an_epoch_is_a_permutation_less_the_partial_batch():
    feed = TrainingBatches(images(43), seed=0, batch_size=8, compute=PLAIN)
    assert feed.per_epoch == 5
    seen = [feed.batch(index).images for index in range(10)]
    whole = {tuple(image.flatten()[:8].tolist()) for batch in seen[:5] for image in batch}
    assert len(whole) == 40
    assert not torch.equal(seen[0], seen[5])  # another order in the next epoch
    assert torch.equal(feed.batch(0).images, seen[0])  # any step can be taken again


def test_each_repeat_has_a_permutation_of_its_own(tmp_path):
    """Critic steps see fresh images (Arjovsky et al. 2017, algorithm 1), and the first ones the step's batch."""
    feed = TrainingBatches(images(40), seed=0, batch_size=8, compute=PLAIN)
    first, second = ([feed.batch(index, repeat).images for index in range(5)] for repeat in (0, 1))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    ordered = [torch.cat(part).flatten(1).sum(1).sort().values for part in (first, second)]
    assert torch.allclose(*ordered)  # each goes through all images
    assert torch.equal(feed.batch(3, 0).images, first[3]) and torch.equal(feed.batch(3, 1).images, second[3])


class Watched(Duel):
    """A game that declares its adversary, and records the batches that the adversary is shown."""

    def __init__(self, repeats: int = 1) -> None:
        super().__init__(repeats)
        self.shown: list[Tensor] = []

    def _judge_loss(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        self.shown.append(batch.images)
        return super()._judge_loss(batch, step)

    def phases(self) -> Sequence[Phase]:
        first, second = super().phases()
        return [dataclasses.replace(first, adversary="critic"), second]


def test_the_log_has_means_over_repeats_and_the_samples_vitals(tmp_path):
    model = Watched(repeats=3)
    run(model, tmp_path, steps=24)
    assert len({batch.sum().item() for batch in model.shown[:3]}) == 3
    rows = read_history(tmp_path / "history.csv")
    assert [row.step for row in rows] == [4, 8, 12, 16, 20, 24]
    assert all(0 < row.terms["samples/diversity"] < 2 for row in rows)
    # hardly trained, against noise: still little variety when the first rows are over
    assert (tmp_path / "warnings.log").read_text().startswith("step 24: mode collapse?")


def test_no_adversary_no_vitals(tmp_path):
    run(seeded(Duel), tmp_path, steps=4)
    assert "samples/diversity" not in read_history(tmp_path / "history.csv")[0].terms
    assert not (tmp_path / "warnings.log").exists()


def test_watching_does_not_change_what_is_learnt(tmp_path):
    run(seeded(Duel), tmp_path / "plain", steps=8)
    run(seeded(Watched), tmp_path / "watched", steps=8)
    plain, watched = (load_file(tmp_path / name / "training_state.safetensors") for name in ("plain", "watched"))
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_too_few_images_for_a_batch_is_bad_input(tmp_path):
    with pytest.raises(UserError, match="less than batch_size=8"):
        run(Duel(), tmp_path, images(7))


def model_of(name: str, seed: int = 0, settings: Sequence[str] = ()) -> GenerativeModel:
    return build_model(find_recipe(name, settings)[0], (1, 28, 28), seed)


MODELS = {
    "gan": lambda: seeded(Duel),
    "vae": lambda: model_of("vae-digits"),
    "dfcvae": lambda: model_of("dfcvae-digits"),
    "dcgan": lambda: model_of("dcgan-digits"),
    "vaewgan": lambda: model_of("vaewgan-digits"),
    "blendw": lambda: model_of("blendw-digits", settings=["adversary_steps=2"]),
}


def seeded(build):
    from vaebench.core import seeding

    with seeding.isolated(0, "initialisation"):
        return build()


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The state that ten steps in one go leave, by model."""
    known = {}

    def of(kind):
        if kind not in known:
            folder = tmp_path_factory.mktemp("whole")
            run(MODELS[kind](), folder, steps=10)
            known[kind] = load_file(folder / "training_state.safetensors")
        return known[kind]

    return of


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("stops", [[1], [3], [5], [6, 1, 2]], ids=str)
def test_resuming_gives_the_bits_of_an_uninterrupted_run(tmp_path, whole_run, kind, stops):
    """Stopped in the middle of an epoch, at its end, several times: weights, optimisers and log agree."""
    for stop in stops:
        with pytest.raises(Interrupted):
            run(MODELS[kind](), tmp_path / "parts", steps=10, stop_after=stop)
    run(MODELS[kind](), tmp_path / "parts", steps=10)
    whole, parts = whole_run(kind), load_file(tmp_path / "parts" / "training_state.safetensors")
    assert whole.keys() == parts.keys() and any("optimizer" in name for name in whole)
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    assert [row.step for row in read_history(tmp_path / "parts/history.csv")] == [4, 8, 10]


def test_same_seed_same_weights_other_seed_other_weights_and_the_global_generator_is_left_alone(tmp_path):
    before = torch.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(model_of("vae-digits", seed), tmp_path / name, steps=3, seed=seed)
    a, b, c = (load_file(tmp_path / name / "training_state.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["model.encoder.0.weight"], c["model.encoder.0.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_holds_the_phases_modules_and_no_perceptual_network(tmp_path):
    model = model_of("dfcvae-digits")
    run(model, tmp_path, steps=2)
    state = load_file(tmp_path / "training_state.safetensors")
    parts = {name.split(".")[1] for name in state if name.startswith("model.")}
    assert parts == {"encoder", "decoder"}
    assert sum(state[name].numel() for name in state if name.startswith("model.")) == 588_459
    assert set(trained_modules(model, model.phases())) == {"encoder", "decoder"}


def test_history_has_every_term_averaged_since_the_last_row(tmp_path):
    run(model_of("dfcvae-digits"), tmp_path, steps=6, log_every=2)
    rows = read_history(tmp_path / "history.csv")
    assert [row.step for row in rows] == [2, 4, 6]
    assert set(rows[0].terms) == {"vae/perceptual_conv1", "vae/perceptual_conv2", "vae/kl"}
    run(model_of("dfcvae-digits"), tmp_path / "each", steps=2, log_every=1)
    each = read_history(tmp_path / "each/history.csv")
    for name, value in rows[0].terms.items():
        assert value == pytest.approx((each[0].terms[name] + each[1].terms[name]) / 2, rel=1e-6)


def test_bf16_and_channels_last_follow_the_plain_path(tmp_path):
    """The fast path's losses over 30 steps stay within 2 % of float32's."""
    fast = Compute(device="cpu", precision="bf16", channels_last=True, compile=False, threads=1)
    for name, compute in (("plain", PLAIN), ("fast", fast)):
        run(model_of("vae-digits"), tmp_path / name, steps=30, log_every=10, compute=compute)
    plain, quick = (read_history(tmp_path / name / "history.csv") for name in ("plain", "fast"))
    for a, b in zip(plain, quick, strict=True):
        assert sum(b.terms.values()) == pytest.approx(sum(a.terms.values()), rel=0.02)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vaebench", *arguments]


TRAIN = ("train", "vae-digits", "--steps", "16", "--precision", "fp32", "--threads", "1", "--save-every", "0.2")


def run_in(place: Path) -> dict[str, str]:
    return {**os.environ, "VAEBENCH_RUNS": str(place), "VAEBENCH_CACHE": str(place / "cache")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, measured_defaults) -> bytes:
    place = tmp_path_factory.mktemp("whole")
    measured_defaults(place / "cache")
    subprocess.run(command(*TRAIN), env=run_in(place), check=True, capture_output=True)
    return (place / "vae-digits/seed-0/weights.safetensors").read_bytes()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_killed_process_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path, cli, monkeypatch, uninterrupted, how
):
    """Through the command line, with real signals; SIGKILL leaves the last checkpoint of its interval."""
    folder = tmp_path / "vae-digits/seed-0"
    process = subprocess.Popen(command(*TRAIN), env=run_in(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while not (folder / "training_state.safetensors").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode == (-9 if how == signal.SIGKILL else 130), said.decode()
    for name, value in run_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    refused = cli(TRAIN)
    assert (refused.code, "--resume" in refused.err) == (2, True)
    subprocess.run(command(*TRAIN, "--resume"), env=run_in(tmp_path), check=True, capture_output=True)
    assert (folder / "weights.safetensors").read_bytes() == uninterrupted
