"""Learning curves: which runs and terms are drawn, where the axes end, and the same bytes every time."""

from dataclasses import replace

import numpy as np
import pytest
from handmade_page import toy
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.report.figures.curves import CAPTION, FILE, _figure, draw_curves, read_histories
from vaebench.runs.history import Progress, to_text
from vaebench.runs.record import RunFolder


def rows(terms, steps=200, every=10):
    return [
        Progress(
            step=step,
            steps=steps,
            epoch=step / 100,
            seconds=step / 10,
            images_per_second=100.0,
            terms={name: curve(step) for name, curve in terms.items()},
        )
        for step in range(every, steps + 1, every)
    ]


@pytest.fixture
def found(tmp_path):
    """vae with two seeds, gan with another term; blend kept no history."""
    terms = {
        "vae": {"vae/kl": lambda step: 1000.0 if step <= 10 else 5.0 + step / 200, "vae/$x^2$": lambda step: 1 / step},
        "gan": {"critic/real": lambda step: float(step % 3)},
        "blend": {},
    }
    folders = {}
    for name, curves in terms.items():
        for seed in (1, 0):
            folder = RunFolder(tmp_path / "runs" / name / f"seed-{seed}")
            folder.path.mkdir(parents=True)
            folders[name, seed] = folder.path
            if curves:
                folder.history.write_text(to_text(rows(curves)))
    return replace(toy(), folders=folders)


def test_histories_are_of_every_seed_that_kept_one(found):
    histories = read_histories(found)
    assert {name: list(seeds) for name, seeds in histories.items()} == {"gan": [0, 1], "vae": [0, 1]}
    assert histories["vae"][0][0].terms["vae/kl"] == 1000.0


def test_runs_that_are_not_in_this_part_are_left_out(found):
    part = replace(found, results=[line for line in found.results if line.recipe != "gan"])
    assert list(read_histories(part)) == ["vae"]


def test_the_file_is_a_picture_and_the_same_bytes_every_time(found, tmp_path):
    assert draw_curves(found, tmp_path / "a") == {FILE: CAPTION}
    draw_curves(found, tmp_path / "b")
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()
    with Image.open(tmp_path / "a" / FILE) as picture:
        assert picture.width > 200 and np.ptp(np.array(picture.convert("L"))) > 200
        assert "Software" not in picture.info


def test_no_history_is_no_picture(tmp_path):
    assert draw_curves(toy(), tmp_path / "figures") == {}
    assert not (tmp_path / "figures").exists()


def test_each_term_is_a_panel_and_each_seed_a_line(found):
    figure = _figure(read_histories(found))
    drawn = {axes.get_title(): axes for axes in figure.axes if axes.lines}
    assert list(drawn) == ["critic/real", "vae/kl", r"vae/\$x^2\$"]
    assert all(len(axes.lines) == 2 for axes in drawn.values())
    assert drawn["vae/kl"].lines[0].get_xdata()[-1] == 200


def test_the_first_steps_do_not_set_the_axis(found):
    axes = next(axes for axes in _figure(read_histories(found)).axes if axes.get_title() == "vae/kl")
    low, high = axes.get_ylim()
    assert low < 5.15 and 6.0 <= high < 10


def test_terms_that_are_no_numbers_do_not_break_the_axis(found):
    broken = {"vae": {0: rows({"vae/kl": lambda step: float("nan") if step < 100 else float("inf")})}}
    axes = next(axes for axes in _figure(broken).axes if axes.lines)
    assert all(np.isfinite(axes.get_ylim()))


def test_a_damaged_history_says_so(found, tmp_path):
    (found.folders["vae", 0] / "history.csv").write_text("step,steps\nx,y\n")
    with pytest.raises(UserError, match=r"history\.csv, line 2 is damaged"):
        draw_curves(found, tmp_path)
