"""LPIPS: how far a reconstruction is from its image in the features of AlexNet, weighted as people judge."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage
from vaebench.core.paths import weights_dir
from vaebench.perceptual.weight_files import find_weights, read_tensors

STORED = "alexnet_features.safetensors"
PUBLISHED = "alexnet-owt-7be5be79.pth"  # torchvision's; the name ends in the first digits of its sha256
HEADS = "lpips_alex_v0.1.safetensors"
_LEAST: Final = 31  # pixels a side: of fewer, nothing is left to AlexNet's second pooling
_CHUNK: Final = 64  # images at a time: bounds memory, as all five layers of both images are held


def load_lpips() -> nn.Module:
    """torchmetrics' LPIPS network with AlexNet, version 0.1: frozen, in evaluation mode, on the CPU.

    AlexNet's weights are ``alexnet_features.safetensors`` or torchvision's file, in ``VAEBENCH_WEIGHTS`` or torch
    hub's cache; the layers' weights are ``lpips_alex_v0.1.safetensors`` there, else those that torchmetrics ships.
    Nothing is downloaded. Raises :class:`UserError` where AlexNet's file is missing, or a file is damaged, lacks a
    tensor, or is not what its published name promises.
    """
    from torchmetrics.functional.image import lpips as library  # noqa: PLC0415  (a second's import)

    path = _alexnet()
    if path is None:
        raise UserError(
            f"AlexNet's weights are neither in {weights_dir()} nor in torch hub's cache: run 'vaebench fetch "
            f"alexnet' (without network, with --from FILE, torchvision's {PUBLISHED}), or leave lpips out"
        )
    heads = find_weights(HEADS) or Path(library.__file__).with_name("lpips_models") / "alex.pth"
    # The public class would download AlexNet. On the meta device there are no initial weights, whose drawing would
    # shift the global generator; the constants of the scaling layer would be lost there, so it is made anew.
    with torch.device("meta"):
        network = library._NoTrainLpips(pretrained=False, net="alex", pnet_rand=True)
    network.scaling_layer = library.ScalingLayer()
    convolutions, weights = read_tensors(path, PUBLISHED), read_tensors(heads)
    state = {}
    for name, like in network.state_dict().items():
        if name.startswith("net."):  # net.slice2.3.weight is torchvision's features.3.weight
            state[name] = _taken(convolutions, f"features.{name.split('.', 2)[2]}", like, path)
        else:  # lins.0 is lin0 once more
            state[name] = _taken(weights, name.replace("lins.", "lin"), like, heads)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def lpips_distance(network: nn.Module, real: Tensor, reconstruction: Tensor) -> Tensor:
    """LPIPS of pairs: two float (n, c, h, w) in [0, 1], c 1 or 3, sides of 31 or more -> (n,) float64, 0 or more.

    Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", eq. 1, on the
    images' own resolution: squared differences of features of unit length across channels, weighted by channel,
    averaged over positions, summed over five layers. ``network`` is that of :func:`load_lpips`; it moves to the
    images' device and computes in float32, without TF32. Grey images are repeated to three channels.
    Raises :class:`UserError` where the shapes differ or do not fit AlexNet.
    """
    _check_images(real, reconstruction)
    network.to(real.device)
    cudnn = torch.backends.cudnn
    chunks = zip(_coloured(real).split(_CHUNK), _coloured(reconstruction).split(_CHUNK), strict=True)
    with (
        torch.no_grad(),
        cudnn.flags(
            enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
        ),
    ):
        values = [network(one, other, normalize=True).flatten() for one, other in chunks if len(one)]
    return torch.cat([real.new_empty(0, dtype=torch.float64), *(value.double() for value in values)])


class _Distance:
    """A batch's distances; the network is read at the first batch, so that its absence is that metric's alone."""

    def __init__(self) -> None:
        self._network: nn.Module | None = None

    def __call__(self, batch: EvalBatch) -> Tensor:
        assert batch.real is not None and batch.reconstruction is not None
        _check_images(batch.real, batch.reconstruction)  # before it asks for weights that would not help
        if self._network is None:
            self._network = load_lpips()
        return lpips_distance(self._network, batch.real, batch.reconstruction)

    def __getstate__(self) -> dict[str, Any]:
        return {"_network": None}  # processes exchange values, not AlexNet


def lpips() -> list[Metric]:
    """Learned perceptual image patch similarity, in spite of its name a distance: 0 for identical images."""
    metric = PerImage(
        _Distance(),
        MetricSpec(
            name="lpips",
            needs=Need.REAL | Need.RECONSTRUCTION,
            unit="distance",
            direction="lower",
            protocol="recon/alex-v0.1",
            margin="0.01",
            stratified=True,
            question=questions.RECONSTRUCTION,
            headline=5,
        ),
    )
    path = _alexnet()
    if path is not None:
        with suppress(OSError):  # the first batch says what is wrong with it
            metric.extractor_sha256 = sha256_of(path)
    return [metric]


def _alexnet() -> Path | None:
    return find_weights(STORED, PUBLISHED)


def _taken(tensors: Mapping[str, Tensor], name: str, like: Tensor, path: Path) -> Tensor:
    """The tensor of that name; :class:`UserError` where it is missing or of another shape than ``like``."""
    if name not in tensors:
        raise UserError(f"{path} lacks '{name}': replace it, its tensors are missing or renamed")
    if tensors[name].shape != like.shape:
        raise UserError(f"{path}: '{name}' is {tuple(tensors[name].shape)}, not {tuple(like.shape)}: replace it")
    return tensors[name].float()


def _check_images(real: Tensor, reconstruction: Tensor) -> None:
    if real.shape != reconstruction.shape:
        raise UserError(
            f"images {tuple(real.shape)} and reconstructions {tuple(reconstruction.shape)} differ in shape: "
            "give them the same number, channels and size"
        )
    channels, height, width = real.shape[1:]
    if channels not in (1, 3):
        raise UserError(f"lpips is defined for images of 1 or 3 channels, these have {channels}")
    if min(height, width) < _LEAST:
        raise UserError(
            f"lpips needs images of at least {_LEAST} x {_LEAST} pixels, which AlexNet shrinks to one position; "
            f"these are {height} x {width}: leave it out"
        )


def _coloured(images: Tensor) -> Tensor:
    return images.float().expand(-1, 3, -1, -1)
