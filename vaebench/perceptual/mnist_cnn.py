"""The MNIST article's digit classifier, as perceptual network and as feature space.

Source: the article "Deep feature consistent variational auto-encoder", which takes the squared distance
of the features of its first and second convolution (Keras layers ``conv2d_6`` and ``conv2d_7``, weights
1.0 and 1.0; the article calls them first and third hidden layer).
"""

from collections import OrderedDict
from pathlib import Path

from torch import nn

from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.bundled_weights import shipped

WEIGHTS = Path(__file__).with_name("mnist_cnn.safetensors")
SHA256 = "cb91b679638254216206c3d0659bc5691cc8bbce52d35a88177e5727785c8279"


def classifier_stages() -> "OrderedDict[str, nn.Module]":
    """Grey 28 x 28 images in [0, 1] -> 10 logits, in named stages; 93,322 parameters.

    Convolutions are valid (28 -> 26, 13 -> 11, 5 -> 3). ``conv1``, ``conv2`` and ``conv3`` are taken after ReLU.
    """
    return OrderedDict(
        conv1=nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU()),
        conv2=nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU()),
        conv3=nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(64, 64, 3), nn.ReLU()),
        dense=nn.Sequential(nn.Flatten(), nn.Linear(576, 64), nn.ReLU()),
        logits=nn.Linear(64, 10),
    )


def mnist_cnn(weights: Path = WEIGHTS, sha256: str = SHA256) -> Perceptual:
    """The classifier trained by ``python -m vaebench.perceptual.train_mnist_cnn``; shipped with the package.

    Raises :class:`UserError` where the file is missing, damaged or another than the one described in its card.
    """
    return shipped("mnist_cnn", classifier_stages, 1, weights, sha256, sides={"dense": 28, "logits": 28})
