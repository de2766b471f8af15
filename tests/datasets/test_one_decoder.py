"""One decoder behind every door: odd files have the same pixels through all of them, those that a viewer shows."""

import io
import os
import re
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from odd_files import CLEAR, COLOURS, CORPUS, HIDDEN, SIDE, deep_rows, layered, packed, png
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.datasets import celeba as celeba_module
from vaebench.datasets.celeba import celeba
from vaebench.datasets.folder import Folder
from vaebench.datasets.images import decoding, loading
from vaebench.datasets.images.decoding import decode, decode_with_remarks
from vaebench.datasets.images.loading import load_images, open_images
from vaebench.datasets.images.preparation import Preparation
from vaebench.datasets.lfw import LFW
from vaebench.evaluation.external import External, reference
from vaebench.evaluation.features import Networks
from vaebench.studies.user_images import load_user_images


def test_the_corpus_is_large():
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("name", CORPUS)
def test_pixels_are_those_that_a_viewer_shows(name):
    np.testing.assert_array_equal(np.asarray(decode(CORPUS[name].content)), CORPUS[name].pixels)


def test_sixteen_bits_become_eight():
    values = np.array([[0, 255, 256, 32767, 32768, 65280, 65535]])
    (expected,) = [[0, 0, 1, 127, 128, 255, 255]]
    grey = decode(png(16, 0, deep_rows(values), width=7))
    assert np.asarray(grey)[0, :, 0].tolist() == expected
    colours = decode(png(16, 2, deep_rows(np.repeat(values[..., None], 3, 2)), width=7))
    assert np.array_equal(np.asarray(colours), np.asarray(grey))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_whatever_lies_beneath_transparent_parts_they_are_white(mode):
    plain = np.asarray(decode(packed(layered(mode), "PNG")))
    other = np.array(layered(mode))
    other[CLEAR, :-1] = 255 - other[CLEAR, :-1]
    assert np.array_equal(np.asarray(decode(packed(Image.fromarray(other), "PNG"))), plain)
    assert (plain[CLEAR] == 255).all()


def test_half_transparent_parts_are_mixed_with_white():
    half = np.dstack([COLOURS, np.full((SIDE, SIDE), 128, np.uint8)])
    mixed = (COLOURS * 128.0 + 255 * 127.0) / 255
    assert np.abs(np.asarray(decode(packed(Image.fromarray(half), "PNG"))) - mixed).max() <= 1


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("rgba.png", decoding.TRANSPARENT),
        ("rgb16_key.png", decoding.TRANSPARENT),
        ("grey4_key.png", decoding.TRANSPARENT),
        ("moving.png", decoding.FRAMES),
        ("int32_of_8_bits.tif", decoding.WIDE),
    ],
)
def test_what_was_chosen_is_said(name, remark):
    assert decode_with_remarks(CORPUS[name].content)[1] == {remark}


@pytest.mark.parametrize("name", ["plain.png", "rgb16_near_key.png", "turned_6.png", "grey16.png", "cmyk.tif"])
def test_nothing_is_said_where_nothing_was_chosen(name):
    assert decode_with_remarks(CORPUS[name].content)[1] == set()


@pytest.mark.parametrize(
    "content",
    [
        packed(Image.fromarray(np.zeros((3, 3), np.float32)), "TIFF"),
        packed(Image.fromarray(np.full((3, 3), -1, np.int32)), "TIFF"),
        packed(Image.fromarray(np.full((3, 3), 65536, np.int32)), "TIFF"),
    ],
    ids=["floats", "below zero", "more than 16 bits"],
)
def test_values_of_no_known_range_are_refused(content):
    with pytest.raises(OSError, match="of unknown range: convert it to 8 or 16 bits"):
        decode(content)


# the doors: name -> pixels (h, w, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("odd")
    for name, odd in CORPUS.items():
        (made / name).write_bytes(odd.content)
    return made


def by_name(images, names):
    return {name: image.permute(1, 2, 0).numpy() for name, image in zip(names, images, strict=True)}


def through_images(folder, tmp_path):
    found = load_images(folder)
    return by_name(found.images, found.ids)


def through_size(folder, tmp_path):
    found = load_images(folder, Preparation(size=SIDE))
    return by_name(found.images, found.ids)


def through_reference(folder, tmp_path):
    given = External(name="x", reference=str(folder))
    data = reference(given, load_images(folder), Networks())[0].data
    return by_name(data.images, data.ids)


def through_the_folder_dataset(folder, tmp_path):
    found = {}
    for split in ("train", "valid", "test"):
        data = Folder(path=str(folder), size=SIDE).load(split)
        found |= by_name(data.images, data.ids)
    return found


def through_zip(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        for name, odd in CORPUS.items():
            archive.writestr(name, odd.content)
    return through_images(tmp_path / "odd.zip", tmp_path)


def through_tar(folder, tmp_path, mode="w"):
    with tarfile.open(tmp_path / "odd.tar", mode) as archive:
        for name, odd in CORPUS.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(odd.content)
            archive.addfile(info, io.BytesIO(odd.content))
    return through_images(tmp_path / "odd.tar", tmp_path)


def through_compressed_tar(folder, tmp_path):
    return through_tar(folder, tmp_path, "w:gz")


def through_parquet(folder, tmp_path):
    rows = [{"bytes": odd.content, "path": name} for name, odd in CORPUS.items()]
    pq.write_table(pa.table({"image": rows}), tmp_path / "odd.parquet", row_group_size=7)
    return through_images(tmp_path / "odd.parquet", tmp_path)


def through_image(folder, tmp_path):
    images, _ = load_user_images([folder / name for name in CORPUS], (3, SIDE, SIDE), lambda said: None)
    return by_name(images, CORPUS)


DOORS = [
    through_images,
    through_size,
    through_reference,
    through_the_folder_dataset,
    through_zip,
    through_tar,
    through_compressed_tar,
    through_parquet,
    through_image,
]


@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_same_pixels(door, folder, tmp_path, places):
    found = door(folder, tmp_path)
    assert found.keys() == CORPUS.keys()
    for name, odd in CORPUS.items():
        np.testing.assert_array_equal(found[name], odd.pixels, err_msg=name)


def test_celeba_and_lfw_decode_alike(places, monkeypatch):
    """Their files are JPEGs by name; what is in them is decoded as everywhere."""
    monkeypatch.setattr(celeba_module, "SOURCE_SIZE", (SIDE, SIDE))
    monkeypatch.setitem(celeba_module.CROPS, "celeba", (0, 0, SIDE, SIDE))
    monkeypatch.setattr("vaebench.datasets.lfw.SIDE", SIDE)
    faces, people = places / "data" / "celeba" / "img_align_celeba", places / "data" / "lfw"
    faces.mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(1, len(CORPUS) + 1)]
    for number, (name, odd) in enumerate(zip(names, CORPUS.values(), strict=True)):
        (faces / name).write_bytes(odd.content)
        person = people / f"Person_{number:03d}"
        person.mkdir(parents=True)
        (person / f"{person.name}_0001.jpg").write_bytes(odd.content)
    lists = faces.parent
    lists.joinpath("list_attr_celeba.txt").write_text("1\nMale\n" + "".join(f"{name}  1\n" for name in names))
    lists.joinpath("list_eval_partition.txt").write_text("".join(f"{name} 2\n" for name in names))
    data = celeba(size=SIDE).load("test")
    for image, odd in zip(data.images, CORPUS.values(), strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), odd.pixels)
    pixels = list(CORPUS.values())
    for split in ("train", "valid", "test"):
        data = LFW(size=SIDE).load(split)
        for image, name in zip(data.images, data.ids, strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels[int(name[7:10])].pixels)


def test_what_lies_beside_images_is_counted_and_a_broken_file_is_named(tmp_path, places):
    for name in (
        "a.png",
        "sub/b.png",
        ".hidden.png",
        "._a.png",
        ".git/c.png",
        "__MACOSX/d.png",
        "Thumbs.db",
        "notes.txt",
    ):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(packed(Image.fromarray(COLOURS), "PNG"))
    found = load_images(tmp_path / "mine")
    assert found.ids == ["a.png", "sub/b.png"]
    assert found.remarks == [f"{tmp_path / 'mine'}: passed over 5 hidden or system files and 1 other file (notes.txt)"]
    (tmp_path / "mine" / "sub" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(UserError, match=r"mine: sub/broken\.png is no readable image"):
        load_images(tmp_path / "mine")


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.symlink_to("nowhere.png"), lambda path: path.symlink_to(path.name), os.mkfifo],
    ids=["nowhere", "circle", "fifo"],
)
def test_what_has_an_images_name_and_is_no_file_is_named(tmp_path, places, spoil):
    """As what git-annex has not fetched: the others alone would be another set of images."""
    mine = tmp_path / "mine"
    mine.mkdir()
    Image.fromarray(COLOURS).save(mine / "a.png")
    spoil(mine / "b.txt")
    spoil(mine / "b")
    assert load_images(mine).remarks == [f"{mine}: passed over 2 other files (b, b.txt)"]
    spoil(mine / "b.png")
    with pytest.raises(UserError, match=r"mine: b\.png is named as images are, but no regular file, or a link"):
        load_images(mine)


def test_a_file_that_changes_between_its_hash_and_its_decoding(tmp_path, places, monkeypatch):
    """Else the cache would hold other pixels under the hash of these."""
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    found = open_images(tmp_path)
    Image.fromarray(HIDDEN).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (1e9, 1e9))
    monkeypatch.setattr(loading, "open_images", lambda path: found)
    with pytest.raises(UserError, match=r"a\.png was changed while the images were read: give the command again"):
        load_images(tmp_path)


@pytest.mark.parametrize("side", [2, 5000])
def test_the_size_that_is_advised_is_one_that_is_taken(tmp_path, places, side):
    for name, each in (("a.png", side), ("b.png", side + 1)):
        Image.new("1", (each, each)).save(tmp_path / name)
    with pytest.raises(UserError, match="add --size") as refused:
        load_images(tmp_path)
    advised = int(re.search(r"--size (\d+)", str(refused.value))[1])
    assert load_images(tmp_path, Preparation(size=advised)).images.shape[2:] == (advised, advised)


def test_names_that_are_no_utf8_are_read(tmp_path, places):
    (tmp_path / "mine").mkdir()
    with open(os.fsencode(tmp_path / "mine") + b"/\xff.png", "wb") as out:  # noqa: PTH123  (pathlib takes no bytes)
        out.write(packed(Image.fromarray(COLOURS), "PNG"))
    assert load_images(tmp_path / "mine").ids == ["\\udcff.png"]


def test_two_files_that_swap_their_names_are_seen(tmp_path, places):
    """Size and time of writing stay the same: neither is to be trusted."""
    for name, pixels in (("a.bmp", COLOURS), ("b.bmp", HIDDEN)):
        Image.fromarray(pixels).save(tmp_path / name)
        os.utime(tmp_path / name, (1e9, 1e9))
    before = load_images(tmp_path)
    (tmp_path / "a.bmp").rename(tmp_path / "c")
    (tmp_path / "b.bmp").rename(tmp_path / "a.bmp")
    (tmp_path / "c").rename(tmp_path / "b.bmp")
    after = load_images(tmp_path)
    assert np.array_equal(after.images.numpy(), before.images.numpy()[::-1])
