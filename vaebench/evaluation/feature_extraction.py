"""Run images through a network in batches, copying the next batch meanwhile; log progress of long extractions.

On a GPU the batch, the memory layout and whether cuDNN times its algorithms are what a short trial found fastest, kept
a machine; whole batches are replayed as CUDA graphs.
"""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vaebench.core import trials
from vaebench.core.device import tf32
from vaebench.core.errors import UserError, first_line
from vaebench.core.machine import machine
from vaebench.core.perceptual import Perceptual
from vaebench.core.trials import Measured

SAID_EVERY = 10.0  # seconds between two signs of life, at least
SAID_SHARE = 0.1  # of the images between two, at least
REPETITIONS = 3  # of a batch that a trial times
WARM_UP = 2  # batches before a capture, in which libraries choose their algorithms

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """How a network is run: images at a time, their layout, cuDNN's choice by timing, replayed as a CUDA graph."""

    batch: int
    channels_last: bool = True
    timed: bool = False
    graph: bool = False

    def __str__(self) -> str:
        """The way's name among the rates that are kept: ``128``, ``256/contiguous/timed/graph``."""
        parts = {"contiguous": not self.channels_last, "timed": self.timed, "graph": self.graph}
        return "/".join([str(self.batch), *(name for name, there in parts.items() if there)])

    @classmethod
    def parse(cls, name: str) -> "Way":
        """Read a name as ``str`` writes it."""
        batch, *rest = name.split("/")
        return cls(int(batch), "contiguous" not in rest, "timed" in rest, "graph" in rest)


# images at a time: what Inception makes of them on the way stays in the processor's caches (measured)
ON_CPU = Way(16)
ON_GPU = tuple(
    Way(batch, channels_last, timed=timed, graph=True)
    for batch in (64, 256)
    for channels_last in (True, False)
    for timed in (False, True)
)
Ready = dict[tuple[object, ...], "Replayed"]  # graphs by what they were captured of


class Extractor:
    """Runs images through networks on one device, each in the way that is fastest there."""

    def __init__(self, device: torch.device, *, allow_tf32: bool = False) -> None:
        self.device, self.allow_tf32 = device, allow_tf32
        self._ways: dict[tuple[object, ...], Way] = {}
        self._graphs: Ready = {}
        self._contiguous: dict[int, tuple[Perceptual, Perceptual]] = {}  # by id: a network, and its copy

    def way(self, network: Perceptual, layers: Sequence[str], shape: tuple[int, int, int]) -> Way:
        """Return the way for images of a shape (c, h, w); on a GPU it is tried unless its rate is kept."""
        if self.device.type != "cuda":
            return ON_CPU
        key = network.name, tuple(layers), shape
        if key not in self._ways:
            named = f"{machine(str(self.device))}, {network.name} to {layers[-1]} of {shape[1]} x {shape[2]}"
            named += " in TF32" if self.allow_tf32 else ""
            rates = trials.kept(named, partial(self._tried, network, list(layers), shape))
            self._ways[key] = Way.parse(max(rates, key=rates.__getitem__)) if rates else ON_GPU[0]
        return self._ways[key]

    def features(self, network: Perceptual, images: Tensor, layers: list[str]) -> list[Tensor]:
        """Compute features (n, d) float32 on the device of images (n, c, h, w) in [0, 1], at each layer; means over
        positions.

        Raises :class:`UserError` where the network sees grey images only and these are not.
        """
        _, channels, height, width = images.shape
        way = self.way(network, layers, (channels, height, width))
        return self._in_way(way, network, images, layers)

    def _in_way(self, way: Way, network: Perceptual, images: Tensor, layers: list[str]) -> list[Tensor]:
        network = network if way.channels_last else self._with_contiguous_weights(network)
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = way.timed
        try:
            with tf32(self.allow_tf32):
                found = [
                    self._batch(way, network, part, layers) for part in _moved(images.split(way.batch), self.device)
                ]
        finally:
            torch.backends.cudnn.benchmark = before
        return [torch.cat([part[position] for part in found]) for position in range(len(layers))]

    def _batch(self, way: Way, network: Perceptual, images: Tensor, layers: list[str]) -> list[Tensor]:
        run = partial(_pooled, network, layers=layers, channels_last=way.channels_last)
        if not (way.graph and len(images) == way.batch):
            return run(images)
        key = way, id(network), tuple(layers), tuple(images.shape[1:])
        if key not in self._graphs:
            self._graphs[key] = Replayed(run, f"{network.name} to {layers[-1]}")
        return self._graphs[key](images)

    def _with_contiguous_weights(self, network: Perceptual) -> Perceptual:
        """Copy a network, once: cuDNN runs a convolution in channels_last where images or weights are."""
        if id(network) not in self._contiguous:
            stages = {
                name: copy.deepcopy(stage).to(memory_format=torch.contiguous_format)
                for name, stage in network.stages.items()
            }
            self._contiguous[id(network)] = network, replace(network, stages=stages)
        return self._contiguous[id(network)][1]

    def _tried(self, network: Perceptual, layers: list[str], shape: tuple[int, int, int]) -> Measured:
        """Time every way of a GPU on made-up images: images a second."""
        images = torch.rand(max(way.batch for way in ON_GPU), *shape, device=self.device)
        rates, apart = dict[str, float](), 0.0
        for way in ON_GPU:
            seconds = []
            try:
                for _ in range(WARM_UP + 1 + REPETITIONS):
                    torch.cuda.synchronize(self.device)
                    start = time.perf_counter()
                    self._in_way(way, network, images, layers)
                    torch.cuda.synchronize(self.device)
                    seconds.append(time.perf_counter() - start)
            except torch.cuda.OutOfMemoryError:
                continue
            timed = seconds[WARM_UP + 1 :]
            rates[str(way)] = round(len(images) / min(timed), 1)
            apart = max(apart, trials.spread(timed))
            self._graphs.clear()  # each holds the memory of all its layers
        torch.cuda.empty_cache()
        return Measured(rates, trials.disturbance(apart))


class Replayed:
    """A network's work on batches of one shape, captured as a CUDA graph and replayed.

    Work that cannot be captured is done plainly, and a message says so once.
    """

    def __init__(self, work: Callable[[Tensor], list[Tensor]], name: str) -> None:
        self._work, self._name = work, name
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls, self._refused = 0, False

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Images on the GPU, of the same shape at each call -> features on it."""
        self._calls += 1
        if self._calls > WARM_UP and self._graph is None and not self._refused:
            self._try_to_capture(images)
        if self._graph is None:
            return self._work(images)
        self._images.copy_(images)
        self._graph.replay()
        return [part.clone() for part in self._features]  # the next replay writes over them

    def _try_to_capture(self, images: Tensor) -> None:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        self._images = images.clone()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._features = self._work(self._images)
        except RuntimeError as error:
            self._refused = True
            torch.cuda.set_stream(stream)  # torch stays on the capture's where ending a broken one fails
            log.info("%s cannot be captured as a CUDA graph (%s): it runs plainly", self._name, first_line(error))
        else:
            self._graph = graph


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


def _pooled(network: Perceptual, images: Tensor, layers: list[str], *, channels_last: bool) -> list[Tensor]:
    channels = images.shape[1]
    if channels != network.channels:
        if channels != 1:
            raise UserError(f"{network.name} sees grey images only, these have {channels} channels")
        images = images.expand(-1, network.channels, -1, -1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    features = network.features(images.contiguous(memory_format=layout), layers)
    return [(part if part.ndim == 2 else part.flatten(2).mean(2)).float() for part in features]


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
