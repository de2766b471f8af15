"""VGG-19 (Simonyan and Zisserman 2015) up to any of its activations, as perceptual network.

Two forms. ``vgg19`` has torchvision's ImageNet weights, from ``VAEBENCH_WEIGHTS`` or torch hub's checkpoint
directory; a file that holds only the first layers serves those. ``vgg19-normalised`` is the form of style-transfer
work: every filter scaled so that its mean activation is about 1, behind reflection padding.
"""

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of, write_atomic
from vaebench.core.paths import weights_dir
from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.weight_files import downloaded, find_weights, given, read_tensors

# convolutions of each block: (input channels, output channels)
BLOCKS: Final = (
    ((3, 64), (64, 64)),
    ((64, 128), (128, 128)),
    ((128, 256), (256, 256), (256, 256), (256, 256)),
    ((256, 512), (512, 512), (512, 512), (512, 512)),
    ((512, 512), (512, 512), (512, 512), (512, 512)),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1], as torchvision trains with
PUBLISHED = "vgg19-dcbb9e9d.pth"  # torchvision's file; the name ends in the first digits of its sha256
STORED, NORMALISED = "vgg19.safetensors", "vgg19_normalised_relu3_1.safetensors"


class Standardise(nn.Module):
    """Images (n, 3, h, w) in [0, 1] -> standardised by ImageNet's mean and deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def vgg19() -> Perceptual:
    """torchvision's ImageNet VGG-19; layers ``relu1_1`` to ``relu5_4``, or as many as the file holds.

    Raises :class:`UserError` where no file is found, or one is damaged, renamed inside, or lacks a tensor between
    others.
    """
    path = find_weights(STORED, PUBLISHED)
    if path is None:
        raise UserError(
            f"VGG-19's weights are neither in {weights_dir()} nor in torch hub's cache: run 'vaebench fetch vgg19', "
            "or choose another network with --set perceptual=NAME (vaebench list perceptual)"
        )
    return _published(read_tensors(path, PUBLISHED), path)


def vgg19_fc() -> Perceptual:
    """VGG-19's fully connected layers ``fc6`` and ``fc7`` (4,096 each, after ReLU) of images resized to 224 x 224.

    Hou et al. 2017 predict attributes from the last of them. Resizing is bilinear, with antialiasing. Raises
    :class:`UserError` where torchvision's file is not found (548 MB; nothing smaller holds these layers).
    """
    path = find_weights(PUBLISHED)
    if path is None:
        raise UserError(
            f"{PUBLISHED}, which has VGG-19's fully connected layers, is neither in {weights_dir()} nor in torch hub's "
            "cache: run 'vaebench fetch vgg19-fc'"
        )
    tensors = read_tensors(path, PUBLISHED)
    convolutions = _published(tensors, path)
    stages: dict[str, nn.Module] = {}
    opening = [_Resize(), *convolutions.stages.values(), nn.MaxPool2d(2), nn.Flatten()]
    for name, key, inputs in (("fc6", "classifier.0", 25_088), ("fc7", "classifier.3", 4096)):
        linear = nn.Linear(inputs, 4096, device="meta")
        try:
            linear.load_state_dict({part: tensors[f"{key}.{part}"] for part in ("weight", "bias")}, assign=True)
        except (KeyError, RuntimeError) as error:
            raise UserError(f"{path} holds no fitting '{key}' ({first_line(error)}): replace it") from error
        stages[name] = nn.Sequential(*opening, linear, nn.ReLU())
        opening = []
    return Perceptual("vgg19-fc", stages, channels=3, sha256=sha256_of(path))


class _Resize(nn.Module):
    """Images (n, 3, h, w) -> 224 x 224, which the fully connected layers were trained on."""

    def forward(self, images: Tensor) -> Tensor:
        return functional.interpolate(images, size=(224, 224), mode="bilinear", antialias=True, align_corners=False)


def vgg19_normalised() -> Perceptual:
    """The activation-normalised VGG-19 up to ``relu3_1``; its first convolution turns RGB in [0, 1] into BGR."""
    path = find_weights(NORMALISED)
    if path is None:
        raise UserError(
            f"{NORMALISED} is not in {weights_dir()}: set VAEBENCH_WEIGHTS to its folder, "
            "or run 'vaebench fetch vgg19-normalised --from FILE'"
        )
    return _normalised(read_tensors(path), path)


def _published(tensors: Mapping[str, Tensor], path: Path) -> Perceptual:
    """Build the network of tensors named as torchvision names them, from ``path``."""
    stages: dict[str, nn.Module] = {}
    opening: list[nn.Module] = [Standardise()]
    index = 0  # torchvision's number of the convolution within `features`
    for block, convolutions in enumerate(BLOCKS, start=1):
        for position, (inputs, outputs) in enumerate(convolutions, start=1):
            key = f"features.{index}"
            if f"{key}.weight" not in tensors:
                return _complete(stages, tensors, index, path)
            convolution = _convolution(tensors, key, inputs, outputs, path, padding=1)
            stages[f"relu{block}_{position}"] = nn.Sequential(*opening, convolution, nn.ReLU())
            index, opening = index + 2, []
        index, opening = index + 1, [nn.MaxPool2d(2)]
    return _complete(stages, tensors, index, path)


def _normalised(tensors: Mapping[str, Tensor], path: Path) -> Perceptual:
    """Build the network of tensors named by their place in the published sequence, from ``path``."""
    stages: dict[str, nn.Module] = {}
    opening: list[nn.Module] = [_convolution(tensors, "0", 3, 3, path, size=1)]
    for name, key in (("relu1_1", "2"), ("relu1_2", "5"), ("relu2_1", "9"), ("relu2_2", "12"), ("relu3_1", "16")):
        inputs, outputs = BLOCKS[int(name[4]) - 1][int(name[6]) - 1]
        convolution = _convolution(tensors, key, inputs, outputs, path)
        stages[name] = nn.Sequential(*opening, nn.ReflectionPad2d(1), convolution, nn.ReLU())
        opening = [nn.MaxPool2d(2)] if name in ("relu1_2", "relu2_2") else []
    return Perceptual("vgg19-normalised", stages, channels=3, sha256=sha256_of(path))


def fetch_vgg19(source: Path | None) -> str:
    """Import a file (safetensors, or a .pth), or download torchvision's; keep what is read of it as safetensors.

    What was there stays unless the network can be built from the new tensors.
    """
    if source is None:
        source = find_weights(PUBLISHED) or _download()
    tensors = given(source)
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if name.startswith("features.")}
    if not kept:
        raise UserError(f"{source} holds no 'features.0.weight': its tensors are not named as torchvision names VGG-19")
    network, target = _published(kept, source), weights_dir() / STORED
    write_atomic(target, lambda temporary: save_file(kept, temporary))
    return f"vgg19: layers up to {network.layers[-1]}, in {target}"


def fetch_vgg19_fc(source: Path | None) -> str:
    """Download torchvision's file, or copy it from elsewhere under its published name, by which it is checked."""
    if source is None:
        source = find_weights(PUBLISHED) or _download()
    if not source.is_file() or not sha256_of(source).startswith(Path(PUBLISHED).stem.rpartition("-")[2]):
        raise UserError(f"{source} is not torchvision's {PUBLISHED} (by its sha256): give that file")
    if find_weights(PUBLISHED) is None:
        write_atomic(weights_dir() / PUBLISHED, lambda temporary: shutil.copyfile(source, temporary))
    return f"vgg19-fc: layers up to {vgg19_fc().layers[-1]}, in {find_weights(PUBLISHED)}"


def fetch_vgg19_normalised(source: Path | None) -> str:
    """Import the file, once the network can be built from it; it has no publisher to download from."""
    if source is None:
        vgg19_normalised()
        return f"vgg19-normalised: at hand, in {find_weights(NORMALISED)}"
    tensors, target = given(source), weights_dir() / NORMALISED
    network = _normalised(tensors, source)
    write_atomic(target, lambda temporary: save_file(dict(tensors), temporary))
    return f"vgg19-normalised: layers up to {network.layers[-1]}, in {target}"


def _download() -> Path:
    from torchvision.models import VGG19_Weights  # noqa: PLC0415  (a second's import)

    get = partial(VGG19_Weights.IMAGENET1K_V1.get_state_dict, progress=os.isatty(2), check_hash=True)
    return downloaded(get, "VGG-19", PUBLISHED, "vgg19")


def _complete(stages: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], index: int, path: Path) -> Perceptual:
    """Return the network after checking that no tensors are missing before others that are there."""
    numbers = (key.split(".")[1] for key in tensors if key.startswith("features."))
    later = [f"features.{number}" for number in numbers if number.isdigit() and int(number) > index]
    if not stages or later:
        found = f"has '{later[0]}' but " if later else ""
        raise UserError(
            f"{path} {found}lacks 'features.{index}.weight': replace it ('vaebench fetch vgg19 --from FILE')"
        )
    return Perceptual("vgg19", stages, channels=3, sha256=sha256_of(path))


def _convolution(
    tensors: Mapping[str, Tensor], key: str, inputs: int, outputs: int, path: Path, *, size: int = 3, padding: int = 0
) -> nn.Conv2d:
    """Build a convolution with the file's tensors."""
    wanted = {f"{key}.weight": (outputs, inputs, size, size), f"{key}.bias": (outputs,)}
    for name, shape in wanted.items():
        if name not in tensors:
            raise UserError(f"{path} lacks '{name}': replace it, its tensors are missing or renamed")
        if tuple(tensors[name].shape) != shape:
            raise UserError(f"{path}: '{name}' is {tuple(tensors[name].shape)}, not {shape}: replace it")
    with torch.device("meta"):  # no initial weights: drawing them would shift the seeds of the model built next
        convolution = nn.Conv2d(inputs, outputs, size, padding=padding)
    state = {"weight": tensors[f"{key}.weight"].float(), "bias": tensors[f"{key}.bias"].float()}
    convolution.load_state_dict(state, assign=True)
    return convolution
