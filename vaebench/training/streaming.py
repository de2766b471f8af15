"""Images that do not fit on the device: read ahead by a thread from main memory or a memory map."""

from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor


class StreamedImages:
    """Final: rows of a tensor on disk or in main memory, copied to a device.

    While one batch is computed on, the next is gathered into one of two pinned buffers and copied on a stream of its
    own. On the CPU there is nothing to copy: rows are gathered, which is when the memory map is read.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self._images, self._device = images, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="images")
        self._coming: dict[Hashable, Future[Tensor]] = {}
        self._carry = _Pinned(images, device) if device.type == "cuda" else None

    def expect(self, key: Hashable, rows: Tensor) -> None:
        """Begin to fetch rows (n,), int64 on the CPU, to be taken under ``key``; earlier expectations are dropped."""
        self._coming = {key: self._thread.submit(self._fetch, rows)}

    def take(self, key: Hashable, rows: Tensor) -> Tensor:
        """Return the rows (n, c, h, w), uint8 on the device: those expected under ``key``, or fetched now."""
        coming = self._coming.pop(key, None) or self._thread.submit(self._fetch, rows)
        images = coming.result()
        if self._carry is not None:
            self._carry.arrive(images)
        return images

    def _fetch(self, rows: Tensor) -> Tensor:
        return self._images[rows] if self._carry is None else self._carry.fetch(rows)


class _Pinned:
    """Two pinned buffers, filled in turn; each is refilled once the copy out of it is done."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self._images, self._device = images, device
        self._buffers: list[Tensor] = []
        self._copied = [torch.cuda.Event(), torch.cuda.Event()]
        self._stream = torch.cuda.Stream(device)
        self._turn = 0

    def fetch(self, rows: Tensor) -> Tensor:
        if not self._buffers or len(self._buffers[0]) < len(rows):
            shape = (len(rows), *self._images.shape[1:])
            self._buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        self._turn = 1 - self._turn
        buffer, copied = self._buffers[self._turn][: len(rows)], self._copied[self._turn]
        copied.synchronize()
        torch.index_select(self._images, 0, rows, out=buffer)
        with torch.cuda.stream(self._stream):
            images = buffer.to(self._device, non_blocking=True)
            copied.record(self._stream)
        return images

    def arrive(self, images: Tensor) -> None:
        """Let the computation wait for the copy, and the memory for the computation."""
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        images.record_stream(current)
