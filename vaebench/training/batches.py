"""Training batches: the dataset lies on the device as uint8, and each batch is gathered there by index."""

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.distributed import ALONE, Group
from vaebench.core.model import Batch, Step
from vaebench.training.compute import Compute
from vaebench.training.streaming import StreamedImages

SHARE = 0.5  # of a GPU's free memory that images may fill; more of them come in a stream


class TrainingBatches:
    """The batch and the noise of any step, each a function of (seed, step) alone.

    Every epoch is a permutation of the images; the rows after its last full batch are left out of it. A phase's
    repeats each go through permutations of their own. Of several processes each has every ``size``-th row of a batch,
    so that the halves of their batches together are the halves of the whole.

    Raises :class:`UserError` where there is less than a batch, or a batch cannot be shared out evenly.
    """

    def __init__(
        self, data: ImageDataset, *, seed: int, batch_size: int, compute: Compute, group: Group = ALONE
    ) -> None:
        if len(data) < batch_size:
            raise group.error(f"{data.name} has {len(data)} training images, less than batch_size={batch_size}")
        if batch_size % group.size:
            reason = f"a batch of {batch_size} cannot be shared out evenly to {group.size} processes"
            raise group.error(f"{reason}: start another number of them, or --set batch_size=N")
        self.device = torch.device(compute.device)
        self.per_epoch = len(data) // batch_size
        self.seed = seed
        self._batch_size, self._layout, self._group = batch_size, compute.memory_format, group
        self._stream = (
            StreamedImages(data.images, self.device) if compute.stream or too_large(data, self.device) else None
        )
        self._images = data.images if self._stream else data.images.to(self.device)
        self._labels = None if data.labels is None else data.labels.to(self._images.device)
        self._orders: dict[int, tuple[int, Tensor]] = {}  # repeat -> epoch and its permutation
        self._ready: dict[int, tuple[int, Batch]] = {}  # repeat -> index and its batch, which phases share
        self._generator = _generator(self.device, group)

    def __len__(self) -> int:
        return len(self._images)

    def step(self, index: int, total: int) -> Step:
        """Return the ``index``-th of ``total`` steps, counted from 0, with a generator for its noise; the previous
        step's generator ends.
        """
        self._generator.manual_seed(seeding.derive(self.seed, "noise", index))
        return Step(index=index, total=total, generator=self._generator)

    def batch(self, index: int, repeat: int = 0) -> Batch:
        """Return this process's share of a step's batch, or of the batch of a phase's later repeat in the step."""
        if self._ready.get(repeat, (-1,))[0] != index:
            rows = self._rows(index, repeat)
            labels = None if self._labels is None else self._labels[rows].to(self.device)
            self._ready[repeat] = index, Batch(images=self._prepared(self._taken(index, repeat, rows)), labels=labels)
        return self._ready[repeat][1]

    def pixels(self, rows: Tensor) -> Tensor:
        """Return the images of these rows (int64, on the CPU) as float32 (n, c, h, w) in [0, 1] on the device."""
        return self._prepared(self._images[rows.to(self._images.device)].to(self.device))

    def _prepared(self, images: Tensor) -> Tensor:
        return to_float(images).contiguous(memory_format=self._layout)

    def _taken(self, index: int, repeat: int, rows: Tensor) -> Tensor:
        if self._stream is None:
            return self._images[rows]
        images = self._stream.take((index, repeat), rows)
        coming = (index, repeat + 1) if repeat + 1 in self._ready else (index + 1, 0)
        self._stream.expect(coming, self._rows(*coming))
        return images

    def _rows(self, index: int, repeat: int) -> Tensor:
        epoch, position = divmod(index, self.per_epoch)
        whole = self._order(epoch, repeat)[position * self._batch_size :][: self._batch_size]
        return whole[self._group.rank :: self._group.size]

    def _order(self, epoch: int, repeat: int) -> Tensor:
        if self._orders.get(repeat, (-1,))[0] != epoch:
            stream = f"order/repeat-{repeat}" if repeat else "order"
            shuffled = torch.randperm(len(self._images), generator=seeding.generator(self.seed, stream, epoch))
            self._orders[repeat] = epoch, shuffled.to(self._images.device)
        return self._orders[repeat][1]


def too_large(data: ImageDataset, device: torch.device) -> bool:
    """Tell whether the images would fill too much of a GPU's free memory; never on the CPU."""
    return device.type == "cuda" and data.images.nbytes > SHARE * torch.cuda.mem_get_info(device)[0]


def _generator(device: torch.device, group: Group) -> torch.Generator:
    if group.size == 1:
        return torch.Generator(device=device)
    return seeding.SharedGenerator(device, group.rank, group.size)
