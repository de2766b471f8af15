"""The shipped attribute classifier of toyfaces: the file its card describes, its scale, and what it can do."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.seeding import isolated
from vaebench.datasets.toyface.attributes import draw_attributes
from vaebench.datasets.toyface.drawing import draw_face
from vaebench.perceptual.toyfaces_cnn import SHA256, WEIGHTS, attribute_stages, toyfaces_cnn
from vaebench.perceptual.train_toyfaces_cnn import CONVOLUTIONS, RARE, begin, normalise, score

CARD = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
LAYERS = (*CONVOLUTIONS, "dense", "logits")


def drawn(indices):
    attributes = draw_attributes(indices)
    pictures = [torch.from_numpy(draw_face(row, index)) for row, index in zip(attributes, indices, strict=True)]
    return torch.stack(pictures).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(attributes)


@pytest.fixture(scope="module")
def test_faces():
    return drawn(range(14_000, 14_300))


@pytest.fixture(scope="module")
def training_faces():
    return drawn(range(150))[0]


def test_code_card_and_file_agree_on_the_hash():
    assert sha256_of(WEIGHTS) == SHA256 == toyfaces_cnn().sha256
    assert SHA256 in CARD


def test_it_is_small_and_has_as_many_parameters_as_its_card_says():
    count = sum(parameter.numel() for stage in toyfaces_cnn().stages.values() for parameter in stage.parameters())
    assert f"{count:,} parameters" in CARD
    assert f"{count:,} parameters" in attribute_stages.__doc__
    assert WEIGHTS.stat().st_size < 1.5e6


def test_layers_and_feature_shapes(global_rng_untouched):
    network = toyfaces_cnn()
    assert (network.name, network.channels, network.layers) == ("toyfaces_cnn", 3, LAYERS)
    shapes = [tuple(part.shape) for part in network.features(torch.zeros(2, 3, 64, 64), LAYERS)]
    assert shapes == [(2, 32, 64, 64), (2, 48, 32, 32), (2, 72, 16, 16), (2, 96, 8, 8), (2, 128), (2, 40)]


def test_it_is_frozen_and_the_gradient_reaches_the_images(training_faces):
    network = toyfaces_cnn()
    assert not any(part.training for stage in network.stages.values() for part in stage.modules())
    assert not any(parameter.requires_grad for stage in network.stages.values() for parameter in stage.parameters())
    images = to_float(training_faces[:4]).requires_grad_()
    sum(part.square().mean() for part in network.features(images, CONVOLUTIONS)).backward()
    assert (images.grad.flatten(1).abs().max(1).values > 0).all()


@torch.inference_mode()
def test_mean_activations_of_convolutions_are_one(training_faces):
    """Over 150 images; they were made 1 over 2,000."""
    for features in toyfaces_cnn().features(to_float(training_faces), CONVOLUTIONS):
        means = features.mean((0, 2, 3))
        alive = means[(features > 0).float().mean((0, 2, 3)) > 2 * RARE]
        assert len(alive) > 0.8 * len(means)
        assert alive.mean() == pytest.approx(1, abs=0.06)
        assert 0.5 < alive.min() < alive.max() < 2


@torch.inference_mode()
def test_accuracy_on_test_faces(test_faces):
    """Of 300 test images: far above what always saying the commoner would get, and near the card's number."""
    images, has = test_faces
    (logits,) = toyfaces_cnn().features(to_float(images), ["logits"])
    accuracy = ((logits > 0) == has).float().mean().item()
    share = has.float().mean(0)
    assert accuracy > torch.maximum(share, 1 - share).mean() + 0.08
    said = re.search(r"mean of the 40 attributes: (\d\d\.\d\d)%", CARD)
    assert accuracy == pytest.approx(float(said[1]) / 100, abs=0.01)


def test_beginning_lets_every_filter_answer_at_about_half_of_the_places(training_faces):
    with isolated(0, "test"):
        network = nn.Sequential(attribute_stages())
    begin(network, training_faces[:50])
    hidden = to_float(training_faces[:50])
    with torch.no_grad():
        for name in (*CONVOLUTIONS, "dense"):
            hidden = network.get_submodule(name)(hidden)
            shares = (hidden > 0).float().transpose(0, 1).flatten(1).mean(1)
            assert 0.1 < shares.min() < shares.max() < 0.9


def test_normalising_leaves_the_logits_and_rare_filters(training_faces):
    with isolated(0, "test"):
        network = nn.Sequential(attribute_stages())
    images = training_faces[:40]
    begin(network, images)
    with torch.no_grad():
        network.conv2[1].bias[3] = -1e3
        before = network(to_float(images))
        assert normalise(network, images) == 1
        after, hidden = network(to_float(images)), to_float(images)
        assert after == pytest.approx(before, abs=1e-4)
        assert network.conv2[1].bias[3] == -1e3
        for name in CONVOLUTIONS:
            hidden = network.get_submodule(name)(hidden)
            alive = hidden.mean((0, 2, 3)) > 0
            assert hidden.mean((0, 2, 3))[alive] == pytest.approx(torch.ones(int(alive.sum())), abs=1e-3)


def test_scores_by_hand():
    def data(has):
        images = torch.zeros(len(has), 3, 2, 2, dtype=torch.uint8)
        images[:, 0, 0, 0] = torch.arange(len(has))
        return ImageDataset("hand", "test", images, [str(row) for row in range(len(has))], None, has, ("a",))

    class Says(nn.Module):
        def forward(self, images):
            return (images[:, 0, 0, 0] * 255 < 2.5).float()[:, None] - 0.5  # yes, yes, yes, no

    has = torch.tensor([[True], [False], [False], [False]])
    scores = score(Says(), data(has), data(~has))
    assert [part.item() for part in scores] == pytest.approx([1 / 4, 2 / 4, (1 + 1 / 3) / 2, 1 / 4])


def one_byte_off(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [lambda content: content[:500_000], one_byte_off, lambda _: b"", lambda _: b"text"])
def test_damaged_file_is_refused_in_one_line(tmp_path, damage):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(damage(WEIGHTS.read_bytes()))
    with pytest.raises(UserError, match=f"{re.escape(str(file))} .*: reinstall vaebench to restore it") as raised:
        toyfaces_cnn(file)
    assert "\n" not in str(raised.value)


def test_missing_or_other_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        toyfaces_cnn(tmp_path / "absent.safetensors")
    file = tmp_path / "other.safetensors"
    save_file({"conv1.0.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="cannot be read"):
        toyfaces_cnn(file, sha256=sha256_of(file))
