"""A small network that reads the 40 attributes of ``toyfaces``: perceptual network and feature space for them."""

from collections import OrderedDict
from pathlib import Path

from torch import nn

from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.shipped import shipped

WEIGHTS = Path(__file__).with_name("toyfaces_cnn.safetensors")
SHA256 = "f88cfac3ded70f1fcb65ff6cc79f1db9d50b06fb25e4fdbdaf72c3cfd5e9dbf3"


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    """3 x 3 behind reflection padding, so that a picture's edge is no feature; then ReLU."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"), nn.ReLU()


def attribute_stages() -> "OrderedDict[str, nn.Module]":
    """RGB 64 x 64 images in [0, 1] -> 40 logits, in named stages; 310,144 parameters.

    ``conv1`` to ``conv4`` (64, 32, 16 and 8 pixels a side) and ``dense`` are taken after ReLU.
    """
    return OrderedDict(
        conv1=nn.Sequential(*_convolution(3, 32)),
        conv2=nn.Sequential(nn.MaxPool2d(2), *_convolution(32, 48)),
        conv3=nn.Sequential(nn.MaxPool2d(2), *_convolution(48, 72)),
        conv4=nn.Sequential(nn.MaxPool2d(2), *_convolution(72, 96)),
        dense=nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1536, 128), nn.ReLU()),
        logits=nn.Linear(128, 40),
    )


def toyfaces_cnn(weights: Path = WEIGHTS, sha256: str = SHA256) -> Perceptual:
    """The classifier trained by ``python -m vaebench.perceptual.train_toyfaces_cnn``; shipped with the package.

    Every filter of ``conv1`` to ``conv4`` is scaled so that its mean activation over training images is 1, as in
    style-transfer work: losses on these layers have a known scale. Raises :class:`UserError` where the file is
    missing, damaged or another than the one described in its card.
    """
    return shipped("toyfaces_cnn", attribute_stages, channels=3, weights=weights, sha256=sha256)
