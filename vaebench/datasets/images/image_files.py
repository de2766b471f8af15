"""Images that are not decoded yet, wherever they lie: names, how each is read, labels, and what else lies there."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vaebench.core.errors import UserError
from vaebench.core.processes import cores
from vaebench.datasets.images.files import digest_of
from vaebench.datasets.images.recognising import Recognised, readable

MOST_CLASSES = 100  # folders that are labels: of more, a table by label is no table
_SPLITS = {"train", "training", "val", "valid", "validation", "test"}
log = logging.getLogger(__name__)

Content = bytes | Image.Image  # an image file's, or a picture where pixels lie bare


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """Images that are not decoded yet.

    Attributes:
        path: where they lie.
        names: unique ids, in the order in which they are measured.
        read: name -> an image file's bytes, or a picture where pixels lie bare; from any thread. An OSError says why
            not.
        hashes: () -> name -> SHA-256 of its content.
        identity: changes when the content or the names do.
        labels: the class of each, where class folders or a column say it.
        classes: names of the classes, as ``labels`` count them.
        not_read: images of formats that Pillow does not read here.
        no_files: what has an image's name and is no regular file, such as a link that leads nowhere.
        passed_over: what else lies there, for people; empty for nothing.
    """

    path: Path
    names: Sequence[str]
    read: Callable[[str], Content]
    hashes: Callable[[], Mapping[str, str]]
    identity: str
    labels: Sequence[int] | None = None
    classes: Sequence[str] = ()
    not_read: Sequence[str] = ()
    no_files: Sequence[str] = ()
    passed_over: str = ""


def recognised_files(
    path: Path,
    found: Recognised,
    read: Callable[[str], bytes],
    identity: Callable[[], str] | None = None,
    hashes: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None,
) -> ImageFiles:
    """Make :class:`ImageFiles` of the recognised files of a folder or an archive.

    Args:
        path: where they lie.
        found: their names there.
        read: a file's name there -> its bytes.
        identity: of the whole, if it is known without the content of each.
        hashes: ids with names there -> SHA-256 of each; by default their content is read.

    Raises:
        UserError: no file is an image.
    """
    if not found.images:
        beside = f" (beside {found.passed_over()})" if found.passed_over() else ""
        raise UserError(f"{path} holds no image files{beside}: give a folder or an archive that does")
    places = {readable(name): name for name in found.images}
    if len(places) < len(found.images):
        raise UserError(f"{path} holds names that are alike once they are UTF-8 text: rename them")

    def read_named(name: str) -> bytes:
        return read(places[name])

    known = None if hashes is None else hashes(places)
    labels, classes = class_folders(list(places), path)
    assert known is not None or identity is not None
    return ImageFiles(
        path=path,
        names=list(places),
        read=read_named,
        hashes=lambda: contents_hashed(list(places), read_named) if known is None else known,
        identity=identity() if identity is not None else digest_of(known or {}, known or {}),
        labels=labels,
        classes=classes,
        not_read=found.not_read,
        passed_over=found.passed_over(),
    )


def contents_hashed(names: Sequence[str], read: Callable[[str], Content]) -> dict[str, str]:
    """Hash what each name stands for: a file's bytes, or a picture's pixels; what cannot be read has its name's."""

    def hashed(name: str) -> str:
        try:
            content = read(name)
        except OSError:
            content = name.encode(errors="backslashreplace")  # it is left out later, with the reason
        return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).hexdigest()

    with ThreadPoolExecutor(cores()) as pool:
        return dict(zip(names, pool.map(hashed, names), strict=True))


def class_folders(names: Sequence[str], where: Path) -> tuple[list[int] | None, list[str]]:
    """Read labels off class folders: the first folder of each path, where every image lies in one.

    Args:
        names: POSIX paths.
        where: they lie, for messages.

    Returns:
        The class of each and the classes' names; ``None`` and nothing where the folders are no classes: some images
        lie beside them, they are named as splits are, or there are more than ``MOST_CLASSES``.
    """
    parts = [name.split("/") for name in names]
    while all(len(part) > 1 for part in parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]  # one folder above them all says nothing
    if not all(len(part) > 1 for part in parts):
        return None, []
    classes = sorted({part[0] for part in parts})
    if {name.lower() for name in classes} <= _SPLITS:
        return None, []
    if len(classes) > MOST_CLASSES:
        log.info("%s: %s folders are more than the %s that are labels", where, f"{len(classes):,}", MOST_CLASSES)
        return None, []
    places = {name: position for position, name in enumerate(classes)}
    return [places[part[0]] for part in parts], classes
