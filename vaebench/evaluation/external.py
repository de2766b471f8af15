"""Images that vaebench did not make: opened, paired, checked, and measured against a dataset or other images."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.paths import runs_dir
from vaebench.core.recipe import parse_options
from vaebench.core.registry import did_you_mean
from vaebench.core.validation import LONGEST, is_name, plain_name
from vaebench.datasets import DATASETS
from vaebench.datasets.images.arrays import image_array
from vaebench.datasets.images.loading import ACCEPTED, DifferentSizes, Images, load_images
from vaebench.datasets.images.preparation import AS_THEY_ARE, LARGEST, SMALLEST, Preparation
from vaebench.evaluation import image_sources
from vaebench.evaluation.evaluate import GALLERY_SAMPLES, measure_into, measure_real, unmeasured
from vaebench.evaluation.features import Networks
from vaebench.evaluation.pairing import partners
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.source import BATCH, Identity
from vaebench.evaluation.split_context import SplitContext
from vaebench.evaluation.stated_moments import StatedContext, open_moments, states_moments
from vaebench.runs import galleries
from vaebench.runs.recipe_files import is_file_reference
from vaebench.runs.recipes import named_dataset
from vaebench.runs.record import RunFolder

PAIRINGS = ("name", "position")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Options of the command line for images made elsewhere.

    Attributes:
        name: of the images in the tables.
        reference: ``DATASET[:SPLIT]``, or a path of images or of their moments.
        paired: how image and real image belong together: ``name``, ``position``, or empty where they do not.
        kind: ``reconstructions``, ``samples``, or empty: reconstructions where paired.
        preparation: crop and size, of the images and of those at a path that they are measured against.
        options: of the dataset that they are measured against: ``OPTION=VALUE``.
    """

    name: str
    reference: str
    paired: str = ""
    kind: str = ""
    preparation: Preparation = AS_THEY_ARE
    options: tuple[str, ...] = ()


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a run of images or of a model made elsewhere.

    Raises:
        UserError: it is too long, or has other characters than a folder's name may have.
    """
    if not is_name(name) or len(name) > LONGEST - 20:
        rule = f"letters, digits, '.', '_' or '-', {LONGEST - 20} at most"
        raise UserError(f"--name {name[:40]!r} names no run: {'give' if name else 'add --name NAME,'} {rule}")


def evaluate_external(path: Path, given: External, protocol: Protocol, say: Say) -> dict[str, list[RunFolder]]:
    """Check and evaluate the images at ``path`` and the real images of their reference; return the dataset."""
    kind = _checked_kind(given)
    try:
        images = load_images(path, given.preparation)
    except DifferentSizes as error:
        if (opened := _of_dataset(given)) is None:
            raise
        split = SplitContext.of_split(*opened, protocol.networks())
        raise UserError(f"{error.found}: {_scaling(split.data)}") from error
    for remark in images.remarks:
        say(remark)
    return _evaluate(images, str(path), kind, given, protocol, say)


def evaluate_array(
    array: "np.ndarray[Any, np.dtype[np.generic]]", given: External, protocol: Protocol, say: Say
) -> dict[str, list[RunFolder]]:
    """Check and evaluate images at hand, as :func:`evaluate_external` does those of a file.

    Args:
        array: (n, h, w), (n, h, w, c) or (n, c, h, w), uint8 or float in [0, 1].
    """
    kind = _checked_kind(given)
    found = image_array(array, Path("the array"))
    return _evaluate(
        Images(images=found.images, ids=None, sha256=found.sha256), "the array", kind, given, protocol, say
    )


def _checked_kind(given: External) -> str:
    """Return ``reconstructions`` or ``samples``.

    Raises:
        UserError: options are missing, unknown or at odds.
    """
    check_name(given.name)
    kind = given.kind or ("reconstructions" if given.paired else "samples")
    if kind not in ("reconstructions", "samples"):
        raise UserError(f"--kind '{kind}' is unknown: {did_you_mean(kind, ['reconstructions', 'samples'])}")
    if given.paired and kind == "samples":
        raise UserError("--paired images are reconstructions: leave --kind samples away")
    if given.paired and given.paired not in PAIRINGS:
        raise UserError(f"--paired '{given.paired}' is unknown: {did_you_mean(given.paired, PAIRINGS)}")
    if not given.reference:
        raise UserError("--images needs --reference: a DATASET[:SPLIT], or a folder or file of images")
    _of_dataset(given)  # a misspelt name is said before images are decoded
    return kind


def _evaluate(
    images: Images, where: str, kind: str, given: External, protocol: Protocol, say: Say
) -> dict[str, list[RunFolder]]:
    protocol = replace(protocol, prepared=str(given.preparation))
    split, remarks = reference(given, images, protocol.networks())
    for remark in remarks:
        say(remark)
    images = _like(images, split.data, where)
    data, count = split.data, len(images.images)
    fresh = measure_external(images, given, split, protocol, reconstructions=kind == "reconstructions", where=where)
    if not isinstance(split, StatedContext):
        # a dataset's images are as they are, but what was scaled stands in rows of its own, which need originals, too;
        # training images stand beside as many samples
        real = protocol if kind == "reconstructions" else replace(protocol, samples=count)
        own = ("",) if _names_a_dataset(given.reference) else ()
        for prepared in dict.fromkeys((*own, protocol.prepared)):
            measure_real(split, replace(real, prepared=prepared))
    done = f"{count:,} images measured" if fresh else f"nothing new to measure of {count:,} images"
    say(f"external/{given.name}: {done} against {data.name}:{data.split}")
    return {data.name: []}


def named_split(option: str, text: str) -> tuple[str, str]:
    """Split ``DATASET[:SPLIT]`` into the dataset's name and the split's, by default ``test``.

    Raises:
        UserError: nothing stands behind the colon.
    """
    file, own, rest = text.rpartition(".py:")  # ./file.py:function has a colon of its own
    name, colon, split = (rest if own else text).partition(":")
    name = f"{file}{own}{name}"
    if colon and not split:
        raise UserError(f"{option} {text} names no split after the colon: write {name}:test, or {name} alone")
    return name, split or "test"


def _names_a_dataset(text: str) -> bool:
    """Tell whether a reference is a dataset, registered or of the user's own file, and no path of images."""
    return text.partition(":")[0] in DATASETS.names() or is_file_reference(text)


def _of_dataset(given: External) -> tuple[DatasetSource, str] | None:
    """Open the dataset that is a reference, and name its split; None where the reference is a path of images.

    Raises:
        UserError: it is neither, or an option is unknown.
    """
    path = Path(given.reference).expanduser()
    if not _names_a_dataset(given.reference):
        if input_files.is_there(path):
            return None
        if path.suffix or len(path.parts) > 1:
            raise UserError(f"--reference {path} does not exist: give {ACCEPTED}, or a DATASET[:SPLIT]")
    name, split = named_split("--reference", given.reference)
    dataset = named_dataset(name)
    pairs = dict(option.split("=", 1) for option in given.options)
    return dataset(**parse_options(f"dataset {name}", pairs, dataset)), split


def reference(given: External, images: Images, networks: Networks) -> tuple[SplitContext, list[str]]:
    """Open what images are measured against: ``DATASET[:SPLIT]``, a path of images, or a npz of their moments.

    Args:
        given: names it, and says how images at a path are prepared.
        images: that are measured: colours beside grey images show these as equal channels.
        networks: that features come from.

    Returns:
        The split, and what was chosen in decoding its images.
    """
    opened = _of_dataset(given)
    if opened is not None:
        return SplitContext.of_split(*opened, networks), []
    path = Path(given.reference).expanduser()
    if given.options:
        raise UserError(f"--set dataset.{given.options[0]} sets nothing of {path}: it is measured as it is")
    folder = input_files.is_folder(path)
    name = f"folder-{plain_name(path.resolve().name)}" if folder else f"file-{plain_name(path.stem)}"
    if states_moments(path):
        _, channels, height, width = images.images.shape
        return open_moments(path, name, (channels, height, width), networks), []
    found = load_images(path, given.preparation)
    return SplitContext(image_dataset(found, name, images.images.shape[1]), None, networks), list(found.remarks)


def image_dataset(found: Images, name: str, channels: int = 1) -> ImageDataset:
    """Make a dataset of loaded images, to measure against.

    Args:
        found: the images; their ids are those of the dataset, or row numbers.
        name: in the tables.
        channels: of what is measured: beside three, grey images have three, too.
    """
    pixels = found.images
    if pixels.is_floating_point():
        pixels = pixels.mul(255).round().to(torch.uint8)
    note = "; ".join(f"{label} {each}" for label, each in enumerate(found.classes))
    return ImageDataset(
        name=name,
        split="all",
        images=pixels.expand(-1, max(channels, pixels.shape[1]), -1, -1),
        ids=list(found.ids or (f"{row:06d}" for row in range(len(pixels)))),
        labels=found.labels,
        note=f"labels are {note}" if note else "",
    )


def _like(images: Images, data: ImageDataset, where: str) -> Images:
    """Give images the channels of the data: grey ones may have one or three equal ones.

    Raises:
        UserError: they have another size, or colours where the data is grey.
    """
    pixels, channels = images.images, data.images.shape[1]
    if pixels.shape[2:] != data.images.shape[2:]:
        found, fitting = (f"{part.shape[-1]} x {part.shape[-2]}" for part in (pixels, data.images))
        raise UserError(f"{where}: images are {found}, those of {data.name} are {fitting}: {_scaling(data)}")
    if pixels.shape[1] == channels:
        return images
    if channels == 3:
        return replace(images, images=pixels.expand(-1, 3, -1, -1))
    if not all(bool((part == part[:, :1]).all()) for part in pixels.split(BATCH)):
        raise UserError(f"{where}: images have colours, those of {data.name} are grey: save them as grey")
    return replace(images, images=pixels[:, :1])


def _scaling(data: ImageDataset) -> str:
    height, width = data.images.shape[2:]
    fitting = height == width and SMALLEST <= height <= LARGEST
    return f"add --size {height}" if fitting else "scale them"


def _partners(images: Images, given: External, data: ImageDataset, where: str) -> Tensor:
    """Find the row of each real image's partner; :class:`UserError` where one has none."""
    if given.paired == "name":
        if images.ids is None:
            advice = "save an array ids beside the images, or pair them by --paired position"
            raise UserError(f"{where} names no image, so none can be paired by name: {advice}")
        return partners(images.ids, data.ids, where, f"{data.name}:{data.split}")
    if images.ids is not None:
        raise UserError(f"{where} names its images: pair them by name, --paired alone, or leave it away")
    if len(images.images) != len(data):
        reason = f"{len(images.images)} images cannot be paired with the {len(data)} of {data.name}:{data.split}"
        raise UserError(f"{reason}: give one for each, in order, or leave --paired away")
    return torch.arange(len(data))


def measure_external(
    images: Images, given: External, split: SplitContext, protocol: Protocol, *, reconstructions: bool, where: str
) -> bool:
    """Measure loaded images as run ``external/NAME``; return whether anything was missing.

    Raises:
        UserError: they cannot be paired, or nothing can be measured of them.
    """
    data, pixels = split.data, images.images
    rows = _partners(images, given, data, where) if given.paired else None
    folder = RunFolder(runs_dir() / "external" / given.name)
    # the images' own hash stands in place of weights': other images under this name replace these
    identity = Identity(f"external/{given.name}", content_sha256=_identity(images, rows))
    protocol = replace(protocol, samples=len(pixels))
    metrics = unmeasured(folder, identity, split, split.metrics(protocol), protocol)
    if metrics:
        source = image_sources.of_images(
            pixels,
            data,
            kind=Need.RECONSTRUCTION if reconstructions else Need.SAMPLE,
            partners=rows,
            context=split.context(),
            identity=identity,
        )
        measure_into(folder, source, split, metrics, samples=len(pixels), needed=True)
    gallery: dict[str, galleries.Pixels] = {}
    if rows is not None:
        gallery["reconstructions"] = galleries.to_pixels(pixels[rows[data.showcase_indices()]])
    elif not reconstructions:
        gallery["samples"] = galleries.to_pixels(pixels[:GALLERY_SAMPLES])
    galleries.save_gallery(galleries.gallery_file(folder.path, data.fingerprint), gallery, identity.content_sha256)
    return bool(metrics)


def _identity(images: Images, rows: Tensor | None) -> str:
    """Hash the images, and which belongs to which real one where that is not their order."""
    if rows is None or torch.equal(rows, torch.arange(len(rows))):
        return images.sha256
    return hashlib.sha256(f"{images.sha256} {rows.tolist()}".encode()).hexdigest()
