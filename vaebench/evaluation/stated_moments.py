"""A reference of which only mean and covariance are known, as FID's authors publish them: mu and sigma in a npz."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.array_files import opened_npz
from vaebench.core.context import Context, FeatureSpace, Reference
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.datasets.images.arrays import NAMES
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext

MEAN, COVARIANCE = "mu", "sigma"
NETWORK = "inception"  # whose features such files are of
REMEDY = f"give a npz with {MEAN} (d,) and {COVARIANCE} (d, d)"
ROUNDED = 1e-3  # of the largest variance: as far below zero as float16 and few images may bring one
COUNTED = torch.iinfo(torch.int64).max  # in place of the number of images, which such files do not state


@dataclass(frozen=True)
class StatedImages(ImageDataset):
    """Images that are not at hand, of the shape of those that are measured; their moments identify them."""

    moments: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the moments."""
        return self.moments


class StatedMoments(Reference):
    """Final: mean and covariance of Inception's features, and nothing else."""

    def __init__(self, mean: Tensor, covariance: Tensor, space: FeatureSpace, name: str) -> None:
        self._mean, self._covariance, self._space, self._name = mean, covariance, space, name

    @property
    def features(self) -> Tensor:
        raise UserError(f"{self._name} states mean and covariance alone: only Fréchet distances can be taken")

    def statistic(self, name: str, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """Return the moments; any other statistic is refused."""
        if name != "moments":
            return compute(self.features)
        stated = f"{NETWORK}{len(self._mean)}"
        if str(self._space) != stated:
            raise UserError(f"{self._name} states moments of {stated}, not of {self._space}")
        return {"n": torch.tensor(COUNTED), "mean": self._mean, "covariance": self._covariance}


class StatedContext(SplitContext):
    """Final: the split context of a reference that states its moments."""

    def __init__(self, data: ImageDataset, moments: tuple[Tensor, Tensor], networks: Networks) -> None:
        super().__init__(data, None, networks)
        self._moments = moments

    def context(self) -> Context:
        """Return the context, whose references are the stated moments."""

        def reference(space: FeatureSpace, split: str) -> Reference:
            return StatedMoments(*self._moments, space, self.data.name)

        return replace(super().context(), reference=reference)


def states_moments(path: Path) -> bool:
    """Tell whether a file is a npz of moments without images."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    with opened_npz(path, most=input_files.LARGE, remedy=REMEDY) as archive:
        return {MEAN, COVARIANCE} <= set(archive.names) and not set(NAMES) & set(archive.names)


def open_moments(path: Path, name: str, shape: tuple[int, int, int], networks: Networks) -> StatedContext:
    """Open a npz of moments as the reference of images of a shape.

    Args:
        path: of the npz.
        name: of the reference in the tables.
        shape: channels, height and width of the images that are measured.
        networks: that features come from.

    Raises:
        UserError: the arrays are no mean and covariance.
    """
    with opened_npz(path, most=input_files.LARGE, remedy=REMEDY) as archive:
        mean, covariance = (np.asarray(archive.read(part)) for part in (MEAN, COVARIANCE))
    numbers = all(np.issubdtype(part.dtype, np.floating) and np.isfinite(part).all() for part in (mean, covariance))
    if not numbers or mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        found = (f"{part.dtype} {part.shape}" for part in (mean, covariance))
        raise UserError(f"{path}: {MEAN} is {f' and {COVARIANCE} '.join(found)}: {REMEDY}, finite floats")
    covariance = covariance.astype(np.float64)
    if not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8):
        raise UserError(f"{path}: {COVARIANCE} is not symmetric, so no covariance: {REMEDY}")
    moments = torch.from_numpy(mean.astype(np.float64)), torch.from_numpy((covariance + covariance.T) / 2)
    variances = torch.linalg.eigvalsh(moments[1])
    if len(variances) and float(variances[0]) < -ROUNDED * max(float(variances[-1]), 0.0):
        shown = f"{float(variances[0]):.3g} along one direction"
        raise UserError(f"{path}: {COVARIANCE} states a variance of {shown}, so it is no covariance: {REMEDY}")
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in moments)).hexdigest()
    data = StatedImages(
        name=name,
        split="all",
        images=torch.zeros(0, *shape, dtype=torch.uint8),
        ids=[],
        note="mean and covariance of features alone",
        moments=digest,
    )
    return StatedContext(data, moments, networks)
