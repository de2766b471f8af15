"""LPIPS: against torchmetrics' own object and the formula written out, with the published and with random weights."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torchmetrics.functional.image import lpips as library
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.metric import EvalBatch, Need
from vaebench.core.paths import hub_dir, weights_dir
from vaebench.metrics import lpips as module
from vaebench.metrics.lpips import HEADS, load_lpips, lpips, lpips_distance
from vaebench.perceptual import alexnet
from vaebench.perceptual.alexnet import PUBLISHED, STORED

# AlexNet's convolutions by torchvision's numbers: outputs, inputs, kernel, stride, padding
CONVOLUTIONS = {
    0: (64, 3, 11, 4, 2),
    3: (192, 64, 5, 1, 2),
    6: (384, 192, 3, 1, 1),
    8: (256, 384, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
POOLED_BEFORE = (3, 6)


def random_alexnet():
    """Weights of torchvision's names and shapes."""
    draw = torch.Generator().manual_seed(0)
    made = {}
    for index, (outputs, inputs, kernel, _, _) in CONVOLUTIONS.items():
        scale = (2 / inputs / kernel**2) ** 0.5
        made[f"features.{index}.weight"] = scale * torch.randn(outputs, inputs, kernel, kernel, generator=draw)
        made[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=draw)
    return made


def random_heads():
    draw = torch.Generator().manual_seed(1)
    widths = [outputs for outputs, *_ in CONVOLUTIONS.values()]
    return {f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1, generator=draw) for k, width in enumerate(widths)}


def store(tensors, name=STORED, folder=None):
    folder = folder or weights_dir()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name)
    return folder / name


@pytest.fixture(autouse=True)
def _no_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def plumbing():
    """Random weights in place."""
    store(random_alexnet())
    store(random_heads(), HEADS)


@pytest.fixture
def published(monkeypatch):
    """The published weights in place; the test is skipped without."""
    given = os.environ.get("VAEBENCH_TEST_WEIGHTS")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
    if not (folder / STORED).is_file():
        pytest.skip(f"no {STORED} in {folder}: set VAEBENCH_TEST_WEIGHTS to its folder")
    monkeypatch.setenv("VAEBENCH_WEIGHTS", str(folder))


@pytest.fixture(params=["plumbing", "published"])
def weights(request):
    request.getfixturevalue(request.param)
    return request.param


def pair(n=3, channels=3, height=64, width=64, noise=0.2, seed=0):
    """Smooth images and noisy copies of them, in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 8, 8, generator=draw)
    real = functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return real, (real + noise * torch.randn(real.shape, generator=draw)).clamp(0, 1)


def written_out(real, other):
    """Zhang et al. 2018, eq. 1, with the authors' scaling of images in [-1, 1], in float64: (n,)."""
    convolutions = {name: value.double() for name, value in load_file(weights_dir() / STORED).items()}
    heads = {name: value.double() for name, value in load_file(weights_dir() / HEADS).items()}
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).view(3, 1, 1)
    hidden = [(2 * images.double() - 1 - shift) / scale for images in (real, other)]
    total = torch.zeros(len(real), dtype=torch.float64)
    for k, (index, (*_, stride, padding)) in enumerate(CONVOLUTIONS.items()):
        if index in POOLED_BEFORE:
            hidden = [functional.max_pool2d(x, 3, 2) for x in hidden]
        weight, bias = convolutions[f"features.{index}.weight"], convolutions[f"features.{index}.bias"]
        hidden = [functional.conv2d(x, weight, bias, stride, padding).relu() for x in hidden]
        first, second = (x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in hidden)
        total += ((first - second).square() * heads[f"lin{k}.model.1.weight"]).sum(dim=1).mean(dim=(1, 2))
    return total


@pytest.mark.parametrize("size", [(64, 64), (31, 31), (40, 77)])
def test_equals_the_formula_written_out(weights, size):
    real, other = pair(4, 3, *size)
    result = lpips_distance(load_lpips(), real, other)
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, written_out(real, other), rtol=1e-4, atol=1e-7)


def test_equals_torchmetrics_own_object(weights, monkeypatch):
    import torchvision

    def filled(weights):
        made = unfilled(weights=None)
        stored = load_file(weights_dir() / STORED)
        made.features.load_state_dict({name.removeprefix("features."): value for name, value in stored.items()})
        return made

    network, unfilled = load_lpips(), torchvision.models.alexnet
    monkeypatch.setattr(torchvision.models, "alexnet", filled)  # instead of a download
    reference = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
    heads = load_file(weights_dir() / HEADS)
    reference.net.load_state_dict(heads, strict=False)
    real, other = pair(3)
    expected = [reference.forward(a[None], b[None]).item() for a, b in zip(real, other, strict=True)]
    assert lpips_distance(network, real, other).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_heads_that_torchmetrics_ships_are_the_published_ones(published):
    theirs = Path(library.__file__).with_name("lpips_models") / "alex.pth"
    bundled = torch.load(theirs, map_location="cpu", weights_only=True)
    heads = load_file(weights_dir() / HEADS)
    assert heads.keys() == bundled.keys()
    assert all(torch.equal(heads[name], bundled[name]) for name in heads)


def test_without_a_file_of_heads_torchmetrics_serve(published, monkeypatch, tmp_path):
    whole = lpips_distance(load_lpips(), *pair())
    convolutions = load_file(weights_dir() / STORED)
    monkeypatch.setenv("VAEBENCH_WEIGHTS", str(tmp_path / "mine"))
    store(convolutions)
    assert torch.equal(lpips_distance(load_lpips(), *pair()), whole)


def test_pinned(published):
    expected = [0.5274052, 0.4909429, 0.4665267]
    assert lpips_distance(load_lpips(), *pair()).tolist() == pytest.approx(expected, rel=1e-4)
    grey = lpips_distance(load_lpips(), *pair(channels=1, noise=0.1)).mean().item()
    assert grey == pytest.approx(0.8661941, rel=1e-4)


def test_more_noise_is_farther(published):
    network = load_lpips()
    values = [lpips_distance(network, *pair(1, noise=noise)).item() for noise in (0.02, 0.1, 0.4)]
    assert 0 < values[0] < values[1] < values[2]


def test_identical_images_are_at_zero_and_order_does_not_matter(weights):
    network, (real, other) = load_lpips(), pair()
    assert lpips_distance(network, real, real).tolist() == [0.0] * 3
    torch.testing.assert_close(
        lpips_distance(network, other, real), lpips_distance(network, real, other), rtol=1e-6, atol=0
    )


def test_batch_size_does_not_matter(plumbing, monkeypatch):
    network, (real, other) = load_lpips(), pair(7, height=40, width=33)
    whole = lpips_distance(network, real, other)
    single = torch.cat([lpips_distance(network, a[None], b[None]) for a, b in zip(real, other, strict=True)])
    torch.testing.assert_close(single, whole, rtol=1e-5, atol=0)
    monkeypatch.setattr(module, "_CHUNK", 3)
    torch.testing.assert_close(lpips_distance(network, real, other), whole, rtol=1e-5, atol=0)
    assert lpips_distance(network, real[:0], other[:0]).shape == (0,)


def test_grey_is_colour_three_times(plumbing):
    network, (real, other) = load_lpips(), pair(2, channels=1)
    colour = lpips_distance(network, real.repeat(1, 3, 1, 1), other.repeat(1, 3, 1, 1))
    torch.testing.assert_close(lpips_distance(network, real, other), colour, rtol=1e-6, atol=0)


def test_the_network_is_frozen_and_stays_in_evaluation_mode(plumbing, global_rng_untouched):
    network = load_lpips()
    stages = network.alexnet.stages.values()
    tensors = [*network.heads, *(tensor for stage in stages for tensor in stage.state_dict(keep_vars=True).values())]
    assert not any(tensor.requires_grad for tensor in tensors)
    assert not any(part.training for stage in stages for part in stage.modules())
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert not lpips_distance(network, *(images.requires_grad_() for images in pair(1))).requires_grad


def test_settings_of_cudnn_are_left_as_they_were(plumbing):
    def settings():
        return [getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")]

    before = settings()
    lpips_distance(load_lpips(), *pair(1))
    assert settings() == before


def test_torch_hub_s_file_serves_and_must_be_what_its_name_says(monkeypatch):
    hub_dir().mkdir(parents=True)
    draft = hub_dir() / "draft.pth"
    torch.save({**random_alexnet(), "classifier.1.weight": torch.zeros(3)}, draft)
    store(random_heads(), HEADS)
    name = f"alexnet-owt-{sha256_of(draft)[:8]}.pth"
    monkeypatch.setattr(alexnet, "PUBLISHED", name)
    draft.rename(hub_dir() / name)
    assert lpips_distance(load_lpips(), *pair(1)).item() > 0
    assert lpips()[0].extractor_sha256 == sha256_of(hub_dir() / name)
    monkeypatch.setattr(alexnet, "PUBLISHED", PUBLISHED)
    (hub_dir() / name).rename(hub_dir() / PUBLISHED)
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79\.pth is not the published file"):
        load_lpips()


def test_a_file_that_would_run_something_is_refused(tmp_path, monkeypatch):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    hub_dir().mkdir(parents=True)
    draft = hub_dir() / "draft.pth"
    torch.save({"features.0.weight": Trap()}, draft)
    name = f"alexnet-owt-{sha256_of(draft)[:8]}.pth"
    monkeypatch.setattr(alexnet, "PUBLISHED", name)
    draft.rename(hub_dir() / name)
    with pytest.raises(UserError, match="holds more than tensors"):
        load_lpips()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "make", "change", "words"),
    [
        (STORED, random_alexnet, lambda made: made.pop("features.6.bias"), r"lacks 'features\.6\.bias'"),
        (STORED, random_alexnet, lambda made: made.update({"features.3.bias": torch.zeros(9)}), r"is \(9,\), not \(19"),
        (HEADS, random_heads, lambda made: made.pop("lin4.model.1.weight"), r"v0\.1\.safetensors lacks 'lin4"),
    ],
)
def test_missing_or_misshapen_tensors_are_named(plumbing, name, make, change, words):
    tensors = make()
    change(tensors)
    store(tensors, name)
    with pytest.raises(UserError, match=words):
        load_lpips()


def test_no_weights_says_how_to_get_them():
    with pytest.raises(
        UserError, match=r"neither in .* nor in torch hub's cache: run 'vaebench fetch alexnet' .*--from FILE"
    ):
        load_lpips()
    (metric,) = lpips()
    assert metric.extractor_sha256 == ""
    real, other = pair(1)
    with pytest.raises(UserError, match="fetch alexnet"):
        metric.update(EvalBatch(real=real, reconstruction=other))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((2, 1, 28, 28), (2, 1, 28, 28)), "at least 31 x 31 pixels.*28 x 28: leave it out"),
        (((2, 3, 30, 64), (2, 3, 30, 64)), "at least 31 x 31"),
        (((2, 2, 64, 64), (2, 2, 64, 64)), "1 or 3 channels, these have 2"),
        (((2, 3, 64, 64), (2, 1, 64, 64)), "differ in shape"),
    ],
)
def test_images_that_do_not_fit_are_refused_before_weights_are_asked_for(shapes, words):
    real, other = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(UserError, match=words) as caught:
        lpips()[0].update(EvalBatch(real=real, reconstruction=other))
    assert "\n" not in str(caught.value)


def test_the_metric_merges_and_does_not_send_the_network_about(plumbing):
    (first,), (second,) = lpips(), lpips()
    assert (first.spec.name, first.spec.protocol, first.spec.unit, first.spec.direction) == (
        "lpips",
        "recon/alex-v0.1",
        "distance",
        "lower",
    )
    assert first.spec.needs == Need.REAL | Need.RECONSTRUCTION and first.spec.stratified and not first.spec.of_real
    assert first.extractor_sha256 == sha256_of(weights_dir() / STORED)
    real, other = pair(5, height=32, width=32)
    first.update(EvalBatch(real=real[:3], reconstruction=other[:3]))
    second.update(EvalBatch(real=real[3:], reconstruction=other[3:]))
    sent = pickle.dumps(second)
    assert len(sent) < 10_000
    first.merge(pickle.loads(sent))  # noqa: S301 our own bytes: how processes exchange it
    score, expected = first.score(Context()), lpips_distance(load_lpips(), real, other)
    torch.testing.assert_close(score.per_image, expected, rtol=1e-5, atol=0)
    assert (score.n, score.value) == (5, pytest.approx(expected.mean().item(), rel=1e-5))
