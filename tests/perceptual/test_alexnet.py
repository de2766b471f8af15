"""AlexNet's convolutions against torchvision's own network; files, import and download."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.paths import weights_dir
from vaebench.perceptual import alexnet as module
from vaebench.perceptual.alexnet import PUBLISHED, STORED, alexnet, fetch_alexnet
from vaebench.perceptual.vgg19 import MEAN, STD

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")


def tensors() -> dict[str, torch.Tensor]:
    """Random weights of the five convolutions, named as torchvision names them."""
    draw, made = torch.Generator().manual_seed(0), {}
    for index, (outputs, inputs, size) in SHAPES.items():
        scale = (2 / inputs) ** 0.5 / size
        made[f"features.{index}.weight"] = torch.randn(outputs, inputs, size, size, generator=draw) * scale
        made[f"features.{index}.bias"] = torch.randn(outputs, generator=draw) * 0.1
    return made


def store(content: dict[str, torch.Tensor]) -> Path:
    weights_dir().mkdir(parents=True, exist_ok=True)
    save_file(content, weights_dir() / STORED)
    return weights_dir() / STORED


def images(n: int = 2, side: int = 63) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def torchvision_s(content: dict[str, torch.Tensor], pictures: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of every ReLU of ``torchvision.models.alexnet().features``, of standardised images."""
    from torchvision.models import alexnet as published

    with torch.device("meta"):
        reference = published().features[:-1]  # without the last pooling, which small images do not survive
    reference.load_state_dict({name.removeprefix("features."): value for name, value in content.items()}, assign=True)
    hidden, found = (pictures - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), []
    for layer in reference.eval():
        hidden = nn.functional.relu(hidden) if isinstance(layer, nn.ReLU) else layer(hidden)
        if isinstance(layer, nn.ReLU):
            found.append(hidden)
    return found


@pytest.mark.parametrize("side", [31, 63, 64])
@torch.no_grad()
def test_every_layer_is_torchvision_s(side):
    store(tensors())
    network = alexnet()
    assert (network.name, network.channels, network.layers) == ("alexnet", 3, LAYERS)
    found, expected = network.features(images(side=side), LAYERS), torchvision_s(tensors(), images(side=side))
    assert len(found) == len(expected) == 5
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert ours.std() > 0.01


def test_the_real_file_is_torchvision_s():
    given = os.environ.get("VAEBENCH_TEST_WEIGHTS")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
    if not (folder / STORED).is_file():
        pytest.skip(f"no {folder / STORED}: set VAEBENCH_TEST_WEIGHTS to the folder that holds it")
    assert fetch_alexnet(folder / STORED).startswith("alexnet: layers up to relu5")
    with torch.no_grad():
        found = alexnet().features(images(), LAYERS)
    for ours, theirs in zip(found, torchvision_s(load_file(folder / STORED), images()), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_it_is_never_trained_and_gradients_reach_its_input():
    store(tensors())
    network = alexnet()
    assert not any(part.training for stage in network.stages.values() for part in stage.modules())
    picture = images().requires_grad_()
    network.features(picture, ["relu5"])[0].square().sum().backward()
    assert picture.grad.any()
    assert not any(part.requires_grad for stage in network.stages.values() for part in stage.parameters())


def test_loading_draws_no_random_number(global_rng_untouched):
    store(tensors())
    alexnet()


def test_no_weights_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="vaebench fetch alexnet"):
        alexnet()


@pytest.mark.parametrize(
    ("name", "change"), [("features.3.bias", None), ("features.6.weight", torch.zeros(384, 192, 5, 5))]
)
def test_missing_or_misshapen_tensors_are_named_and_what_was_there_stays(name, change, tmp_path):
    kept = store(tensors()).read_bytes()
    bad = {**tensors(), name: change}
    save_file({key: value for key, value in bad.items() if value is not None}, tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match=rf"bad\.safetensors.* '{name}'") as caught:
        fetch_alexnet(tmp_path / "bad.safetensors")
    assert "\n" not in str(caught.value)
    assert (weights_dir() / STORED).read_bytes() == kept


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_import_keeps_the_convolutions_as_safetensors(suffix, tmp_path):
    content, path = {**tensors(), "classifier.1.weight": torch.zeros(3)}, tmp_path / f"mine.{suffix}"
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    assert "layers up to relu5" in fetch_alexnet(path)
    assert set(load_file(weights_dir() / STORED)) == set(tensors())
    with pytest.raises(UserError, match="is no file"):
        fetch_alexnet(tmp_path)


def test_torch_hub_s_file_serves_without_a_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(tensors(), folder / "draft.pth")
    name = f"alexnet-owt-{sha256_of(folder / 'draft.pth')[:8]}.pth"
    monkeypatch.setattr(module, "PUBLISHED", name)
    (folder / "draft.pth").rename(folder / name)
    assert alexnet().layers == LAYERS
    assert "relu5" in fetch_alexnet(None) and (weights_dir() / STORED).exists()


def test_another_content_under_the_published_name_is_refused(tmp_path):
    torch.save(tensors(), tmp_path / PUBLISHED)
    with pytest.raises(UserError, match="is not the published file"):
        fetch_alexnet(tmp_path / PUBLISHED)


class _Bomb:
    def __reduce__(self):
        return os.system, ("touch bomb-went-off",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**tensors(), "features.0.weight": _Bomb()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        fetch_alexnet(tmp_path / "evil.pth")
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_download_that_fails_ends_in_advice(monkeypatch, tmp_path):
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", refuse)
    with pytest.raises(UserError, match=r"no network.*vaebench fetch alexnet --from FILE"):
        fetch_alexnet(None)
