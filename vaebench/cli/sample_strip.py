"""Show a few samples of a run in terminals that show pictures."""

from PIL import Image
from rich.console import Console

from vaebench.cli.terminal_images import protocol_on, show_picture
from vaebench.core import seeding
from vaebench.core.image_model import Capability
from vaebench.runs.galleries import grid, to_pixels
from vaebench.runs.load import load_image_model
from vaebench.runs.record import RunFolder

COUNT = 12
LEAST = 48  # pixels that an image is high, at the least


def show_samples(folder: RunFolder, console: Console) -> None:
    """Show a strip of a finished run's samples, the same noise as in its pictures; nothing where it cannot be shown.

    Args:
        folder: a finished run's.
        console: where training is shown.
    """
    if not protocol_on(console):
        return
    model = load_image_model(folder, folder.read_record(), "cpu")
    if Capability.SAMPLE not in model.can:
        return
    rows = grid(to_pixels(model.sample(COUNT, seeding.generator(0, "samples"))), COUNT)
    picture = Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    factor = max(1, -(-LEAST // picture.height))
    show_picture(picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), console)
