"""VGG-19's fully connected layers against torchvision's network.

Their 548 MB are never written: the large matrices are views of a few thousand numbers, which ``torch.save`` keeps as
such. Multiplying by them takes some 0.5 GB of memory for a moment.
"""

from pathlib import Path

import pytest
import torch
from torchvision.models import vgg19 as published
from torchvision.transforms import functional

from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.paths import weights_dir
from vaebench.perceptual import vgg19 as module
from vaebench.perceptual.vgg19 import MEAN, STD, fetch_vgg19_fc, vgg19_fc


def tensors() -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names; a linear layer's rows are one sequence, each begun one later."""
    draw, made = torch.Generator().manual_seed(0), {}
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in published().state_dict().items()}
    for name, shape in shapes.items():
        if len(shape) == 2:
            sequence = torch.randn(shape[0] + shape[1], generator=draw) * (2 / shape[1]) ** 0.5
            made[name] = sequence.as_strided(shape, (1, 1))
        else:
            scale = (2 / 9 / shape[1]) ** 0.5 if len(shape) == 4 else 0.1
            made[name] = torch.randn(shape, generator=draw) * scale
    return made


def publish(content: dict[str, torch.Tensor], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file under a name that ends in its own sha256's first digits, as torchvision's does."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "draft.pth")
    name = f"vgg19-{sha256_of(folder / 'draft.pth')[:8]}.pth"
    monkeypatch.setattr(module, "PUBLISHED", name)
    return (folder / "draft.pth").rename(folder / name)


@torch.no_grad()
def test_both_layers_are_torchvision_s(monkeypatch, tmp_path):
    content = tensors()
    path = publish(content, tmp_path / "elsewhere", monkeypatch)
    assert path.stat().st_size < 100e6
    assert "layers up to fc7" in fetch_vgg19_fc(path)
    network = vgg19_fc()
    assert (network.name, network.channels, network.layers) == ("vgg19-fc", 3, ("fc6", "fc7"))
    assert network.sha256 == sha256_of(path)

    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = network.features(images, ["fc6", "fc7"])
    with torch.device("meta"):
        reference = published().eval()
    reference.load_state_dict(content, assign=True)
    hidden = functional.normalize(functional.resize(images, [224, 224], antialias=True), list(MEAN), list(STD))
    hidden = reference.avgpool(reference.features(hidden)).flatten(1)
    for ours, layers in zip(found, (reference.classifier[:2], reference.classifier[2:5]), strict=True):
        hidden = layers(hidden)
        assert ours.shape == (2, 4096)
        assert ours.count_nonzero() > 1000
        assert (ours - hidden).norm() < 1e-5 * hidden.norm()


def test_a_file_without_them_and_another_file_are_refused(monkeypatch, tmp_path):
    content = tensors()
    without = {name: value for name, value in content.items() if not name.startswith("classifier.3")}
    path = publish(without, weights_dir(), monkeypatch)
    with pytest.raises(UserError, match=r"holds no fitting 'classifier\.3'") as caught:
        vgg19_fc()
    assert "\n" not in str(caught.value)
    other = path.rename(tmp_path / "other.pth")
    monkeypatch.setattr(module, "PUBLISHED", "vgg19-00000000.pth")
    with pytest.raises(UserError, match=r"is not torchvision's vgg19-00000000\.pth"):
        fetch_vgg19_fc(other)
    assert not list(weights_dir().iterdir())


def test_no_weights_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="vaebench fetch vgg19-fc"):
        vgg19_fc()
