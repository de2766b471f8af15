"""AlexNet's convolutions (Krizhevsky 2014, "One weird trick") with torchvision's weights, as perceptual network.

Its features can be a loss or a feature space, and the metric ``lpips`` compares them.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of, write_atomic
from vaebench.core.paths import weights_dir
from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.vgg19 import Standardise
from vaebench.perceptual.weight_files import downloaded, find_weights, given, read_tensors

PUBLISHED = "alexnet-owt-7be5be79.pth"  # torchvision's file; the name ends in the first digits of its sha256
STORED = "alexnet_features.safetensors"
POOLED = ("relu2", "relu3")  # behind 3 x 3 pooling


def alexnet() -> Perceptual:
    """Load torchvision's AlexNet, layers ``relu1`` to ``relu5``; for images of 31 x 31 pixels or more.

    Raises :class:`UserError` where no file is found, or it is damaged or of another network.
    """
    path = find_alexnet()
    if path is None:
        raise UserError(
            f"AlexNet's weights are neither in {weights_dir()} nor in torch hub's cache: run 'vaebench fetch alexnet'"
        )
    return read_alexnet(path)


def find_alexnet() -> Path | None:
    """Find the file of AlexNet's weights that is used, if there is one: ours before torchvision's."""
    return find_weights(STORED, PUBLISHED)


def read_alexnet(path: Path) -> Perceptual:
    """Read the network from a file."""
    return _network(read_tensors(path, PUBLISHED), path)


def _network(tensors: Mapping[str, Tensor], path: Path) -> Perceptual:
    blocks = {
        "relu1": (0, nn.Conv2d(3, 64, 11, stride=4, padding=2, device="meta")),
        "relu2": (3, nn.Conv2d(64, 192, 5, padding=2, device="meta")),
        "relu3": (6, nn.Conv2d(192, 384, 3, padding=1, device="meta")),
        "relu4": (8, nn.Conv2d(384, 256, 3, padding=1, device="meta")),
        "relu5": (10, nn.Conv2d(256, 256, 3, padding=1, device="meta")),
    }
    stages: dict[str, nn.Module] = {}
    for name, (index, convolution) in blocks.items():
        like = convolution.state_dict()
        state = {part: fitting(tensors, f"features.{index}.{part}", like[part].shape, path) for part in like}
        convolution.load_state_dict(state, assign=True)
        pooling = [nn.MaxPool2d(3, 2)] if name in POOLED else []
        stages[name] = nn.Sequential(*([Standardise()] if name == "relu1" else pooling), convolution, nn.ReLU())
    return Perceptual("alexnet", stages, channels=3, sha256=sha256_of(path))


def fitting(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int], path: Path) -> Tensor:
    """Return the file's tensor of that name, float32, after checking its shape."""
    if name not in tensors:
        raise UserError(f"{path} lacks '{name}': replace it, its tensors are missing or renamed")
    if tensors[name].shape != shape:
        raise UserError(f"{path}: '{name}' is {tuple(tensors[name].shape)}, not {tuple(shape)}: replace it")
    return tensors[name].float()


def fetch_alexnet(source: Path | None) -> str:
    """Import a file (safetensors, or a .pth), or download torchvision's; keep its convolutions as safetensors."""
    if source is None:
        source = find_weights(PUBLISHED) or _download()
    tensors = given(source, PUBLISHED)
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if name.startswith("features.")}
    network, target = _network(kept, source), weights_dir() / STORED
    write_atomic(target, lambda temporary: save_file(kept, temporary))
    return f"alexnet: layers up to {network.layers[-1]}, in {target}"


def _download() -> Path:
    from torchvision.models import AlexNet_Weights  # noqa: PLC0415  (a second's import)

    get = partial(AlexNet_Weights.IMAGENET1K_V1.get_state_dict, progress=os.isatty(2), check_hash=True)
    return downloaded(get, "AlexNet", PUBLISHED, "alexnet")
