"""Let pages link to any file of the repository: on the site it lies under the path that it has here.

``../reports/mnist/figures/forest.svg`` shows a picture in a page that is read in the repository; the site gets the file
from where it lies, so that no picture is stored twice. Linked Markdown becomes a page of its own, and what it links to
comes along.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = Path(__file__).resolve().parent
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)")
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):(?=<code>)")


def linked_files(page: Path) -> Iterator[tuple[str, Path]]:
    """Yield each relative link of a page as it is written, with the file of the repository that it names."""
    for link in dict.fromkeys(_LINK.findall(page.read_text(encoding="utf-8"))):
        target = Path(os.path.normpath(page.parent / unquote(link)))
        if target.is_file() and target.is_relative_to(ROOT):
            yield link, target


def place_on_site(path: Path) -> str:
    """Return where a file of the repository lies on the site: pages of ``docs/`` at its root, others by their path."""
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of ``docs/`` that pages link to, and what those that are Markdown link to."""
    waiting = sorted(DOCS.glob("*.md"))
    seen = set(waiting)
    while waiting:
        for _, path in linked_files(waiting.pop()):
            if path in seen or path.is_relative_to(DOCS):
                continue
            seen.add(path)
            place = place_on_site(path)
            included = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, place, abs_src_path=str(path), inclusion=included))
            if path.suffix == ".md":
                waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write links to files of the repository as the site has them."""
    source = Path(str(page.file.abs_src_path))
    here = os.path.dirname(page.file.src_uri)  # noqa: PTH120  (a place on the site is a text)
    places = {link: os.path.relpath(place_on_site(target), here or ".") for link, target in linked_files(source)}
    return _LINK.sub(lambda found: places.get(found[1], found[1]), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Take out the roles of docstrings, which are code in Markdown."""
    return _ROLE.sub("", html)
