"""Links and pictures of the Markdown in this repository lead to files and headings that are there."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from documented import PAGES, ROOT

OTHERS = (ROOT / "CONTRIBUTING.md", ROOT / "baselines" / "README.md", ROOT / "benchmarks" / "speed" / "README.md")
_LINK = re.compile(r"\]\((?!\w+:)([^)\s]*)\)")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")


def links_of(page: Path) -> list[str]:
    text = _CODE.sub("", _FENCED.sub("", page.read_text(encoding="utf-8")))
    return _LINK.findall(" ".join(text.split("\n")))


def anchors_of(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"[\s]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = links_of(page)
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / unquote(path) if path else page
        assert target.is_file(), f"{page.name}: ({link}) leads nowhere"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name}: ({link}): {target.name} has no such heading"


def test_every_page_is_linked_from_the_readme_and_is_in_the_site_s_navigation():
    named = {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs" and page.name != "index.md"}
    assert {link for link in links_of(ROOT / "README.md") if link.startswith("docs/")} == named
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert set(re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE)) == {Path(name).name for name in named} | {
        "index.md"
    }


def test_the_readme_is_read_aloud_in_four_minutes():
    """At 150 words a minute, without tables, code and pictures."""
    text = _FENCED.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    text = re.sub(r"^[|!<].*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    assert len(text.split()) <= 600
