"""Features of images in the spaces that metrics name; those of real images are cached on disk by content.

A set of real images goes through a network once: what is kept is found again by the hash of its pixels (crop
included), of the network's weights, and of how the images were prepared.
"""

import contextlib
import logging
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vaebench import __version__
from vaebench.core import content_cache
from vaebench.core.context import PIXELS, FeatureSpace, Reference
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.files import exclusive, make_dir, write_sealed
from vaebench.core.mapped import give_back_mapped_pages
from vaebench.core.perceptual import Perceptual
from vaebench.evaluation.feature_extraction import ON_CPU, Extractor, Pace
from vaebench.evaluation.resumable_rows import ResumableRows, join_rows, map_rows, read_rows
from vaebench.perceptual import PERCEPTUAL
from vaebench.perceptual.weight_files import save_tensors

PREPARATION = "8-bit/1"  # part of the key: change it with anything that changes features
TF32 = "tf32"  # another part of the key
STATED = 5_000  # images; extraction of fewer is not worth a message
FLOATS = 2**26  # bytes of real images that are floats at a time
CHUNK = 512  # real images at a time: between two of them a stop loses nothing

log = logging.getLogger(__name__)


class Networks:
    """The networks behind feature spaces, each loaded once, on one device."""

    def __init__(self, device: torch.device | str = "cpu", *, allow_tf32: bool = False) -> None:
        self.device, self.allow_tf32 = torch.device(device), allow_tf32
        self._extractor = Extractor(self.device, allow_tf32=allow_tf32)
        self._opened: dict[str, Perceptual | UserError] = {}
        self._makers: dict[str, Callable[[], Perceptual]] = {}

    def provide(self, name: str, make: Callable[[], Perceptual]) -> None:
        """Register a network that belongs to some data and is in no registry; ``make`` builds it on first use."""
        self._makers[name] = make

    def network(self, space: FeatureSpace) -> Perceptual:
        """Return the network after checking its layer; :class:`UserError` if its weights are missing or lack the
        layer.
        """
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
        """Return the hash of the network's weights; empty for pixels. :class:`UserError` as in :meth:`network`."""
        return "" if space.network == PIXELS else self.network(space).sha256

    @torch.inference_mode()
    def extract(self, images: Tensor, spaces: Iterable[FeatureSpace]) -> dict[FeatureSpace, Tensor]:
        """Extract features (n, d) float32 of images (n, c, h, w) in [0, 1], in each space.

        Features are where the images are for ``pixels``, else on the networks' device; nothing waits for that device
        before all of them are under way. Grey images are shown to a colour network as equal channels; colour images
        cannot be shown to a grey one. Raises :class:`UserError` for that, for values that are not finite, and as
        :meth:`network` does.
        """
        finite = torch.isfinite(images).all()
        images = images.clamp(0, 1).mul_(255).round_().div_(255)
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
            network.check(layers, network.channels, images.shape[-1])
            found.update(zip(wanted, self._extractor.features(network, images, layers), strict=True))
        if not finite:  # read last: of a GPU's number this waits for all that was asked of it before
            raise UserError("images hold NaN or infinite values: they have no features")
        return found

    def batch(self, space: FeatureSpace, shape: tuple[int, int, int]) -> int:
        """Return how many images of a shape (c, h, w) go through a space's network at a time."""
        if space.network == PIXELS:
            return ON_CPU.batch
        return self._extractor.way(self.network(space), [space.layer], shape).batch


class CachedFeatures(Reference):
    """Final: features of a split and statistics of them, cached in ``VAEBENCH_CACHE/features``; damaged files are made
    anew.

    A stopped extraction is gone on with. Several processes may share it: each calls :meth:`extract_rows` for rows of
    its own, and when all are done, one calls :meth:`join_rows`.
    """

    def __init__(self, data: ImageDataset, space: FeatureSpace, networks: Networks) -> None:
        self._data, self._space, self._networks = data, space, networks
        parts = [data.fingerprint, networks.sha256(space), space.network, space.layer, PREPARATION]
        parts += [TF32] if networks.allow_tf32 else []
        self._key, self.folder = content_cache.content_key(parts), content_cache.entry("features", parts)
        self._path, self._parts = self.folder / "features.npy", self.folder / "rows"
        self._features: Tensor | None = None
        self._statistics: dict[str, Mapping[str, Tensor]] = {}

    @property
    def features(self) -> Tensor:
        if self._features is None:
            make_dir(self.folder)
            with exclusive(self.folder, wait=True):
                found = read_rows(self._path, len(self._data))
                if found is None:
                    self._extract(self._path, 0, len(self._data))
                    found = read_rows(self._path, len(self._data))
            assert found is not None
            self._features = found
        return self._features

    def extract_rows(self, start: int, stop: int) -> None:
        """Extract rows ``start`` to ``stop`` (exclusive) for :meth:`join_rows`, unless they are there.

        Other processes may do other rows at the same time; where a network's batches begin does not depend on the
        range, so neither do features. ``ValueError`` for a range that is not within the split.
        """
        if not 0 <= start <= stop <= len(self._data):
            raise ValueError(f"rows {start} to {stop} of {len(self._data)}")
        if start == stop or read_rows(self._path, len(self._data)) is not None:
            return
        folder = make_dir(self._parts / f"{start}-{stop}")
        with exclusive(folder, wait=True):
            if read_rows(folder / self._path.name, stop - start) is None:
                self._extract(folder / self._path.name, start, stop)

    def join_rows(self) -> None:
        """Join the files of :meth:`extract_rows` into one and delete them; nothing is done if it exists.

        Raises :class:`UserError` where rows are missing. No other process may be extracting.
        """
        make_dir(self.folder)
        with exclusive(self.folder, wait=True):
            if read_rows(self._path, len(self._data)) is None:
                parts = self._chain()
                write_sealed(self._path, lambda path: join_rows(parts, path))
            shutil.rmtree(self._parts, ignore_errors=True)

    def _chain(self) -> list[Tensor]:
        """Order the parts from the first row to the last; parts of an earlier division are ignored."""
        named = [path.name.split("-") for path in self._parts.glob("*-*")]
        reached: dict[int, list[Tensor]] = {0: []}
        for start, stop in sorted((int(name[0]), int(name[1])) for name in named):
            part = read_rows(self._parts / f"{start}-{stop}" / self._path.name, stop - start)
            if start in reached and part is not None:
                reached.setdefault(stop, [*reached[start], part])
        if len(self._data) not in reached:
            missing = f"from {max(reached):,} on, of {len(self._data):,} of {self._data.name}:{self._data.split}"
            raise UserError(f"rows {missing} have no features in {self._space} yet: extract them before joining")
        return reached[len(self._data)]

    def statistic(self, name: str, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if name not in self._statistics:
            path = self.folder / f"{name}.safetensors"
            self._statistics[name] = content_cache.read_or_make(path, _TensorsFile(), lambda: compute(self.features))
        return self._statistics[name]

    def _extract(self, path: Path, start: int, stop: int) -> None:
        """Extract rows ``start`` to ``stop`` into a file, resuming where an earlier process stopped."""
        if stop == start:
            raise UserError(f"{self._data.name}:{self._data.split} has no images")
        title = f"{self._data.name}/{self._data.split}"
        if stop - start < len(self._data):
            title += f", rows {start:,} to {stop:,}"
        stated = stop - start >= STATED and self._space.network != PIXELS
        with ResumableRows(path, f"{self._key} {start}-{stop}", stop - start) as file:
            if stated:
                before = f" ({file.done:,} of them done before)" if file.done else ""
                log.info("%s: %s images through %s, once%s", title, f"{stop - start:,}", self._space, before)
            pace = Pace(log, title, stop - start, file.done)
            while start + file.done < stop:
                file.add(self._rows(start + file.done, stop))
                if stated:
                    pace.at(file.done)

    def _rows(self, start: int, stop: int) -> Tensor:
        """Extract the rows from ``start`` to the end of their chunk, or to ``stop``, onto the CPU.

        Images go through in the batches that a pass over the whole split has: the last bits may depend on them.
        """
        batch, chunk = self._networks.batch(self._space, self._data.image_shape), start - start % CHUNK
        end = min(chunk + CHUNK, len(self._data))
        first = start - (start - chunk) % batch
        last = min(stop + -(stop - chunk) % batch, end)
        images = self._data.images[first:last]
        found = [
            self._networks.extract(to_float(part.contiguous()), [self._space])[self._space].cpu()
            for part in images.split(self._at_a_time(batch))
        ]
        give_back_mapped_pages()
        return torch.cat(found)[start - first : min(stop, end) - first]

    def _at_a_time(self, batch: int) -> int:
        """Choose how many images become floats at a time: whole batches, of so many bytes at most."""
        each = 4 * math.prod(self._data.image_shape)
        return batch * max(1, min(CHUNK, FLOATS // each) // batch)


def cached_latents(
    latents: Callable[[str, str], Tensor], weights_sha256: str, data: Callable[[str], ImageDataset]
) -> Callable[[str, str], Tensor]:
    """Wrap ``latents``: posterior means of a split seen through a view, cached in ``VAEBENCH_CACHE/latents`` by weights
    and content.

    Encoding a training split takes longer than most of what is then read off it.
    """

    def kept(split: str, view: str) -> Tensor:
        images = data(split)
        path = content_cache.entry("latents", [weights_sha256, images.fingerprint, view, __version__], ".npy")
        return content_cache.read_or_make(path, _RowsFile(len(images)), lambda: latents(split, view))

    return kept


class _TensorsFile:
    """Reads and writes tensors by name."""

    def read(self, path: Path) -> Mapping[str, Tensor] | None:
        with contextlib.suppress(OSError, SafetensorError):
            return load_file(path)
        return None

    def write(self, path: Path, value: Mapping[str, Tensor]) -> None:
        save_tensors({name: tensor.contiguous() for name, tensor in value.items()}, path)


@dataclass(frozen=True)
class _RowsFile:
    """Reads and writes ``n`` rows, float32 (n, d)."""

    n: int

    def read(self, path: Path) -> Tensor | None:
        return map_rows(path, self.n)

    def write(self, path: Path, value: Tensor) -> None:
        with path.open("wb") as handle:
            np.save(handle, value.numpy(), allow_pickle=False)
