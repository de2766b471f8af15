"""How a dataset reaches the loop: it lies on the device as uint8, and a batch is gathered there by index."""

import torch
from torch import Tensor

from vaebench.compute import Compute
from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.model import Batch, Step


class Feed:
    """The dataset on the device, and the batches and randomness of any step: a function of (seed, step) alone.

    Every epoch is a permutation of the images; the rows after its last full batch are left out of it. A phase's
    repeats each go through permutations of their own.
    """

    def __init__(self, data: ImageDataset, *, seed: int, batch_size: int, compute: Compute) -> None:
        if len(data) < batch_size:
            raise UserError(f"{data.name} has {len(data)} training images, less than batch_size={batch_size}")
        self.device = torch.device(compute.device)
        self.per_epoch = len(data) // batch_size
        self.seed = seed
        self._batch_size, self._layout = batch_size, compute.memory_format
        self._images = data.images.to(self.device)
        self._labels = None if data.labels is None else data.labels.to(self.device)
        self._orders: dict[int, tuple[int, Tensor]] = {}  # repeat -> epoch and its permutation

    def __len__(self) -> int:
        return len(self._images)

    def step(self, index: int, total: int) -> Step:
        """The ``index``-th step of ``total``, counted from 0, with its noise."""
        return Step(index=index, total=total, generator=seeding.generator(self.seed, "noise", index, self.device))

    def batch(self, index: int, repeat: int = 0) -> Batch:
        """The batch of a step, or of a later repeat of a phase within it."""
        epoch, position = divmod(index, self.per_epoch)
        rows = self._order(epoch, repeat)[position * self._batch_size :][: self._batch_size]
        return Batch(images=self.pixels(rows), labels=None if self._labels is None else self._labels[rows])

    def pixels(self, rows: Tensor) -> Tensor:
        """The images of these rows: float32 (n, c, h, w) in [0, 1] on the device."""
        return to_float(self._images[rows]).contiguous(memory_format=self._layout)

    def _order(self, epoch: int, repeat: int) -> Tensor:
        if self._orders.get(repeat, (-1,))[0] != epoch:
            stream = f"order/repeat-{repeat}" if repeat else "order"
            shuffled = torch.randperm(len(self._images), generator=seeding.generator(self.seed, stream, epoch))
            self._orders[repeat] = epoch, shuffled.to(self.device)
        return self._orders[repeat][1]
