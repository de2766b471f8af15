"""Encoders, decoders and layers that several model families share."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.image_sizes import halvings, widths


class GaussianHeads(nn.Module):
    """Two linear heads: features (n, features) -> mean and log-variance, each (n, latent_dim)."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(hidden), self.log_variance(hidden)


def digit_encoder(latent_dim: int) -> nn.Sequential:
    """Grey 28 x 28 images -> posterior mean and log-variance; 494,442 parameters for 5 latents.

    Source: the MNIST article's encoder. Keras pads its stride-2 convolution at the right and bottom only;
    here the padding is symmetric, as torch has it.
    """
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 14 * 14, 32),
        nn.ReLU(),
        GaussianHeads(32, latent_dim),
    )


def digit_decoder(latent_dim: int) -> nn.Sequential:
    """Latents (n, latent_dim) -> logits (n, 1, 28, 28); 94,017 parameters for 5 latents. Source: as the encoder."""
    return nn.Sequential(
        nn.Linear(latent_dim, 64 * 14 * 14),
        nn.ReLU(),
        nn.Unflatten(1, (64, 14, 14)),
        nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )


def face_encoder(image_shape: tuple[int, int, int], latent_dim: int) -> nn.Sequential:
    """Images (n, c, h, w), h and w multiples of 16 -> posterior mean and log-variance.

    Source: Hou et al. 2016, section 3.1 and figure 2: four 4 x 4 convolutions of stride 2 to 32, 64, 128 and 256
    channels, each with batch normalisation and LeakyReLU, then two linear heads. The slope, which the paper leaves
    open, is 0.2. Larger images have further ones (:mod:`vaebench.models.image_sizes`).
    """
    channels, height, width = image_shape
    count = halvings(height, width)
    growing = widths(32, count)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((channels, *growing)):
        # the normalisation has a bias of its own
        convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    features = growing[-1] * (height >> count) * (width >> count)
    return nn.Sequential(*layers, nn.Flatten(), GaussianHeads(features, latent_dim))


def face_decoder(image_shape: tuple[int, int, int], latent_dim: int) -> nn.Sequential:
    """Latents (n, latent_dim) -> logits (n, c, h, w), h and w multiples of 16.

    Source: Hou et al. 2016, section 3.1 and figure 2: linear to 256 channels, then four times nearest-neighbour
    upsampling by 2, replication padding and a 3 x 3 convolution, to 128, 64, 32 and c channels, each but the last
    with batch normalisation and LeakyReLU. Larger images have further ones, as in the encoder.
    """
    channels, height, width = image_shape
    count = halvings(height, width)
    first, *shrinking = widths(32, count)[::-1]
    smallest = height >> count, width >> count
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, first * smallest[0] * smallest[1]),
        nn.Unflatten(1, (first, *smallest)),
    ]
    for inputs, outputs in pairwise((first, *shrinking)):
        layers += [
            nn.Identity(),  # where the upsampling stood: weights are named by place, and those of earlier runs must fit
            UpsampledConvolution(inputs, outputs, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers, nn.Identity(), UpsampledConvolution(32, channels))


class UpsampledConvolution(nn.Conv2d):
    """Nearest-neighbour upsampling by 2, replication padding by 1 and a 3 x 3 convolution: the same function, in one.

    Maps (n, in_channels, h, w) of any float dtype, h and w 1 or more -> (n, out_channels, 2 h, 2 w) in that dtype
    (under autocast in autocast's) and layout. The weight is (out_channels, in_channels, 3, 3): weight and bias, their
    names and their first draws are ``nn.Conv2d``'s, so that either form reads the other's checkpoints.

    Along one axis output 2 i sees the enlarged pixels 2 i - 1, 2 i and 2 i + 1, which are the input's i - 1, i and i:
    it is w0 x[i-1] + (w1 + w2) x[i]. Output 2 i - 1 is likewise (w0 + w1) x[i-1] + w2 x[i]. Beyond the border the input
    padded by 1 holds what the enlarged one does. That is a transposed convolution of the padded input with stride 2 and
    the taps w2, w1 + w2, w0 + w1, w0, and it multiplies 16 times a pair of channels and input pixel where the long way
    takes 36. A GPU runs it so, as three kernels. On a CPU the same sums run faster as a 2 x 2 convolution to four times
    the channels, whose (h + 1)(w + 1) positions hold all outputs from -1 to 2 h and 2 w: they are put in order, and the
    first and last cut off. That gains from 8 x 8 on, and at 4 x 4 in float32 (benchmarks/speed/upsampling.py).
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode="replicate", bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        padded = _replicated(input) if torch.compiler.is_compiling() else functional.pad(input, (1,) * 4, "replicate")
        return self._in_order(padded) if input.device.type == "cpu" else self._transposed(padded)

    def _transposed(self, padded: Tensor) -> Tensor:
        """Run as a transposed convolution, whose weight is (in_channels, out_channels, 4, 4)."""
        sums = self._sums("transposed").unflatten(2, (4, 4)).transpose(0, 1)
        return functional.conv_transpose2d(padded, sums, self.bias, stride=2, padding=3)

    def _in_order(self, padded: Tensor) -> Tensor:
        """Run as a convolution to every parity's outputs, whose weight is (4 out_channels, in_channels, 2, 2)."""
        sums = self._sums("parities")
        if self.weight.is_contiguous():
            weight = sums.unflatten(2, (2, 2, 2, 2)).permute(2, 3, 0, 1, 4, 5).flatten(0, 2)
        else:  # channels innermost, as channels_last has them: any other order takes several times as long
            weight = sums.permute(2, 0, 1).unflatten(0, (4, 4)).permute(0, 2, 1, 3).flatten(0, 1)
            weight = weight.unflatten(1, (2, 2)).permute(0, 3, 1, 2)
        # a convolution's result has the layout of its weight
        bias = None if self.bias is None else self.bias.repeat(4)
        return self._interleaved(functional.conv2d(padded, weight, bias))

    def _sums(self, form: str) -> Tensor:
        """Sum the weight's taps to (out_channels, in_channels, 16), laid out as the weight is.

        All sums of a channel are one product with a matrix of zeros and ones: taken a pair of taps at a time they are
        thirty small operations forward and backward, which is what a GPU waits for. In the weight's own precision:
        autocast would round the taps before they are added.
        """
        taps = _taps(form, self.weight.device, self.weight.dtype)
        with torch.autocast(self.weight.device.type, enabled=False):
            if self.weight.is_contiguous():
                return self.weight.flatten(2) @ taps.T
            return (taps @ self.weight.permute(0, 2, 3, 1).flatten(1, 2)).transpose(1, 2)

    def _interleaved(self, outputs: Tensor) -> Tensor:
        """(n, 4 out_channels, h + 1, w + 1) -> (n, out_channels, 2 h, 2 w), contiguous in the layout that they have."""
        n, _, height, width = outputs.shape
        apart: Tensor = outputs.unflatten(1, (2, 2, self.out_channels))
        if outputs.is_contiguous():
            whole = apart.permute(0, 3, 4, 1, 5, 2).reshape(n, self.out_channels, 2 * height, 2 * width)
            return whole[:, :, 1:-1, 1:-1].contiguous()
        whole = apart.permute(0, 4, 1, 5, 2, 3).reshape(n, 2 * height, 2 * width, self.out_channels)
        return whole[:, 1:-1, 1:-1].contiguous().permute(0, 3, 1, 2)


def _replicated(maps: Tensor) -> Tensor:
    """Replication padding by 1, which compiled code is given: slower when it is not.

    Of torch's own, inductor (torch 2.15) expects a contiguous gradient where the CPU's is channels_last, and stops.
    """
    rows = torch.cat([maps[:, :, :1], maps, maps[:, :, -1:]], 2)
    return torch.cat([rows[..., :1], rows, rows[..., -1:]], 3)


# taps of an axis from a weight's three: of a stride-2 transposed convolution; of odd outputs, then of even ones
AXES = {
    "transposed": [[[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]],
    "parities": [[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]],
}
_KNOWN_TAPS: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}


def _taps(form: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix (16, 9) from a weight's 3 x 3 taps to those of a form: rows' parity, columns', row, column.

    Kept for each device, since what a CUDA graph captures may not come from the processor's memory.
    """
    if (form, device, dtype) not in _KNOWN_TAPS:
        with torch.inference_mode(mode=False):  # else trainings after an evaluation could not use it
            axis = torch.tensor(AXES[form], device=device, dtype=dtype)
            both = axis[:, None, :, None, :, None] * axis[None, :, None, :, None, :]
            _KNOWN_TAPS[form, device, dtype] = both.reshape(16, 9)
    return _KNOWN_TAPS[form, device, dtype]


def initialise_glorot_uniform(module: nn.Module) -> None:
    """Glorot and Bengio 2010, eq. 16, for every convolution and linear layer; biases 0. Keras's default."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
