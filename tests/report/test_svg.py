"""Drawings: what stands where, that every text is escaped, and which metrics a file of forest plots chooses."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from handmade_page import NASTY, part_of, toy

from vaebench.report.figures import svg
from vaebench.report.figures.forest import forest, forest_svg, marks, panel, place_of
from vaebench.report.figures.svg import tick_text, ticks

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing):
    return ["".join(found.itertext()) for found in ET.fromstring(drawing).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def ranked():
    return part_of(toy(), None).ranked


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (-0.21, 0.19, [-0.2, -0.1, 0.0, 0.1]),
        (3.0, 3.0, [3.0]),
        (8_100.0, 12_000.0, [9_000.0, 10_000.0, 11_000.0, 12_000.0]),
        (0.03, 0.18, [0.05, 0.1, 0.15]),
        (1.0, 1.0 + 1e-9, [1.0] * 3),
    ],
)
def test_ticks_are_round_and_inside(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "step", "said"),
    [
        (0.25, 0.05, "0.25"),
        (12_000.0, 2_000.0, "12,000"),
        (0.000025, 0.000005, "2.5e-05"),
        (2e6, 1e6, "2M"),
        (0.0, 1e-9, "0"),
    ],
)
def test_ticks_have_the_decimals_of_their_step(value, step, said):
    assert tick_text(value, step) == said


def test_texts_are_escaped(ranked):
    drawing = forest([replace(row, recipe=NASTY) for row in rows_of(ranked)])
    assert "<script" not in drawing
    assert any(NASTY[:10] in text for text in texts(drawing))


def test_long_names_are_cut_and_said_in_full_on_hovering():
    found = ET.fromstring(f'<svg xmlns="http://www.w3.org/2000/svg">{svg.fitted(0, 0, "x" * 30, 10)}</svg>')[0]
    assert found[0].text == "x" * 30 and found[0].tail == "x" * 9 + "…"


def test_cut_names_of_a_sweep_can_be_told_apart(ranked):
    names = [f"dfcvae-digits[latent_dim={k}]" for k in (5, 10, 20)]
    drawing = forest([replace(row, recipe=name) for row, name in zip(rows_of(ranked), names, strict=False)])
    shown = [text.replace(name, "") for name in names for text in texts(drawing) if text.startswith(name)]
    assert len(set(shown)) == 3 and all("…[latent_dim=" in text for text in shown)


def test_only_a_file_of_its_own_has_colours_and_ground(ranked):
    pair = [forest(rows_of(ranked)), forest_svg(ranked)]
    assert ["<style>" in drawing for drawing in pair] == [False, True]
    assert "#" not in pair[0] and "prefers-color-scheme:dark" in pair[1] and 'class="ground"' in pair[1]


def rows_of(ranked, metric="mse"):
    return [row for row in ranked if row.metric == metric and row.stratum == "all"]


def test_forest_has_a_line_a_model_and_its_interval_in_place(ranked):
    rows = rows_of(ranked)
    lines = marks(rows)
    assert [mark.name for mark in lines] == ["blend", "gan", "vae"]
    drawing = ET.fromstring(forest(rows))
    dots = {found.get("class"): float(found.get("cx")) for found in drawing.iter(f"{SVG}circle")}
    assert dots["first"] == min(dots.values())  # vae has the least, and stands leftmost
    spans = [found for found in drawing.iter(f"{SVG}line") if found.get("class") == "interval"]
    widths = [float(found.get("x2")) - float(found.get("x1")) for found in spans]
    expected = [mark.high - mark.low for mark in lines]
    assert [width / widths[0] for width in widths] == pytest.approx([size / expected[0] for size in expected], rel=5e-3)


def test_originals_are_a_reference_only_where_nearness_counts(ranked):
    row = rows_of(ranked)[0]
    real = replace(row, recipe="real", value=4.0, ci_low=None, ci_high=None, rank_low=None, rank_high=None)
    for direction, lines in (("target", 1), ("lower", 0)):
        drawing = forest([replace(other, direction=direction) for other in (row, real)])
        assert drawing.count('class="reference"') == lines
        assert texts(drawing)[-4:-1:2] != [] and texts(drawing).index("originals") < texts(drawing).index(row.recipe)


def test_nothing_with_a_value_is_nothing_drawn(ranked):
    assert forest([replace(row, value=None) for row in rows_of(ranked)]) == ""
    assert forest_svg([]) == ""


def test_values_that_are_all_alike_can_be_drawn(ranked):
    alike = [replace(row, value=0.0, ci_low=None, ci_high=None) for row in rows_of(ranked)]
    body, height = panel(marks(alike), target=False)
    assert height > 0 and "nan" not in "".join(body)


@pytest.mark.parametrize(("low", "high", "place"), [(1, 1, "first"), (1, 3, "shared"), (2, 2, ""), (None, None, "")])
def test_places(ranked, low, high, place):
    assert place_of(replace(ranked[0], recipe="vae", rank_low=low, rank_high=high)) == place


def test_the_file_has_the_metrics_that_are_looked_for_first_and_no_more(ranked):
    said = texts(forest_svg(ranked))
    titles = [text for text in said if "is better" in text]
    assert titles == [
        "mse (recon), lower is better",
        "lpips (recon), lower is better",
        "fid (samples), lower is better",
    ]
    many = [replace(row, metric=name) for row in ranked for name in ("mse", "ssim", "blur", "kl", "nll")]
    assert len([text for text in texts(forest_svg(many)) if "is better" in text]) <= 8


def test_another_classifier_s_distance_stands_in_where_there_is_no_fid(ranked):
    other = [replace(row, metric="fcd") for row in ranked if row.metric == "fid"]
    assert "fcd (samples), lower is better" in texts(forest_svg(other))
