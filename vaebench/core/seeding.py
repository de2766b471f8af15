"""Randomness: every stream is a generator derived from (seed, name, position); the global RNG is left alone.

Because a stream is a pure function of its name and of the position in training, a checkpoint needs to
store the position only, and resuming in the middle of an epoch draws exactly what would have been drawn.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def derive(seed: int, stream: str, position: int = 0) -> int:
    """Derive a 63-bit seed for the ``position``-th use of ``stream``; independent for any change of an argument."""
    digest = hashlib.sha256(f"vaebench/{seed}/{stream}/{position}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, stream: str, position: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator on ``device`` at the start of that stream."""
    return torch.Generator(device=device).manual_seed(derive(seed, stream, position))


class SharedGenerator(torch.Generator):
    """Final: a generator of which each process holds an equal copy, to draw one batch's noise together.

    :func:`normal` and :func:`uniform` draw for the batches of all processes, and give this one its rows: every
    ``size``-th from the ``rank``-th on, as its images are
    (:class:`vaebench.training.batches.TrainingBatches`). So noise does not depend on how many processes share a batch.
    """

    rank: int
    size: int

    def __new__(cls, device: torch.device | str, rank: int, size: int) -> "SharedGenerator":
        made = super().__new__(cls, device=device)  # type: ignore[call-arg]  # torch's stubs know of __init__ only
        made.rank, made.size = rank, size
        return made


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draws from N(0, 1), float32, on the generator's device; rows are images of this process's batch."""
    return _share(torch.randn(_together(shape, generator), generator=generator, device=generator.device), generator)


def uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draws from [0, 1), otherwise as :func:`normal`."""
    return _share(torch.rand(_together(shape, generator), generator=generator, device=generator.device), generator)


def _together(shape: Sequence[int], generator: torch.Generator) -> tuple[int, ...]:
    first, *rest = shape
    return (first * generator.size if isinstance(generator, SharedGenerator) else first, *rest)


def _share(drawn: Tensor, generator: torch.Generator) -> Tensor:
    return drawn[generator.rank :: generator.size] if isinstance(generator, SharedGenerator) else drawn


@contextmanager
def isolated(seed: int, stream: str) -> Iterator[None]:
    """Context manager in which torch's global RNG is that stream; afterwards it is as before.

    For code that can only draw from the global RNG: a torch layer's default initialisation.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derive(seed, stream))
        yield
