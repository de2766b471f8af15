"""The convolutional chunks of the encoder, decoder and discriminator of Ruiz and Lipson."""

import math

from torch import nn

# three chunks of the encoder: (channels, side of the kernels)
CHUNKS = ((8, 7), (16, 9), (32, 9))
PUBLISHED = 250  # side of the source's images. Smaller ones are padded: six kernels of 7 and 9 would use them up, and
# leave 3 x 3 of 128 x 128. Padded, an image keeps an eighth of its side: 16 x 16 of 128 x 128, where 250 keeps 18 x 18


def chunk_sides(side: int) -> list[tuple[int, int]]:
    """Sides of each chunk's maps before and after its pooling; 250 gives 18 at the end, and so 10,368 features."""
    shrinks = side >= PUBLISHED
    found = []
    for _, kernel in CHUNKS:
        before = side - 2 * (kernel - 1) * shrinks
        side = math.ceil(before / 2)
        found.append((before, side))
    return found


def feature_network(channels: int, side: int) -> nn.Sequential:
    """Images (n, channels, side, side) -> features (n, 32 * last side^2): the chunks of the table in Ruiz and Lipson.

    Each chunk: two convolutions, batch normalisation, ReLU, 2 x 2 max pooling, which rounds odd sides up.
    """
    layers: list[nn.Module] = []
    for width, kernel in CHUNKS:
        padding = 0 if side >= PUBLISHED else kernel // 2
        layers += [
            nn.Conv2d(channels, width, kernel, padding=padding),
            nn.Conv2d(width, width, kernel, padding=padding, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        ]
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


def feature_inverse(channels: int, side: int) -> nn.Sequential:
    """Features -> logits (n, channels, side, side): the mirror image, upsampling for pooling, deconvolutions."""
    last = chunk_sides(side)[-1][1]
    layers: list[nn.Module] = [nn.Unflatten(1, (CHUNKS[-1][0], last, last))]
    outputs = (channels, *(width for width, _ in CHUNKS[:-1]))
    for (width, kernel), (before, _), following in reversed(list(zip(CHUNKS, chunk_sides(side), outputs, strict=True))):
        padding = 0 if side >= PUBLISHED else kernel // 2
        layers += [
            nn.Upsample(size=(before, before)),
            nn.ConvTranspose2d(width, width, kernel, padding=padding),
            nn.ConvTranspose2d(width, following, kernel, padding=padding, bias=following == channels),
        ]
        if following != channels:
            layers += [nn.BatchNorm2d(following), nn.ReLU()]
    return nn.Sequential(*layers)
