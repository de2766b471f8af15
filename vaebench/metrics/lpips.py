"""Measure LPIPS: how far a reconstruction is from its image in the features of AlexNet, weighted as people judge."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage
from vaebench.core.paths import weights_dir
from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.alexnet import PUBLISHED, find_alexnet, fitting, read_alexnet
from vaebench.perceptual.weight_files import find_weights, read_tensors

HEADS = "lpips_alex_v0.1.safetensors"
_WIDTHS: Final = (64, 192, 384, 256, 256)  # channels of AlexNet's five layers
_LEAST: Final = 31  # pixels a side: of fewer, nothing is left to AlexNet's second pooling
_CHUNK: Final = 64  # images at a time: bounds memory, as all five layers of both images are held


@dataclass(frozen=True, slots=True, eq=False)
class Lpips:
    """The networks of LPIPS with AlexNet, version 0.1, frozen.

    Attributes:
        alexnet: its features are compared.
        heads: of each layer the weights of its channels, (1, channels, 1, 1).
    """

    alexnet: Perceptual
    heads: tuple[Tensor, ...]


def load_lpips() -> Lpips:
    """Load the published networks, onto the CPU.

    AlexNet's weights are ``alexnet_features.safetensors`` or torchvision's file, in ``VAEBENCH_WEIGHTS`` or torch
    hub's cache; the layers' weights are ``lpips_alex_v0.1.safetensors`` there, else those that torchmetrics ships.
    Nothing is downloaded. Raises :class:`UserError` where AlexNet's file is missing, or a file is damaged, lacks a
    tensor, or is not what its published name promises.
    """
    path = find_alexnet()
    if path is None:
        raise UserError(
            f"AlexNet's weights are neither in {weights_dir()} nor in torch hub's cache: run 'vaebench fetch "
            f"alexnet' (without network, with --from FILE, torchvision's {PUBLISHED}), or leave lpips out"
        )
    alexnet, file = read_alexnet(path), find_weights(HEADS) or _shipped_heads()
    weights = read_tensors(file)
    heads = (fitting(weights, f"lin{k}.model.1.weight", (1, n, 1, 1), file) for k, n in enumerate(_WIDTHS))
    return Lpips(alexnet, tuple(heads))


def _shipped_heads() -> Path:
    from torchmetrics.functional.image import lpips as library  # noqa: PLC0415  (a second's import)

    return Path(library.__file__).with_name("lpips_models") / "alex.pth"


def lpips_distance(network: Lpips, real: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute LPIPS of pairs: two float (n, c, h, w) in [0, 1], c 1 or 3, sides of 31 or more -> (n,) float64, 0 or
    more.

    Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", eq. 1, on the
    images' own resolution: squared differences of features of unit length across channels, weighted by channel,
    averaged over positions, summed over five layers. ``network`` is that of :func:`load_lpips`; AlexNet moves to the
    images' device. Computed in float32, without TF32. Grey images are repeated to three channels.
    Raises :class:`UserError` where the shapes differ or do not fit AlexNet.
    """
    _check_images(real, reconstruction)
    cudnn = torch.backends.cudnn
    chunks = zip(_coloured(real).split(_CHUNK), _coloured(reconstruction).split(_CHUNK), strict=True)
    with (
        torch.no_grad(),
        cudnn.flags(
            enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
        ),
    ):
        values = [_distance(network, one, other).double() for one, other in chunks if len(one)]
    return torch.cat([real.new_empty(0, dtype=torch.float64), *values])


def _distance(network: Lpips, one: Tensor, other: Tensor) -> Tensor:
    """LPIPS of colour images: two float32 (n, 3, h, w) -> (n,)."""
    layers = network.alexnet.layers
    total = one.new_zeros(len(one))
    features = (network.alexnet.features(images, layers) for images in (one, other))
    for first, second, head in zip(*features, network.heads, strict=True):
        squares = (_of_unit_length(first) - _of_unit_length(second)).square()
        total += functional.conv2d(squares, head.to(squares.device)).mean(dim=(1, 2, 3))
    return total


def _of_unit_length(features: Tensor) -> Tensor:
    return features / (1e-8 + features.square().sum(dim=1, keepdim=True)).sqrt()


class _Distance:
    """A batch's distances; the network is read at the first batch, so that its absence is that metric's alone."""

    def __init__(self) -> None:
        self._network: Lpips | None = None

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
            lowest=0.0,
            protocol="recon/alex-v0.1",
            margin="0.01",
            stratified=True,
            question=questions.RECONSTRUCTION,
            place=4,
            headline=5,
        ),
    )
    path = find_alexnet()
    if path is not None:
        with suppress(OSError):  # the first batch says what is wrong with it
            metric.extractor_sha256 = sha256_of(path)
    return [metric]


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
