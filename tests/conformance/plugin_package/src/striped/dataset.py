"""Grey 8 x 8 images of vertical stripes; the label is their period."""

from pathlib import Path

import torch

from vaebench.core.dataset import DatasetSource, ImageDataset


class Stripes(DatasetSource):
    """Images with stripes of two to four pixels; made, not loaded."""

    name = "stripes"
    splits = ("train", "test")

    def __init__(self, *, per_period: int = 20) -> None:
        self.per_period = per_period

    def load(self, split: str) -> ImageDataset:
        labels = torch.tensor([2, 3, 4]).repeat_interleave(self.per_period)
        shift = torch.arange(len(labels)) + (split == "test")
        bright = (torch.arange(8) + shift[:, None]) % labels[:, None] == 0
        images = torch.where(bright, 200, 55).to(torch.uint8)[:, None, None, :].repeat(1, 1, 8, 1)
        ids = [f"{split}/{index}" for index in range(len(labels))]
        return ImageDataset(name=self.name, split=split, images=images, ids=ids, labels=labels)

    def fetch(self, source: Path | None) -> str:
        return "stripes: made when asked for, nothing to fetch"
