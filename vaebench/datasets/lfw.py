"""Labeled Faces in the Wild (Huang, Ramesh, Berg and Learned-Miller 2007): 13,233 faces of 5,749 people, 250 x 250.

Under ``VAEBENCH_DATA/lfw``: a folder for each person (as published, funneled or deep-funneled), or the tar of them.
"""

import hashlib
import logging
import os
import re
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from vaebench.core import input_files
from vaebench.core.dataset import DatasetSource, ImageDataset, checked_size
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import make_dir
from vaebench.core.paths import data_dir
from vaebench.datasets.image_cache import Pictures, prepare
from vaebench.datasets.images.archives import require_end
from vaebench.datasets.images.file_hashes import hashes_of
from vaebench.datasets.images.files import digest_of, files_under, read_image, split_of

PUBLISHED, SIDE, LARGEST = 13_233, 250, 256  # images; their side; the largest side to prepare
MOST_PICTURED = 530  # images of George W Bush: asked for this many of each person, scikit-learn reads no one else's
ARCHIVES = ("lfw.tgz", "lfw-funneled.tgz", "lfw-deepfunneled.tgz", "lfw.tar", "lfw.tar.gz")
_IMAGE = re.compile(r"(?:(?P<above>.*)/)?(?P<id>(?P<person>\w[\w'.-]*)/(?P=person)_\d{4}\.jpg)")
_MOST = 2_000 * input_files.MB  # of the images in an archive, which are held in memory: LFW has 180 MB
_ADVICE = "get lfw.tgz or the folder unpacked from it elsewhere, then 'vaebench fetch lfw --from FILE_OR_FOLDER'"
Files = tuple[Callable[[str], bytes], dict[str, object]]  # image id -> bytes, from any thread; id -> the file's state
log = logging.getLogger(__name__)


class LFW(DatasetSource):
    """Whole images, scaled by Pillow's bicubic filter, which is antialiased.

    Args:
        size: height and width of the prepared images, 16 to 256; 250 keeps the published pixels.

    A person's split follows from the name, so that none stands in two: 80% of the people to train, 10% to validate,
    10% to test.
    """

    name = "lfw"
    splits = ("train", "valid", "test")

    def __init__(self, size: int = 64) -> None:
        self.size = checked_size(size, LARGEST)

    def load(self, split: str) -> ImageDataset:
        """Load images whose ids are ``PERSON/PERSON_0001.jpg``, sorted. They are prepared once, into the cache."""
        folder = data_dir() / "lfw"
        found = _find(folder)
        if found is None:
            raise UserError(f"LFW is not in {folder}: run 'vaebench fetch lfw' or set VAEBENCH_DATA; or {_ADVICE}")
        read, states = found
        wanted = [name for name in states if _split_of_person(name) == split]
        if not wanted:
            raise UserError(f"{folder} holds {len(states):,} of LFW's images, none in the {split} split: add people")
        made = prepare(
            Pictures(
                name=f"{self.name}/{split}",
                names=wanted,
                identity=f"lfw whole bicubic {digest_of(wanted, states)}",
                size=(self.size, self.size),
                read=read,
                fit=partial(_scaled, size=self.size),
            )
        )
        whole = len(states) == PUBLISHED and len(made.names) == len(wanted)
        subset = f"subset: {len(made.names):,} {split} images, from {len(states):,} of LFW's {PUBLISHED:,}"
        people = {person: number for number, person in enumerate(dict.fromkeys(map(_person, made.names)))}
        return ImageDataset(
            name=self.name,
            split=split,
            images=made.images,
            ids=made.names,
            people=torch.tensor([people[_person(name)] for name in made.names]),
            note="" if whole else subset,
        )

    def fetch(self, source: Path | None) -> str:
        """Unpack a tar, copy a folder, or download through scikit-learn where nothing is there; then prepare."""
        target = data_dir() / "lfw"
        if source is None and _find(target) is None:
            with tempfile.TemporaryDirectory(dir=make_dir(data_dir()), prefix=".lfw.") as scratch:
                _place(_download(Path(scratch)), target)
        elif source is not None and source.resolve() != target.resolve():
            _place(_opened(source), target)
        counts = ", ".join(f"{len(self.load(split)):,} {split}" for split in self.splits)
        return f"{self.name}: {counts} images prepared, from {target}"


def _person(name: str) -> str:
    return name.partition("/")[0]


def _split_of_person(name: str) -> str:
    return split_of(hashlib.sha256(_person(name).encode()).hexdigest())


def _scaled(picture: Image.Image, size: int) -> Image.Image:
    if picture.size != (SIDE, SIDE):
        raise ValueError(f"{picture.width} x {picture.height} pixels, not {SIDE} x {SIDE}: no LFW image")
    return picture.resize((size, size), Image.Resampling.BICUBIC)


def _find(folder: Path) -> Files | None:
    """Find the images in a folder of people, at whatever depth, or in a tar in it."""
    if not folder.is_dir():
        return None
    sets: dict[str, dict[str, os.stat_result]] = {}
    for path, state in files_under(folder).items():
        matched = _IMAGE.fullmatch(path)
        if matched:
            sets.setdefault(matched["above"] or "", {})[matched["id"]] = state
    if sets:
        first = min(sets, key=lambda above: (above.count("/") + bool(above), above))
        return lambda name: read_image(folder / first / name), dict(hashes_of(folder / first, sets[first]))
    archive = next((folder / name for name in ARCHIVES if (folder / name).is_file()), None)
    return _in_tar(archive) if archive else None


def _opened(source: Path) -> Files:
    """Open the images of what a user names."""
    if not source.exists():
        raise UserError(f"{source} does not exist: give lfw.tgz or the folder unpacked from it")
    found = _in_tar(source) if source.is_file() else _find(source)
    if found is None:
        raise UserError(f"{source} holds neither PERSON/PERSON_0001.jpg nor {ARCHIVES[0]}: give the folder that does")
    return found


def _in_tar(archive: Path) -> Files:
    """Read the images in a tar, compressed or not. Nothing is extracted; the first read takes them all into memory."""
    members: dict[str, tarfile.TarInfo] = {}
    contents: dict[str, bytes] = {}
    lock = threading.Lock()
    try:
        with tarfile.open(archive) as opened:
            for info in opened:
                matched = _IMAGE.fullmatch(info.name)
                if matched and info.isreg():
                    members[matched["id"]] = info
            require_end(opened)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:  # reads a compressed tar to its end
        raise UserError(f"{archive} is no readable tar ({first_line(error)}): replace it; {_ADVICE}") from error
    input_files.check_size(f"{archive}: its images hold", sum(info.size for info in members.values()), _MOST, _ADVICE)
    if not members:
        raise UserError(f"{archive} holds no PERSON/PERSON_0001.jpg: {_ADVICE}")

    def read(name: str) -> bytes:
        with lock:
            if not contents:
                contents.update(_contents(archive, members))
        return contents[name]

    return read, {name: (members[name].size, members[name].mtime) for name in sorted(members)}


def _contents(archive: Path, members: Mapping[str, tarfile.TarInfo]) -> dict[str, bytes]:
    contents = {}
    with tarfile.open(archive) as opened:
        for name, info in sorted(members.items(), key=lambda member: member[1].offset):
            file = opened.extractfile(info)
            assert file is not None
            contents[name] = file.read()
    return contents


def _place(found: Files, target: Path) -> None:
    """Write the images as ``target/PERSON/NAME.jpg``, in place of those there; a failure leaves the old ones."""
    read, states = found
    make_dir(target)
    try:
        with tempfile.TemporaryDirectory(dir=target, prefix=".import.") as scratch:
            new, old = Path(scratch, "new"), Path(scratch, "old")
            for name in states:
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(read(name))
            old.mkdir()
            for path in files_under(target):
                person = target / path.partition("/")[0]
                if _IMAGE.fullmatch(path) and path.count("/") == 1 and person.exists():
                    person.rename(old / person.name)
            for person in new.iterdir():
                person.rename(target / person.name)
    except OSError as error:
        raise UserError(f"cannot import into {target} ({error.strerror}): free some space or mend that") from error


def _download(scratch: Path) -> Files:
    """Download through scikit-learn, which verifies the published archive and unpacks it."""
    from sklearn.datasets import fetch_lfw_people  # noqa: PLC0415  (a second's import)

    try:
        fetch_lfw_people(
            data_home=scratch, funneled=False, download_if_missing=True, min_faces_per_person=MOST_PICTURED
        )
    except Exception as error:  # scikit-learn, urllib and tarfile each raise their own
        raise UserError(f"LFW could not be downloaded ({first_line(error)}): {_ADVICE}") from error
    return _opened(scratch / "lfw_home")
