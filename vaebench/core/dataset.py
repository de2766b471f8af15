"""Images as they are held: uint8 tensors with ids, labels or attributes, and a fingerprint."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.core.mapped import give_back_mapped_pages

if TYPE_CHECKING:
    from hashlib import _Hash

HASHED = 2**25  # bytes of pixels at a time


@dataclass(frozen=True)
class ImageDataset:
    """One split of a dataset, whole; its pixels lie in memory or in a memory map.

    Attributes:
        name: the dataset's registered name, e.g. ``mnist``.
        split: ``train``, ``valid`` or ``test``.
        images: uint8, (n, c, h, w), c = 1 or 3.
        ids: n unique strings that name each image for ever, e.g. ``test/00042``.
        labels: int64, (n,), or ``None``.
        attributes: bool, (n, len(attribute_names)), or ``None``.
        people: int64, (n,), a number for who is on each image, or ``None``: images of one person are no independent
            evidence, so intervals over images take persons together.
        showcase: indices of images worth showing in a figure; empty means the first of each label.
        redistributable: whether its images may be shown in a report, which is made to be published.
        classifier: ``NETWORK/LAYER`` of a registered classifier that knows these images, or empty.
        note: what a reader of any number must know of these images, e.g. ``synthetic``, or that they are a subset.
    """

    name: str
    split: str
    images: Tensor
    ids: Sequence[str]
    labels: Tensor | None = None
    attributes: Tensor | None = None
    attribute_names: Sequence[str] = field(default=())
    people: Tensor | None = None
    showcase: Sequence[int] = field(default=())
    classifier: str = ""
    note: str = ""
    redistributable: bool = True

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            found = f"{self.images.dtype} {tuple(self.images.shape)}"
            raise UserError(f"dataset {self.name}: images must be uint8 (n, 1 or 3, h, w), not {found}")
        if len(self.ids) != len(self.images) or len(set(self.ids)) != len(self.ids):
            raise UserError(f"dataset {self.name}: every image needs an id of its own")
        for part in (self.labels, self.attributes, self.people):
            if part is not None and len(part) != len(self.images):
                raise UserError(f"dataset {self.name}: {len(self.images)} images but {len(part)} labels")
        if self.attributes is not None and self.attributes.shape[1:] != (len(self.attribute_names),):
            raise UserError(f"dataset {self.name}: every attribute column needs a name")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over split, shape, pixels, ids, labels and attributes: equal exactly when the content is."""
        digest = hashlib.sha256(f"{self.split}{tuple(self.images.shape)}".encode())
        hash_pixels(self.images, digest)
        digest.update("\n".join(self.ids).encode())
        for part in (self.labels, self.attributes):
            digest.update(b"none" if part is None else part.contiguous().numpy().tobytes())
        digest.update(",".join(self.attribute_names).encode())
        return digest.hexdigest()

    def showcase_indices(self, at_most: int = 10) -> list[int]:
        """The images that figures show: the declared ones, else the first of each label, else the first."""
        if self.showcase:
            return list(self.showcase)[:at_most]
        if self.labels is None:
            return list(range(min(at_most, len(self))))
        classes = self.labels.unique().tolist()[:at_most]
        return [int((self.labels == label).nonzero()[0]) for label in classes]


def hash_pixels(images: Tensor, digest: "_Hash") -> None:
    """Feed images to a hash a block at a time, in row-major order: faces fill gigabytes, mapped or not.

    Args:
        images: (n, c, h, w) of any strides.
        digest: takes their bytes.
    """
    each = max(1, images[:1].numel() * images.element_size())
    for block in images.split(max(1, HASHED // each)):
        digest.update(block.contiguous().numpy())
        give_back_mapped_pages()


def to_float(images: Tensor) -> Tensor:
    """uint8 images to float32 in [0, 1], on the device and in the layout they have."""
    return images.to(torch.float32).div_(255)


SMALLEST = 16  # pixels a side of prepared images


def checked_size(size: int, most: int) -> int:
    """Return a dataset's option ``size``, height and width of its prepared images in pixels.

    Raises:
        UserError: it is not 16 to ``most``.
    """
    if not SMALLEST <= size <= most:
        raise UserError(f"dataset.size={size} is out of range: give {SMALLEST} to {most}")
    return size


class DatasetSource(ABC):
    """What a dataset plugin provides: how to load each split, and how to get the data.

    The constructor's keyword parameters are the dataset's options (``--set dataset.KEY=VALUE``).

    Attributes:
        name: registered.
        splits: that can be loaded.
        published: whether its name says which images these are; of a user's own images only their content does.
    """

    name: str
    splits: tuple[str, ...]
    published: bool = True

    @abstractmethod
    def load(self, split: str) -> ImageDataset:
        """Read one of ``splits``; :class:`UserError` where data is missing or damaged."""

    @abstractmethod
    def fetch(self, source: Path | None) -> str:
        """Import from a local file or folder, or download where ``source`` is ``None``; says what it did."""
