"""How a model that was trained elsewhere is to be opened: what the user says of it, and what the data ask for."""

from dataclasses import dataclass, replace

import torch

from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an adapter is told.

    Attributes:
        image_shape: (c, h, w) of the images that the model is measured on.
        device: as ``torch.device`` takes it.
        precision: in which the model runs: fp32, bf16 or fp16. Images and latents are float32 outside of it.
        low, high: values of black and of white that the model takes and makes.
        range_known: whether the user said so, or the adapter knows it.
    """

    image_shape: tuple[int, int, int]
    device: str = "cpu"
    precision: str = "fp32"
    low: float = 0.0
    high: float = 1.0
    range_known: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"--precision {self.precision}: {did_you_mean(self.precision, PRECISIONS)}")

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        return PRECISIONS[self.precision]

    def with_range(self, low: float, high: float) -> "Opening":
        """Return the same with a range that the adapter knows, unless the user gave one."""
        return self if self.range_known else replace(self, low=low, high=high, range_known=True)


def read_range(text: str) -> tuple[float, float]:
    """Read ``LOW,HIGH``, such as ``-1,1`` or ``0,255``.

    Raises:
        UserError: it is no range.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (-1e6 < low < high < 1e6):
        raise UserError(f"--range {text!r} is no range: write LOW,HIGH, such as --range=-1,1 or --range 0,255")
    return low, high
