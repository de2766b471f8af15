"""Frozen features: reached by gradients, and by nothing that trains, saves or flips modules."""

import pytest
import torch
from torch import nn

from vaebench.core.errors import UserError
from vaebench.core.perceptual import Perceptual


@pytest.fixture
def network():
    stages = {
        "conv": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)),
        "pool": nn.AvgPool2d(2),
        "dense": nn.Sequential(nn.Flatten(), nn.Linear(8, 3)),
    }
    return Perceptual("toy", stages, channels=1, sha256="0" * 64)


class Holder(nn.Module):
    """A model that holds a perceptual network as it would hold a module."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.own = nn.Linear(2, 2)


def parts(network):
    return [part for stage in network.stages.values() for part in stage.modules()]


def parameters(network):
    return [parameter for stage in network.stages.values() for parameter in stage.parameters()]


def test_a_model_that_holds_it_does_not_see_it(network):
    model = Holder(network)
    assert [name for name, _ in model.named_modules()] == ["", "own"]
    assert list(model.state_dict()) == ["own.weight", "own.bias"]
    assert len(list(model.parameters())) == 2


def test_train_mode_and_requires_grad_of_the_model_do_not_reach_it(network):
    Holder(network).train().requires_grad_(True)
    assert not any(part.training for part in parts(network))
    assert not any(parameter.requires_grad for parameter in parameters(network))


def test_it_freezes_what_it_is_given():
    stage = nn.Conv2d(1, 1, 1).train()
    Perceptual("toy", {"conv": stage}, channels=1, sha256="")
    assert not stage.training
    assert not any(parameter.requires_grad for parameter in stage.parameters())


def test_gradients_reach_the_input_and_stop_there(network):
    images = torch.rand(3, 1, 6, 6, requires_grad=True)
    sum(features.square().sum() for features in network.features(images, ["conv", "dense"])).backward()
    assert images.grad is not None
    assert (images.grad.abs().flatten(1).sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in parameters(network))


def test_features_depend_on_no_randomness_and_change_no_state(network, global_rng_untouched):
    images = torch.linspace(0, 1, 3 * 36).view(3, 1, 6, 6)
    before = {name: value.clone() for name, value in network.stages["conv"].state_dict().items()}
    first, again = (network.features(images, ["dense"])[0] for _ in range(2))
    assert torch.equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in network.stages["conv"].state_dict().items())


def test_features_come_in_the_order_asked_for(network):
    images = torch.rand(2, 1, 6, 6)
    dense, conv = network.features(images, ["dense", "conv"])
    assert (tuple(dense.shape), tuple(conv.shape)) == ((2, 3), (2, 2, 4, 4))
    assert torch.equal(conv, network.stages["conv"](images))
    assert torch.equal(dense, network.stages["dense"](network.stages["pool"](conv)))


def test_stages_deeper_than_needed_are_not_run(network):
    (conv,) = network.features(torch.rand(1, 1, 9, 9), ["conv"])  # 9 x 9 does not fit the dense stage
    assert tuple(conv.shape) == (1, 2, 7, 7)
    with pytest.raises(RuntimeError):
        network.features(torch.rand(1, 1, 9, 9), ["dense"])


def test_layers(network):
    assert network.layers == ("conv", "pool", "dense")
    network.check(["dense", "conv"], channels=1)


@pytest.mark.parametrize(
    ("layers", "channels", "message"),
    [
        (["conv9"], 1, "toy has no layer 'conv9': choose from conv, pool, dense"),
        (["conv", "x", "y"], 1, "toy has no layer 'x, y'"),
        ([], 1, "choose from conv, pool, dense"),
        (["conv"], 3, "toy wants 1-channel images, not 3"),
    ],
)
def test_layers_and_channels_are_checked(network, layers, channels, message):
    with pytest.raises(UserError, match=message):
        network.check(layers, channels)
