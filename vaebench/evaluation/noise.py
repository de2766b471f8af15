"""Draw noise by position: the same numbers as a draw of all at once, in the memory of one block."""

import torch
from torch import Tensor

from vaebench.core import seeding

BLOCK = 512  # rows: whole groups of 16 numbers, which torch's generator draws together


class ByPosition:
    """Final: rows of standard normal noise, asked for in increasing order; row i depends on the seed, the stream and i
    alone.

    Drawn block by block from one generator, which gives the numbers that ``torch.randn(count, *shape)`` gives: a last
    block of fewer than 16 numbers would be drawn otherwise, so it is part of the one before.
    """

    def __init__(self, seed: int, stream: str, count: int, shape: tuple[int, ...]) -> None:
        self._generator, self._shape = seeding.generator(seed, stream), shape
        starts = list(range(0, count, BLOCK))
        if len(starts) > 1 and (count - starts[-1]) * torch.Size(shape).numel() < 16:
            starts.pop()
        self._sizes = [end - start for start, end in zip(starts, [*starts[1:], count], strict=True)]
        self._first, self._block = 0, torch.empty(0, *shape)

    def rows(self, numbers: Tensor) -> Tensor:
        """Return the noise of rows (n,), consecutive, behind those asked for before: float32 on the CPU."""
        start, stop = int(numbers[0]), int(numbers[-1]) + 1
        parts = []
        while start < stop:
            while self._first + len(self._block) <= start:
                self._first += len(self._block)
                self._block = torch.randn(self._sizes.pop(0), *self._shape, generator=self._generator)
            part = self._block[start - self._first : stop - self._first]
            parts.append(part)
            start += len(part)
        return torch.cat(parts)
