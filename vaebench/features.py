"""Features of images in the spaces that metrics name, and those of real images kept on disk by content.

A set of real images goes through a network once: what is kept is found again by the hash of its pixels (crop
included), of the network's weights, and of how the images were prepared.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaebench import __version__
from vaebench.builtins import PERCEPTUAL
from vaebench.core.context import PIXELS, FeatureSpace, Reference
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.perceptual import Perceptual
from vaebench.core.places import cache_dir, exclusive, make_dir, write_atomic

BATCH = 16  # images at a time: what Inception makes of them on the way stays in the processor's caches (measured)
PREPARATION = "8-bit/1"  # part of the key: change it with anything that changes features
STATED = 5_000  # images; extraction of fewer is not worth a message

log = logging.getLogger(__name__)


class Networks:
    """The networks behind feature spaces, each opened once, on one device."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = device
        self._opened: dict[str, Perceptual | UserError] = {}
        self._makers: dict[str, Callable[[], Perceptual]] = {}

    def provide(self, name: str, make: Callable[[], Perceptual]) -> None:
        """A network that no registry knows, since it belongs to some data; made when it is first asked for."""
        self._makers[name] = make

    def network(self, space: FeatureSpace) -> Perceptual:
        """The network, its layer checked; :class:`UserError` where its weights are missing or lack the layer."""
        if space.network not in self._opened:
            try:
                make = self._makers.get(space.network) or PERCEPTUAL.get(space.network)
                self._opened[space.network] = make()
            except UserError as error:
                self._opened[space.network] = error
        found = self._opened[space.network]
        if isinstance(found, UserError):
            raise found
        found.check([space.layer], found.channels)
        return found

    def sha256(self, space: FeatureSpace) -> str:
        """Of the network's weights; empty for pixels. :class:`UserError` as in :meth:`network`."""
        return "" if space.network == PIXELS else self.network(space).sha256

    @torch.inference_mode()
    def extract(self, images: Tensor, spaces: Iterable[FeatureSpace]) -> dict[FeatureSpace, Tensor]:
        """Features (n, d) float32 of images (n, c, h, w) in [0, 1], in each space.

        Grey images are shown to a colour network as equal channels; colour images cannot be shown to a grey one.
        Raises :class:`UserError` for that, for values that are not finite, and as :meth:`network` does.
        """
        if not torch.isfinite(images).all():
            raise UserError("images hold NaN or infinite values: they have no features")
        images = images.clamp(0, 1).mul(255).round_().div_(255)
        found: dict[FeatureSpace, Tensor] = {}
        by_network: dict[str, list[FeatureSpace]] = {}
        for space in spaces:
            if space.network == PIXELS:
                found[space] = images.flatten(1)
            else:
                by_network.setdefault(space.network, []).append(space)
        for wanted in by_network.values():
            network = self.network(wanted[0])
            layers = [space.layer for space in wanted]
            network.check(layers, network.channels)
            parts = [_pooled(network, part.to(self.device), layers) for part in images.split(BATCH)]
            for position, space in enumerate(wanted):
                found[space] = torch.cat([part[position] for part in parts])
        return found


def _pooled(network: Perceptual, images: Tensor, layers: list[str]) -> list[Tensor]:
    channels = images.shape[1]
    if channels != network.channels:
        if channels != 1:
            raise UserError(f"{network.name} sees grey images only, these have {channels} channels")
        images = images.expand(-1, network.channels, -1, -1)
    with _full_precision():
        features = network.features(images.contiguous(memory_format=torch.channels_last), layers)
    return [(part if part.ndim == 2 else part.flatten(2).mean(2)).float() for part in features]


@contextmanager
def _full_precision() -> Iterator[None]:
    """TF32 off: it moves FID in the third digit."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution


class KeptFeatures(Reference):
    """Final: features of a split and statistics of them, in ``VAEBENCH_CACHE/features``; damaged files are remade."""

    def __init__(self, data: ImageDataset, space: FeatureSpace, networks: Networks) -> None:
        self._data, self._space, self._networks = data, space, networks
        key = json.dumps([data.fingerprint, networks.sha256(space), space.network, space.layer, PREPARATION])
        self.folder = cache_dir() / "features" / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._features: Tensor | None = None
        self._statistics: dict[str, Mapping[str, Tensor]] = {}

    @property
    def features(self) -> Tensor:
        if self._features is None:
            path = self.folder / "features.npy"
            make_dir(self.folder)
            with exclusive(self.folder, wait=True):
                found = _read(path, len(self._data))
                if found is None:
                    write_atomic(path, self._extract)
                    found = _read(path, len(self._data))
            assert found is not None
            self._features = found
        return self._features

    def statistic(self, name: str, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if name not in self._statistics:
            path = self.folder / f"{name}.safetensors"
            try:
                self._statistics[name] = load_file(path)
            except (OSError, SafetensorError):
                fresh = {key: value.contiguous() for key, value in compute(self.features).items()}
                write_atomic(path, lambda temporary: save_file(fresh, temporary))
                self._statistics[name] = fresh
        return self._statistics[name]

    def _extract(self, path: Path) -> None:
        n = len(self._data)
        if n >= STATED and self._space.network != PIXELS:
            log.info("%s/%s: %s images through %s, once", self._data.name, self._data.split, f"{n:,}", self._space)
        out = None
        for rows in torch.arange(n).split(512):
            images = to_float(self._data.images[rows])
            part = self._networks.extract(images, [self._space])[self._space].cpu().numpy()
            if out is None:
                out = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=(n, part.shape[1]))
            out[rows.numpy()] = part
        if out is None:
            raise UserError(f"{self._data.name}:{self._data.split} has no images")
        out.flush()


def kept_latents(
    latents: Callable[[str, str], Tensor], weights_sha256: str, data: Callable[[str], ImageDataset]
) -> Callable[[str, str], Tensor]:
    """Posterior means of a split seen through a view, kept in ``VAEBENCH_CACHE/latents`` by weights and content.

    Encoding a training split takes longer than most of what is then read off it.
    """

    def kept(split: str, view: str) -> Tensor:
        images = data(split)
        key = hashlib.sha256(json.dumps([weights_sha256, images.fingerprint, view, __version__]).encode()).hexdigest()
        path = cache_dir() / "latents" / f"{key[:32]}.npy"
        found = _read(path, len(images))
        if found is None:
            found = latents(split, view)
            with contextlib.suppress(UserError):  # a full disk costs time, not the answer
                write_atomic(path, lambda temporary: _save(temporary, found))
        return found

    return kept


def _save(path: Path, rows: Tensor) -> None:
    with path.open("wb") as handle:
        np.save(handle, rows.numpy(), allow_pickle=False)


def _read(path: Path, n: int) -> Tensor | None:
    """The features in a file, mapped, or ``None`` where it is not there, damaged, or of another number of images."""
    try:
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants writable memory
    except (OSError, ValueError, EOFError):
        return None
    if mapped.dtype != np.float32 or mapped.ndim != 2 or len(mapped) != n:
        return None
    return torch.from_numpy(mapped)
