"""Figures: which are drawn, and that the same numbers give the same bytes."""

import dataclasses

import numpy as np
import pytest
from handmade import drawn, ids_of, measured
from PIL import Image

from vaebench.report.figures.galleries import draw_all

N = 30
LABELS = [i % 3 for i in range(N)]


def gallery(seed, n, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5, channels), dtype=np.uint8)


def known(labels=LABELS, channels=1, **options):
    runs = {("real", None): drawn(0, N), ("vae", 0): drawn(1, N), ("vae", 1): drawn(2, N)}
    runs |= {("gan", 0): drawn(3, N), **options.pop("more", {})}
    return dataclasses.replace(
        measured(runs, metric="blur", labels=labels, **options),
        galleries={
            ("real", None): {"reconstructions": gallery(0, 4, channels)},
            ("vae", 0): {"reconstructions": gallery(1, 4, channels), "samples": gallery(2, 60, channels)},
            ("vae", 1): {"reconstructions": gallery(3, 4, channels), "samples": gallery(4, 60, channels)},
            ("gan", 0): {"samples": gallery(5, 7, channels)},
        },
    )


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("channels", [1, 3])
def test_all_figures(tmp_path, channels):
    captions = draw_all(known(channels=channels), tmp_path)
    assert (
        set(captions)
        == set(files(tmp_path))
        == {
            "reconstructions.png",
            "samples.png",
            "blur_per_class.png",
            "blur_histogram_label_1.png",
            "blur_histogram_label_not_1.png",
        }
    )
    assert all(captions.values())
    for path in tmp_path.iterdir():
        with Image.open(path) as opened:
            opened.load()
            assert min(opened.size) > 60


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    draw_all(known(), first)
    draw_all(known(), again)
    draw_all(known(more={("aae", 0): drawn(9, N)}), other)
    assert files(first) == files(again)
    assert files(first)["blur_per_class.png"] != files(other)["blur_per_class.png"]


def test_no_date_and_no_software_in_the_files(tmp_path):
    draw_all(known(), tmp_path)
    for path in tmp_path.iterdir():
        with Image.open(path) as opened:
            assert not {"Software", "Creation Time", "date"} & set(opened.info)


def test_without_labels_one_histogram(tmp_path):
    captions = draw_all(known(labels=None), tmp_path)
    assert "blur_histogram_all.png" in captions
    assert "blur_per_class.png" not in captions


def test_without_pictures_and_numbers_nothing(tmp_path):
    bare = measured({("vae", 0): drawn(0, N)}, metric="mse")
    assert draw_all(bare, tmp_path / "figures") == {}
    assert not (tmp_path / "figures").exists()


def test_one_row_of_reconstructions_is_no_comparison(tmp_path):
    whole = known()
    alone = dataclasses.replace(whole, galleries={("real", None): whole.galleries["real", None]})
    assert "reconstructions.png" not in draw_all(alone, tmp_path)


def test_images_without_any_spread_can_be_drawn(tmp_path):
    runs = {("real", None): np.zeros(N), ("vae", 0): np.zeros(N)}
    assert "blur_histogram_all.png" in draw_all(measured(runs, metric="blur"), tmp_path)


def test_images_of_their_own_need_no_partner(tmp_path):
    more = {("external/x", None): drawn(7, N + 5)}
    captions = draw_all(known(more=more, ids={"external/x": ids_of(N + 5, "x")}), tmp_path)
    assert "blur_per_class.png" in captions


def shown(path):
    with Image.open(path) as opened:
        return np.array(opened.convert("L"))


def find(image, sheet):
    """Whether an image stands on a sheet, pixel by pixel."""
    height, width = image.shape
    rows, columns = np.nonzero(sheet[: -height + 1, : -width + 1] == image[0, 0])
    return any(np.array_equal(sheet[y : y + height, x : x + width], image) for y, x in zip(rows, columns, strict=True))


@pytest.mark.parametrize(("side", "most"), [(28, 60), (64, 32)])
def test_samples_are_shown_pixel_by_pixel_and_no_more_than_have_room(tmp_path, side, most):
    images = np.random.default_rng(0).integers(0, 256, (most + 1, side, side, 1), dtype=np.uint8)
    draw_all(dataclasses.replace(known(), galleries={("vae", 0): {"samples": images}}), tmp_path)
    sheet, zoom = shown(tmp_path / "samples.png"), 64 // side
    found = [find(image[..., 0].repeat(zoom, axis=0).repeat(zoom, axis=1), sheet) for image in images]
    assert found == [True] * most + [False]


def test_large_images_are_shown_reduced(tmp_path):
    images = np.zeros((8, 256, 256, 1), np.uint8)
    images[:, ::2, ::2] = 200  # a mean of 50 over squares of 2 x 2
    draw_all(dataclasses.replace(known(), galleries={("vae", 0): {"samples": images}}), tmp_path)
    sheet = shown(tmp_path / "samples.png")
    assert sheet.shape[1] < 8 * 140
    assert find(np.full((128, 128), 50, np.uint8), sheet)


def test_a_gallery_without_images_is_none(tmp_path):
    galleries = {("vae", 0): {"samples": gallery(0, 0)}, ("vae", 1): {"reconstructions": gallery(1, 0)}}
    captions = draw_all(dataclasses.replace(known(), galleries=galleries), tmp_path)
    assert not {"samples.png", "reconstructions.png"} & set(captions)
