"""A report that would come out as it lies there is not written again; anything new, gone or asked otherwise is seen."""

import pytest

from vaebench.core.places import cache_dir, runs_dir
from vaebench.report import unchanged

REQUEST = {"dataset": None, "latex": False}


@pytest.fixture
def out(places):
    """A folder with a report of one dataset, made from one run, and remembered."""
    run = runs_dir() / "vae-digits" / "seed-0"
    run.mkdir(parents=True)
    (run / "results.jsonl").write_text("{}\n")
    (places / "reports" / "digits").mkdir(parents=True)
    (places / "reports" / "digits" / "index.html").write_text("<html>")
    unchanged.remember(REQUEST, places / "reports", ["digits"], unchanged.sources(REQUEST))
    return places / "reports"


def test_what_is_as_it_was_is_known(out):
    assert unchanged.datasets_unchanged(REQUEST, out) == ["digits"]


@pytest.mark.parametrize(
    "change",
    [
        lambda out: (runs_dir() / "vae-digits" / "seed-0" / "results.jsonl").write_text("{}\n{}\n"),
        lambda out: (runs_dir() / "vae-digits" / "seed-0" / "results.jsonl").unlink(),
        lambda out: (runs_dir() / "new.json").write_text(""),
        lambda out: (out / "digits" / "index.html").unlink(),
        lambda out: (out / "digits" / "index.html").write_text("<edited>"),
        lambda out: (out / "digits" / "remarks.toml").write_text(""),
        lambda out: (cache_dir() / "reports.json").write_text("{"),
        lambda out: (cache_dir() / "reports.json").write_text("[]"),
        lambda out: (cache_dir() / "reports.json").unlink(),
    ],
)
def test_every_change_is_seen(out, change):
    change(out)
    assert unchanged.datasets_unchanged(REQUEST, out) == []


def test_runs_behind_links_are_seen(out, tmp_path):
    elsewhere = tmp_path / "disk" / "seed-0"
    elsewhere.mkdir(parents=True)
    (elsewhere / "results.jsonl").write_text("{}\n")
    (runs_dir() / "linked").symlink_to(elsewhere.parent)
    (runs_dir() / "linked" / "round").symlink_to(runs_dir())
    (runs_dir() / "nowhere").symlink_to(tmp_path / "gone")
    unchanged.remember(REQUEST, out, ["digits"], unchanged.sources(REQUEST))
    assert unchanged.datasets_unchanged(REQUEST, out) == ["digits"]
    (elsewhere / "results.jsonl").write_text("{}\n{}\n")
    assert unchanged.datasets_unchanged(REQUEST, out) == []


def test_what_is_measured_while_the_report_is_made_is_not_in_it(out):
    before = unchanged.sources(REQUEST)
    (runs_dir() / "vae-digits" / "seed-0" / "results.jsonl").write_text("{}\n{}\n")
    unchanged.remember(REQUEST, out, ["digits"], before)
    assert unchanged.datasets_unchanged(REQUEST, out) == []


def test_another_vaebench_lays_reports_out_another_way(out, monkeypatch, tmp_path):
    """The same version, changed: a checkout, or published tables of its own."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "page.py").write_text("")
    monkeypatch.setattr(unchanged, "PACKAGE", tmp_path / "package")
    assert unchanged.datasets_unchanged(REQUEST, out) == []


def test_a_memory_of_an_earlier_version_is_forgotten(out):
    """It had other fields."""
    memory = cache_dir() / "reports.json"
    memory.write_text(memory.read_text().replace("made_from", "state"))
    assert unchanged.datasets_unchanged(REQUEST, out) == []


def test_another_request_place_or_version_is_another_report(out, monkeypatch, tmp_path):
    assert unchanged.datasets_unchanged({**REQUEST, "latex": True}, out) == []
    assert unchanged.datasets_unchanged(REQUEST, tmp_path / "elsewhere") == []
    monkeypatch.setattr(unchanged, "__version__", "another")
    assert unchanged.datasets_unchanged(REQUEST, out) == []
    monkeypatch.undo()


def test_what_cannot_be_remembered_is_written_again(out, monkeypatch):
    cache = cache_dir() / "reports.json"
    cache.unlink()
    cache.mkdir()
    unchanged.remember(REQUEST, out, ["digits"], unchanged.sources(REQUEST))
    assert unchanged.datasets_unchanged(REQUEST, out) == []
