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
    it is w0 x[i-1] + (w1 + w2) x[i]. Output 2 i - 1 is likewise (w0 + w1) x[i-1] + w2 x[i]. Both read the same pair,
    and beyond the border the input padded by 1 holds what the enlarged one does. So a 2 x 2 convolution of the padded
    input to four times the channels (odd and even outputs of either axis) has at its (h + 1)(w + 1) positions all
    outputs from -1 to 2 h and 2 w; the first and last are cut off. It multiplies 16 (h + 1)(w + 1) times a pair of
    channels where the long way takes 36 h w, 2.25 times less but for the border, and copies its result twice. On a CPU
    that gains from 8 x 8 on, and at 4 x 4 in float32 (benchmarks/speed/upsampling.py); a GPU saves the same arithmetic,
    but its time was not measured.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode="replicate", bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        padded = _replicated(input) if torch.compiler.is_compiling() else functional.pad(input, (1,) * 4, "replicate")
        bias = None if self.bias is None else self.bias.repeat(4)
        return self._interleaved(functional.conv2d(padded, self._sums(), bias))

    def _sums(self) -> Tensor:
        """Sum the weight's taps to (4 out_channels, in_channels, 2, 2), by parity of rows, of columns, then channel."""
        # channels innermost, as channels_last has them: any other order takes several times as long
        rows = _odd_and_even(self.weight.permute(0, 2, 3, 1), 1)  # rows' parity, output, 2, 3, input
        both = _odd_and_even(rows, 3)  # columns' parity, rows' parity, output, 2, 2, input
        sums = both.transpose(0, 1).flatten(0, 2).permute(0, 3, 1, 2)
        # a convolution's result has the layout of its weight
        return sums.contiguous() if self.weight.is_contiguous() else sums

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


def _odd_and_even(weight: Tensor, dim: int) -> Tensor:
    """Three taps along ``dim`` -> the two of odd outputs and the two of even ones, stacked before all else."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([torch.stack([first + middle, last], dim), torch.stack([first, middle + last], dim)])


def initialise_glorot_uniform(module: nn.Module) -> None:
    """Glorot and Bengio 2010, eq. 16, for every convolution and linear layer; biases 0. Keras's default."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
