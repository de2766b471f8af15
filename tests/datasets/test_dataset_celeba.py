"""CelebA: crops, split and attributes as published, from the archive or the folder; imported, downloaded, checked."""

import io
import logging
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.datasets import celeba as module
from vaebench.datasets import image_cache
from vaebench.datasets.celeba import ARCHIVE, ATTRIBUTES, CROPS, FOLDER, PARTITION, CelebA, celeba
from vaebench.testing import check_dataset

SPLITS = ("train", "valid", "test")
COLUMNS = ["Bald", "Male", "Wearing_Hat"]
PARTS = {f"{index:06d}.jpg": index % 3 for index in range(1, 13)}
TRUTH = {name: [bool(int(name[:6]) >> bit & 1) for bit in range(3)] for name in PARTS}
EXPECTED = {split: [name for name, part in PARTS.items() if part == index] for index, split in enumerate(SPLITS)}
# side and offset (left, top) of each crop, as the articles give them
SQUARES = {
    "celeba": (138, 30, 40),
    "celeba-crop108": (108, 35, 55),
    "celeba-crop140": (140, 19, 39),
    "celeba-crop148": (148, 15, 35),
    "celeba-crop178": (178, 0, 20),
}


@pytest.fixture(autouse=True)
def warnings_only(caplog):
    """Whatever other tests left the program's log at."""
    caplog.set_level(logging.WARNING, logger="vaebench")


def jpeg(seed, width=178, height=218):
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    packed = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(packed, "jpeg", quality=90)
    return packed.getvalue()


CONTENTS = {name: jpeg(int(name[:6])) for name in PARTS}


def lists(folder, truth=None, parts=None):
    """The two text files, laid out as published."""
    folder.mkdir(parents=True, exist_ok=True)
    truth, parts = TRUTH if truth is None else truth, PARTS if parts is None else parts
    rows = [f"{name} " + " ".join(f"{1 if value else -1:2d}" for value in values) for name, values in truth.items()]
    (folder / ATTRIBUTES).write_text("\n".join([str(len(rows)), " ".join(COLUMNS) + " ", *rows, ""]))
    (folder / PARTITION).write_text("".join(f"{name} {part}\n" for name, part in parts.items()))
    return folder


def as_zip(folder, images=None, above=f"{FOLDER}/", extra=()):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        archive.writestr(f"{FOLDER}/", b"")
        for name, content in (CONTENTS if images is None else images).items():
            archive.writestr(above + name, content)
        for name in extra:
            archive.writestr(name, b"\0\5\26\7")
    return folder


def as_folder(folder, images=None, below=""):
    place = folder / FOLDER / below
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (CONTENTS if images is None else images).items():
        (place / name).write_bytes(content)
    return folder


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.exists() else {}


@pytest.fixture
def home(places):
    """Where vaebench keeps CelebA in this test."""
    return places / "data" / "celeba"


@pytest.fixture
def whole(home):
    return lists(as_zip(home))


def test_split_attributes_and_ids(whole):
    for split in SPLITS:
        data = celeba().load(split)
        assert (data.name, data.split, data.ids) == ("celeba", split, EXPECTED[split])
        assert data.images.shape == (4, 3, 64, 64) and data.labels is None
        assert data.attributes.dtype == torch.bool and list(data.attribute_names) == COLUMNS
        assert data.attributes.tolist() == [TRUTH[name] for name in data.ids]


@pytest.mark.parametrize("name", CROPS)
def test_crops_are_pixel_exact(whole, name):
    side, left, top = SQUARES[name]
    data = getattr(module, name.replace("-", "_"))().load("test")
    assert data.name == name
    for image, content in zip(data.images, (CONTENTS[one] for one in data.ids), strict=True):
        with Image.open(io.BytesIO(content)) as opened:
            square = Image.fromarray(np.asarray(opened)[top : top + side, left : left + side])
        expected = np.asarray(square.resize((64, 64), Image.Resampling.BICUBIC))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("size", [16, 128, 256])
def test_crops_of_other_sizes(whole, size):
    data = celeba(size=size).load("test")
    assert data.image_shape == (3, size, size)
    with Image.open(io.BytesIO(CONTENTS[data.ids[0]])) as opened:
        expected = opened.crop(CROPS["celeba"]).resize((size, size), Image.Resampling.BICUBIC)
    assert np.array_equal(data.images[0].permute(1, 2, 0).numpy(), np.asarray(expected))
    assert celeba().load("test").image_shape == (3, 64, 64)  # the prepared images of each size lie apart


@pytest.mark.parametrize("size", [15, 513, 0, -64])
def test_size_out_of_range(size):
    with pytest.raises(UserError, match="give 16 to 512"):
        celeba(size=size)


def test_every_crop_is_a_square_inside_the_picture():
    assert CROPS.keys() == SQUARES.keys()
    for left, top, right, bottom in CROPS.values():
        assert 0 <= left < right <= 178 and 0 <= top < bottom <= 218 and right - left == bottom - top


def test_conformance(whole):
    check_dataset(celeba())


def test_a_subset_says_so(whole, monkeypatch):
    note = celeba().load("test").note
    assert note == "subset: 4 of the 19,962 test images, from 12 of CelebA's 202,599"
    monkeypatch.setattr(module, "PUBLISHED", dict.fromkeys(SPLITS, 4))
    assert celeba().load("test").note == ""


@pytest.mark.parametrize("below", ["", FOLDER, "a/b"])
def test_a_folder_is_as_good_as_the_archive(whole, below):
    """The images and ids are the same, wherever the images lie in it."""
    packed = {split: celeba().load(split) for split in SPLITS}
    (whole / ARCHIVE).unlink()
    as_folder(whole, below=below)
    (whole / FOLDER / "._000001.jpg").write_bytes(b"\0\5\26\7")
    (whole / FOLDER / "README.txt").write_text("not ours")
    for split in SPLITS:
        assert celeba().load(split).fingerprint == packed[split].fingerprint


@pytest.mark.parametrize("above", ["", f"{FOLDER}/", f"x/{FOLDER}/"])
def test_archives_of_every_layout(home, above, caplog):
    extra = ["__MACOSX/img_align_celeba/._000001.jpg", "README.txt", "img_align_celeba/0001.jpg"]
    lists(as_zip(home, above=above, extra=extra))
    assert celeba().load("train").ids == EXPECTED["train"]
    assert caplog.text == ""


def test_prepared_once_and_anew_when_the_archive_changes(whole, monkeypatch):
    decoded = []
    monkeypatch.setattr(image_cache, "decode_with_remarks", lambda content: decoded.append(1) or module_decode(content))
    first = celeba().load("test").fingerprint
    assert (celeba().load("test").fingerprint, len(decoded)) == (first, 4)
    as_zip(whole, CONTENTS | {EXPECTED["test"][0]: jpeg(99)})
    assert (celeba().load("test").fingerprint != first, len(decoded)) == (True, 8)


module_decode = image_cache.decode_with_remarks


def test_an_archive_of_images_that_are_too_large_is_refused(home, monkeypatch):
    lists(as_zip(home))
    monkeypatch.setattr("vaebench.core.input_files.IMAGE", 100)
    with pytest.raises(UserError, match=r"000\d\d\d\.jpg holds .* bytes, more than the 100 bytes that are read"):
        celeba().load("train")


def damaged_archive(folder, name, damage):
    """The archive with one image damaged: its content as it is stored, or its checksum."""
    as_zip(folder, CONTENTS | ({name: damage(CONTENTS[name])} if damage else {}))
    if damage is None:  # the stored bytes differ from the checksum
        raw = bytearray((folder / ARCHIVE).read_bytes())
        at = raw.find(CONTENTS[name]) + 700
        raw[at] ^= 255
        (folder / ARCHIVE).write_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: b"", "no image"),
        (lambda content: jpeg(1, 64, 64), "64 x 64 pixels, not 178 x 218: no aligned CelebA image"),
        (lambda content: jpeg(1, 218, 178), "218 x 178 pixels, not 178 x 218"),
        (None, "damaged in the archive: Bad CRC-32"),
    ],
)
def test_a_corrupt_image_is_named_and_left_out(home, caplog, damage, reason):
    name = EXPECTED["test"][1]
    damaged_archive(lists(home), name, damage)
    data = celeba().load("test")
    assert data.ids == [one for one in EXPECTED["test"] if one != name]
    assert data.attributes.tolist() == [TRUTH[one] for one in data.ids]
    assert "3 of the 19,962" in data.note
    assert f"1 of 4 images cannot be read and are left out: {name} (" in caplog.text and reason in caplog.text


def test_an_encrypted_image_is_named_and_left_out(whole, caplog):
    raw = bytearray((whole / ARCHIVE).read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(magic, raw.find(magic) + 1)  # the first image, after the folder
        raw[at + offset] |= 1
    (whole / ARCHIVE).write_bytes(bytes(raw))
    assert celeba().load("valid").ids == EXPECTED["valid"][1:]
    assert "000001.jpg (damaged in the archive:" in caplog.text and "encrypted" in caplog.text


def test_images_without_attributes_or_part_are_counted_and_left_out(home, caplog):
    without = [EXPECTED["test"][0], EXPECTED["test"][2]]
    as_zip(home)
    lists(
        home,
        {name: values for name, values in TRUTH.items() if name != without[0]},
        {name: part for name, part in PARTS.items() if name != without[1]},
    )
    assert celeba().load("test").ids == [EXPECTED["test"][1], EXPECTED["test"][3]]
    assert "2 images have no line in list_attr_celeba.txt or list_eval_partition.txt and are left out: " in caplog.text
    assert all(name in caplog.text for name in without)


def test_lines_without_image_are_what_a_subset_is(home, caplog):
    kept = {name: CONTENTS[name] for name in list(PARTS)[:7]}
    lists(as_zip(home, kept))
    assert celeba().load("train").ids == ["000003.jpg", "000006.jpg"]
    assert "from 7 of CelebA's 202,599" in celeba().load("train").note
    assert caplog.text == ""


def test_an_empty_split(home):
    lists(as_zip(home, {EXPECTED["test"][0]: CONTENTS[EXPECTED["test"][0]]}))
    assert len(celeba().load("test")) == 1
    with pytest.raises(UserError, match=f"{home} holds no image of CelebA's train split: add some"):
        celeba().load("train")


def with_line(name, number, text):
    """Replace a line of a list, or take it away."""

    def damage(home):
        lines = (home / name).read_text().splitlines()
        lines[number - 1 : number] = [] if text is None else [text]
        (home / name).write_text("\n".join(lines) + "\n")

    return damage


def with_content(name, content):
    return lambda home: (home / name).write_bytes(content)


def without(name):
    return lambda home: (home / name).unlink()


BAD_DATA = {
    "no archive": (without(ARCHIVE), "CelebA is not in .*vaebench fetch celeba --from FOLDER"),
    "no attributes": (without(ATTRIBUTES), r"list_attr_celeba\.txt cannot be read .*--from FOLDER"),
    "no partition": (without(PARTITION), r"list_eval_partition\.txt cannot be read .*--from FOLDER"),
    "no zip": (with_content(ARCHIVE, b"<html>quota</html>"), r"img_align_celeba\.zip is no readable zip"),
    "empty zip file": (with_content(ARCHIVE, b""), r"img_align_celeba\.zip is no readable zip"),
    "no text": (with_content(ATTRIBUTES, b"\xff\xfe\x00"), r"list_attr_celeba\.txt cannot be read"),
    "empty attributes": (with_content(ATTRIBUTES, b""), "not laid out as published"),
    "attributes without rows": (with_content(ATTRIBUTES, b"0\nBald Male\n"), "not laid out as published"),
    "no header": (with_line(ATTRIBUTES, 2, ""), "not laid out as published"),
    "too few values": (with_line(ATTRIBUTES, 5, "000003.jpg  1 -1"), "txt, line 5 has no 3 values of -1 or 1"),
    "too many values": (with_line(ATTRIBUTES, 5, "000003.jpg  1 -1  1  1"), "txt, line 5 has no 3 values"),
    "no values": (with_line(ATTRIBUTES, 14, "000012.jpg"), "txt, line 14 has no 3 values"),
    "a word": (with_line(ATTRIBUTES, 5, "000003.jpg  1 -1  1 yes"), "not laid out as published"),
    "another number": (with_line(ATTRIBUTES, 5, "000003.jpg  1 -1  0"), "txt, line 5 has no 3 values"),
    "a larger number": (with_line(ATTRIBUTES, 5, "000003.jpg  1 -1 12"), "not laid out as published"),
    "grown together": (with_line(ATTRIBUTES, 5, "000003.jpg  1-1  1"), "not laid out as published"),
    "two signs": (with_line(ATTRIBUTES, 5, "000003.jpg  1 --1  1"), "not laid out as published"),
    "a fourth part": (with_line(PARTITION, 4, "000004.jpg 3"), "txt, line 4 is not 'NAME 0', 'NAME 1' or 'NAME 2'"),
    "no part": (with_line(PARTITION, 4, "000004.jpg"), "txt, line 4 is not"),
    "two parts": (with_line(PARTITION, 4, "000004.jpg 1 2"), "txt, line 4 is not"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_one_line(whole, case):
    damage, says = BAD_DATA[case]
    damage(whole)
    with pytest.raises(UserError, match=says) as raised:
        celeba().load("test")
    assert "\n" not in str(raised.value) and str(whole) in str(raised.value)


def test_a_full_list_of_attributes_is_read_right():
    """As many columns as published, against pandas."""
    rng, rows = np.random.default_rng(0), 500
    truth = rng.integers(0, 2, (rows, 40)) * 2 - 1
    names = [f"Name_{index}" for index in range(40)]
    body = [f"{row:06d}.jpg " + " ".join(f"{value:2d}" for value in values) for row, values in enumerate(truth)]
    path = Path(os.environ["VAEBENCH_DATA"]) / ATTRIBUTES
    path.parent.mkdir(parents=True)
    path.write_text("\r\n".join(["500", " ".join(names), *body, ""]))
    index, columns, values = module.read_attributes(path)
    assert columns == names and list(index) == [f"{row:06d}.jpg" for row in range(rows)]
    assert np.array_equal(values, truth == 1)


# fetch


def from_folder_with_zip(tmp_path):
    return lists(as_zip(tmp_path / "from"))


def from_folder_with_folder(tmp_path):
    return lists(as_folder(tmp_path / "from"))


def from_zip(tmp_path):
    return lists(as_zip(tmp_path / "from")) / ARCHIVE


def from_zip_of_another_name(tmp_path):
    return from_zip(tmp_path).rename(tmp_path / "from" / "archive.zip")


def from_images_folder(tmp_path):
    return lists(as_folder(tmp_path / "from", below=FOLDER)) / FOLDER


def from_data_folder(tmp_path):
    return lists(as_zip(tmp_path / "from" / "celeba")).parent


FORMS = [
    from_folder_with_zip,
    from_folder_with_folder,
    from_zip,
    from_zip_of_another_name,
    from_images_folder,
    from_data_folder,
]


@pytest.mark.parametrize("form", FORMS)
def test_import(home, tmp_path, form):
    source = form(tmp_path)
    said = celeba().fetch(source)
    assert said == f"celeba: 4 train, 4 valid, 4 test images prepared, from {home}"
    assert sorted(path.name for path in home.iterdir()) == sorted([ARCHIVE, ATTRIBUTES, PARTITION])
    with zipfile.ZipFile(home / ARCHIVE) as archive:
        found = {Path(name).name: archive.read(name) for name in archive.namelist() if name.endswith(".jpg")}
    assert found == CONTENTS
    shutil.rmtree(tmp_path / "from")
    assert celeba().load("test").ids == EXPECTED["test"]


def test_import_through_the_command_line(home, tmp_path, cli):
    answer = cli(["fetch", "celeba", "--from", from_zip(tmp_path)])
    assert answer.code == 0 and str(home) in answer.out


def test_import_of_another_crop(home, tmp_path):
    assert module.celeba_crop108().fetch(from_zip(tmp_path)).startswith("celeba-crop108: 4 train")
    assert (home / ARCHIVE).is_file()
    assert celeba().load("test").ids == EXPECTED["test"]


def test_import_of_a_folder_takes_the_place_of_an_archive(home, tmp_path):
    lists(as_zip(home, {name: jpeg(50) for name in list(PARTS)[:3]}))
    celeba().fetch(from_folder_with_folder(tmp_path))
    assert celeba().load("test").ids == EXPECTED["test"]


def test_images_alone_go_with_the_lists_that_are_there(home, tmp_path):
    lists(home)
    celeba().fetch(as_zip(tmp_path / "from") / ARCHIVE)
    assert celeba().load("test").ids == EXPECTED["test"]


@pytest.mark.parametrize("where", ["home", "data", "archive"])
def test_import_from_where_it_lies(whole, where):
    before = snapshot(whole)
    source = {"home": whole, "data": whole.parent, "archive": whole / ARCHIVE}[where]
    assert "4 train" in celeba().fetch(source)
    assert snapshot(whole) == before


def no_such(tmp_path):
    return tmp_path / "absent"


def empty_folder(tmp_path):
    (tmp_path / "from").mkdir()
    return tmp_path / "from"


def only_lists(tmp_path):
    return lists(tmp_path / "from")


def folder_without_images(tmp_path):
    return lists(as_folder(tmp_path / "from", {"a.jpg": b""}))


def zip_without_images(tmp_path):
    return lists(as_zip(tmp_path / "from", {"a.jpg": b""})) / ARCHIVE


def no_zip(tmp_path):
    lists(tmp_path / "from")
    (tmp_path / "from" / ARCHIVE).write_text("<html>quota exceeded</html>")
    return tmp_path / "from"


def truncated_zip(tmp_path):
    path = from_zip(tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def bad_attributes(tmp_path):
    with_line(ATTRIBUTES, 5, "000003.jpg 1")(from_folder_with_zip(tmp_path))
    return tmp_path / "from"


def bad_partition(tmp_path):
    with_line(PARTITION, 5, "000003.jpg 7")(from_folder_with_folder(tmp_path))
    return tmp_path / "from"


BAD_SOURCES = [
    no_such,
    empty_folder,
    only_lists,
    folder_without_images,
    zip_without_images,
    no_zip,
    truncated_zip,
    bad_attributes,
    bad_partition,
]


@pytest.mark.parametrize("source", BAD_SOURCES)
def test_a_failed_import_is_one_line_and_good_files_survive(whole, tmp_path, source):
    before = snapshot(whole)
    with pytest.raises(UserError) as raised:
        celeba().fetch(source(tmp_path))
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)
    assert snapshot(whole) == before


@pytest.mark.parametrize("source", [no_such, empty_folder, only_lists, folder_without_images, zip_without_images])
def test_what_holds_no_images_is_not_advised_again(home, tmp_path, source):
    with pytest.raises(UserError) as raised:
        celeba().fetch(source(tmp_path))
    assert "--from" not in str(raised.value)
    assert snapshot(home) == {}


@pytest.mark.parametrize("name", [ATTRIBUTES, PARTITION])
def test_import_without_a_list(home, tmp_path, name):
    source = from_folder_with_zip(tmp_path)
    (source / name).unlink()
    with pytest.raises(
        UserError, match=rf"neither {name} nor \w+\.csv is in {source}: put it there, beside the images"
    ):
        celeba().fetch(source)
    assert snapshot(home) == {}


@pytest.mark.parametrize("form", [from_folder_with_zip, from_folder_with_folder])
def test_a_full_disk_leaves_the_old_data(whole, tmp_path, monkeypatch, form):
    def full(*_):
        raise OSError(28, "No space left on device")

    source, before = form(tmp_path), snapshot(whole)
    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(UserError, match=r"cannot write .*img_align_celeba\.zip \(No space left on device\)"):
        celeba().fetch(source)
    assert snapshot(whole) == before


def test_import_of_an_image_without_permission(home, tmp_path, monkeypatch):
    source, opened = from_folder_with_folder(tmp_path), os.open

    def refused(path, *given):
        if str(path).endswith("000003.jpg"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *given)

    monkeypatch.setattr("vaebench.core.input_files.os.open", refused)
    with pytest.raises(UserError, match=r"000003\.jpg cannot be read \(Permission denied\)"):
        celeba().fetch(source)
    assert snapshot(home) == {}


def download(monkeypatch, lay):
    def published(root, split, download):
        assert (split, download) == ("all", True)
        lay(Path(root) / "celeba")

    monkeypatch.setattr(torchvision.datasets, "CelebA", published)


def refuse(error):
    def lay(folder):
        raise error

    return lay


def test_download(home, monkeypatch):
    def lay(folder):
        as_folder(lists(as_zip(folder)))
        people = [f"{number:06d}.jpg {number // 2}" for number in range(1, 13)]
        (folder / "identity_CelebA.txt").write_text("\n".join(people))

    download(monkeypatch, lay)
    assert celeba().fetch(None) == f"celeba: 4 train, 4 valid, 4 test images prepared, from {home}"
    assert sorted(path.name for path in home.iterdir()) == sorted(
        [ARCHIVE, ATTRIBUTES, PARTITION, "identity_CelebA.txt"]
    )
    test = celeba().load("test")
    assert test.people.tolist() == [int(name[:6]) // 2 for name in test.ids]


QUOTA = RuntimeError(
    "The daily quota of the file img_align_celeba.zip is exceeded and it can't be downloaded. "
    "This is a limitation of Google Drive and can only be overcome by trying again later."
)
GDOWN = RuntimeError("To download files from GDrive, 'gdown' is required. You can install it with 'pip install gdown'.")


@pytest.mark.parametrize(
    "error", [QUOTA, GDOWN, OSError("Network is unreachable"), ValueError("one line\nand another"), TimeoutError()]
)
@pytest.mark.parametrize("name", ["celeba", "celeba-crop148"])
def test_a_failed_download_ends_in_advice(home, monkeypatch, error, name):
    download(monkeypatch, refuse(error))
    with pytest.raises(UserError, match=r"CelebA could not be downloaded \(.+\): get img_align") as raised:
        CelebA(name).fetch(None)
    assert "\n" not in str(raised.value)
    assert "'vaebench fetch celeba --from FOLDER'" in str(raised.value)
    assert snapshot(home) == {}


def test_torchvision_without_gdown(home, monkeypatch):
    """As torchvision itself says it, which needs the package to ask Google Drive."""
    monkeypatch.setitem(__import__("sys").modules, "gdown", None)
    with pytest.raises(UserError, match=r"could not be downloaded \(.*pip install gdown'\): get img_align_celeba\.zip"):
        celeba().fetch(None)


def test_a_download_goes_on_where_it_failed(home, monkeypatch):
    def first(folder):
        as_zip(folder)
        raise QUOTA

    def second(folder):
        assert (folder / ARCHIVE).is_file()
        lists(folder)

    download(monkeypatch, first)
    with pytest.raises(UserError, match="quota"):
        celeba().fetch(None)
    download(monkeypatch, second)
    assert "4 train" in celeba().fetch(None)


@pytest.mark.parametrize("form", [as_zip, as_folder])
def test_what_is_there_is_not_downloaded(home, monkeypatch, form):
    monkeypatch.delattr(torchvision.datasets, "CelebA")
    lists(form(home))
    assert module.celeba_crop178().fetch(None).startswith("celeba-crop178: 4 train, 4 valid, 4 test images prepared")


def test_no_global_random_numbers(whole, global_rng_untouched):
    celeba().load("test")


# the real images


@pytest.fixture(scope="session")
def real():
    """A folder to set ``VAEBENCH_DATA`` to, with some of the real CelebA under ``celeba/``."""
    given = os.environ.get("VAEBENCH_TEST_CELEBA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not all((folder / "celeba" / name).is_file() for name in (ARCHIVE, ATTRIBUTES, PARTITION)):
        pytest.skip(f"no CelebA under {folder}/celeba: set VAEBENCH_TEST_CELEBA to a folder that holds celeba/")
    return folder


@pytest.fixture(scope="session")
def table(real):
    """The published attributes as pandas reads them."""
    return pd.read_csv(real / "celeba" / ATTRIBUTES, sep=r"\s+", skiprows=1)


@pytest.fixture(scope="session")
def parts(real):
    """The published split as pandas reads it."""
    return pd.read_csv(real / "celeba" / PARTITION, sep=" ", header=None, index_col=0)[1]


def test_the_real_lists(real, table, parts):
    """Against pandas, and against the numbers in the literature."""
    rows, names, values = module.read_attributes(real / "celeba" / ATTRIBUTES)
    assert (list(rows), names) == (list(table.index), list(table.columns))
    assert np.array_equal(values, table.to_numpy() == 1)
    named = parts.map(dict(enumerate(SPLITS)))
    assert module.read_partition(real / "celeba" / PARTITION) == named.to_dict()
    assert named.value_counts().to_dict() == module.PUBLISHED
    assert abs(values[:, names.index("Male")].mean() - 0.417) < 0.001


def test_the_real_images(real, table, parts, monkeypatch):
    """The test split's attributes against pandas, its pixels where they are known."""
    with zipfile.ZipFile(real / "celeba" / ARCHIVE) as archive:
        files = {Path(info.filename).name: info for info in archive.infolist() if info.filename.endswith(".jpg")}
        ids = sorted(name for name in files if parts[name] == 2)
        some = dict.fromkeys(ids[:: max(1, len(ids) // 10)])
        some = {name: archive.read(files[name]) for name in some}
    monkeypatch.setenv("VAEBENCH_DATA", str(real))
    data = celeba().load("test")
    assert data.ids == ids
    assert np.array_equal(data.attributes.numpy(), table.loc[data.ids].to_numpy() == 1)
    for name, content in some.items():
        with Image.open(io.BytesIO(content)) as picture:
            expected = np.asarray(picture.crop((30, 40, 168, 178)).resize((64, 64), Image.Resampling.BICUBIC))
        assert np.array_equal(data.images[ids.index(name)].permute(1, 2, 0).numpy(), expected)
    if len(files) == 18_000:
        assert (len(data), data.fingerprint[:8]) == (1_782, "1aab97e4")
        assert data.note == "subset: 1,782 of the 19,962 test images, from 18,000 of CelebA's 202,599"
        assert abs(data.attributes[:, list(data.attribute_names).index("Male")].float().mean() - 0.386) < 0.05


def as_kaggle(folder):
    """The layout of Kaggle's copy: nested folders, lists of comma-separated values, their own headers."""
    as_folder(folder, below=FOLDER)
    rows = [[name, *(1 if value else -1 for value in values)] for name, values in TRUTH.items()]
    lines = [",".join(map(str, row)) for row in [["image_id", *COLUMNS], *rows]]
    (folder / "list_attr_celeba.csv").write_text("\n".join(lines) + "\n")
    parts = "".join(f"{name},{part}\r\n" for name, part in PARTS.items())
    (folder / "list_eval_partition.csv").write_text("image_id,partition\r\n" + parts)
    return folder


def kaggle_folder(tmp_path):
    return as_kaggle(tmp_path / "from")


def kaggle_zip(tmp_path):
    """One zip of images and lists, as Kaggle serves it."""
    folder = as_kaggle(tmp_path / "from")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return tmp_path / "archive.zip"


def upper_case(tmp_path):
    folder = lists(as_folder(tmp_path / "from"))
    for path in (folder / FOLDER).iterdir():
        path.rename(path.with_name(path.name.upper()))
    return folder


def upper_case_lists(tmp_path):
    folder = upper_case(tmp_path)
    for name in (ATTRIBUTES, PARTITION):
        (folder / name).write_text((folder / name).read_text().replace(".jpg", ".JPG"))
    return folder


def with_byte_order_marks(tmp_path):
    folder = lists(as_folder(tmp_path / "from"))
    for name in (ATTRIBUTES, PARTITION):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    return folder


AS_PEOPLE_HAVE_IT = [kaggle_folder, kaggle_zip, upper_case, upper_case_lists, with_byte_order_marks]


@pytest.mark.parametrize("source", AS_PEOPLE_HAVE_IT)
def test_every_layout_is_the_same_dataset(home, tmp_path, places, monkeypatch, source):
    lists(as_zip(home))
    expected = {split: celeba().load(split).fingerprint for split in SPLITS}
    monkeypatch.setenv("VAEBENCH_DATA", str(tmp_path / "other"))
    assert celeba().fetch(source(tmp_path)).startswith("celeba: 4 train, 4 valid, 4 test")
    assert {split: celeba().load(split).fingerprint for split in SPLITS} == expected


def test_a_subset_without_a_split_is_imported(home, tmp_path):
    kept = {name: TRUTH[name] for name, part in PARTS.items() if part != 1}
    folder = as_folder(tmp_path / "from", {name: CONTENTS[name] for name in kept})
    lists(folder, kept, {name: PARTS[name] for name in kept})
    assert celeba().fetch(folder).startswith("celeba: 4 train, 0 valid, 4 test")
    with pytest.raises(UserError, match="no image of CelebA's valid split"):
        celeba().load("valid")


@pytest.mark.parametrize(
    "text", ["image_id,Male\n000001.jpg,2\n", "image_id,Male\n000001.jpg\n", "image_id\n000001.jpg,1\n"]
)
def test_a_csv_that_is_no_list_of_attributes_is_refused(home, tmp_path, text):
    folder = as_kaggle(tmp_path / "from")
    (folder / "list_attr_celeba.csv").write_text(text)
    with pytest.raises(UserError, match=r"list_attr_celeba\.csv"):
        celeba().fetch(folder)
    assert snapshot(home) == {}
