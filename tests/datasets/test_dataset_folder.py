"""Anyone's folder: every kind of picture, a split that follows from content, and attributes that are checked."""

import csv
import hashlib
import json
import logging
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.datasets.folder import Folder, _table
from vaebench.datasets.images import file_hashes as module
from vaebench.datasets.images import folders
from vaebench.datasets.images.files import split_of, walk
from vaebench.datasets.images.folders import in_folder
from vaebench.datasets.images.preparation import centre_square
from vaebench.testing import check_dataset

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def warnings_only(caplog):
    """Whatever other tests left the program's log at."""
    caplog.set_level(logging.WARNING, logger="vaebench")


def noise(seed, height=20, width=20):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def independent_split(content):
    return ["train"] * 8 + ["valid", "test"], int(hashlib.sha256(content).hexdigest()[:15], 16) % 10


def in_split(split, kind="png", start=0, make=noise):
    """Bytes of a picture that falls into a split."""
    for seed in range(start, start + 1000):
        packed = BytesIO()
        Image.fromarray(make(seed)).save(packed, kind)
        names, tenth = independent_split(packed.getvalue())
        if names[tenth] == split:
            return packed.getvalue()
    raise AssertionError


@pytest.fixture
def home(tmp_path):
    """Thirty pictures in two levels, some in each split."""
    folder = tmp_path / "flowers"
    for index in range(10):
        save(folder / f"{index:02d}.png", Image.fromarray(noise(index)))
        save(folder / "more" / "deep" / f"{index:02d}.png", Image.fromarray(noise(100 + index)))
    for offset, split in enumerate(SPLITS):
        (folder / f"sure_{split}.png").write_bytes(in_split(split, start=1000 * (offset + 1)))
    return folder


def everything(folder, **options):
    """Id -> (split, image) over all splits."""
    found = {}
    for split in SPLITS:
        data = Folder(path=str(folder), size=16, **options).load(split)
        assert data.split == split and data.name == "folder"
        found |= {name: (split, image) for name, image in zip(data.ids, data.images, strict=True)}
    return found


def test_every_image_stands_in_one_split_by_its_posix_path(home):
    data = {split: Folder(path=str(home), size=16).load(split) for split in SPLITS}
    ids = [name for split in SPLITS for name in data[split].ids]
    assert sorted(ids) == sorted(path.relative_to(home).as_posix() for path in home.rglob("*.png"))
    for split in SPLITS:
        assert data[split].ids == sorted(data[split].ids)
        assert data[split].images.shape == (len(data[split].ids), 3, 16, 16)
        assert data[split].attributes is None and data[split].labels is None
        plural = "s" * (len(data[split]) != 1)
        assert data[split].note == f"{len(data[split]):,} image{plural} of flowers"
        for name in data[split].ids:
            names, tenth = independent_split((home / name).read_bytes())
            assert names[tenth] == split


def test_conformance(home):
    check_dataset(Folder(path=str(home), size=16))


def test_shares_of_the_split():
    digests = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(20_000)]
    counts = {split: sum(split_of(digest) == split for digest in digests) for split in SPLITS}
    for split, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
        assert abs(counts[split] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_more_files_move_none_and_copies_fall_together(home):
    before = {name: split for name, (split, _) in everything(home).items()}
    (home / "copy.png").write_bytes((home / "sure_test.png").read_bytes())
    for index in range(5):
        save(home / f"added_{index}.png", Image.fromarray(noise(500 + index)))
    after = {name: split for name, (split, _) in everything(home).items()}
    assert {name: after[name] for name in before} == before
    assert after["copy.png"] == "test"


def test_moving_the_folder_changes_nothing(home, tmp_path):
    before = Folder(path=str(home), size=16).load("train")
    moved = home.rename(tmp_path / "moved")
    after = Folder(path=str(moved), size=16).load("train")
    assert before.fingerprint == after.fingerprint


def test_home_and_relative_paths(home, monkeypatch):
    expected = Folder(path=str(home), size=16).load("train").fingerprint
    monkeypatch.chdir(home.parent)
    assert Folder(path="flowers", size=16).load("train").fingerprint == expected
    monkeypatch.chdir(home)
    assert Folder(path=".", size=16).load("train").note.endswith("of flowers")
    monkeypatch.setenv("HOME", str(home.parent))
    assert Folder(path="~/flowers", size=16).load("train").fingerprint == expected


@pytest.mark.parametrize(("height", "width"), [(50, 31), (31, 50), (40, 40), (17, 90)])
def test_crop_and_scale_are_pixel_exact(height, width):
    source = noise(3, height, width)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(source[top : top + side, left : left + side])
    expected = np.asarray(square.resize((24, 24), Image.Resampling.BICUBIC))
    assert np.array_equal(np.asarray(centre_square(Image.fromarray(source), 24)), expected)


def test_scaling_down_is_antialiased():
    """A checkerboard of single pixels becomes grey, which a filter of fixed width would not make it."""
    board = np.indices((256, 256)).sum(0) % 2 * np.uint8(255)
    small = np.asarray(centre_square(Image.fromarray(board.astype(np.uint8)).convert("RGB"), 16))
    assert np.abs(small.astype(int) - 127.5).max() <= 2


def test_load_gives_the_pixels(home):
    for name, (_, image) in everything(home).items():
        with Image.open(home / name) as picture:
            expected = picture.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))


RGB = Image.fromarray(noise(9))
FORMS = {
    "grey.png": (RGB.convert("L"), {}),
    "grey_alpha.png": (RGB.convert("LA"), {}),
    "palette.png": (RGB.convert("P", palette=Image.Palette.ADAPTIVE), {}),
    "rgba.png": (RGB.convert("RGBA"), {}),
    "bilevel.png": (RGB.convert("1"), {}),
    "cmyk.jpg": (RGB.convert("CMYK"), {}),
    "cmyk.tif": (RGB.convert("CMYK"), {}),
    "lossless.webp": (RGB, {"lossless": True}),
    "plain.bmp": (RGB, {}),
    "UPPER.JPG": (RGB, {"format": "JPEG"}),
    "progressive.jpeg": (RGB, {"progressive": True}),
    "plain.ppm": (RGB, {}),
    "moving.gif": (RGB, {"save_all": True, "append_images": [Image.fromarray(noise(10)), Image.fromarray(noise(11))]}),
    "moving.png": (RGB, {"save_all": True, "append_images": [Image.fromarray(noise(12))]}),
    "pages.tiff": (RGB, {"save_all": True, "append_images": [Image.fromarray(noise(13))]}),
}


def test_every_form_of_picture(home):
    for name, (picture, options) in FORMS.items():
        save(home / "forms" / name, picture, **options)
    found = everything(home)
    for name in FORMS:
        with Image.open(home / "forms" / name) as opened:
            opened.seek(0)
            expected = np.asarray(opened.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC))
        assert np.array_equal(found[f"forms/{name}"][1].permute(1, 2, 0).numpy(), expected), name


def test_ignored_files(home, caplog):
    before = everything(home)
    (home / "notes.txt").write_text("no picture")
    (home / "list.csv").write_text("no picture")
    (home / "clip.mpg").write_bytes(b"\x00\x00\x01\xb3 no picture")
    (home / "no_suffix").write_bytes((home / "00.png").read_bytes())
    save(home / ".hidden.png", RGB)
    save(home / ".hidden" / "inside.png", RGB)
    (home / "gone.png").symlink_to(home / "nowhere.png")
    (home / "again").symlink_to(home, target_is_directory=True)
    assert everything(home).keys() == before.keys() | {"no_suffix"}
    assert caplog.text == ""


def test_a_link_to_a_file_is_a_file(home, tmp_path):
    (home / "linked.png").symlink_to(save(tmp_path / "elsewhere.png", RGB))
    assert "linked.png" in everything(home)


def test_corrupt_files_are_named_and_left_out(home, caplog):
    before = everything(home).keys()
    (home / "empty.png").write_bytes(b"")
    (home / "half.png").write_bytes((home / "00.png").read_bytes()[:300])
    (home / "text.jpg").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        assert everything(home).keys() == before
    for name in ("empty.png", "half.png", "text.jpg"):
        assert f"{name} (" in caplog.text
    assert "0x" not in caplog.text


def test_a_file_larger_than_images_are_is_refused(home, monkeypatch):
    monkeypatch.setattr("vaebench.core.input_files.IMAGE", 100_000)
    (home / "large.png").write_bytes(b"x" * 100_001)
    with pytest.raises(UserError, match=r"large\.png holds 100,001 bytes, more than the 100,000 bytes that are read"):
        everything(home)


def test_what_is_no_regular_file_is_no_image(home):
    """A fifo or a device would never end."""
    before = everything(home)
    os.mkfifo(home / "fifo.png")
    (home / "device.png").symlink_to("/dev/zero")
    assert everything(home).keys() == before.keys()


def test_a_table_that_is_no_regular_file(home):
    os.mkfifo(home / "fifo.csv")
    for name in (home / "fifo.csv", "/dev/zero"):
        with pytest.raises(UserError, match="no regular file: give a CSV"):
            everything(home, attributes=str(name))


def test_a_name_that_is_no_utf8(home, caplog):
    before = everything(home).keys()
    with open(os.fsencode(home) + b"/caf\xe9.png", "wb") as out:  # noqa: PTH123  (pathlib takes no bytes)
        out.write((home / "00.png").read_bytes())
    (home / "café ☕, \"quoted\" 'n' all.png").write_bytes((home / "00.png").read_bytes())
    with caplog.at_level(logging.WARNING):
        after = everything(home).keys()
    assert after - before == {"café ☕, \"quoted\" 'n' all.png", "caf\\udce9.png"}
    assert caplog.text == ""


def test_hashes_are_kept_and_only_what_changed_is_read(home, monkeypatch, places):
    read = []
    monkeypatch.setattr(module, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    before = everything(home)
    assert len(read) == len(before)
    del read[:]
    assert everything(home).keys() == before.keys()
    assert read == []
    (home / "sure_train.png").write_bytes(in_split("test", start=7000))
    save(home / "new.png", Image.fromarray(noise(700)))
    (home / "00.png").unlink()
    after = everything(home)
    assert sorted(read) == ["new.png", "sure_train.png"]
    assert after["sure_train.png"][0] == "test" and "00.png" not in after


def keep_nothing(path):
    path.write_bytes(b"")


def keep_no_json(path):
    path.write_text("{")


def keep_a_list(path):
    path.write_text("[1, 2]")


def move_an_image(path):
    noted = json.loads(path.read_text())
    noted["files"]["sure_test.png"][-1] = "0" * 64
    path.write_text(json.dumps(noted))


@pytest.mark.parametrize("damage", [keep_nothing, keep_no_json, keep_a_list, move_an_image])
def test_damaged_hashes_are_made_anew(home, places, damage):
    before = {name: split for name, (split, _) in everything(home).items()}
    (kept,) = (places / "cache" / "hashes").iterdir()
    good = kept.read_text()
    damage(kept)
    assert {name: split for name, (split, _) in everything(home).items()} == before
    assert kept.read_text() == good


BAD_FOLDERS = {
    "no path": (lambda tmp_path: "", "folder needs a path: add --set dataset.path=DIR"),
    "no such": (lambda tmp_path: tmp_path / "no" / "such", "is no folder"),
    "a file": (lambda tmp_path: save(tmp_path / "a.png", RGB), "is one image: give the folder"),
    "empty": (lambda tmp_path: tmp_path, "holds no image files"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folder(tmp_path, case):
    make, says = BAD_FOLDERS[case]
    with pytest.raises(UserError, match=says) as raised:
        Folder(path=str(make(tmp_path))).load("train")
    assert "\n" not in str(raised.value) and "--set dataset.path=DIR" in str(raised.value)


def test_too_few_images_for_a_split(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "a.png").write_bytes(in_split("train"))
    assert len(Folder(path=str(tmp_path / "few")).load("train")) == 1
    with pytest.raises(UserError, match=r"few holds 1 image, none in the valid split: add more \(60 or so"):
        Folder(path=str(tmp_path / "few")).load("valid")


def test_nothing_readable(tmp_path):
    (tmp_path / "bad").mkdir()
    for index in range(60):
        (tmp_path / "bad" / f"{index}.png").write_text(str(index))
    for _ in range(2):
        with pytest.raises(UserError, match="no image is left"):
            Folder(path=str(tmp_path / "bad")).load("train")


def test_a_file_without_permission(home, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "sha256_of", refused)
    with pytest.raises(UserError, match=r"00\.png cannot be read \(Permission denied\)"):
        everything(home)


def test_a_file_that_vanishes_is_named(home, monkeypatch):
    files = walk(home)
    monkeypatch.setattr(folders, "walk", lambda folder: files)
    (home / "00.png").unlink()
    with pytest.raises(UserError, match=r"00\.png cannot be read \(No such file"):
        everything(home)


@pytest.mark.parametrize("size", [15, 0, -64])
def test_too_small(size):
    with pytest.raises(UserError, match="give 16 or more"):
        Folder(size=size)


@pytest.mark.parametrize("source", [None, Path("/some/where")])
def test_fetch_says_how_to_use_a_folder(source):
    with pytest.raises(UserError, match="used where it lies") as raised:
        Folder().fetch(source)
    assert f"--set dataset.path={source or 'DIR'}" in str(raised.value)


def table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(rows)
    return str(path)


def test_attributes(home, tmp_path):
    names = sorted(path.relative_to(home).as_posix() for path in home.rglob("*.png"))
    truth = np.random.default_rng(0).integers(0, 2, (len(names), 3)).astype(bool)
    spelt = [("0", "1"), ("-1", "1"), ("False", "true")]
    rows = [
        [name, *(spelt[column][value] for column, value in enumerate(values))]
        for name, values in zip(names, truth.astype(int).tolist(), strict=True)
    ]
    path = table(tmp_path / "list.csv", [["file", "red", " tall ", "wild"], *rows[::-1]])
    for split in SPLITS:
        data = Folder(path=str(home), size=16, attributes=path).load(split)
        assert list(data.attribute_names) == ["red", "tall", "wild"]
        assert data.attributes.dtype == torch.bool
        expected = truth[[names.index(name) for name in data.ids]]
        assert np.array_equal(data.attributes.numpy(), expected)
        plain = Folder(path=str(home), size=16).load(split)
        assert data.ids == plain.ids and torch.equal(data.images, plain.images)
        assert data.fingerprint != plain.fingerprint


def test_conformance_with_attributes(home, tmp_path):
    names = sorted(path.relative_to(home).as_posix() for path in home.rglob("*.png"))
    path = table(tmp_path / "list.csv", [["file", "red"], *([name, "1"] for name in names)])
    check_dataset(Folder(path=str(home), size=16, attributes=path))


def test_bare_names_byte_order_mark_and_what_lacks_the_other(home, tmp_path, caplog):
    path = tmp_path / "list.csv"
    path.write_bytes("\ufefffile,red\r\n\r\nsure_train.png, TRUE\r\n./sure_test.png,0\r\nno.png,1\r\n".encode())
    with caplog.at_level(logging.WARNING):
        data = Folder(path=str(home), size=16, attributes=str(path)).load("train")
    assert data.ids == ["sure_train.png"] and data.attributes.tolist() == [[True]]
    assert "1 rows name no image of the folder and are passed over: no.png" in caplog.text
    assert "21 images have no row and are left out: 00.png, 01.png, 02.png …" in caplog.text
    with pytest.raises(UserError, match="holds 2 images with attributes, none in the valid split"):
        Folder(path=str(home), size=16, attributes=str(path)).load("valid")


def test_a_bare_name_in_a_deep_folder_and_a_path_before_a_bare_name(home, tmp_path):
    save(home / "more" / "only.png", RGB)
    path = Path(table(tmp_path / "list.csv", [["file", "red"], ["only.png", "1"], ["00.png", "0"]]))
    assert _table(path, in_folder(home).names)[1] == {"more/only.png": [True], "00.png": [False]}


BAD_TABLES = {
    "empty": ([], "is empty"),
    "one column": ([["file"], ["00.png"]], "line 1: name every column"),
    "a nameless column": ([["file", "red", ""], ["00.png", "1", "1"]], "line 1: name every column"),
    "a column twice": ([["file", "red", "red"], ["00.png", "1", "1"]], "line 1: name every column"),
    "only a header": ([["file", "red"]], "no row after line 1"),
    "no image of ours": ([["file", "red"], ["x.png", "1"]], "no row after line 1"),
    "no truth": ([["file", "red"], ["00.png", "1"], ["01.png", "2"]], "line 3: red is '2': give 0 or 1"),
    "no value": ([["file", "red"], ["00.png", ""]], "line 2: red is '': give 0 or 1"),
    "a short row": ([["file", "red", "tall"], ["00.png", "1"]], "line 2: 2 columns, not 3"),
    "a long row": ([["file", "red"], ["00.png", "1", "1"]], "line 2: 3 columns, not 2"),
    "an image twice": ([["file", "red"], ["sure_test.png", "1"], ["./sure_test.png", "1"]], "line 3: .* in line 2"),
    "a name of two": ([["file", "red"], ["two.png", "1"]], "line 2: 2 images are named two.png"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_table(home, tmp_path, case):
    for above in ("x", "y"):
        save(home / above / "two.png", RGB)
    rows, says = BAD_TABLES[case]
    path = table(tmp_path / "list.csv", rows)
    with pytest.raises(UserError, match=says) as raised:
        Folder(path=str(home), size=16, attributes=path).load("train")
    assert path in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [None, b"file,red\n00.png,\xff\n", b'file,red\n"' + b"x" * 200_000])
def test_table_that_cannot_be_read(home, tmp_path, content):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as a CSV .*dataset\.attributes=CSV") as raised:
        Folder(path=str(home), attributes=str(path)).load("train")
    assert str(path) in str(raised.value)


def test_no_global_random_numbers(home, global_rng_untouched):
    Folder(path=str(home), size=16).load("train")
