"""Images that vaebench did not make: an npz file or a folder, checked before anything is measured."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.array_files import opened_npz
from vaebench.core.dataset import ImageDataset
from vaebench.core.device import pick_device
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.paths import runs_dir
from vaebench.core.registry import did_you_mean
from vaebench.core.validation import LONGEST, is_name
from vaebench.datasets import DATASETS
from vaebench.evaluation import sources
from vaebench.evaluation.evaluate import GALLERY_SAMPLES, measure_into, measure_real, unmeasured
from vaebench.evaluation.features import Networks
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.sources import Identity
from vaebench.evaluation.split_context import SplitContext
from vaebench.runs import galleries
from vaebench.runs.recipes import open_dataset
from vaebench.runs.record import RunFolder

MOST = 8_000 * input_files.MB  # of an array of images; they are all in memory
REPAIR = "repair it or take it out of the folder"
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def load_images(path: Path) -> Tensor:
    """Load ``images`` of an npz, or a folder's image files by name: uint8 or float32 in [0, 1], (n, c, h, w).

    Raises :class:`UserError` for a missing or unreadable file, wrong shape or dtype, NaN, or values outside [0, 1].
    """
    if path.is_dir():
        return _folder(path)[0]
    remedy = "save with np.savez(FILE, images=...)"
    try:
        with opened_npz(path, most=MOST, remedy=remedy) as archive:
            if "images" not in archive:
                held = ", ".join(archive.names) or "nothing"
                raise UserError(f"{path} holds {held}, no array 'images': {remedy}")
            array = archive.read("images")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give an npz file or a folder of images") from None
    return _checked(array, path)


def _checked(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", path: Path) -> Tensor:
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        wanted = "(n,h,w), (n,h,w,c) or (n,c,h,w) with c 1 or 3"
        raise UserError(f"{path}: images have shape {array.shape}, not {wanted}: reshape them")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array, np.uint8))
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{path}: images are {array.dtype}: save uint8 (0 to 255) or float (0 to 1)")
    floats = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(floats).all():
        bad = int((~np.isfinite(floats)).reshape(len(floats), -1).any(1).sum())
        raise UserError(f"{path}: {bad} images hold NaN or infinite values: save finite floats in [0, 1]")
    if floats.min() < 0 or floats.max() > 1:
        low, high = floats.min(), floats.max()
        raise UserError(f"{path}: floats lie in [{low!s}, {high!s}], not in [0, 1]: scale them, or save uint8")
    return torch.from_numpy(floats)


def _folder(path: Path) -> tuple[Tensor, list[str]]:
    paths = sorted((file for file in path.iterdir() if file.suffix.lower() in SUFFIXES), key=_natural)
    if not paths:
        raise UserError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))}): give another folder")
    arrays = []
    for file in paths:
        try:
            with (
                input_files.opened(file, most=input_files.IMAGE, remedy=REPAIR) as handle,
                Image.open(handle) as opened,
            ):
                if opened.mode.startswith(("I", "F")):  # Pillow would clip them to 255
                    raise UserError(f"{file} has more than 8 bits a channel ({opened.mode}): save it with 8")
                arrays.append(np.asarray(opened.convert("L" if opened.mode in ("1", "L") else "RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{file} is no readable image: {REPAIR}") from error
        if arrays[-1].shape != arrays[0].shape:
            sizes = f"{arrays[0].shape} and {arrays[-1].shape}"
            raise UserError(f"{file} has another size or mode than {paths[0].name} ({sizes}): make them alike")
    stacked = np.stack(arrays)
    return _checked(stacked, path), [file.name for file in paths]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts ``2.png`` before ``10.png``."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if part.isdigit() else (-1, part) for part in parts]


def folder_dataset(path: Path) -> ImageDataset:
    """Load a folder of images, unchanged, as a dataset to measure against; ids are the file names.

    Its name in the tables is ``folder-NAME``, which no registered dataset's can be mistaken for.
    """
    images, names = _folder(path)
    return ImageDataset(name=f"folder-{_plain(path.resolve().name)}", split="all", images=images, ids=names)


def _plain(name: str) -> str:
    """Turn a folder's name into one that other paths may contain: forbidden characters give way to a hash of the
    name.
    """
    if is_name(name) and len(name) < LONGEST - 20:
        return name
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:40].lstrip("._-")
    return f"{kept or 'images'}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Options of the command line for images made elsewhere."""

    name: str
    reference: str  # DATASET[:SPLIT] or a folder
    paired: bool
    kind: str  # reconstructions, samples, or empty: reconstructions where paired


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a run of images or of a model made elsewhere.

    Raises:
        UserError: it is too long, or has other characters than a folder's name may have.
    """
    if not is_name(name) or len(name) > LONGEST - 20:
        rule = f"give letters, digits, '.', '_' or '-', {LONGEST - 20} at most"
        raise UserError(f"--name {name[:40]!r} names no run: {rule}")


def evaluate_external(
    path: Path, given: External, protocol: Protocol, say: Callable[[str], None]
) -> dict[str, list[RunFolder]]:
    """Check and evaluate the images at ``path`` and the real images of their reference; return the dataset."""
    kind = _checked_kind(given)
    return _evaluate(load_images(path), kind, given, protocol, say)


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
    if not given.reference:
        raise UserError("--images needs --reference: a DATASET[:SPLIT] or a folder they are measured against")
    return kind


def evaluate_array(
    array: "np.ndarray[Any, np.dtype[np.generic]]", given: External, protocol: Protocol, say: Callable[[str], None]
) -> dict[str, list[RunFolder]]:
    """Check and evaluate images at hand, as :func:`evaluate_external` does those of a file.

    Args:
        array: (n, h, w), (n, h, w, c) or (n, c, h, w), uint8 or float in [0, 1].
    """
    kind = _checked_kind(given)
    return _evaluate(_checked(array, Path("the array")), kind, given, protocol, say)


def _evaluate(
    images: Tensor, kind: str, given: External, protocol: Protocol, say: Callable[[str], None]
) -> dict[str, list[RunFolder]]:
    split = reference(given.reference, Networks(pick_device(protocol.device)))
    data = split.data
    reconstructions = kind == "reconstructions"
    measure_external(images, given.name, split, protocol, paired=given.paired, reconstructions=reconstructions)
    # training images stand beside samples of as many images
    measure_real(split, protocol if reconstructions else replace(protocol, samples=len(images)))
    say(f"external/{given.name}: {len(images)} images measured against {data.name}:{data.split}")
    return {data.name: []}


def named_split(option: str, text: str) -> tuple[str, str]:
    """Split ``DATASET[:SPLIT]`` into the dataset's name and the split's, by default ``test``.

    Raises:
        UserError: nothing stands behind the colon.
    """
    name, colon, split = text.partition(":")
    if colon and not split:
        raise UserError(f"{option} {text} names no split after the colon: write {name}:test, or {name} alone")
    return name, split or "test"


def reference(text: str, networks: Networks) -> SplitContext:
    """Open ``DATASET[:SPLIT]``, by default its test split, or a folder of images."""
    name, split = named_split("--reference", text)
    if name not in DATASETS.names() and Path(text).is_dir():
        return SplitContext(folder_dataset(Path(text)), None, networks)
    return SplitContext.of_split(open_dataset(name), split, networks)


def measure_external(
    images: Tensor,
    name: str,
    split: SplitContext,
    protocol: Protocol,
    *,
    paired: bool,
    reconstructions: bool,
) -> None:
    """Measure checked images as run ``external/NAME``; :class:`UserError` if they do not fit the data."""
    data = split.data
    if images.shape[1:] != data.images.shape[1:]:
        found, fitting = tuple(images.shape[1:]), tuple(data.images.shape[1:])
        raise UserError(f"images are {found} (channels, height, width), {data.name}'s are {fitting}: resize them")
    if paired and len(images) != len(data):
        reason = f"{len(images)} images cannot be paired with the {len(data)} of {data.name}:{data.split}"
        raise UserError(f"{reason}: give one for each, in order, or leave --paired away")
    kind = Need.RECONSTRUCTION if reconstructions else Need.SAMPLE
    folder = RunFolder(runs_dir() / "external" / name)
    # the images' own hash stands in place of weights': other images under this name replace these
    identity = Identity(f"external/{name}", content_sha256=hashlib.sha256(images.numpy().tobytes()).hexdigest())
    protocol = replace(protocol, samples=len(images))
    metrics = unmeasured(folder, identity, split, protocol.build(data), protocol)
    context = split.context()
    source = sources.of_images(images, data, kind=kind, paired=paired, context=context, identity=identity)
    if metrics:
        measure_into(folder, source, split, metrics, samples=len(images), needed=True)
    gallery: dict[str, galleries.Pixels] = {}
    if paired:
        gallery["reconstructions"] = galleries.to_pixels(images[data.showcase_indices()])
    elif not reconstructions:
        gallery["samples"] = galleries.to_pixels(images[:GALLERY_SAMPLES])
    galleries.save_gallery(galleries.gallery_file(folder.path, data.fingerprint), gallery, identity.content_sha256)
