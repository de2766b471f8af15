"""Every faster way to train against the plain one (fp32, contiguous, eager, a tensor at a time): 20 steps of digits.

Ways that round differently part slowly, and games amplify what little parts them: so paths as a whole are compared
where arithmetic is fp32, and bfloat16 is held against the plain path at each of its steps, from the same weights.
"""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from vaebench.core.model import Batch
from vaebench.runs.recipes import build_model, find_recipe, open_dataset
from vaebench.runs.record import RunFolder
from vaebench.training.acceleration import build_optimizer, can_be_captured
from vaebench.training.batches import TrainingBatches
from vaebench.training.compute import Compute
from vaebench.training.loop import Plan, train

STEPS, BATCH = 20, 8
HALVED = 8  # steps at which bfloat16 is compared; CPUs without it emulate it at a twentieth of the speed
PLAIN = Compute(device="cpu", precision="fp32", channels_last=False, compile=False, threads=1)
FAMILIES = ("vae", "dfcvae", "dcgan", "vaewgan")
# largest difference of a phase's loss over the steps, as a share of its mean: fused and channels_last round differently
TOLERANCE = {"vae": 1e-4, "dfcvae": 1e-2, "dcgan": 3e-2, "vaewgan": 0.25}


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits").load("train")


def model_of(family, data):
    return build_model(find_recipe(f"{family}-digits")[0], data.image_shape, 0)


def losses(family, data, compute, folder: Path, model=None, steps=STEPS, batch=BATCH):
    """Of each phase at every step: (steps, phases)."""
    model = model or model_of(family, data)
    rows = []
    plan = Plan(seed=0, batch_size=batch, steps=steps, compute=compute, log_every=1, save_every=1e9)
    folder.mkdir(parents=True)
    train(model, data, plan, RunFolder(folder), on_progress=rows.append, should_stop=lambda: False)
    phases = dict.fromkeys(name.partition("/")[0] for name in rows[0].terms if not name.startswith("samples/"))
    return torch.tensor(
        [[sum(value for name, value in row.terms.items() if name.startswith(f"{phase}/")) for phase in phases]
         for row in rows]
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(digits, tmp_path_factory):
    known = {}

    def of(family):
        if family not in known:
            known[family] = losses(family, digits, PLAIN, tmp_path_factory.mktemp("plain") / family)
        return known[family]

    return of


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["channels_last", "fused"])
def test_ways_that_round_differently_stay_with_the_plain_path(family, way, digits, plain, tmp_path):
    fast = losses(family, digits, replace(PLAIN, **{way: True}), tmp_path / "fast")
    difference = (fast - plain(family)).abs() / plain(family).abs().mean(0)
    assert difference[:3].max() < 1e-3  # before they part
    assert difference.max() < TOLERANCE[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_fifty_steps_of_the_fast_way_stay_with_the_plain_one(family, digits, tmp_path):
    """All that is fast on a CPU at once; by the median over steps, since a loss that jumps amplifies rounding."""
    fast_way = replace(PLAIN, precision="bf16", channels_last=True, fused=True)
    fast, plain = (
        losses(family, digits, way, tmp_path / way.precision, steps=50, batch=16) for way in (fast_way, PLAIN)
    )
    assert ((fast - plain).abs() / plain.abs()).median(0).values.max() < 0.03


@pytest.mark.parametrize("family", FAMILIES)
def test_images_that_are_read_ahead_are_the_same_images(family, digits, plain, tmp_path):
    assert torch.equal(losses(family, digits, replace(PLAIN, stream=True), tmp_path / "fast"), plain(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_agrees_with_the_plain_path_at_each_of_its_steps(family, digits):
    """Loss within 2 % of what the terms add up to, and gradients within 8 degrees, from the same weights and noise."""
    model = model_of(family, digits).train().requires_grad_(False)
    feed = TrainingBatches(digits, seed=0, batch_size=BATCH, compute=PLAIN)
    work = [(phase, build_optimizer(phase, PLAIN)) for phase in model.phases()]
    for index in range(HALVED):
        for phase, optimizer in work:
            for module in phase.modules:
                module.requires_grad_(True)
            (half, direction), (full, plain_direction) = (
                _loss_and_gradient(phase, optimizer, feed.batch(index), feed.step(index, STEPS), precision)
                for precision in ("bf16", "fp32")  # the plain one last: its gradient is stepped along
            )
            assert half.sum().item() == pytest.approx(full.sum().item(), abs=0.02 * full.abs().sum().item())
            assert functional.cosine_similarity(direction, plain_direction, dim=0) > 0.99, (index, phase.name)
            optimizer.step()
            for module in phase.modules:
                module.requires_grad_(False)


def _loss_and_gradient(phase, optimizer, batch: Batch, step, precision):
    optimizer.zero_grad()
    with replace(PLAIN, precision=precision).autocast():
        terms = torch.stack([term.float() for term in phase.loss(batch, step).values()])
    terms.sum().backward()
    gradient = torch.cat([p.grad.flatten() for module in phase.modules for p in module.parameters()])
    return terms.detach(), gradient


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is none here")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about itself
@pytest.mark.calibration  # half a minute, of an option that is off by default
def test_compiled_modules_stay_with_the_plain_path(digits, plain, tmp_path):
    """A game of two phases; a quarter of a minute, so one family stands for all."""
    fast = losses("dcgan", digits, replace(PLAIN, compile=True), tmp_path / "fast")
    assert ((fast - plain("dcgan")).abs() / plain("dcgan").abs().mean(0)).max() < TOLERANCE["dcgan"]


def test_fused_is_asked_of_optimisers_that_have_it(digits):
    (phase,) = model_of("vae", digits).phases()
    rmsprop = build_optimizer(phase, replace(PLAIN, fused=True))  # has no fused form
    assert "fused" not in rmsprop.param_groups[0]
    phase = model_of("dcgan", digits).phases()[0]
    assert build_optimizer(phase, replace(PLAIN, fused=True)).param_groups[0]["fused"] is True
    assert build_optimizer(phase, PLAIN).param_groups[0]["fused"] is None


@pytest.mark.parametrize("chosen", [{"fused": False}, {"foreach": True}, {"differentiable": True}])
def test_what_a_phase_chose_of_its_optimiser_stays(chosen, digits):
    phase = replace(model_of("dcgan", digits).phases()[0], optimizer=partial(torch.optim.Adam, **chosen))
    group = build_optimizer(phase, replace(PLAIN, fused=True)).param_groups[0]
    assert {name: group[name] for name in chosen} == chosen
    assert not group["fused"]


def test_steps_are_replayed_that_count_nothing_outside_the_device():
    parameters = [torch.nn.Parameter(torch.ones(1))]
    assert can_be_captured(torch.optim.SGD(parameters, lr=1.0))
    assert can_be_captured(torch.optim.Adam(parameters, capturable=True))
    assert not can_be_captured(torch.optim.Adam(parameters))
    assert not can_be_captured(torch.optim.LBFGS(parameters))


@pytest.fixture
def gpu_in_full(monkeypatch):
    """The plain path on a GPU that repeats itself: no TF32, whose roundings games amplify, and no sums in any order."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    return replace(PLAIN, device="cuda")


COMPILED = pytest.param(
    "compile",
    marks=[
        pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("clang")), reason="Triton needs a C compiler"),
        pytest.mark.filterwarnings("ignore"),  # of torch's compiler, about itself and about TF32
        pytest.mark.calibration,  # half a minute a family, of an option that is off by default
    ],
)


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["cuda_graphs", "stream", "channels_last", "fused", COMPILED])
def test_ways_on_a_gpu(family, way, digits, gpu_in_full, tmp_path):
    fast, plain = (
        losses(family, digits, compute, tmp_path / name)
        for name, compute in (("fast", replace(gpu_in_full, **{way: True})), ("plain", gpu_in_full))
    )
    difference = (fast - plain).abs() / plain.abs().mean(0)
    assert difference[:3].max() < 1e-3  # before they part
    assert difference.max() < TOLERANCE[family]


def that_waits(model):
    """The model, whose losses read a number from the device, which no graph can hold."""
    phases = model.phases()

    def waiting(loss):
        def with_a_number(batch, step):
            terms = loss(batch, step)
            assert torch.stack(list(terms.values())).isfinite().all().item()
            return terms

        return with_a_number

    model.phases = lambda: [replace(phase, loss=waiting(phase.loss)) for phase in phases]
    return model


@pytest.mark.gpu
def test_what_cannot_be_captured_is_done_plainly_on_a_gpu(digits, gpu_in_full, tmp_path):
    """Its noise too, whose generator was part of the capture that failed."""
    model = that_waits(model_of("vae", digits))
    fast = losses("vae", digits, replace(gpu_in_full, cuda_graphs=True), tmp_path / "fast", model)
    plain = losses("vae", digits, gpu_in_full, tmp_path / "plain")
    assert ((fast - plain).abs() / plain.abs().mean(0)).max() < TOLERANCE["vae"]
