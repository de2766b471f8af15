"""Plates: written beside the runs, taken up by the report, left out once their weights are gone, kept as evidence."""

import json
import shutil
from dataclasses import asdict, replace

import pytest
from PIL import Image

from vaebench.runs.study_figures import StudyFigure, folder_of, read_study_figures, save_study_figure

PLATE = StudyFigure(
    name="blend",
    caption="Two blended.",
    files=("blend.png", "blend.csv"),
    runs={"vae-digits/seed-0": "abc"},
    data_fingerprint="f" * 64,
    versions={"torch": "2"},
    device="cpu",
    command="vaebench blend vae-digits",
    created="2026-11-21T00:00:00+00:00",
)


def test_a_plate_is_read_as_it_was_saved_in_the_order_of_the_report(tmp_path):
    save_study_figure(tmp_path, replace(PLATE, order=2))
    save_study_figure(tmp_path, replace(PLATE, name="sample", files=("sample.png",), order=1))
    (first, second), refused = read_study_figures(tmp_path)
    assert refused == []
    assert (first.name, second.name) == ("sample", "blend")
    assert second == replace(PLATE, order=2)
    assert read_study_figures(tmp_path / "nowhere") == ([], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"name": "other"},
        {"name": "../blend"},
        {"files": []},
        {"files": ["../../outside.png"]},
        {"files": ["blend.desktop"]},
        {"files": [7]},
        {"runs": None},
    ],
)
def test_a_record_that_is_none_is_refused_with_the_way_to_mend_it(tmp_path, changes):
    fields = {**asdict(PLATE), **changes}
    (tmp_path / "blend.json").write_text(json.dumps(fields), encoding="utf-8")
    save_study_figure(tmp_path, replace(PLATE, name="sample", files=("sample.png",)))
    (whole,), (said,) = read_study_figures(tmp_path)  # the others are still shown
    assert whole.name == "sample"
    assert "move it away, and draw it again with 'vaebench blend'" in said


def test_what_is_no_json_is_refused(tmp_path):
    (tmp_path / "blend.json").write_text("{", encoding="utf-8")
    found, (said,) = read_study_figures(tmp_path)
    assert not found and "cannot be read" in said


@pytest.fixture
def reported(cli, tmp_path, monkeypatch):
    """A run of two steps with a plate; the folder of its plates."""
    monkeypatch.chdir(tmp_path)
    assert cli(["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"]).code == 0
    assert cli(["interpolate", "vae-digits", "--pairs", "1", "--gif"]).code == 0
    (folder,) = (tmp_path / "runs" / "studies").iterdir()
    return folder


def test_the_report_shows_it_and_its_evidence_makes_the_report_again(reported, cli, tmp_path, monkeypatch):
    assert cli(["report", "--dataset", "digits", "--evidence"]).code == 0
    report = tmp_path / "reports" / "digits"
    page = (report / "index.html").read_bytes()
    assert b"Straight lines between posterior means" in page and b"interpolate.gif" in page
    assert (report / "figures" / "interpolate.gif").read_bytes() == (reported / "interpolate.gif").read_bytes()
    monkeypatch.setenv("VAEBENCH_RUNS", str(report / "evidence"))
    assert folder_of(reported.name).is_dir()
    assert cli(["report", "--dataset", "digits", "--out", "again"]).code == 0
    for name in ("index.html", "leaderboard.md", "latent_space.csv"):
        assert (tmp_path / "again" / "digits" / name).read_bytes() == (report / name).read_bytes()


def test_a_figure_of_weights_that_are_gone_is_left_out_and_named(reported, cli, tmp_path, caplog):
    shutil.rmtree(tmp_path / "reports")
    record = json.loads((reported / "interpolate.json").read_text(encoding="utf-8"))
    record["runs"] = {"vae-digits/seed-0": "0" * 64}
    (reported / "interpolate.json").write_text(json.dumps(record), encoding="utf-8")
    assert cli(["report", "--dataset", "digits"]).code == 0
    assert (
        "interpolate shows weights of vae-digits/seed-0 replaced since, or never measured: draw it again" in caplog.text
    )
    assert not (tmp_path / "reports" / "digits" / "figures" / "interpolate.png").exists()


def test_a_mosaic_is_small_and_keeps_its_colours(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli(["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"]).code == 0
    assert cli(["embed", "vae-digits", "--count", "16"]).code == 0
    (path,) = (tmp_path / "runs" / "studies").glob("*/embed.png")
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(100_000)}
    assert {(0, 0, 0), (255, 255, 255)} <= colours or len(colours) > 20
