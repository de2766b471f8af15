"""Frozen layers laid out once, against the same layers as autocast runs them."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vaebench.core import frozen_layers
from vaebench.core.frozen_layers import FrozenConvolutionReLU, laid_out
from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.mnist_cnn import mnist_cnn
from vaebench.perceptual.toyfaces_cnn import toyfaces_cnn

STAGES = {
    "plain": lambda: nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()),
    "strided": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, stride=2, dilation=2), nn.ReLU()),
    "grouped": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 2, 1), nn.ReLU()),
    "reflected": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
    "without bias": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()),
    "named padding": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.ReLU()),
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 9, 4), nn.ReLU()),
    "leaky": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2)),
}


def images(n=2, channels=3, side=9):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def under_autocast(stage, pictures):
    """Output and gradient of the images, in bfloat16."""
    pictures = pictures.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = stage(pictures)
    weighing = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found.float() * weighing).sum().backward()
    return found.detach(), pictures.grad


@pytest.mark.parametrize("name", STAGES)
def test_values_and_gradients_are_autocasts_own(name):
    torch.manual_seed(0)
    stage = STAGES[name]().requires_grad_(False).eval()
    ours, gradient = under_autocast(laid_out(stage, torch.bfloat16), images())
    theirs, their_gradient = under_autocast(stage, images())
    assert ours.dtype == torch.bfloat16 and gradient.any()
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(gradient, their_gradient, rtol=0.02, atol=0.02)  # sums may be split otherwise


def test_a_convolution_and_its_relu_are_one_layer():
    joined = laid_out(STAGES["grouped"]().requires_grad_(False), torch.bfloat16)
    assert [type(part) for part in joined] == [FrozenConvolutionReLU, FrozenConvolutionReLU]
    for other in ("reflected", "without bias", "named padding", "leaky"):
        apart = laid_out(STAGES[other]().requires_grad_(False), torch.bfloat16)
        assert type(apart[0]) is nn.Conv2d


class Casts(TorchDispatchMode):
    """Counts casts by the shape of what is cast."""

    def __init__(self):
        super().__init__()
        self.shapes = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.startswith("_to_copy"):
            self.shapes[tuple(args[0].shape)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("make", [mnist_cnn, toyfaces_cnn])
def test_a_networks_weights_are_cast_once(make):
    """The fault: at each of two passes a step, since autocast remembers the casts of trained weights alone."""
    network = make()
    weights = {tuple(part.shape) for stage in network.stages.values() for part in stage.parameters()}
    side = 28 if network.channels == 1 else 64
    counts = []
    for _ in range(3):
        with Casts() as counter, torch.autocast("cpu", torch.bfloat16):
            network.features(images(channels=network.channels, side=side), network.layers)
        counts.append(sum(counter.shapes[shape] for shape in weights))
    assert counts[0] > 0 and counts[1:] == [0, 0]


def test_without_autocast_a_network_is_as_it_was_given():
    stage = STAGES["plain"]()
    network = Perceptual("toy", {"conv": stage}, channels=3, sha256="")
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = network.features(images(), ["conv"])
    (full,) = network.features(images(), ["conv"])
    assert half.dtype == torch.bfloat16 and full.dtype == torch.float32
    assert torch.equal(full, stage(images())) and stage[0].weight.dtype == torch.float32


def test_a_card_without_such_a_kernel_runs_the_layers_apart(monkeypatch):
    """Of a stand-in for a GPU's tensor: its fused kernel refuses once, and is not asked again."""
    asked = []

    def refuses(*args):
        asked.append(args)
        raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")

    class OnGpu(torch.Tensor):
        is_cuda = True

    monkeypatch.setattr(torch, "cudnn_convolution_relu", refuses)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(frozen_layers, "_REFUSED", set())
    convolution = nn.Conv2d(3, 4, 3)
    settings = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
    for _ in range(2):
        found = frozen_layers._convolution_relu(
            images().as_subclass(OnGpu), convolution.weight.detach(), convolution.bias.detach(), settings
        )
        torch.testing.assert_close(torch.Tensor(found), torch.relu(convolution(images())).detach())
    assert len(asked) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("name", STAGES)
def test_on_a_gpu_values_are_autocasts_own(name):
    torch.manual_seed(0)
    stage = STAGES[name]().requires_grad_(False).eval().cuda()
    pictures = images().cuda().to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        found, expected = laid_out(stage, torch.bfloat16)(pictures), stage(pictures)
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.02, atol=0.02)
