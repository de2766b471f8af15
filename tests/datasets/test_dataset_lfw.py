"""Labeled Faces in the Wild: from folders and tars of every layout, split by person, imported and downloaded."""

import hashlib
import io
import logging
import os
import socket
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.datasets import lfw as module
from vaebench.datasets.lfw import LFW
from vaebench.testing import check_dataset

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def warnings_only(caplog):
    """Whatever other tests left the program's log at."""
    caplog.set_level(logging.WARNING, logger="vaebench")


def person_split(person):
    tenth = int(hashlib.sha256(person.encode()).hexdigest()[:15], 16) % 10
    return (["train"] * 8 + ["valid", "test"])[tenth]


def people():
    """Names of two people for each split."""
    names, found = (f"Ann-Marie_O'Nym_{chr(65 + index // 26)}{index % 26}" for index in range(500)), {}
    for name in names:
        if len(found.setdefault(person_split(name), [])) < 2:
            found[person_split(name)].append(name)
    return found


PEOPLE = people()


def jpeg(seed, side=250):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    packed = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(packed, "jpeg")
    return packed.getvalue()


def contents():
    """Id -> the file's bytes: one or two images of each person."""
    names = [f"{person}/{person}_{k:04d}.jpg" for split in SPLITS for person in PEOPLE[split] for k in (1, 2)]
    names = [name for name in names if not name.endswith(f"{PEOPLE['train'][0]}_0002.jpg")]
    return {name: jpeg(seed) for seed, name in enumerate(names)}


CONTENTS = contents()


def lay(folder, images=None):
    for name, content in (CONTENTS if images is None else images).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def lay_tar(path, images=None, above="lfw/", mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode or ("w" if path.suffix == ".tar" else "w:gz")) as out:
        for name, content in (CONTENTS if images is None else images).items():
            info = tarfile.TarInfo(above + name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo(f"{above}pairs_01.txt")
        out.addfile(info)
    return path


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def home(places):
    """Where vaebench keeps LFW in this test."""
    return places / "data" / "lfw"


LAYOUTS = {
    "direct": lay,
    "lfw": lambda home: lay(home / "lfw"),
    "funneled": lambda home: lay(home / "lfw_funneled"),
    "deep-funneled": lambda home: lay(home / "lfw-deepfunneled"),
    "nested": lambda home: lay(home / "lfw-deepfunneled" / "lfw-deepfunneled"),
    "lfw.tgz": lambda home: lay_tar(home / "lfw.tgz"),
    "lfw-funneled.tgz": lambda home: lay_tar(home / "lfw-funneled.tgz", above="lfw_funneled/"),
    "lfw.tar": lambda home: lay_tar(home / "lfw.tar"),
    "tar without a folder": lambda home: lay_tar(home / "lfw.tar", above="./"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_load(home, layout):
    LAYOUTS[layout](home)
    total = 0
    for split in SPLITS:
        data = LFW(size=32).load(split)
        assert data.ids == sorted(name for name in CONTENTS if person_split(name.split("/")[0]) == split)
        assert {name.split("/")[0] for name in data.ids} == set(PEOPLE[split])
        for name, image in zip(data.ids, data.images, strict=True):
            with Image.open(io.BytesIO(CONTENTS[name])) as picture:
                expected = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
        assert data.note == f"subset: {len(data)} {split} images, from {len(CONTENTS)} of LFW's 13,233"
        assert data.labels is None and data.attributes is None
        total += len(data)
    assert total == len(CONTENTS)


def test_published_size_keeps_the_pixels(home):
    lay(home)
    data = LFW(size=250).load("test")
    with Image.open(io.BytesIO(CONTENTS[data.ids[0]])) as picture:
        assert np.array_equal(data.images[0].permute(1, 2, 0).numpy(), np.asarray(picture))


def test_a_little_more_than_the_published_size_is_enlarged(home):
    lay(home)
    assert LFW(size=256).load("test").image_shape == (3, 256, 256)


def test_conformance(home):
    lay(home)
    check_dataset(LFW(size=16))


def test_complete_data_need_no_note(home, monkeypatch):
    monkeypatch.setattr(module, "PUBLISHED", len(CONTENTS))
    lay(home)
    assert LFW(size=16).load("test").note == ""


@pytest.mark.parametrize("size", [15, 257, 0])
def test_size_out_of_range(size):
    with pytest.raises(UserError, match="give 16 to 256"):
        LFW(size=size)


def test_not_there(home):
    for _ in range(2):
        with pytest.raises(UserError, match=f"LFW is not in {home}: run 'vaebench fetch lfw'"):
            LFW().load("train")
        home.mkdir(parents=True, exist_ok=True)


def test_a_split_without_people(home):
    lay(home, {name: content for name, content in CONTENTS.items() if person_split(name.split("/")[0]) == "train"})
    with pytest.raises(UserError, match="holds 3 of LFW's images, none in the valid split"):
        LFW().load("valid")


def test_corrupt_and_foreign_images_are_named_and_left_out(home, caplog):
    bad = {
        f"{person}/{person}_0009.jpg": content
        for person, content in zip(PEOPLE["test"], (b"", jpeg(0, 64)), strict=False)
    }
    lay(home, CONTENTS | bad)
    data = LFW(size=16).load("test")
    assert not set(bad) & set(data.ids) and len(data) == 4
    assert "2 of 6 images cannot be read" in caplog.text and "64 x 64 pixels, not 250 x 250" in caplog.text


def test_other_files_are_passed_over(home):
    lay(home)
    person = PEOPLE["test"][0]
    for name in (
        "README.jpg",
        f"{person}/other_0001.jpg",
        f"{person}/{person}_1.jpg",
        ".x/.x_0001.jpg",
        f"{person}/{person}_0001.png",
    ):
        lay(home, {name: jpeg(1)})
    assert sum(len(LFW(size=16).load(split)) for split in SPLITS) == len(CONTENTS)


def test_people_directly_come_before_deeper_ones(home):
    lay(home)
    lay(home / "lfw_funneled", {name: jpeg(77) for name in CONTENTS})
    with Image.open(io.BytesIO(CONTENTS[(data := LFW(size=250).load("test")).ids[0]])) as picture:
        assert np.array_equal(data.images[0].permute(1, 2, 0).numpy(), np.asarray(picture))


def dangerous_tar(path):
    """A tar that would write outside, and one image of ours."""
    person = PEOPLE["train"][0]
    names = {
        f"../../{person}/{person}_0001.jpg": jpeg(1),
        "/etc/etc_0001.jpg": jpeg(2),
        "lfw/../../outside.jpg": jpeg(3),
        "lfw/../.._0001.jpg": jpeg(4),
        "lfw/..\\up/..\\up_0001.jpg": jpeg(5),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as out:
        for name, content in (names | {f"lfw/{name}": content for name, content in CONTENTS.items()}).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"lfw/Eve_{ord(kind)}/Eve_{ord(kind)}_0001.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
    return path


def test_nothing_is_written_outside(home, tmp_path, places):
    source = dangerous_tar(tmp_path / "from" / "lfw.tgz")
    LFW(size=16).fetch(source)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg")}
    assert written == {f"data/lfw/{name}" for name in CONTENTS} | {"data/lfw/etc/etc_0001.jpg"}
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def from_tgz(tmp_path):
    return lay_tar(tmp_path / "from" / "any name.tar.gz")


def from_tar(tmp_path):
    return lay_tar(tmp_path / "from" / "x.tar")


def from_people(tmp_path):
    return lay(tmp_path / "from")


def from_folder_above(tmp_path):
    return lay(tmp_path / "from" / "lfw_funneled").parent


def from_folder_with_tar(tmp_path):
    return lay_tar(tmp_path / "from" / "lfw.tgz").parent


@pytest.mark.parametrize("form", [from_tgz, from_tar, from_people, from_folder_above, from_folder_with_tar])
def test_import(home, tmp_path, form):
    said = LFW(size=16).fetch(form(tmp_path))
    assert said == f"lfw: 3 train, 4 valid, 4 test images prepared, from {home}"
    assert snapshot(home) == CONTENTS


def test_import_replaces_the_people_and_nothing_else(home, tmp_path):
    lay(
        home,
        {name: jpeg(99) for name in CONTENTS} | {"Gone_Person/Gone_Person_0001.jpg": jpeg(1), "mine/notes.txt": b"x"},
    )
    lay_tar(home / "lfw.tgz")
    LFW(size=16).fetch(home / "lfw.tgz")
    after = snapshot(home)
    assert after.pop("mine/notes.txt") == b"x" and after.pop("lfw.tgz")
    assert after == CONTENTS


def test_import_from_where_it_lies(home):
    lay(home)
    LFW(size=16).fetch(home)
    assert snapshot(home) == CONTENTS


def no_such(tmp_path):
    return tmp_path / "absent"


def empty_folder(tmp_path):
    (tmp_path / "from").mkdir()
    return tmp_path / "from"


def folder_of_others(tmp_path):
    return lay(tmp_path / "from", {"a/b.jpg": jpeg(1)})


def no_tar(tmp_path):
    (tmp_path / "lfw.tgz").write_text("<html>404</html>")
    return tmp_path / "lfw.tgz"


def tar_of_others(tmp_path):
    return lay_tar(tmp_path / "lfw.tgz", {"a/b.jpg": jpeg(1)})


def truncated_tgz(tmp_path):
    path = from_tgz(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def corrupt_tgz(tmp_path):
    path = from_tgz(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[5000:5100] = bytes(100)
    path.write_bytes(bytes(raw))
    return path


def tar_with_a_damaged_header(tmp_path):
    path = lay_tar(tmp_path / "lfw.tar")
    raw = bytearray(path.read_bytes())
    at = raw.find(list(CONTENTS)[5].encode())
    raw[at : at + 512] = bytes(range(256)) * 2
    path.write_bytes(bytes(raw))
    return path


def truncated_tar(tmp_path):
    path = lay_tar(tmp_path / "lfw.tar", above="")
    path.write_bytes(path.read_bytes()[: sum(map(len, CONTENTS.values())) // 2])
    return path


BAD_SOURCES = [
    no_such,
    empty_folder,
    folder_of_others,
    no_tar,
    tar_of_others,
    truncated_tgz,
    corrupt_tgz,
    tar_with_a_damaged_header,
    truncated_tar,
]


@pytest.mark.parametrize("source", BAD_SOURCES)
def test_a_failed_import_is_one_line_and_good_files_survive(home, tmp_path, source):
    lay(home)
    with pytest.raises(UserError) as raised:
        LFW().fetch(source(tmp_path))
    assert "\n" not in str(raised.value)
    assert snapshot(home) == CONTENTS


def test_a_full_disk_leaves_the_old_images(home, tmp_path, monkeypatch):
    lay(home)
    source = lay_tar(tmp_path / "lfw.tgz", {name: jpeg(5) for name in CONTENTS})
    write, written = Path.write_bytes, []

    def limited(path, content):
        written.append(path)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", limited)
    with pytest.raises(UserError, match=r"cannot import into .* \(No space left on device\)"):
        LFW().fetch(source)
    assert snapshot(home) == CONTENTS


@pytest.mark.parametrize("name", ["lfw.tgz", "lfw.tar"])
def test_a_damaged_tar_in_place_is_one_line(home, name):
    path = lay_tar(home / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=f"{name} is no readable tar"):
        LFW().load("train")


def test_download(home, monkeypatch):
    """scikit-learn leaves data_home/lfw_home/lfw, and is asked for the images of one person only."""
    asked = {}

    def published(*, data_home, **options):
        asked.update(options)
        lay(Path(data_home) / "lfw_home" / "lfw")
        (Path(data_home) / "lfw_home" / "pairs.txt").write_text("10 300")

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", published)
    LFW(size=16).fetch(None)
    assert snapshot(home) == CONTENTS
    assert asked == {"funneled": False, "download_if_missing": True, "min_faces_per_person": 530}
    assert [path.name for path in home.parent.iterdir()] == ["lfw"]


def test_what_is_there_is_not_downloaded(home, monkeypatch):
    monkeypatch.delattr(sklearn.datasets, "fetch_lfw_people")
    lay_tar(home / "lfw.tgz")
    assert LFW(size=16).fetch(None).startswith("lfw: 3 train, 4 valid, 4 test images")


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution")),
        OSError("lfw.tgz has an SHA256 checksum (1) differing from expected (2), file may be corrupted."),
        ValueError("first line\nsecond line"),
        TimeoutError(),
    ],
)
def test_a_failed_download_ends_in_advice(home, monkeypatch, error):
    def refused(**options):
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", refused)
    with pytest.raises(
        UserError, match=r"LFW could not be downloaded \(.+\): get lfw\.tgz.* 'vaebench fetch lfw"
    ) as raised:
        LFW().fetch(None)
    assert "\n" not in str(raised.value)
    assert list(home.parent.iterdir()) == []


def test_the_real_lfw(places, monkeypatch):
    given = os.environ.get("VAEBENCH_TEST_LFW")
    if not given or not (Path(given) / "lfw").is_dir():
        pytest.skip("no LFW: set VAEBENCH_TEST_LFW to a folder that holds lfw/")
    monkeypatch.setenv("VAEBENCH_DATA", given)
    data = [LFW().load(split) for split in SPLITS]
    assert sum(map(len, data)) == 13_233
    assert [one.note for one in data] == ["", "", ""]
    assert len({name.split("/")[0] for one in data for name in one.ids}) == 5_749
