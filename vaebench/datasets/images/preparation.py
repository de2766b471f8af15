"""How pictures of whatever size become images of one size: crop and scale, named so that a protocol can say it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean

SMALLEST, LARGEST = 8, 4096
FILTERS: Mapping[str, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


def centre_square(picture: Image.Image, size: int, resampling: Image.Resampling = FILTERS["bicubic"]) -> Image.Image:
    """Cut out the middle square and scale it to ``size`` by one of Pillow's filters, which are antialiased."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), resampling)


def _whole(picture: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    return picture.resize((size, size), resampling)


CROPS: Mapping[str, Callable[[Image.Image, int, Image.Resampling], Image.Image]] = {
    "centre": centre_square,
    "none": _whole,  # other shapes than squares are distorted
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is done to pictures before they are measured: by default nothing, and all must have one size.

    Attributes:
        size: height and width of the images in pixels; ``None`` takes them as they are.
        crop: a name of ``CROPS``; empty for ``centre``.
        filter: a name of ``FILTERS``; empty for ``bicubic``.
    """

    size: int | None = None
    crop: str = ""
    filter: str = ""

    def __post_init__(self) -> None:
        for option, given, known in (("--crop", self.crop, CROPS), ("--filter", self.filter, FILTERS)):
            if given and given not in known:
                raise UserError(f"{option} '{given}' is unknown: {did_you_mean(given, known)}")
            if given and self.size is None:
                raise UserError(f"{option} {given} prepares nothing without a size: add --size N")
        if self.size is not None and not SMALLEST <= self.size <= LARGEST:
            raise UserError(f"--size {self.size} is out of range: give {SMALLEST} to {LARGEST}")

    def fit(self, picture: Image.Image) -> Image.Image:
        """Crop and scale an RGB picture."""
        if self.size is None:
            return picture
        return CROPS[self.crop or "centre"](picture, self.size, FILTERS[self.filter or "bicubic"])

    def __str__(self) -> str:
        """As protocols name it: ``size=64,crop=centre,filter=bicubic``; empty where nothing is done."""
        if self.size is None:
            return ""
        return f"size={self.size},crop={self.crop or 'centre'},filter={self.filter or 'bicubic'}"


AS_THEY_ARE = Preparation()
