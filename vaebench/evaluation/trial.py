"""Try a model that was trained elsewhere on a few images, before the first number: what fails is said by name."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.image_model import Capability, ImageModel
from vaebench.core.opening import Opening

IMAGES = 16
BEYOND = 0.02  # of the range from black to white: that far a model may reach out of it, as sigmoids' roundings and
# unbounded last layers do
LARGEST_SHARE = 0.05  # of pixels that may lie farther out
# how far outputs may move with the batch's other images, of their own size: arithmetic in another order
SLACK = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}
log = logging.getLogger(__name__)
READINGS = {(-1.0, 1.0): "[-1, 1]", (0.0, 255.0): "[0, 255]", (0.0, 1.0): "[0, 1]"}


@torch.inference_mode()
def try_model(model: ImageModel, data: ImageDataset, opening: Opening) -> None:
    """Try encoding, decoding and sampling on the first images of ``data``.

    Args:
        model: in evaluation mode, on the device.
        data: what it is to be measured on.
        opening: how it was opened.

    Raises:
        UserError: it makes images of another shape, values that are not finite, or not in [0, 1]; or what it makes of
            an image depends on the other images in the batch.
    """
    opening = getattr(model, "opening", opening)  # an adapter may know the range
    images = to_float(data.images[:IMAGES]).to(opening.device)
    raw: Callable[[Tensor], Tensor] = getattr(model, "raw", model.decode)
    if Capability.ENCODE in model.can:
        means = model.encode(images).mean
        _check_finite(means, "encodes", data, opening)
        _check_alone(lambda rows: model.encode(rows).mean, images, means, "latents", opening)
        if Capability.DECODE in model.can:
            made = raw(means)
            _check_images(made, images.shape, "reconstruction", data, opening)
            _check_alone(raw, means, made, "reconstruction", opening)
    elif Capability.DECODE in model.can:
        latents = model.prior(IMAGES, seeding.generator(0, "trial")).to(opening.device)
        made = raw(latents)
        _check_images(made, (IMAGES, *images.shape[1:]), "decoded image", data, opening)
        _check_alone(raw, latents, made, "decoded image", opening)
    if Capability.SAMPLE in model.can and not model.samples_by_its_prior:
        sample = getattr(model, "raw_sample", model.sample)
        drawn = sample(IMAGES, seeding.generator(0, "trial"))
        _check_images(drawn, (IMAGES, *images.shape[1:]), "sample", data, opening)
        if not torch.equal(drawn, sample(IMAGES, seeding.generator(0, "trial"))):
            raise UserError(
                "the sampler gives other images when it is called again with an equal generator: draw all its noise "
                "from the generator that it is given"
            )


def _check_images(
    made: Tensor, shape: torch.Size | tuple[int, ...], what: str, data: ImageDataset, opening: Opening
) -> None:
    if tuple(made.shape) != tuple(shape):
        given, fitting = tuple(made.shape[1:]), tuple(shape[1:])
        raise UserError(
            f"the model's {what} has the shape {given} (channels, height, width), {data.name}'s images have {fitting}: "
            "measure it on images of its size, such as --set dataset.size=SIZE"
        )
    _check_finite(made, f"makes a {what} of", data, opening)
    _check_range(made, what, opening)


def _check_finite(values: Tensor, does: str, data: ImageDataset, opening: Opening) -> None:
    bad = (~torch.isfinite(values.float())).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if bad:
        cause = ""
        if opening.precision != "fp32":
            cause = f" in {opening.precision}, which holds no numbers beyond its range: --precision fp32 may mend it"
        raise UserError(
            f"the model {does} image {data.ids[bad[0]]} with values that are not finite{cause or ': mend the model'}"
        )


def _check_range(made: Tensor, what: str, opening: Opening) -> None:
    """Refuse images that are not in the range that the model is said to have, naming the reading that fits."""
    beyond = ((made < -BEYOND) | (made > 1 + BEYOND)).float().mean().item()
    if beyond <= LARGEST_SHARE:
        return
    if opening.range_known:
        log.warning("%.0f %% of the model's %s lie outside of its range, and are cut off", 100 * beyond, what)
        return
    own = made * (opening.high - opening.low) + opening.low
    low, high = own.min().item(), own.max().item()
    fitting = [
        (bounds, words)
        for bounds, words in READINGS.items()
        if bounds != (opening.low, opening.high) and _covers(bounds, own)
    ]
    advice = "clamp what the decoder makes"
    if fitting:
        (least, most), words = fitting[0]
        advice = f"it looks like {words}: add --range={least:g},{most:g}"
    raise UserError(
        f"the model's {what} has values from {low:.3g} to {high:.3g}, {100 * beyond:.0f} % of them outside of "
        f"[{opening.low:g}, {opening.high:g}]: {advice}"
    )


def _covers(bounds: tuple[float, float], own: Tensor) -> bool:
    """Tell whether nearly all values lie within the bounds, and use a fair part of them."""
    low, high = bounds
    room = BEYOND * (high - low)
    inside = ((own >= low - room) & (own <= high + room)).float().mean().item()
    return inside >= 1 - LARGEST_SHARE and (own.max() - own.min()).item() > 0.1 * (high - low)


def _check_alone(
    function: Callable[[Tensor], Tensor], given: Tensor, made: Tensor, what: str, opening: Opening
) -> None:
    """Refuse a model whose answer to one image depends on the others in the batch."""
    size = made.float().abs().max().clamp(min=1e-6)
    for rows in (slice(0, 2), slice(0, 1)):
        alone = function(given[rows]).float()
        moved = ((alone - made[rows].float()).abs().max() / size).item()
        if moved > SLACK[opening.precision]:
            raise UserError(
                f"the model's {what} of an image changes with the other images in the batch (by {100 * moved:.2g} % of "
                "the largest value): batch normalisation in training mode, or a mean over the batch; make it look at "
                "each image alone"
            )
