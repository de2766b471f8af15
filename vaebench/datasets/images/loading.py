"""Images from wherever people keep them, ready to be measured: every door opens through here."""

import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from PIL import Image
from torch import Tensor

from vaebench.core import input_files
from vaebench.core.content_cache import content_key
from vaebench.core.dataset import hash_pixels
from vaebench.core.errors import UserError, first_line
from vaebench.core.validation import plain_name
from vaebench.datasets.image_cache import Pictures, prepare
from vaebench.datasets.images import decoding
from vaebench.datasets.images.archives import in_tar, in_zip
from vaebench.datasets.images.arrays import ImageArray, open_npy, open_npz
from vaebench.datasets.images.decoding import decode
from vaebench.datasets.images.folders import in_folder
from vaebench.datasets.images.image_files import Content, ImageFiles, contents_hashed
from vaebench.datasets.images.parquet_files import in_parquet
from vaebench.datasets.images.preparation import AS_THEY_ARE, LARGEST, SMALLEST, Preparation
from vaebench.datasets.images.recognising import image_suffixes, some

ACCEPTED = "a folder, a zip, a tar, an npz, npy or parquet file of images"
REPAIR = "repair it or take it out"
COLLECTIONS = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".npz", ".npy", ".parquet"}  # suffixes of files of images


class DifferentSizes(UserError):
    """Images differ in size; what they are measured against may know better than they which one to scale them to."""

    def __init__(self, found: str, side: int) -> None:
        super().__init__(found, side)
        self.found, self.side = found, side

    def __str__(self) -> str:
        return f"{self.found}: add --size {self.side} to scale them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images of one size, in memory or mapped from a file.

    Attributes:
        images: uint8, or float32 in [0, 1]; (n, c, h, w), c = 1 where all are grey, else 3.
        ids: of each: its path in the folder or archive, or what the file says; ``None`` where nothing names them.
        sha256: of the pixels in that order.
        labels: int64 (n,), where class folders or a column say them.
        classes: their names, as ``labels`` count them.
        remarks: what was chosen in decoding or passed over, for people.
    """

    images: Tensor
    ids: Sequence[str] | None
    sha256: str
    labels: Tensor | None = None
    classes: Sequence[str] = ()
    remarks: Sequence[str] = ()


def load_images(path: Path, preparation: Preparation = AS_THEY_ARE) -> Images:
    """Load images from a folder, a zip, a tar, an npz, npy or parquet file.

    Files are decoded once into ``VAEBENCH_CACHE``, and mapped from there; an array is mapped where it lies.

    Args:
        path: what the user named.
        preparation: crop and size; without them all images must have one size.

    Raises:
        UserError: it is missing, damaged, or none of these; an image cannot be read; sizes differ.
    """
    path = path.expanduser()
    found = open_images(path)
    if isinstance(found, ImageArray):
        if preparation.size is None:
            return Images(images=found.images, ids=found.ids, sha256=found.sha256)
        return replace(_decoded(array_files(path, found), preparation), ids=found.ids)
    return _decoded(found, preparation)


def open_images(path: Path) -> ImageFiles | ImageArray:
    """Open what a path names, as files that are not decoded yet or as an array; raises as :func:`load_images` does."""
    if input_files.is_folder(path):
        return in_folder(path)
    try:
        with input_files.opened(path, most=2**62, remedy=f"give {ACCEPTED}") as handle:
            head = handle.read(8)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give {ACCEPTED}") from None
    if head.startswith(b"\x93NUMPY"):
        return open_npy(path)
    if head.startswith(b"PAR1"):
        return in_parquet(path, [path])
    if path.suffix.lower() == ".npz" or _holds_arrays(path):
        return open_npz(path)
    if is_zipfile(path):
        return in_zip(path)
    if _is_tar(path):
        return in_tar(path)
    if path.suffix.lower() in image_suffixes():
        raise UserError(f"{path} is one image: give the folder that holds it and the others")
    raise UserError(f"{path} is no file of images: give {ACCEPTED}")


def _holds_arrays(path: Path) -> bool:
    """Tell whether a file is a npz under another name: a zip of arrays alone."""
    if not is_zipfile(path):
        return False
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # it will be refused as the zip that it is not
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except Exception:  # damaged ones raise whatever tarfile and the unpackers stumble over
        return False


def array_files(path: Path, array: ImageArray) -> ImageFiles:
    """Take an array's images for files, so that they can be cropped and scaled; floats are rounded to 8 bits."""
    names = array.ids or [f"{row:06d}" for row in range(len(array.images))]
    rows = {name: row for row, name in enumerate(names)}

    def read(name: str) -> Content:
        image = array.images[rows[name]]
        if image.is_floating_point():
            image = image.mul(255).round().to(torch.uint8)
        return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())

    identity = content_key([array.sha256, list(names)])
    return ImageFiles(path=path, names=names, read=read, hashes=lambda: contents_hashed(names, read), identity=identity)


def _decoded(files: ImageFiles, preparation: Preparation) -> Images:
    """Decode all files, which must all be readable, and of one size once they are prepared."""
    if files.not_read:
        counted = f"{len(files.not_read):,} image{'s' * (len(files.not_read) != 1)}"
        reason = f"{files.path} holds {counted} of a format that Pillow does not read here ({some(files.not_read)})"
        raise UserError(f"{reason}: convert or take them out")
    if files.no_files:
        reason = f"{some(files.no_files)} {'is' if len(files.no_files) == 1 else 'are'} named as images are"
        advice = "put the image there or take it out"
        raise UserError(f"{files.path}: {reason}, but no regular file, or a link that leads nowhere: {advice}")
    size = preparation.fit(_first_picture(files)).size
    made = prepare(
        Pictures(
            name=f"given/{plain_name(files.path.resolve().name)}",
            names=files.names,
            identity=f"as given, decoder {decoding.VERSION}, {preparation}: {files.identity}",
            size=size[::-1],
            read=files.read,
            fit=partial(_of_one_size, files=files, preparation=preparation, size=size),
            all_needed=True,
            where=str(files.path),
        )
    )
    images = made.images[:, :1] if made.grey else made.images
    return Images(
        images=images,
        ids=made.names,
        sha256=_sha256(images) if made.grey else made.sha256,
        labels=None if files.labels is None else torch.tensor(files.labels, dtype=torch.int64),
        classes=files.classes,
        remarks=_remarks(files, made.remarks),
    )


def _first_picture(files: ImageFiles) -> Image.Image:
    name = files.names[0]
    try:
        content = files.read(name)
        return decode(content) if isinstance(content, bytes) else content
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise UserError(f"{files.path}: {name} is no readable image ({reason}): {REPAIR}") from error


def _of_one_size(
    picture: Image.Image, *, files: ImageFiles, preparation: Preparation, size: tuple[int, int]
) -> Image.Image:
    """Prepare a picture.

    Raises:
        UserError: it then has another size than the first.
    """
    fitted = preparation.fit(picture)
    if fitted.size != size:
        sizes = f"{size[0]} x {size[1]} ({files.names[0]}) and {fitted.width} x {fitted.height}"
        side = min(max(min(size), SMALLEST), LARGEST)
        raise DifferentSizes(f"{files.path} holds images of several sizes, {sizes}", side)
    return fitted


def _sha256(images: Tensor) -> str:
    digest = hashlib.sha256()
    hash_pixels(images, digest)
    return digest.hexdigest()


def _remarks(files: ImageFiles, decoded: Mapping[str, int]) -> list[str]:
    """Say what was chosen in decoding, and what was passed over."""
    total = len(files.names)
    said = [f"{files.path}: {remark} ({count:,} of {total:,} images)" for remark, count in sorted(decoded.items())]
    return said + ([f"{files.path}: passed over {files.passed_over}"] if files.passed_over else [])
