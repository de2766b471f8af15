"""A small network that reads the 40 attributes of ``toyfaces``: perceptual network and feature space for them."""

from collections import OrderedDict
from pathlib import Path

from torch import nn

from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.attribute_cnn import attribute_network
from vaebench.perceptual.bundled_weights import shipped

WEIGHTS = Path(__file__).with_name("toyfaces_cnn.safetensors")
SIDE = 64  # of the images that it was trained on
SHA256 = "f88cfac3ded70f1fcb65ff6cc79f1db9d50b06fb25e4fdbdaf72c3cfd5e9dbf3"


def attribute_stages() -> "OrderedDict[str, nn.Module]":
    """RGB 64 x 64 images in [0, 1] -> 40 logits, in named stages; 310,144 parameters."""
    return attribute_network(channels=3, side=SIDE, outputs=40)


def toyfaces_cnn(weights: Path = WEIGHTS, sha256: str = SHA256) -> Perceptual:
    """The classifier trained by ``python -m vaebench.perceptual.train_toyfaces_cnn``; shipped with the package.

    Every filter of ``conv1`` to ``conv4`` is scaled so that its mean activation over training images is 1, as in
    style-transfer work: losses on these layers have a known scale. Raises :class:`UserError` where the file is
    missing, damaged or another than the one described in its card.
    """
    sides = {"dense": SIDE, "logits": SIDE}
    return shipped("toyfaces_cnn", attribute_stages, channels=3, weights=weights, sha256=sha256, sides=sides)
