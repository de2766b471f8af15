"""Randomness: every stream is a generator derived from (seed, name, position); the global RNG is left alone.

Because a stream is a pure function of its name and of the position in training, a checkpoint needs to
store the position only, and resuming in the middle of an epoch draws exactly what would have been drawn.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, stream: str, position: int = 0) -> int:
    """A 63-bit seed for the ``position``-th use of ``stream``; independent for any change of an argument."""
    digest = hashlib.sha256(f"vaebench/{seed}/{stream}/{position}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, stream: str, position: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on ``device`` at the start of that stream."""
    return torch.Generator(device=device).manual_seed(derive(seed, stream, position))


@contextmanager
def isolated(seed: int, stream: str) -> Iterator[None]:
    """Inside, torch's global RNG is that stream; outside it is as it was.

    For code that can only draw from the global RNG: a torch layer's default initialisation.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derive(seed, stream))
        yield
