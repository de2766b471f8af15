"""Pictures: pixels, grids, PNG files and galleries."""

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.runs.galleries import grid, load_gallery, save_gallery, save_png, to_pixels


def numbered(n, height=3, width=2, channels=1):
    """Image i is i all over."""
    return np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, height, width, channels), np.uint8)


def test_grid_runs_row_by_row_on_white():
    sheet = grid(numbered(5), columns=3, gap=1)
    assert sheet.shape == (2 * 4 + 1, 3 * 3 + 1, 1)
    for i in range(5):
        top, left = divmod(i, 3)
        assert (sheet[top * 4 + 1 : top * 4 + 4, left * 3 + 1 : left * 3 + 3] == i).all()
    assert (sheet[5:8, 7:9] == 255).all()  # no sixth image
    assert (sheet[[0, 4, 8]] == 255).all() and (sheet[:, [0, 3, 6, 9]] == 255).all()


@pytest.mark.parametrize(
    ("n", "columns", "shape"), [(1, 1, (7, 6)), (4, 10, (7, 42)), (10, 10, (7, 42)), (11, 10, (12, 42))]
)
def test_grid_size(n, columns, shape):
    assert grid(numbered(n), columns).shape == (*shape, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 2])
def test_png_can_be_read_back(tmp_path, channels, scale):
    sheet = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    save_png(tmp_path / "deep" / "a.png", sheet, scale)
    with Image.open(tmp_path / "deep" / "a.png") as opened:
        assert (opened.format, opened.mode, opened.size) == (
            "PNG",
            "L" if channels == 1 else "RGB",
            (7 * scale, 5 * scale),
        )
        read = np.asarray(opened).reshape(5 * scale, 7 * scale, channels)
    np.testing.assert_array_equal(read, sheet.repeat(scale, 0).repeat(scale, 1))


def test_png_bytes_repeat(tmp_path):
    for name in "ab":
        save_png(tmp_path / name, numbered(1)[0])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_floats_become_the_nearest_byte():
    images = torch.tensor([0.0, 0.499 / 255, 0.501 / 255, 0.5, 1.0, -0.1, 1.1]).view(-1, 1, 1, 1)
    assert to_pixels(images).ravel().tolist() == [0, 0, 1, 128, 255, 0, 255]


def test_bytes_stay_as_they_are_and_channels_come_last():
    images = torch.randint(0, 256, (2, 3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels = to_pixels(images)
    assert pixels.shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(pixels, images.numpy().transpose(0, 2, 3, 1))


def test_every_byte_survives_as_a_float():
    images = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    np.testing.assert_array_equal(to_pixels(images.float() / 255), to_pixels(images))


def test_gallery_reads_back(tmp_path):
    arrays = {"samples": numbered(3), "reconstructions": numbered(2, channels=3)}
    save_gallery(tmp_path / "gallery.npz", arrays)
    read = load_gallery(tmp_path / "gallery.npz")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_no_gallery_is_an_empty_one(tmp_path):
    assert load_gallery(tmp_path / "gallery.npz") == {}


def test_a_damaged_gallery_is_named(tmp_path):
    (tmp_path / "gallery.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"gallery\.npz is no readable npz"):
        load_gallery(tmp_path / "gallery.npz")
