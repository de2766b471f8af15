"""Read the weights of a small network that comes with the package."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of
from vaebench.core.perceptual import Perceptual


def shipped(
    name: str,
    stages: "Callable[[], OrderedDict[str, nn.Module]]",
    channels: int,
    weights: Path,
    sha256: str,
    sides: Mapping[str, int],
) -> Perceptual:
    """Build the network of these stages, with the weights of that file; some layers take images of one side only.

    Raises :class:`UserError` where the file is missing, damaged or another than the one that ``sha256`` names.
    """
    try:
        found = sha256_of(weights)
        with torch.device("meta"):  # no initial weights: drawing them would shift the seeds of the model built next
            network = nn.Sequential(stages())
        network.load_state_dict(load_file(weights), assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{weights} cannot be read ({first_line(error)}): reinstall vaebench to restore it") from error
    if found != sha256:
        raise UserError(f"{weights} is not the file vaebench ships (sha256 differs): reinstall vaebench to restore it")
    return Perceptual(name, dict(network.named_children()), channels=channels, sha256=found, sides=sides)
