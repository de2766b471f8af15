"""MNIST (LeCun, Cortes and Burges): 60,000 training and 10,000 test images of handwritten digits, 28 x 28."""

import gzip
import hashlib
import io
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from vaebench.core import input_files
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import write_atomic
from vaebench.core.paths import data_dir
from vaebench.datasets.images.files import files_under
from vaebench.datasets.images.recognising import is_hidden

# md5 of the raw idx content: compression differs between copies, the content does not
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MOST = 100 * input_files.MB  # the largest of the four has 47 MB
STEMS = {"train": "train", "test": "t10k"}
# the test images, one a class, that the MNIST article shows ("Deep feature consistent variational auto-encoder",
# section "Analyze blur of generated images")
ARTICLE_SELECTION = (5531, 2553, 1432, 4526, 9960, 6860, 6987, 3720, 5003, 9472)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise UserError(f"MNIST file {name} is not in {folder}: run 'vaebench fetch mnist' or set VAEBENCH_DATA")


def _read_verified(path: Path, md5: str) -> bytes:
    remedy = "replace it with 'vaebench fetch mnist --from FOLDER'"
    try:
        content = _unpacked(input_files.read_bytes(path, most=MOST, remedy=remedy))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}") from error
    if _md5(content) != md5:
        raise UserError(f"{path} is not the published MNIST file (md5 of its content differs): {remedy}")
    return content


def _unpacked(content: bytes) -> bytes:
    """Unpack what gzip has packed, whatever it is called; a small file may hold gigabytes of the same byte."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    return gzip.GzipFile(fileobj=io.BytesIO(content)).read(MOST + 1)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Mnist(DatasetSource):
    """The four idx files under ``VAEBENCH_DATA/mnist``, plain or .gz, verified by the md5 of their content."""

    name = "mnist"
    splits = ("train", "test")

    def load(self, split: str) -> ImageDataset:
        """Load images with labels; ids are ``train/00000`` to ``train/59999`` and ``test/00000`` to ``test/09999``."""
        folder, stem = data_dir() / "mnist", STEMS[split]
        arrays = []
        for name, header in ((f"{stem}-images-idx3-ubyte", 16), (f"{stem}-labels-idx1-ubyte", 8)):
            content = _read_verified(_find(folder, name), FILES[name])
            arrays.append(torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy()))
        images, labels = arrays[0].view(-1, 1, 28, 28), arrays[1].long()
        return ImageDataset(
            name=self.name,
            split=split,
            classifier="mnist_cnn/dense",
            images=images,
            ids=[f"{split}/{index:05d}" for index in range(len(images))],
            labels=labels,
            showcase=ARTICLE_SELECTION if split == "test" else (),
        )

    def fetch(self, source: Path | None) -> str:
        """Copy the four files, whatever they are called, from a folder or zip, or download them through torchvision."""
        target = data_dir() / "mnist"
        if source is None and _whole(target):
            return f"mnist: at hand and verified, in {target}"
        with tempfile.TemporaryDirectory() as scratch:
            contents = _by_content(self._download(Path(scratch)) if source is None else source)
        for name, content in contents.items():
            write_atomic(target / name, lambda temporary, content=content: temporary.write_bytes(content))  # type: ignore[misc]
        return f"mnist: 4 files verified, in {target}"

    def _download(self, scratch: Path) -> Path:
        from torchvision.datasets import MNIST  # noqa: PLC0415  (a second's import, needed by nothing else here)

        try:
            for train in (True, False):
                MNIST(scratch, train=train, download=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            advice = "copy the four idx files from elsewhere and run 'vaebench fetch mnist --from FOLDER'"
            raise UserError(f"MNIST could not be downloaded ({reason}): {advice}") from error
        return scratch / "MNIST" / "raw"


def _whole(folder: Path) -> bool:
    try:
        return all(_read_verified(_find(folder, name), md5) for name, md5 in FILES.items())
    except UserError:
        return False


def _by_content(source: Path) -> dict[str, bytes]:
    """Find the four files in a folder or zip, at whatever depth and under whatever names: their md5 decides.

    Raises:
        UserError: one of them is not there.
    """
    names = {md5: name for name, md5 in FILES.items()}
    found, damaged = {}, {}
    for where, content in _candidates(source):
        try:
            unpacked = _unpacked(content)
        except (OSError, EOFError, zlib.error) as error:
            damaged[where] = f"is damaged ({first_line(error)})"
            continue
        if name := names.get(_md5(unpacked)):
            found[name] = unpacked
        elif "ubyte" in where:
            damaged[where] = "is not the published file (md5 of its content differs)"
    missing = [name for name in FILES if name not in found]
    if missing:
        why = next((f"; {where} {reason}" for where, reason in damaged.items()), "")
        remedy = "give the folder or zip with the four idx files, or run 'vaebench fetch mnist' to download them"
        raise UserError(f"MNIST file {missing[0]} is not in {source}, under any name{why}: {remedy}")
    return {name: found[name] for name in FILES}


def _candidates(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file that may be one of the four."""
    if source.is_dir():
        for name, state in files_under(source).items():
            if state.st_size <= MOST:
                yield str(source / name), input_files.read_bytes(source / name, most=MOST, remedy="take it away")
        return
    if not source.is_file():
        raise UserError(f"{source} does not exist: give the folder or zip with the four idx files")
    try:
        with ZipFile(source) as archive:
            for info in archive.infolist():
                if not info.is_dir() and not is_hidden(info.filename) and info.file_size <= MOST:
                    yield f"{source}: {info.filename}", archive.read(info)
    except (OSError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
        raise UserError(f"{source} is no readable zip ({error}): give the folder with the idx files") from error
