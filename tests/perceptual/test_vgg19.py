"""VGG-19 against torchvision's own network, truncated and damaged files, and the activation-normalised form."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from vaebench.core.errors import UserError
from vaebench.core.paths import weights_dir
from vaebench.perceptual import vgg19 as module
from vaebench.perceptual.vgg19 import (
    MEAN,
    NORMALISED,
    STD,
    STORED,
    fetch_vgg19,
    fetch_vgg19_normalised,
    vgg19,
    vgg19_normalised,
)

INDICES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)  # torchvision's numbers of the convolutions
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512)


def tensors(count: int) -> dict[str, torch.Tensor]:
    """Random weights of the first ``count`` convolutions, named as torchvision names them."""
    draw = torch.Generator().manual_seed(0)
    made, inputs = {}, 3
    for index, width in list(zip(INDICES, WIDTHS, strict=True))[:count]:
        made[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3, generator=draw) * (2 / 9 / inputs) ** 0.5
        made[f"features.{index}.bias"] = torch.randn(width, generator=draw) * 0.1
        inputs = width
    return made


def store(content: dict[str, torch.Tensor], name: str = STORED) -> Path:
    weights_dir().mkdir(parents=True, exist_ok=True)
    save_file(content, weights_dir() / name)
    return weights_dir() / name


def images(n: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_every_layer_is_torchvision_s():
    from torchvision.models import vgg19 as published

    content = tensors(16)
    store(content)
    with torch.device("meta"):
        reference = published().features
    reference.load_state_dict({name.removeprefix("features."): value for name, value in content.items()}, assign=True)
    network = vgg19()
    assert network.layers == (
        "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4",
        "relu4_1", "relu4_2", "relu4_3", "relu4_4", "relu5_1", "relu5_2", "relu5_3", "relu5_4",
    )  # fmt: skip
    hidden = (images() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    expected = []
    for index, layer in enumerate(reference.eval()):
        hidden = functional.relu(hidden) if isinstance(layer, nn.ReLU) else layer(hidden)
        if index - 1 in INDICES:
            expected.append(hidden)
    with torch.no_grad():
        found = network.features(images(), network.layers)
    assert len(found) == 16
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_truncated_file_serves_the_layers_it_holds():
    store(tensors(5))
    assert vgg19().layers == ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
    with pytest.raises(UserError, match=r"no layer 'relu4_1': choose from relu1_1"):
        vgg19().check(("relu3_1", "relu4_1"), channels=3)


def test_it_is_never_trained_and_gradients_reach_its_input():
    store(tensors(3))
    network = vgg19()

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

    holder = Holder().train().requires_grad_(True)
    assert not list(holder.parameters()) and not holder.state_dict()
    parts = [part for stage in network.stages.values() for part in stage.modules()]
    assert not any(part.training for part in parts)
    picture = images().requires_grad_()
    network.features(picture, ["relu2_1"])[0].square().sum().backward()
    assert picture.grad.any()
    assert all(parameter.grad is None for stage in network.stages.values() for parameter in stage.parameters())


def test_loading_draws_no_random_number(global_rng_untouched):
    store(tensors(3))
    vgg19()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made.pop("features.2.weight"), "has 'features.5' but lacks 'features.2.weight'"),
        (lambda made: made.pop("features.2.bias"), "lacks 'features.2.bias'"),
        (lambda made: made.update({"features.0.weight": torch.zeros(64, 1, 3, 3)}), r"'features.0.weight' is \(64, 1"),
    ],
)
def test_missing_or_misshapen_tensors_are_named(change, words):
    made = tensors(3)
    change(made)
    store(made)
    with pytest.raises(UserError, match=words):
        vgg19()


def test_renamed_tensors_are_refused_on_import_and_what_was_there_stays(tmp_path):
    kept = store(tensors(2)).read_bytes()
    save_file(
        {f"layer{index}": value for index, value in enumerate(tensors(2).values())}, tmp_path / "other.safetensors"
    )
    with pytest.raises(UserError, match="not named as torchvision names"):
        fetch_vgg19(tmp_path / "other.safetensors")
    assert (weights_dir() / STORED).read_bytes() == kept


@pytest.mark.parametrize(
    ("fetch", "name", "bad"),
    [
        (fetch_vgg19, STORED, {name: value for name, value in tensors(2).items() if name != "features.0.bias"}),
        (fetch_vgg19_normalised, NORMALISED, {"foo": torch.zeros(1)}),
    ],
)
def test_an_import_that_fails_leaves_what_was_there_and_blames_the_given_file(fetch, name, bad, tmp_path):
    kept = store({"kept": torch.ones(1)}, name).read_bytes()
    save_file(bad, tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match=r"bad\.safetensors lacks"):
        fetch(tmp_path / "bad.safetensors")
    assert (weights_dir() / name).read_bytes() == kept
    with pytest.raises(UserError, match="is no file"):
        fetch(tmp_path)


def test_a_truncated_pth_of_one_s_own_is_imported(tmp_path):
    torch.save(tensors(2), tmp_path / "mine.pth")
    assert "layers up to relu1_2" in fetch_vgg19(tmp_path / "mine.pth")


def test_no_weights_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="vaebench fetch vgg19"):
        vgg19()
    with pytest.raises(UserError, match=NORMALISED):
        vgg19_normalised()


def test_a_damaged_file_is_bad_input():
    weights_dir().mkdir(parents=True)
    (weights_dir() / STORED).write_bytes(b"no tensors")
    with pytest.raises(UserError, match="cannot be read as weights"):
        vgg19()


def test_import_keeps_what_the_network_reads_as_safetensors(tmp_path):
    source = {**tensors(4), "classifier.0.weight": torch.zeros(3)}
    save_file(source, tmp_path / "mine.safetensors")
    assert "layers up to relu2_2" in fetch_vgg19(tmp_path / "mine.safetensors")
    assert set(load_file(weights_dir() / STORED)) == set(tensors(4))


def _published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as torchvision publishes it, under a name that ends in its own sha256's first digits."""
    from vaebench.core.files import sha256_of

    folder.mkdir(parents=True)
    torch.save(tensors(3), folder / "draft.pth")
    name = f"vgg19-{sha256_of(folder / 'draft.pth')[:8]}.pth"
    monkeypatch.setattr(module, "PUBLISHED", name)
    return (folder / "draft.pth").rename(folder / name)


def test_torch_hub_s_file_serves_without_a_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    _published(tmp_path / "torch" / "hub" / "checkpoints", monkeypatch)
    assert vgg19().layers[-1] == "relu2_1"
    assert "relu2_1" in fetch_vgg19(None) and (weights_dir() / STORED).exists()


class _Bomb:
    def __reduce__(self):
        return os.system, ("touch bomb-went-off",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": _Bomb()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        fetch_vgg19(tmp_path / "evil.pth")
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_download_that_fails_ends_in_advice(monkeypatch, tmp_path):
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", refuse)
    with pytest.raises(UserError, match=r"no network.*vaebench fetch vgg19 --from FILE"):
        fetch_vgg19(None)


@pytest.fixture
def normalised_file() -> Path:
    """The real activation-normalised weights, where they are at hand."""
    given = os.environ.get("VAEBENCH_TEST_VGG19_NORMALISED")
    shared = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights" / NORMALISED
    path = Path(given) if given else shared
    if not path.is_file():
        pytest.skip(f"no {path}: set VAEBENCH_TEST_VGG19_NORMALISED to the file")
    return path


def test_the_normalised_form_is_its_published_sequence(normalised_file):
    """conv, pad, conv, relu, pad, conv, relu, pool, pad, conv, relu, pad, conv, relu, pool, pad, conv, relu."""
    fetch_vgg19_normalised(normalised_file)
    network, content = vgg19_normalised(), load_file(normalised_file)
    assert network.layers == ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")

    def conv(hidden: torch.Tensor, key: int) -> torch.Tensor:
        padded = functional.pad(hidden, (1, 1, 1, 1), mode="reflect") if key else hidden
        return functional.conv2d(padded, content[f"{key}.weight"], content[f"{key}.bias"])

    hidden, expected = conv(images(), 0), []
    for key in (2, 5, 9, 12, 16):
        hidden = functional.relu(conv(functional.max_pool2d(hidden, 2) if key in (9, 16) else hidden, key))
        expected.append(hidden)
    with torch.no_grad():
        found = network.features(images(), network.layers)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_its_first_convolution_makes_bgr_of_rgb(normalised_file):
    fetch_vgg19_normalised(normalised_file)
    colours = next(iter(vgg19_normalised().stages.values()))[0]
    red = torch.zeros(1, 3, 1, 1)
    red[0, 0] = 1
    shift = (colours(red) - colours(torch.zeros(1, 3, 1, 1))).flatten()
    assert shift.tolist() == pytest.approx([0, 0, 255], abs=1e-3)


def test_a_normalised_file_without_a_tensor_is_refused(tmp_path):
    store({"0.weight": torch.zeros(3, 3, 1, 1), "0.bias": torch.zeros(3)}, NORMALISED)
    with pytest.raises(UserError, match=r"lacks '2.weight'"):
        vgg19_normalised()
