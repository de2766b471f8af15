"""The site of docs/ is built with warnings as errors, has reports' pictures, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documented import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the site is built by mkdocs")
pytest.importorskip("material", reason="its theme is mkdocs-material")
pytest.importorskip("mkdocstrings", reason="its API page is made by mkdocstrings")
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"?(https?:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def page_of(site: Path, name: str) -> Path:
    return site / "index.html" if name == "index" else site / name / "index.html"


def test_each_page_loads_nothing_from_elsewhere_and_finds_its_pictures(site):
    pictures = 0
    for source in PAGES:
        if source.parent.name != "docs":
            continue
        page = page_of(site, source.stem)
        html = page.read_text(encoding="utf-8")
        assert not LOADED.search(html), f"{source.name} loads {LOADED.search(html)}"
        for picture in re.findall(r"<img[^>]*\bsrc=\"([^\"]*)\"", html):
            assert (page.parent / picture).is_file(), f"{source.name}: no {picture}"
            pictures += "reports/" in picture
    assert pictures >= 8


def test_reports_are_there_as_pages_of_their_own(site):
    shown = (site / "reports" / "mnist" / "index.html").read_bytes()
    assert shown == (ROOT / "reports" / "mnist" / "index.html").read_bytes()
    assert (site / "reports" / "mnist" / "leaderboard" / "index.html").is_file()
    assert not list(site.rglob("repository_links.py"))


def test_the_api_page_has_arguments_and_no_roles(site):
    html = page_of(site, "api").read_text(encoding="utf-8")
    assert 'id="vaebench.api.evaluate"' in html and "until_decided" not in html
    assert "values of black and white that a model from elsewhere takes" in html
    assert not re.search(r":(?:class|func|mod|meth):", html)


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path):
    """A copy of the settings, and a page with a broken link and a broken picture."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    (tmp_path / "docs").mkdir()
    for name in ("repository_links.py",):
        (tmp_path / "docs" / name).write_bytes((ROOT / "docs" / name).read_bytes())
    (tmp_path / "mkdocs.yml").write_text(settings)
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[nothing](../nowhere.md) ![none](../none.png)\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "nowhere.md" in done.stderr and "none.png" in done.stderr
