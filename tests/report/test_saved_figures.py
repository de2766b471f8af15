"""Figures are saved in the fewest bytes that look the same; images in them stay pixel by pixel."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vaebench.report.figures.image_sheet import Strip, image_sheet
from vaebench.report.figures.saving import OFF, SEEN, save_figure


def curves():
    figure = Figure(figsize=(8, 6))
    axes = figure.subplots()
    for place in range(3):
        axes.plot(np.sin(np.arange(100) / (place + 3)), label=f"{place}")
    axes.legend()
    return figure


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def saved(figure, path, **how):
    save_figure(figure, path, **how)
    with Image.open(path) as picture:
        return picture.mode, np.array(picture.convert("RGB"))


def drawn(figure, path):
    figure.savefig(path, format="png")
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def test_a_drawing_has_a_palette_that_looks_the_same(tmp_path):
    mode, pixels = saved(curves(), tmp_path / "saved.png")
    plain = drawn(curves(), tmp_path / "plain.png")
    assert mode == "P" and pixels.shape == plain.shape
    assert (np.abs(pixels.astype(int) - plain).max(axis=-1) > SEEN).mean() <= OFF
    assert (tmp_path / "saved.png").stat().st_size < (tmp_path / "plain.png").stat().st_size / 2


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_stay_as_they_are_and_grey_ones_grey(tmp_path, channels, mode):
    pictures = images(5, 64, 48, channels)
    found, pixels = saved(image_sheet([Strip(label="seed 0", pictures=pictures)]), tmp_path / "saved.png", dpi=100)
    assert found == mode
    wanted = np.broadcast_to(pictures[0], (64, 48, 3))
    assert any(np.array_equal(pixels[3:67, at : at + 48], wanted) for at in range(pixels.shape[1] - 48))


def test_the_style_says_how_fine_a_figure_is_unless_it_is_given(tmp_path):
    with mpl.rc_context({"savefig.dpi": 150}):
        assert saved(curves(), tmp_path / "style.png")[1].shape == (900, 1200, 3)
    assert saved(curves(), tmp_path / "given.png", dpi=50)[1].shape == (300, 400, 3)
