"""What a metric may ask for beside its batches when it takes its score: real features, latents, the training."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.training_facts import TrainingFacts

PIXELS = "pixels"


@dataclass(frozen=True, slots=True, order=True)
class FeatureSpace:
    """A layer of a registered perceptual network as a space of images; ``pixels`` needs no network and no layer.

    Features are float32 (n, d) of images rounded to 8 bits, as a file of them would hold them; a layer that keeps
    positions is averaged over them.
    """

    network: str
    layer: str = ""

    @classmethod
    def parse(cls, text: str) -> "FeatureSpace":
        """``network/layer`` or ``pixels``; :class:`UserError` for anything else."""
        network, _, layer = text.partition("/")
        if not network or bool(layer) == (network == PIXELS):
            raise UserError(f"'{text}' is no feature space: write NETWORK/LAYER (vaebench list perceptual), or pixels")
        return cls(network, layer)

    def __str__(self) -> str:
        """As protocols name it: ``inception2048``, ``mnist_cnn-dense``, ``pixels``."""
        return self.network + ("" if self.layer.isdigit() or not self.layer else "-") + self.layer


class Reference(ABC):
    """Features of a split's real images in one space, and statistics of them: both computed once and kept."""

    @property
    @abstractmethod
    def features(self) -> Tensor:
        """float32 (n, d), in the split's order; memory-mapped, so not for writing."""

    @abstractmethod
    def statistic(self, name: str, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """``compute(features)``, or what it gave before: ``name`` must change whenever the function does."""


def _no_split(split: str) -> ImageDataset:
    raise UserError(f"the split '{split}' is not at hand")


def _no_reference(space: FeatureSpace, split: str) -> Reference:
    raise UserError(f"real images are not at hand in {space}")


def _no_latents(split: str, view: str) -> Tensor:
    raise UserError(f"latents of '{split}' are not at hand")


def _no_features(space: FeatureSpace, images: Tensor) -> Tensor:
    raise UserError(f"there is no network at hand for {space}")


def _no_way(*images: Tensor | float) -> Tensor:
    raise UserError("there is no model at hand")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What stands round an evaluation; every part is made when it is first asked for.

    Attributes:
        training: of the run; ``None`` for images that were not made by a run.
        split: the split that is measured.
        splits: all splits of its dataset.
        data: images and labels of a split by name.
        reference: a split's real images in a feature space.
        latents: posterior means (n, d), float32 on the CPU, of a split's images seen through one of
            ``vaebench.evaluation.views``.
        features: of any images (n, c, h, w) in [0, 1], in a space: float32 (n, d) on the CPU.
        encode: images (n, c, h, w) in [0, 1] -> posterior means (n, d), of the model that is measured.
        decode: latents (n, d) -> images (n, c, h, w).
        blend: two batches of images and the weight of the second -> one batch.
        adversary: images -> (n,) how far the run's own discriminator or critic takes each for real; ``None`` without.

        codebook_size: number of entries, of a model that gives codes.

    All from ``data`` to ``blend`` raise :class:`UserError` where what is asked for cannot be had.
    """

    training: TrainingFacts | None = None
    split: str = "test"
    splits: tuple[str, ...] = ()
    data: Callable[[str], ImageDataset] = _no_split
    reference: Callable[[FeatureSpace, str], Reference] = _no_reference
    latents: Callable[[str, str], Tensor] = _no_latents
    features: Callable[[FeatureSpace, Tensor], Tensor] = _no_features
    encode: Callable[[Tensor], Tensor] = _no_way
    decode: Callable[[Tensor], Tensor] = _no_way
    blend: Callable[[Tensor, Tensor, float], Tensor] = _no_way
    adversary: Callable[[Tensor], Tensor] | None = None
    codebook_size: int | None = None
