"""Save figures as PNG in the fewest bytes that look the same."""

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vaebench.core.files import write_atomic

SEEN = 8  # of 255: levels of a channel that a pixel may be off before one could see it
OFF = 0.005  # share of pixels that may be off by more: those at the edges of lines, which blend two colours


def save_figure(figure: Figure, path: Path, dpi: float | None = None) -> None:
    """Write a PNG, atomically; ``dpi`` is by default that of the style in use."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=mpl.rcParams["savefig.dpi"] if dpi is None else dpi)
    # nothing else of that file is kept, no date and no version: the same numbers give the same bytes
    with Image.open(drawn) as opened:
        picture = fewest_colours(opened.convert("RGB"))
    write_atomic(path, lambda temporary: picture.save(temporary, format="PNG", optimize=True))


def fewest_colours(picture: Image.Image) -> Image.Image:
    """Convert an RGB picture to grey where it is grey, else to a palette of 256 colours where that looks the same.

    Curves and bars do, photographs do not.
    """
    pixels = np.asarray(picture)
    if (pixels == pixels[..., :1]).all():
        return picture.convert("L")
    small = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    off = np.abs(np.asarray(small.convert("RGB")).astype(np.int16) - pixels).max(axis=-1) > SEEN
    return small if off.mean() <= OFF else picture
