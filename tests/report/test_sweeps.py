"""Sweeps: which runs belong to one, where each value stands in the figure, and what strangers' records may do to it."""

import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from handmade import drawn, measured, result
from handmade_page import NASTY, N, part_of, record

from vaebench.core.results import Facts
from vaebench.core.setting_names import name_with
from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.formatting import short
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.report.analysis.sweeps import sweeps
from vaebench.report.figures.sweeps import draw_sweeps
from vaebench.report.html import html_report

SVG = "{http://www.w3.org/2000/svg}"
FACTS = Facts(question="How near?", headline=1)


def known_of(runs, *, seeds=2, real=False):
    """``runs``: (recipe's own name, its settings, those in its name) -> mean value."""
    scores, records, more = {}, {}, []
    for place, ((own, settings, named), mean) in enumerate(runs.items()):
        name = name_with(own, {key: settings[key] for key in named})
        for seed in range(seeds):
            scores[name, seed] = mean + drawn(10 * place + seed, N, 0.0, 0.1)
            hyperparameters = {key: value for key, value in settings.items() if key != "batch_size"}
            changed = {"reference": own, "hyperparameters": hyperparameters, "settings": list(named)}
            changed["batch_size"] = settings.get("batch_size", 50)
            records[name, seed] = record(name, seed, **changed)
    if real:
        scores["real", None] = 9 + drawn(99, N)
    found = measured(scores, metric="blur" if real else "mse", more=more)
    found = replace(found, results=[replace(line, facts=FACTS) for line in found.results])
    return replace(found, records=records)


class Settings(dict):
    """Settings that may be a key of a dictionary."""

    def __hash__(self):
        return id(self)


def runs_of(*rows):
    return {(own, Settings(settings), tuple(named)): mean for own, settings, named, mean in rows}


SWEPT = runs_of(
    ("vae", {"latent_dim": 5, "beta": 1.0}, [], 3.0),
    ("vae", {"latent_dim": 20, "beta": 1.0}, ["latent_dim"], 1.0),
    ("vae", {"latent_dim": 10, "beta": 1.0}, ["latent_dim"], 2.0),
    ("vae", {"latent_dim": 10, "beta": 4.0}, ["beta", "latent_dim"], 4.0),
    ("gan", {"latent_dim": 5}, [], 5.0),
    ("gan", {"latent_dim": 10}, ["latent_dim"], 6.0),
    ("other", {"latent_dim": 7}, ["latent_dim"], 7.0),
)


def drawn_of(found):
    return draw_sweeps(sweeps(found), leaderboard(found, all_pairs(found)))


def test_a_line_has_all_other_settings_in_common_and_the_recipes_own_value():
    beta, latents = sweeps(known_of(SWEPT))
    assert [(line.name, [(p.value, p.recipe) for p in line.points]) for line in latents.lines] == [
        ("gan", [("5", "gan"), ("10", "gan[latent_dim=10]")]),
        ("vae", [("5", "vae"), ("10", "vae[latent_dim=10]"), ("20", "vae[latent_dim=20]")]),
    ]
    assert (latents.key, latents.numeric, latents.values) == ("latent_dim", True, ["5", "10", "20"])
    assert [(line.name, [p.value for p in line.points]) for line in beta.lines] == [("vae[latent_dim=10]", ["1", "4"])]


def test_without_two_values_there_is_no_sweep():
    alone = runs_of(("vae", {"latent_dim": 10}, ["latent_dim"], 1.0), ("gan", {"latent_dim": 5}, [], 2.0))
    assert sweeps(known_of(alone)) == [] == drawn_of(known_of(alone))


def test_options_of_the_data_and_seeds_trained_differently_are_no_points():
    found = known_of(SWEPT)
    sized = dict(found.records)
    for seed in (0, 1):
        changed = {"settings": ["dataset.size"], "dataset_options": {"size": 32}}
        sized["gan[latent_dim=10]", seed] = replace(found.records["gan", seed], **changed)
        sized["gan", seed] = replace(found.records["gan", seed], dataset_options={"size": 64})
    assert [sweep.key for sweep in sweeps(replace(found, records=sized))] == ["beta", "latent_dim"]
    mixed = dict(found.records)
    mixed["vae", 1] = replace(mixed["vae", 1], hyperparameters={"latent_dim": 6, "beta": 1.0})
    latents = sweeps(replace(found, records=mixed))[1]
    assert [p.value for line in latents.lines if line.name == "vae" for p in line.points] == ["10", "20"]


def circles(drawing):
    """(class, x, y) of the points of each panel, without the legend's."""
    root = ET.fromstring(drawing)
    return [
        (c.get("class"), float(c.get("cx")), float(c.get("cy")))
        for g in root.iter(f"{SVG}g")
        for c in g.iter(f"{SVG}circle")
    ]


def test_points_stand_where_their_numbers_are():
    found = known_of(SWEPT)
    beta, latents = drawn_of(found)
    assert (beta.file, latents.file) == ("sweep_beta.svg", "sweep_latent_dim.svg")
    points = circles(latents.drawing)
    assert len(points) == 5
    ranked = {row.recipe: row.value for row in leaderboard(found, all_pairs(found)) if row.stratum == "all"}
    (five, ten, twenty) = [point for point in points if point[0] == "point1"]  # of vae: gan is the first line
    assert (twenty[1] - ten[1]) / (ten[1] - five[1]) == pytest.approx(2.0, abs=0.01)
    rise = (five[2] - ten[2]) / (ten[2] - twenty[2])
    values = [ranked["vae"], ranked["vae[latent_dim=10]"], ranked["vae[latent_dim=20]"]]
    assert rise == pytest.approx((values[0] - values[1]) / (values[1] - values[2]), abs=0.01)
    assert five[2] < ten[2] < twenty[2]  # larger values stand higher
    assert [text.text for text in ET.fromstring(latents.drawing).iter(f"{SVG}text")][:2] == ["gan", "vae"]


def test_every_number_is_said_in_words():
    (_, latents) = drawn_of(known_of(SWEPT, seeds=3))
    found = known_of(SWEPT, seeds=3)
    said = {row.recipe: short(row.value) for row in leaderboard(found, all_pairs(found))}
    assert latents.alternative.startswith(f"Against latent_dim. mse (recon) of gan: 5: {said['gan']} (")
    assert f"; mse (recon) of vae: 5: {said['vae']} (" in latents.alternative
    assert f", 20: {said['vae[latent_dim=20]']} (" in latents.alternative
    assert latents.alternative.count(" to ") == 5  # an interval each


def test_two_seeds_have_points_without_intervals():
    (_, two), (_, three) = drawn_of(known_of(SWEPT)), drawn_of(known_of(SWEPT, seeds=3))
    assert " to " not in two.alternative and len(circles(two.drawing)) == len(circles(three.drawing)) == 5
    assert three.drawing.count('stroke-width="1.5"') == 3 * 5 and 'stroke-width="1.5"' not in two.drawing


def test_far_values_are_drawn_on_a_logarithmic_axis():
    rates = [("vae", {"rate": 10.0**-k}, ["rate"] if k != 3 else [], 1.0 * k) for k in (1, 2, 3, 4)]
    (found,) = drawn_of(known_of(runs_of(*rates)))
    places = [x for _, x, _ in circles(found.drawing)]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert "rate (logarithmic)" in found.caption and steps == pytest.approx([steps[0]] * 3, abs=0.02)


def test_what_is_no_number_is_a_category():
    rows = [
        ("vae", {"layers": ["a", "b"], "clip": None}, [], 1.0),
        ("vae", {"layers": ["c"], "clip": None}, ["layers"], 2.0),
        ("vae", {"layers": ["a", "b"], "clip": 0.1}, ["clip"], 3.0),
        ("vae", {"layers": ["a", "b"], "clip": 0.01}, ["clip"], 4.0),
    ]
    clip, layers = drawn_of(known_of(runs_of(*rows)))
    texts = [text.text for text in ET.fromstring(clip.drawing).iter(f"{SVG}text")]
    assert [text for text in texts if text in ("0.01", "0.1", "none")] == ["0.01", "0.1", "none"]
    places = [x for _, x, _ in circles(clip.drawing)]
    assert places[2] - places[1] == pytest.approx(places[1] - places[0], abs=0.02)
    assert all('class="line0" x1="12" y1="18" x2="46"' in each.drawing for each in (clip, layers))  # the legend's
    assert clip.drawing.count('class="line0"') == layers.drawing.count('class="line0"') == 1
    assert "a+b" in layers.drawing and "of vae: a+b: 0.9" in layers.alternative


def test_a_target_shows_the_originals_and_unequal_trainings_are_said():
    found = known_of(SWEPT, real=True)
    assert 'class="reference"' in drawn_of(found)[1].drawing and "originals" in drawn_of(found)[1].caption
    assert "originals" not in drawn_of(known_of(SWEPT))[1].caption
    assert "steps" not in drawn_of(found)[1].caption
    longer = {key: replace(each, steps=300 + 100 * (key[0] == "gan")) for key, each in found.records.items()}
    assert "Trainings took 300 to 400 steps" in drawn_of(replace(found, records=longer))[1].caption


def test_the_figure_is_in_the_page_with_its_text(tmp_path):
    found = known_of(SWEPT)
    (_, figure) = drawn_of(found)
    (tmp_path / figure.file).write_text(figure.drawing, encoding="utf-8")
    part = part_of(
        found, tmp_path, captions={figure.file: figure.caption}, alternatives={figure.file: figure.alternative}
    )
    page = html_report([part])
    assert f'alt="{figure.alternative}"' in page and "data:image/svg+xml;base64," in page
    assert "vae<wbr>[latent_dim=10]" in page


@pytest.mark.parametrize("key", ["../../x", NASTY, "a" * 500, "", "con.svg/", "β"])
def test_records_of_strangers_name_no_file_outside_and_draw_no_markup(key):
    rows = runs_of(("vae", {key: 1}, [], 1.0), ("vae", {key: 10**400}, [key], 2.0), ("vae", {key: NASTY}, [key], 3.0))
    (figure,) = drawn_of(known_of(rows))
    assert "/" not in figure.file and len(figure.file) < 100 and figure.file.startswith("sweep_")
    assert "<script" not in figure.drawing
    ET.fromstring(figure.drawing)


def test_a_stranger_s_name_without_room_for_settings_stops_no_report():
    found = known_of(SWEPT)
    long = "x" * 119
    strange = replace(record(long, 0), settings=["beta", "latent_dim"], hyperparameters={"beta": 1.0, "latent_dim": 3})
    more = [*found.results, replace(result(long, 0, "mse", 1.0), facts=FACTS)]
    assert len(sweeps(replace(found, results=more, records={**found.records, (long, 0): strange}))) == 2
