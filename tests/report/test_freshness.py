"""A report that would come out as it lies there is not written again; anything new, gone or asked otherwise is seen."""

import pytest

from vaebench.core.paths import cache_dir, runs_dir
from vaebench.report import freshness

REQUEST = {"dataset": None, "latex": False}


@pytest.fixture
def out(places):
    """A folder with a report of one dataset, made from one run, and remembered."""
    run = runs_dir() / "vae-digits" / "seed-0"
    run.mkdir(parents=True)
    (run / "results.jsonl").write_text("{}\n")
    (places / "reports" / "digits").mkdir(parents=True)
    (places / "reports" / "digits" / "index.html").write_text("<html>")
    freshness.remember(REQUEST, places / "reports", ["digits"], freshness.sources(REQUEST))
    return places / "reports"


def test_what_is_as_it_was_is_known(out):
    assert freshness.datasets_unchanged(REQUEST, out) == ["digits"]


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
    assert freshness.datasets_unchanged(REQUEST, out) == []


def test_runs_behind_links_are_seen(out, tmp_path):
    elsewhere = tmp_path / "disk" / "seed-0"
    elsewhere.mkdir(parents=True)
    (elsewhere / "results.jsonl").write_text("{}\n")
    (runs_dir() / "linked").symlink_to(elsewhere.parent)
    (runs_dir() / "linked" / "round").symlink_to(runs_dir())
    (runs_dir() / "nowhere").symlink_to(tmp_path / "gone")
    freshness.remember(REQUEST, out, ["digits"], freshness.sources(REQUEST))
    assert freshness.datasets_unchanged(REQUEST, out) == ["digits"]
    (elsewhere / "results.jsonl").write_text("{}\n{}\n")
    assert freshness.datasets_unchanged(REQUEST, out) == []


def test_what_is_measured_while_the_report_is_made_is_not_in_it(out):
    before = freshness.sources(REQUEST)
    (runs_dir() / "vae-digits" / "seed-0" / "results.jsonl").write_text("{}\n{}\n")
    freshness.remember(REQUEST, out, ["digits"], before)
    assert freshness.datasets_unchanged(REQUEST, out) == []


def test_another_vaebench_lays_reports_out_another_way(out, monkeypatch, tmp_path):
    """The same version, changed: a checkout, or published tables of its own."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "page.py").write_text("")
    monkeypatch.setattr(freshness, "PACKAGE", tmp_path / "package")
    assert freshness.datasets_unchanged(REQUEST, out) == []


def test_a_memory_of_an_earlier_version_is_forgotten(out):
    """It had other fields."""
    memory = cache_dir() / "reports.json"
    memory.write_text(memory.read_text().replace("made_from", "state"))
    assert freshness.datasets_unchanged(REQUEST, out) == []


def test_another_request_place_or_version_is_another_report(out, monkeypatch, tmp_path):
    assert freshness.datasets_unchanged({**REQUEST, "latex": True}, out) == []
    assert freshness.datasets_unchanged(REQUEST, tmp_path / "elsewhere") == []
    monkeypatch.setattr(freshness, "__version__", "another")
    assert freshness.datasets_unchanged(REQUEST, out) == []
    monkeypatch.undo()


def test_what_cannot_be_remembered_is_written_again(out, monkeypatch):
    cache = cache_dir() / "reports.json"
    cache.unlink()
    cache.mkdir()
    freshness.remember(REQUEST, out, ["digits"], freshness.sources(REQUEST))
    assert freshness.datasets_unchanged(REQUEST, out) == []
