"""CelebA (Liu, Luo, Wang and Tang 2015): aligned and cropped faces, 178 x 218, with 40 attributes.

From the published ``img_align_celeba.zip``, or the folder unpacked from it, whole or any subset of its images,
with ``list_attr_celeba.txt`` and ``list_eval_partition.txt``, all under ``VAEBENCH_DATA/celeba``; intervals take a
person's images together where ``identity_CelebA.txt`` lies there, too. The split is
the published one: 162,770 to train, 19,867 to validate, 19,962 to test.
"""

import logging
import re
import shutil
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from PIL import Image

from vaebench.core import input_files
from vaebench.core.dataset import DatasetSource, ImageDataset, checked_size
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import make_dir, write_atomic, write_text
from vaebench.core.paths import data_dir
from vaebench.datasets.celeba_lists import (
    ADVICE,
    ARCHIVE,
    ATTRIBUTES,
    IDENTITIES,
    PARTITION,
    as_published,
    read_attributes,
    read_identities,
    read_list,
    read_partition,
)
from vaebench.datasets.image_cache import Pictures, prepare
from vaebench.datasets.images.cropping import Box, cropped
from vaebench.datasets.images.file_hashes import hashes_of
from vaebench.datasets.images.files import digest_of, files_under, read_image
from vaebench.datasets.images.recognising import is_hidden

PUBLISHED = {"train": 162_770, "valid": 19_867, "test": 19_962}
FOLDER = "img_align_celeba"
SOURCE_SIZE, SIZE = (178, 218), 64  # (width, height) as published; side of what is made of it by default
LARGEST = 512  # side of what can be made of it: beyond the crop's own pixels it is enlarged, and gains no detail
_IMAGE = re.compile(r"[0-9]{6}\.jpg", re.IGNORECASE)
Files = tuple[Callable[[str], bytes], dict[str, object]]  # name -> bytes, from any thread; name -> the file's state
log = logging.getLogger(__name__)

# (left, top, right, bottom) in the published picture. FIDs of different crops do not compare.
CROPS: Mapping[str, Box] = {
    "celeba": (30, 40, 168, 178),  # 138 x 138: the DFC-VAE and DCGAN authors'
    "celeba-crop108": (35, 55, 143, 163),  # centred: DCGAN's TensorFlow form
    "celeba-crop140": (19, 39, 159, 179),  # centred: Wasserstein autoencoders
    "celeba-crop148": (15, 35, 163, 183),  # centred: ALI, PyTorch VAEs
    "celeba-crop178": (0, 20, 178, 198),  # centred: the widest square
}


class NoImages(UserError):
    """A subset of CelebA holds no image of a split."""


class CelebA(DatasetSource):
    """One crop of CelebA, scaled by Pillow's bicubic filter, which is antialiased.

    Args:
        name: of the crop.
        size: height and width of the prepared images, 16 to 512. All of CelebA takes 2.5 GB of disk at 64, 10 GB at
            128 and 40 GB at 256.
    """

    splits = tuple(PUBLISHED)

    def __init__(self, name: str, size: int = SIZE) -> None:
        self.name, self.size = name, checked_size(size, LARGEST)

    def load(self, split: str) -> ImageDataset:
        """Load images with attributes; ids are the published file names. Images are prepared once, into the cache."""
        folder = data_dir() / "celeba"
        found = _find(folder)
        if found is None:
            raise UserError(f"CelebA is not in {folder} ({ARCHIVE} or {FOLDER}/): {ADVICE}, or set VAEBENCH_DATA")
        read, states = found
        partition = read_partition(folder / PARTITION)
        rows, names, values = read_attributes(folder / ATTRIBUTES)
        known = partition.keys() & rows.keys()
        strays = [name for name in states if name not in known]
        if strays:
            counted = f"{len(strays):,} images have no line in {ATTRIBUTES} or {PARTITION} and are left out"
            log.warning("%s: %s: %s%s", self.name, counted, ", ".join(strays[:3]), " …" if len(strays) > 3 else "")
        wanted = [name for name in sorted(states) if name in known and partition[name] == split]
        if not wanted:
            raise NoImages(f"{folder} holds no image of CelebA's {split} split: add some of them")
        box = CROPS[self.name]
        made = prepare(
            Pictures(
                name=f"{self.name}/{split}",
                names=wanted,
                identity=f"celeba bicubic {box} {digest_of(wanted, states)}",
                size=(self.size, self.size),
                read=read,
                fit=partial(_cropped, box=box, size=self.size),
            )
        )
        return ImageDataset(
            name=self.name,
            split=split,
            images=made.images,
            ids=made.names,
            attributes=torch.from_numpy(values[[rows[name] for name in made.names]]),
            attribute_names=names,
            people=_people(folder / IDENTITIES, made.names),
            note=_note(split, len(made.names), len(states)),
            redistributable=False,  # for non-commercial research only, not to be republished
        )

    def fetch(self, source: Path | None) -> str:
        """Import an archive or folder with its two lists, or download them where none are there; then prepare."""
        target = data_dir() / "celeba"
        lists_here = all((target / name).is_file() for name in (ATTRIBUTES, PARTITION))
        if source is not None:
            _import(source, target)
        elif not lists_here or _find(target) is None:
            _download(target)
        counts = [f"{self._count(split):,} {split}" for split in self.splits]
        return f"{self.name}: {', '.join(counts)} images prepared, from {target}"

    def _count(self, split: str) -> int:
        """Prepare a split and count its images: none, where a subset of CelebA has none of it."""
        try:
            return len(self.load(split))
        except NoImages:
            return 0


def _people(path: Path, names: Sequence[str]) -> torch.Tensor | None:
    """Return the person on each image, if the list of identities is at hand and knows them all."""
    if not path.is_file():
        return None
    identities = read_identities(path)
    missing = sum(name not in identities for name in names)
    if missing:
        log.warning("%s has no line of %s images: identities are left out", path, f"{missing:,}")
        return None
    return torch.tensor([identities[name] for name in names])


def celeba(size: int = SIZE) -> CelebA:
    """CelebA in the 138 x 138 crop of the DFC-VAE and DCGAN authors."""
    return CelebA("celeba", size)


def celeba_crop108(size: int = SIZE) -> CelebA:
    """CelebA in the centred 108 x 108 crop."""
    return CelebA("celeba-crop108", size)


def celeba_crop140(size: int = SIZE) -> CelebA:
    """CelebA in the centred 140 x 140 crop."""
    return CelebA("celeba-crop140", size)


def celeba_crop148(size: int = SIZE) -> CelebA:
    """CelebA in the centred 148 x 148 crop."""
    return CelebA("celeba-crop148", size)


def celeba_crop178(size: int = SIZE) -> CelebA:
    """CelebA in the centred 178 x 178 crop."""
    return CelebA("celeba-crop178", size)


def _cropped(picture: Image.Image, box: Box, size: int = SIZE) -> Image.Image:
    if picture.size != SOURCE_SIZE:
        raise ValueError(f"{picture.width} x {picture.height} pixels, not 178 x 218: no aligned CelebA image")
    return cropped(picture, box, (size, size))


def _note(split: str, here: int, images: int) -> str:
    if here == PUBLISHED[split]:
        return ""
    total = sum(PUBLISHED.values())
    return f"subset: {here:,} of the {PUBLISHED[split]:,} {split} images, from {images:,} of CelebA's {total:,}"


def _find(folder: Path) -> Files | None:
    """Find the images in a folder's archive, or else in the folder unpacked from it, at whatever depth."""
    archive, unpacked = folder / ARCHIVE, folder / FOLDER
    if archive.is_file():
        return _in_archive(archive)
    if not unpacked.is_dir():
        return None
    files = {path: state for path, state in files_under(unpacked).items() if _IMAGE.fullmatch(_bare(path))}
    hashes = hashes_of(unpacked, files)
    places = {_bare(path).lower(): path for path in files}
    return lambda name: read_image(unpacked / places[name]), {name: hashes[path] for name, path in places.items()}


def _bare(path: str) -> str:
    return path.rpartition("/")[2]


def _in_archive(archive: Path) -> Files:
    try:
        opened = ZipFile(archive)
    except (OSError, BadZipFile) as error:
        raise UserError(f"{archive} is no readable zip ({first_line(error)}): replace it; {ADVICE}") from error
    members = {_bare(info.filename).lower(): info for info in opened.infolist() if not is_hidden(info.filename)}
    members = {name: info for name, info in members.items() if _IMAGE.fullmatch(name)}
    for name, info in members.items():
        input_files.check_size(f"{archive}: {name} holds", info.file_size, input_files.IMAGE, ADVICE)
    lock = threading.Lock()  # reading holds the interpreter anyway; decoding, which does not, lies outside

    def read(name: str) -> bytes:
        try:
            with lock:
                content: bytes = opened.read(members[name])
        except (BadZipFile, EOFError, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted
            raise OSError(f"damaged in the archive: {first_line(error)}") from error
        return content

    return read, {name: info.CRC for name, info in members.items()}


def _import(source: Path, target: Path) -> None:
    """Read everything, then place it: an archive as it is, a folder's images as an archive, lists as published."""
    if not source.exists():
        raise UserError(f"{source} does not exist: give {ARCHIVE} or the folder that holds it")
    folder = source.parent if source.is_file() or source.name == FOLDER else source
    if source.is_dir() and (folder / "celeba").is_dir():
        folder = folder / "celeba"
    if folder.resolve() == target.resolve() and (source.is_dir() or source.name == ARCHIVE):
        return
    found = _in_archive(source) if source.is_file() else _find(folder)
    if found is None or not found[1]:
        raise UserError(f"{source} holds no image of CelebA, in neither {ARCHIVE} nor {FOLDER}/: give what does")
    lists = {name: _list_as_published(name, source, folder, target) for name in (ATTRIBUTES, PARTITION, IDENTITIES)}
    archive = source if source.is_file() else folder / ARCHIVE
    if archive.is_file():
        write_atomic(target / ARCHIVE, partial(shutil.copyfile, archive))
    else:
        write_atomic(target / ARCHIVE, partial(_pack, *found))
    for name, text in lists.items():
        if text is not None:
            write_text(target / name, text)


def _list_as_published(name: str, source: Path, folder: Path, target: Path) -> str | None:
    """Find a list beside the images, in their archive, or where it was imported before; as text in the published form.

    Kaggle's copy has lists of comma-separated values. ``None`` where there are no identities, which few have.
    """
    stated = None
    for place in (folder / name, (folder / name).with_suffix(".csv")):
        if place.is_file():
            stated = as_published(name, read_list(place), str(place))
            break
    if stated is None and source.is_file():
        stated = _list_in_archive(name, source)
    if stated is None and (target / name).is_file():
        stated = as_published(name, read_list(target / name), str(target / name))
    if stated is None and name != IDENTITIES:
        kaggle = Path(name).with_suffix(".csv")
        raise UserError(f"neither {name} nor {kaggle} is in {folder}: put it there, beside the images")
    return stated


def _list_in_archive(name: str, archive: Path) -> str | None:
    """Read a list that lies in the archive with the images."""
    wanted = {name, str(Path(name).with_suffix(".csv"))}
    with ZipFile(archive) as opened:
        for info in opened.infolist():
            if _bare(info.filename) in wanted:
                where = f"{archive}: {info.filename}"
                input_files.check_size(f"{where} holds", info.file_size, input_files.LOG, ADVICE)
                try:
                    return as_published(name, opened.read(info).decode("utf-8-sig").splitlines(), where)
                except (BadZipFile, EOFError, zlib.error, RuntimeError, UnicodeDecodeError) as error:
                    raise UserError(f"{where} cannot be read ({first_line(error)}): {ADVICE}") from error
    return None


def _pack(read: Callable[[str], bytes], states: Mapping[str, object], archive: Path) -> None:
    with ZipFile(archive, "w") as out:  # stored: JPEGs do not shrink
        for name in sorted(states):
            try:
                content = read(name)
            except OSError as error:
                raise UserError(f"{name} cannot be read ({error.strerror}): make it readable") from error
            out.writestr(f"{FOLDER}/{name}", content)


def _download(target: Path) -> None:
    """Download through torchvision, which asks Google Drive; its quota for this file is usually spent.

    What it got before it failed is kept, and a later call goes on from there.
    """
    from torchvision.datasets import CelebA as Published  # noqa: PLC0415  (a second's import)

    scratch = make_dir(target / "download")
    try:
        Published(str(scratch), split="all", download=True)
    except Exception as error:  # torchvision, gdown and urllib each raise their own
        raise UserError(f"CelebA could not be downloaded ({first_line(error)}): {ADVICE}") from error
    for name in (ARCHIVE, ATTRIBUTES, PARTITION, IDENTITIES):
        if name != IDENTITIES or (scratch / "celeba" / name).exists():
            (scratch / "celeba" / name).replace(target / name)
    shutil.rmtree(scratch)
