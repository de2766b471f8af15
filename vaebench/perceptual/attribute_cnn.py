"""Train judges: classifiers of a dataset's own attributes, apart from every model that is measured.

What a study changes in an image (an attribute added, a face turned) is read by a network that no measured model has
seen. Datasets that name a classifier are judged by it; of others with attributes one is trained, once, on the training
split, and kept in ``VAEBENCH_CACHE/judges`` by content.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float

SEED, BATCH, RATE = 0, 64, 1e-3


BEGUN_ON = 300  # training images that the initial filters are shifted and scaled on


LOGITS = "logits"  # the last stage of every judge


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    """3 x 3 behind reflection padding, so that a picture's edge is no feature; then ReLU."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"), nn.ReLU()


def attribute_network(channels: int, side: int, outputs: int) -> "OrderedDict[str, nn.Module]":
    """Square images of ``side`` 16 or more in [0, 1] -> ``outputs`` logits, in named stages.

    ``conv1`` to ``conv4`` (each half as wide as the one before) and ``dense`` are taken after ReLU. 310,144 parameters
    for 40 attributes of colour images of 64 x 64.
    """
    return OrderedDict(
        conv1=nn.Sequential(*_convolution(channels, 32)),
        conv2=nn.Sequential(nn.MaxPool2d(2), *_convolution(32, 48)),
        conv3=nn.Sequential(nn.MaxPool2d(2), *_convolution(48, 72)),
        conv4=nn.Sequential(nn.MaxPool2d(2), *_convolution(72, 96)),
        dense=nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96 * (side // 16) ** 2, 128), nn.ReLU()),
        logits=nn.Linear(128, outputs),
    )


@torch.no_grad()
def begin(network: nn.Sequential, images: Tensor) -> None:
    """Shift and scale each filter but the logits' to mean 0 and deviation 1 over ``images`` (uint8), before ReLU.

    Data-dependent initialisation (Krähenbühl et al. 2016): every filter answers at about half of the places, where
    a fifth of those with torch's initial weights never answered, nor learned to.
    """
    hidden = to_float(images)
    for stage in list(network.children())[:-1]:
        for layer in stage.children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                assert layer.bias is not None
                answers = layer(hidden).transpose(0, 1).flatten(1)
                deviation = answers.std(1).clamp(min=1e-6)
                layer.weight.div_(deviation.view(-1, *[1] * (layer.weight.ndim - 1)))
                layer.bias.sub_(answers.mean(1)).div_(deviation)
            hidden = layer(hidden)


def fit(network: nn.Module, data: ImageDataset, epochs: int, say: Callable[[str], None]) -> None:
    """Train on all of ``data``: mean binary cross-entropy, no selection of any kind, images mirrored at random.

    AdamW, weight decay 0.01; the rate rises over the first tenth and falls on a cosine to 0. bfloat16 on the CPU.
    """
    assert data.attributes is not None
    steps = max(1, len(data) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps * epochs, pct_start=0.1, cycle_momentum=False
    )
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=seeding.generator(SEED, "order", epoch))
        mirror = torch.rand(len(data), generator=seeding.generator(SEED, "mirror", epoch)) < 0.5
        total = 0.0
        for rows in order.split(BATCH)[:steps]:
            images = to_float(data.images[rows])
            images = torch.where(mirror[rows, None, None, None], images.flip(3), images)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(images.contiguous(memory_format=torch.channels_last))
            loss = functional.binary_cross_entropy_with_logits(logits.float(), data.attributes[rows].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        say(f"epoch {epoch + 1}/{epochs}: mean loss {total / steps:.4f}")
