"""Store what a click shows: where values came from and what the tests said, as data for the page's script."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Fact = tuple[str, str]  # its name, and what it says


@dataclass(frozen=True, slots=True)
class Shown:
    """Entries by key, each a title and blocks of facts; texts are stored once, since most of them recur."""

    _texts: dict[str, int] = field(default_factory=dict)
    _entries: list[object] = field(default_factory=list)

    def add(self, title: str, blocks: Iterable[tuple[str, Sequence[Fact]]]) -> str:
        """Store an entry; return its key."""
        packed = [[self._text(head), [self._text(part) for fact in facts for part in fact]] for head, facts in blocks]
        self._entries.append([self._text(title), packed])
        return str(len(self._entries) - 1)

    def _text(self, content: str) -> int:
        return self._texts.setdefault(content, len(self._texts))

    def to_json(self) -> str:
        """Format for a ``<script type="application/json">``: nothing in it can end the element or begin another."""
        data = json.dumps({"texts": list(self._texts), "entries": self._entries}, separators=(",", ":"))
        return data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def facts_of(lines: Iterable[str]) -> list[Fact]:
    """Split lines of a name, padding and a text, as :func:`vaebench.report.analysis.measured.provenance_lines` makes
    them.
    """
    found = []
    for entry in lines:
        name, gap, said = entry.partition("  ")
        found.append((name.strip(), said.strip()) if gap else ("", entry))
    return found
