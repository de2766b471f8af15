"""CITATION.cff has what the format requires, and says what pyproject.toml says."""

import tomllib

import pytest
from documented import ROOT

yaml = pytest.importorskip("yaml", reason="comes with mkdocs")


def test_required_keys_are_there_and_agree_with_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # schema 1.2.0, "required"
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert cited["authors"] and all({"name"} <= set(author) for author in cited["authors"])
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in project["authors"]]


def test_documentation_is_in_the_source_distribution():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    included = set(settings["build"]["targets"]["sdist"]["include"])
    assert {"docs", "mkdocs.yml", "CITATION.cff", "README.md"} <= included
