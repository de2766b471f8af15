"""The shipped digit classifier: the file its card describes, and what it can do."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.datasets.mnist import Mnist
from vaebench.perceptual import PERCEPTUAL
from vaebench.perceptual.mnist_cnn import SHA256, WEIGHTS, mnist_cnn

CARD = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")


def test_code_card_and_file_agree_on_the_hash():
    assert sha256_of(WEIGHTS) == SHA256 == mnist_cnn().sha256
    assert SHA256 in CARD


def test_it_has_as_many_parameters_as_its_card_says():
    count = sum(p.numel() for stage in mnist_cnn().stages.values() for p in stage.parameters())
    assert count == 93_322
    assert "93,322 parameters" in CARD


def test_it_is_registered_under_its_name():
    network = PERCEPTUAL.get("mnist_cnn")()
    assert (network.name, network.channels) == ("mnist_cnn", 1)
    assert network.layers == ("conv1", "conv2", "conv3", "dense", "logits")


def test_loading_it_leaves_the_seeds_of_what_is_built_next_alone(global_rng_untouched):
    assert mnist_cnn().name == "mnist_cnn"


def test_it_is_frozen():
    stages = mnist_cnn().stages.values()
    assert not any(part.training for stage in stages for part in stage.modules())
    assert not any(parameter.requires_grad for stage in stages for parameter in stage.parameters())


def test_feature_shapes():
    shapes = [tuple(part.shape) for part in mnist_cnn().features(torch.zeros(2, 1, 28, 28), mnist_cnn().layers)]
    assert shapes == [(2, 32, 26, 26), (2, 64, 11, 11), (2, 64, 3, 3), (2, 64), (2, 10)]


def truncated(content):
    return content[: len(content) // 2]


def one_byte_off(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [truncated, one_byte_off, lambda content: b"", lambda content: b"text" * 100])
def test_damaged_file_is_refused_in_one_line(tmp_path, damage):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(damage(WEIGHTS.read_bytes()))
    with pytest.raises(UserError, match=f"{re.escape(str(file))} .*: reinstall vaebench to restore it") as raised:
        mnist_cnn(file)
    assert "\n" not in str(raised.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        mnist_cnn(tmp_path / "absent.safetensors")


def test_another_network_is_refused_even_where_its_hash_is_given(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"conv1.0.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="cannot be read"):
        mnist_cnn(file, sha256=sha256_of(file))


@torch.inference_mode()
def test_accuracy_on_the_real_test_images(mnist_folder: Path, monkeypatch):
    monkeypatch.setenv("VAEBENCH_DATA", str(mnist_folder))
    test, network, right = Mnist().load("test"), mnist_cnn(), 0
    for rows in torch.arange(len(test)).split(1000):
        (logits,) = network.features(to_float(test.images[rows]), ["logits"])
        right += int((logits.argmax(1) == test.labels[rows]).sum())
    accuracy = right / len(test)
    assert accuracy >= 0.99
    assert f"{accuracy:.2%}" in CARD
