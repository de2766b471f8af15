"""Show a few samples in terminals that show pictures: while a run is trained, and when it is finished."""

import logging
import time
from collections.abc import Callable

from PIL import Image
from rich.console import Console

from vaebench.cli.terminal_images import protocol_on, show_picture
from vaebench.core import seeding
from vaebench.core.errors import first_line
from vaebench.core.image_model import Capability
from vaebench.runs.galleries import Pixels, grid, to_pixels
from vaebench.runs.load import load_image_model
from vaebench.runs.record import RunFolder

COUNT = 12
EVERY = 20.0  # seconds between the strips of one training, at the least
LEAST = 48  # pixels that an image is high, at the least

log = logging.getLogger(__name__)


def strips(console: Console) -> Callable[[Callable[[], Pixels]], None] | None:
    """Return a function that shows samples of the training that begins now, above its live line; None where the
    terminal shows no pictures.
    """
    if not protocol_on(console):
        return None
    shown = time.monotonic()

    def show(draw: Callable[[], Pixels]) -> None:
        nonlocal shown
        if time.monotonic() - shown < EVERY:
            return
        shown = time.monotonic()
        try:
            images = draw()
        except Exception as error:  # of a user's model, or no memory is left: the training goes on
            log.warning("samples cannot be shown (%s: %s)", type(error).__name__, first_line(error)[:200])
            return
        show_picture(_strip(images[:COUNT]), console, in_place_of_line=True)

    return show


def show_samples(folder: RunFolder, console: Console) -> None:
    """Show a strip of a finished run's samples, the same noise as in its pictures; nothing where it cannot be shown.

    Args:
        folder: a finished run's.
        console: where training is shown.
    """
    if not protocol_on(console):
        return
    model = load_image_model(folder, folder.read_record(), "cpu")
    if Capability.SAMPLE in model.can:
        show_picture(_strip(to_pixels(model.sample(COUNT, seeding.generator(0, "samples")))), console)


def _strip(images: Pixels) -> Image.Image:
    """Lay out images (n, h, w, c) side by side, small ones enlarged."""
    row = grid(images, len(images))
    picture = Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row)
    factor = max(1, -(-LEAST // picture.height))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
