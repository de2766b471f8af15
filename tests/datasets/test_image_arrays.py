"""Arrays of images that are mapped from their files: the same pixels, checked as those that are read into memory."""

import os
import re
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.core.mapped import give_back_mapped_pages
from vaebench.datasets.images import arrays
from vaebench.datasets.images.loading import load_images
from vaebench.datasets.images.preparation import Preparation

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 12, 10, 3), dtype=np.uint8)
FORMS = {
    "n,h,w,c": PIXELS,
    "n,c,h,w": np.ascontiguousarray(PIXELS.transpose(0, 3, 1, 2)),
    "n,h,w": np.ascontiguousarray(PIXELS[..., 0]),
    "float32": (PIXELS / 255).astype(np.float32),
    "float64": PIXELS / 255,
    "fortran": np.asfortranarray(PIXELS),
}


@pytest.fixture(params=["npz", "compressed npz", "npy"])
def saved(request, tmp_path):
    """Save an array as a file of one kind."""

    def save(array):
        path = tmp_path / f"made.{request.param[-3:]}"
        if request.param == "npy":
            np.save(path, array)
        else:
            (np.savez if request.param == "npz" else np.savez_compressed)(path, labels=np.arange(3), images=array)
        return path

    return save


@pytest.fixture
def mapped(monkeypatch):
    """Treat every array as a large one, looked at a few images at a time."""
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    monkeypatch.setattr(arrays, "BLOCK", 1000)


@pytest.mark.parametrize("form", FORMS)
def test_mapped_images_are_those_in_memory(saved, form, places, monkeypatch):
    path = saved(FORMS[form])
    read = load_images(path)
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    monkeypatch.setattr(arrays, "BLOCK", 1000)
    found = load_images(path)
    assert found.images.dtype == read.images.dtype and found.sha256 == read.sha256
    assert np.array_equal(found.images.numpy(), read.images.numpy())
    give_back_mapped_pages()
    assert np.array_equal(found.images.numpy(), read.images.numpy())


def test_bare_arrays_are_mapped_where_they_lie(tmp_path, mapped, places):
    np.savez(tmp_path / "made.npz", images=PIXELS)
    load_images(tmp_path / "made.npz")
    assert not list((places / "cache").rglob("*.npy"))
    np.savez_compressed(tmp_path / "made.npz", images=PIXELS)
    load_images(tmp_path / "made.npz")
    assert len(list((places / "cache").rglob("*.npy"))) == 1


@pytest.mark.parametrize("position", range(200, 17_000, 3000))
def test_damage_is_found_in_mapped_arrays_too(tmp_path, position, mapped, places):
    np.savez(tmp_path / "made.npz", images=PIXELS)
    raw = bytearray((tmp_path / "made.npz").read_bytes())
    raw[position] ^= 4
    (tmp_path / "made.npz").write_bytes(bytes(raw))
    with pytest.raises(UserError, match="is no readable npz"):
        load_images(tmp_path / "made.npz")


def test_values_are_checked_in_mapped_arrays_too(saved, mapped, places):
    floats = (PIXELS / 255).astype(np.float32)
    floats[44, 3, 2, 1] = np.nan
    with pytest.raises(UserError, match="1 images hold NaN"):
        load_images(saved(floats))
    floats[44, 3, 2, 1] = 1.5
    with pytest.raises(UserError, match=r"floats lie in \[0.0, 1.5\], not in \[0, 1\]"):
        load_images(saved(floats))


def test_a_npy_that_ends_early(tmp_path, mapped, places):
    np.save(tmp_path / "made.npy", PIXELS)
    os.truncate(tmp_path / "made.npy", 9000)
    with pytest.raises(UserError, match="ends early"):
        load_images(tmp_path / "made.npy")


@pytest.mark.parametrize("member", [b"not an array", b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x09\x00\x10\x00{}"])
def test_a_member_that_is_no_array(tmp_path, member, places):
    with zipfile.ZipFile(tmp_path / "made.npz", "w") as archive:
        archive.writestr("images.npy", member)
    with pytest.raises(UserError, match=r"made\.npz is no readable npz \('images'"):
        load_images(tmp_path / "made.npz")


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (np.arange(49).astype(str), "49 different ids for 50 images"),
        (np.array(["a"] * 50), "1 different ids for 50 images"),
        (np.zeros((50, 2), "U1"), "'ids' is <U1"),
        (np.zeros(50), "'ids' is float64"),
        (np.array([b"\xff"] * 50), "no UTF-8 text"),
    ],
)
def test_ids_that_name_no_images(tmp_path, ids, said, places):
    np.savez(tmp_path / "made.npz", images=PIXELS, ids=ids)
    with pytest.raises(UserError, match=said):
        load_images(tmp_path / "made.npz")


def test_arrays_are_scaled_as_files_are(tmp_path, places):
    np.savez(tmp_path / "made.npz", images=PIXELS)
    (tmp_path / "pngs").mkdir()
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(tmp_path / "pngs" / f"{number}.png")
    wanted = Preparation(size=8)
    array, files = load_images(tmp_path / "made.npz", wanted), load_images(tmp_path / "pngs", wanted)
    assert array.ids is None and np.array_equal(array.images.numpy(), files.images.numpy())
    floats = (PIXELS / 255).astype(np.float32)
    np.savez(tmp_path / "floats.npz", images=floats)
    assert np.array_equal(load_images(tmp_path / "floats.npz", wanted).images.numpy(), files.images.numpy())


PROGRAM = """
import re, sys
from pathlib import Path
from vaebench.datasets.images.loading import load_images
from vaebench.core.dataset import to_float
from vaebench.core.mapped import give_back_mapped_pages

def peak():
    return int(re.search(r"VmHWM:\\\\s+(\\\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

before = peak()
images = load_images(Path(sys.argv[1])).images
for part in images.split(16):
    to_float(part.contiguous()).sum()
    give_back_mapped_pages()
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' account of memory")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, places):
    whole = np.lib.format.open_memmap(tmp_path / "made.npy", mode="w+", dtype=np.uint8, shape=(2000, 256, 256, 3))
    whole[::7] = 3  # 393 MB
    del whole
    with zipfile.ZipFile(tmp_path / "made.npz", "w") as archive:
        archive.write(tmp_path / "made.npy", "images.npy")
    (tmp_path / "made.npy").unlink()
    program = PROGRAM.replace("\\\\", "\\")
    command = [sys.executable, "-c", program, tmp_path / "made.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(re.findall(r"[\d.]+", done.stdout)[0]) < 200


def saved_with_header(path, header, values=bytes(2 * 9 * 9 * 3)):
    """Write a npy file, or a npz of it, whose header is any text."""
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values
    if path.suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", content)
    return path


HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("in_memory", [10, 10**6])
@pytest.mark.parametrize(
    "header",
    [
        HEADER % ("'|u1'", "(-2, -9, 9, 3)"),
        HEADER % ("()", "(2, 9, 9, 3)"),
        HEADER % ("'|u1'", "(2, 9, 9, 3"),
        HEADER % ("'\\d|u1'", "(2, 9, 9, 3)"),
        "(" * 5000,
    ],
    ids=["negative", "no type", "no end", "escape", "parentheses"],
)
def test_headers_that_numpy_stumbles_over(tmp_path, header, in_memory, suffix, places, monkeypatch):
    monkeypatch.setattr(arrays, "IN_MEMORY", in_memory)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be a second line
        with pytest.raises(UserError, match=f"is no readable {suffix}"):
            load_images(saved_with_header(tmp_path / f"made.{suffix}", header))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_what_python_2_wrote_is_read_without_a_word(tmp_path, suffix, places):
    path = saved_with_header(tmp_path / f"made.{suffix}", HEADER % ("'|u1'", "(2L, 9L, 9L, 3L)"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_images(path).images.shape == (2, 3, 9, 9)


def test_numbers_that_float32_cannot_hold_are_refused_without_a_warning(tmp_path, places):
    np.savez(tmp_path / "made.npz", images=PIXELS * 1e300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="hold NaN or infinite values"):
            load_images(tmp_path / "made.npz")


def test_ids_that_are_no_characters(tmp_path, places):
    """numpy makes texts of any 32-bit numbers: of some Python makes no text, of others none that can be written."""
    ids = np.array([f"{row:02d}" for row in range(50)])
    ids.view(np.uint32)[3] = 0xD800
    np.savez(tmp_path / "made.npz", images=PIXELS, ids=ids)
    assert load_images(tmp_path / "made.npz").ids[1] == "0\\ud800"
    ids.view(np.uint32)[3] = 0x7FFFFFFF
    np.savez(tmp_path / "made.npz", images=PIXELS, ids=ids)
    with pytest.raises(UserError, match="'ids' holds numbers that are no characters: save texts"):
        load_images(tmp_path / "made.npz")


@pytest.mark.parametrize("form", ["float64", "fortran"])
def test_what_must_be_converted_is_bounded(saved, form, places, monkeypatch):
    monkeypatch.setattr(arrays, "CONVERTED", 10_000)
    with pytest.raises(UserError, match="more than the 10,000 bytes that are read: save it as uint8 in C order"):
        load_images(saved(FORMS[form]))
