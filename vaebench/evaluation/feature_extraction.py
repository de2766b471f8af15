"""Run images through a network in batches, copying the next batch meanwhile; log progress of long extractions."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.core.perceptual import Perceptual

SAID_EVERY = 10.0  # seconds between two signs of life, at least
SAID_SHARE = 0.1  # of the images between two, at least


def pooled_features(
    network: Perceptual, parts: Sequence[Tensor], layers: list[str], device: torch.device
) -> list[Tensor]:
    """Compute features (n, d) float32 on the device of parts (k, c, h, w) in [0, 1], at each layer; means over
    positions.

    In full float32. Raises :class:`UserError` where the network sees grey images only and these are not.
    """
    with _full_precision():
        found = [_pooled(network, part, layers) for part in _moved(parts, device)]
    return [torch.cat([part[position] for part in found]) for position in range(len(layers))]


def _moved(parts: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield the parts on the device; from CPU to GPU each is copied while the previous one is computed on."""
    if device.type != "cuda" or parts[0].device.type != "cpu":
        yield from (part.to(device) for part in parts)
        return
    copying = torch.cuda.Stream(device)

    def begin(part: Tensor) -> Tensor:
        with torch.cuda.stream(copying):
            return part.pin_memory().to(device, non_blocking=True)

    coming = begin(parts[0])
    for following in [*parts[1:], None]:
        here, working = coming, torch.cuda.current_stream(device)
        working.wait_stream(copying)  # for this part: the copy of the next begins below
        here.record_stream(working)  # its memory is not to be used again before the work on it is done
        if following is not None:
            coming = begin(following)
        yield here


def _pooled(network: Perceptual, images: Tensor, layers: list[str]) -> list[Tensor]:
    channels = images.shape[1]
    if channels != network.channels:
        if channels != 1:
            raise UserError(f"{network.name} sees grey images only, these have {channels} channels")
        images = images.expand(-1, network.channels, -1, -1)
    features = network.features(images.contiguous(memory_format=torch.channels_last), layers)
    return [(part if part.ndim == 2 else part.flatten(2).mean(2)).float() for part in features]


@contextmanager
def _full_precision() -> Iterator[None]:
    """Switch TF32 off: it changes FID in the third digit."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution


class Pace:
    """Progress of long work, logged as INFO: how much is done, how fast, and how long it will still take."""

    def __init__(self, log: logging.Logger, title: str, total: int, done: int = 0) -> None:
        self._log, self._title, self._total = log, title, total
        self._begun = self._said = done
        self._began = self._spoke = time.monotonic()

    def at(self, done: int) -> None:
        """Log that so many are done, about every tenth of all, but not more often than :data:`SAID_EVERY`."""
        now = time.monotonic()
        early = done - self._said < SAID_SHARE * self._total or now - self._spoke < SAID_EVERY
        if early or done >= self._total or now <= self._began:
            return
        self._said, self._spoke = done, now
        rate = (done - self._begun) / (now - self._began)
        left = (self._total - done) / rate
        remaining = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        text = "%s: %s of %s, %.1f images/s, %s left"
        self._log.info(text, self._title, f"{done:,}", f"{self._total:,}", rate, remaining)
