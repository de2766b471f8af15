"""The Inception-v3 of 2015-12-05, whose features FID is defined on (Heusel et al. 2017), from torch-fidelity's blocks.

Layers ``64``, ``192``, ``768`` and ``2048``, as torch-fidelity names them; features are means over positions. Images
are resized to 299 x 299 as TensorFlow 1 does it. Weights: torch-fidelity's published file, or one that holds the
layers up to 768 with batch normalisation folded in.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of, write_atomic
from vaebench.core.paths import hub_dir, weights_dir
from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.weight_files import downloaded, find_weights, given, read_tensors

PUBLISHED = "weights-inception-2015-12-05-6726825d.pth"  # the name ends in the first digits of its sha256
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{PUBLISHED}"
STORED, TO_768 = "inception_2015_12_05.safetensors", "inception_2015_12_05_to768.safetensors"
EPSILON: Final = 0.001  # of its batch normalisation
SIDE: Final = 299  # of the images that it sees


class Prepare(nn.Module):
    """Images (n, 3, h, w) in [0, 1] -> 299 x 299 in [-1, 1), channels last, as the published network was fed.

    Bilinear as TensorFlow 1 did it: pixel i is read at i h / 299, without antialiasing. These are the very operations
    of ``torch_fidelity.interpolate_compat_tensorflow``, so bits are equal; but what it does to four full-size images
    (one a neighbour) is done here to two an axis, columns while the rows are still few: a tenth of the time.
    """

    def forward(self, images: Tensor) -> Tensor:
        rows = (images * 255).permute(0, 2, 3, 1).contiguous()
        wide = _resampled(rows, axis=2)
        whole = _resampled(wide.flatten(2), axis=1)  # a row of all its columns and channels lies in one piece
        scaled: Tensor = whole.sub_(128).div_(128).unflatten(2, (SIDE, -1))
        return scaled.permute(0, 3, 1, 2)


def _resampled(images: Tensor, axis: int) -> Tensor:
    """(n, h, w, ...) with so many positions along an axis that they are :data:`SIDE`."""
    size = images.shape[axis]
    place = torch.arange(SIDE, dtype=torch.float32, device=images.device) * (size / SIDE)
    before = place.long()
    share = (place - before).to(images.dtype).view([-1] + [1] * (images.ndim - axis - 1))
    low = images.index_select(axis, before)
    high = images.index_select(axis, (before + 1).clamp_(max=size - 1))
    return high.sub_(low).mul_(share).add_(low)


def _blocks() -> "OrderedDict[str, OrderedDict[str, nn.Module]]":
    """Layer -> the published network's modules up to it, by their published names."""
    from torch_fidelity import feature_extractor_inceptionv3 as made  # noqa: PLC0415  (a second's import)

    return OrderedDict(
        {
            "64": OrderedDict(
                Conv2d_1a_3x3=made.BasicConv2d(3, 32, kernel_size=3, stride=2),
                Conv2d_2a_3x3=made.BasicConv2d(32, 32, kernel_size=3),
                Conv2d_2b_3x3=made.BasicConv2d(32, 64, kernel_size=3, padding=1),
                MaxPool_1=nn.MaxPool2d(kernel_size=3, stride=2),
            ),
            "192": OrderedDict(
                Conv2d_3b_1x1=made.BasicConv2d(64, 80, kernel_size=1),
                Conv2d_4a_3x3=made.BasicConv2d(80, 192, kernel_size=3),
                MaxPool_2=nn.MaxPool2d(kernel_size=3, stride=2),
            ),
            "768": OrderedDict(
                Mixed_5b=made.InceptionA(192, pool_features=32),
                Mixed_5c=made.InceptionA(256, pool_features=64),
                Mixed_5d=made.InceptionA(288, pool_features=64),
                Mixed_6a=made.InceptionB(288),
                Mixed_6b=made.InceptionC(768, channels_7x7=128),
                Mixed_6c=made.InceptionC(768, channels_7x7=160),
                Mixed_6d=made.InceptionC(768, channels_7x7=160),
                Mixed_6e=made.InceptionC(768, channels_7x7=192),
            ),
            "2048": OrderedDict(
                Mixed_7a=made.InceptionD(768),
                Mixed_7b=made.InceptionE_1(1280),
                Mixed_7c=made.InceptionE_2(2048),
            ),
        }
    )


def inception() -> Perceptual:
    """torch-fidelity's Inception-v3; layers ``64`` to ``2048``, or as many as the weights reach.

    Raises :class:`UserError` where no weights are found, or they are damaged or of another network.
    """
    path = find_weights(STORED, PUBLISHED, TO_768)
    if path is None:
        raise UserError(
            f"Inception's weights are neither in {weights_dir()} nor in torch hub's cache: run 'vaebench fetch "
            "inception' (or, without network, with --from FILE)"
        )
    return _network(read_tensors(path, PUBLISHED), path)


def _network(tensors: Mapping[str, Tensor], path: Path) -> Perceptual:
    stages: dict[str, nn.Sequential] = {}
    with torch.device("meta"):  # no initial weights: drawing them would shift the seeds of what is built next
        blocks = _blocks()
    for layer, modules in blocks.items():
        stage = nn.Sequential(modules)
        state = _state(stage, tensors)
        if state is None:
            break
        try:
            stage.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise UserError(f"{path} is no Inception-v3 of 2015-12-05 ({first_line(error)}): replace it") from error
        stages[layer] = _fused(stage.eval())
    if not stages:
        raise UserError(f"{path} holds no Inception-v3 of 2015-12-05: replace it ('vaebench fetch inception')")
    first = next(iter(stages))
    stages[first] = nn.Sequential(Prepare(), stages[first])
    for stage in stages.values():
        stage.to(memory_format=torch.channels_last)
    cut = "" if "2048" in stages else f"get the whole network ('vaebench fetch inception'); {path.name} ends there"
    return Perceptual("inception", stages, channels=3, sha256=sha256_of(path), remedy=cut)


def _state(stage: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the stage's tensors, or ``None`` if the file ends before them.

    A folded convolution (``NAME.weight``, ``NAME.bias``) becomes a convolution and a batch normalisation that adds
    the bias. A file made from the folded one has NaN for what it lacks.
    """
    state: dict[str, Tensor] = {}
    for key, blank in stage.state_dict().items():
        owner, _, _ = key.rpartition(".bn.")
        if key.endswith("num_batches_tracked"):
            state[key] = tensors.get(key, torch.zeros((), dtype=torch.long))
        elif key in tensors:
            state[key] = tensors[key]
        elif key.endswith(".conv.weight") and key.replace(".conv.", ".") in tensors:
            state[key] = tensors[key.replace(".conv.", ".")]
        elif owner and f"{owner}.bias" in tensors:
            identity = {"weight": 1.0, "running_mean": 0.0, "running_var": 1 - EPSILON}
            kind = key.rpartition(".")[2]
            state[key] = tensors[f"{owner}.bias"] if kind == "bias" else torch.full(blank.shape, identity[kind])
        else:
            return None
        if state[key].is_floating_point() and state[key].isnan().all():
            return None
    return state


def _fused(stage: nn.Sequential) -> nn.Sequential:
    """Fold batch normalisation into the convolutions, which saves a pass over each of their outputs."""
    for module in stage.modules():
        convolution, normalisation = getattr(module, "conv", None), getattr(module, "bn", None)
        if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
            module.conv, module.bn = fuse_conv_bn_eval(convolution, normalisation), nn.Identity()
    return stage


def fetch_inception(source: Path | None) -> str:
    """Import a file (torch-fidelity's .pth, or safetensors), or download torch-fidelity's; keep it as safetensors.

    What was there stays unless the network can be built from the new tensors.
    """
    if source is None:
        source = find_weights(PUBLISHED) or _download()
    tensors = {name: tensor.contiguous() for name, tensor in given(source, PUBLISHED).items()}
    network, target = _network(tensors, source), weights_dir() / STORED
    write_atomic(target, lambda temporary: save_file(tensors, temporary))
    return f"inception: layers up to {network.layers[-1]}, in {target}"


def _download() -> Path:
    def get() -> None:
        hub_dir().mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(hub_dir() / PUBLISHED), "6726825d", progress=os.isatty(2))

    return downloaded(get, "Inception", PUBLISHED, "inception")
