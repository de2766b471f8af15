"""Judges: classifiers of a dataset's own attributes, trained apart from every model that is measured.

What a study changes in an image (an attribute added, a face turned) is read by a network that no measured model has
seen. Datasets that name a classifier are judged by it; of others with attributes one is trained, once, on the training
split, and kept in ``VAEBENCH_CACHE/judges`` by content.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vaebench.core import content_cache, seeding
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.files import exclusive, make_dir, sha256_of
from vaebench.core.perceptual import TRAINED, Perceptual
from vaebench.perceptual.attribute_cnn import BEGUN_ON, SEED, attribute_network, begin, fit
from vaebench.perceptual.weight_files import save_tensors

SEEN = 168_000  # images that a judge sees while it is trained: 14 epochs of 12,000


_VERSION = 1  # part of the key: change it with anything that changes a judge


log = logging.getLogger(__name__)


def judge_network(data: ImageDataset) -> str:
    """Name the network that judges the data's attributes or labels; empty if none can.

    A function of the evaluated split, so that judges of different data never share a name.
    """
    if data.classifier:
        return data.classifier.partition("/")[0]
    side, width = data.image_shape[1:]
    if data.attributes is None or side != width or side < 16:
        return ""
    return f"{TRAINED}{data.fingerprint[:8]}"


def judge_of(name: str, training: ImageDataset) -> Perceptual:
    """Load the judge trained on these images, or train it (minutes on a CPU).

    Raises :class:`UserError` where the images have no attributes.
    """
    if training.attributes is None:
        raise UserError(f"{training.name} has no attributes: no judge can be trained on it")
    channels, side, _ = training.image_shape
    shape = (channels, side, training.attributes.shape[1])
    path = content_cache.entry("judges", [_VERSION, training.fingerprint, SEEN, shape], ".safetensors")
    # outside inference mode, wherever it is asked for from: what is made in it cannot be trained
    with exclusive(make_dir(path.parent), wait=True), torch.inference_mode(False), torch.enable_grad():
        network = content_cache.read_or_make(
            path, _NetworkFile(shape), lambda: _trained(training, shape), required=True
        )
    return Perceptual(name, dict(network.named_children()), channels=channels, sha256=sha256_of(path))


@dataclass(frozen=True)
class _NetworkFile:
    """Reads and writes a judge's weights; ``shape`` is (channels, side, attributes)."""

    shape: tuple[int, int, int]

    def read(self, path: Path) -> nn.Sequential | None:
        try:
            with torch.device("meta"):
                network = nn.Sequential(attribute_network(*self.shape))
            network.load_state_dict(load_file(path), assign=True)
        except (OSError, SafetensorError, RuntimeError):
            return None
        return network

    def write(self, path: Path, value: nn.Sequential) -> None:
        save_tensors({part: weights.contiguous() for part, weights in value.state_dict().items()}, path)


def _trained(training: ImageDataset, shape: tuple[int, int, int]) -> nn.Sequential:
    log.info("%s: a classifier of its attributes is trained to judge by, once (minutes on a CPU)", training.name)
    with seeding.isolated(SEED, "initialisation"):
        network = nn.Sequential(attribute_network(*shape))
    begin(network, training.images[:BEGUN_ON])
    network.to(memory_format=torch.channels_last)
    fit(network, training, max(1, round(SEEN / len(training))), lambda line: log.info("judge, %s", line))
    return network.to(memory_format=torch.contiguous_format)
