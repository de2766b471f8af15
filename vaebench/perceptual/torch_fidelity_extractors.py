"""vaebench's own classifiers as feature extractors of torch-fidelity, so that its metrics can be taken with them.

    from torch_fidelity import calculate_metrics
    from vaebench.perceptual.torch_fidelity_extractors import register

    register()
    calculate_metrics(input1=..., input2=..., fid=True, feature_extractor="vaebench-mnist_cnn", cuda=False)

Layers are those of the networks, averaged over positions where they keep them; by default the one that ``fcd`` reads.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from vaebench.core.perceptual import Perceptual
from vaebench.perceptual.mnist_cnn import mnist_cnn
from vaebench.perceptual.toyfaces_cnn import toyfaces_cnn


class _Classifier(FeatureExtractorBase):  # type: ignore[misc]  # torch-fidelity is untyped
    """Images uint8 (n, 3, h, w) -> a tuple of features float32 (n, d), one for each layer asked for.

    Raises ``ValueError``, as torch-fidelity does, for unknown layers, images of another form, and colour images where
    the network sees grey ones.
    """

    open: ClassVar[Callable[[], Perceptual]]
    layers: ClassVar[tuple[str, ...]]
    side: ClassVar[int]  # of the images that it was trained on

    def __init__(self, name: str, features_list: Sequence[str], **_: Any) -> None:
        super().__init__(name, list(features_list))
        self._network = type(self).open()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"{self.name} wants uint8 images (n, 3, h, w), not {images.dtype} {tuple(images.shape)}")
        if self._network.channels == 1:
            if not torch.equal(images, images[:, :1].expand_as(images)):
                raise ValueError(f"{self.name} sees grey images only: these have colours")
            images = images[:, :1]
        found = self._network.features(images.float() / 255, self.features_list)
        return tuple(part if part.ndim == 2 else part.flatten(2).mean(2) for part in found)

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        return cls.layers

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "dense"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    @classmethod
    def get_dummy_input_for_compile(cls) -> Tensor:
        return torch.zeros(1, 3, cls.side, cls.side, dtype=torch.uint8)


class MnistExtractor(_Classifier):
    """The digit classifier; takes the first of three equal channels."""

    open = staticmethod(mnist_cnn)
    layers = ("conv1", "conv2", "conv3", "dense", "logits")
    side = 28


class ToyFacesExtractor(_Classifier):
    """The attribute classifier of toy faces."""

    open = staticmethod(toyfaces_cnn)
    layers = ("conv1", "conv2", "conv3", "conv4", "dense", "logits")
    side = 64


EXTRACTORS = {"vaebench-mnist_cnn": MnistExtractor, "vaebench-toyfaces_cnn": ToyFacesExtractor}


def register() -> tuple[str, ...]:
    """Make torch-fidelity know them, as often as one likes; returns their names."""
    for name, extractor in EXTRACTORS.items():
        if FEATURE_EXTRACTORS_REGISTRY.get(name) is not extractor:
            register_feature_extractor(name, extractor)
    return tuple(EXTRACTORS)
