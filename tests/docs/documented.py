"""What pages show: blocks of code, and the commands in them.

A comment on the line before a block says what becomes of it: ``<!-- run -->``, ``<!-- not run: REASON -->``, or
``<!-- file: NAME -->`` of a file that the commands below it use.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_MARK, _FENCE = r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?", r"^```(?P<language>\w*)\n(?P<text>.*?)^```$"
_BLOCK = re.compile(_MARK + _FENCE, re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"#.*\bexit code (\d+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: file.
        line: where it begins.
        language: ``sh``, ``python``, ...
        text: of the block.
        mark: the comment before it.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def runs(self) -> bool:
        """Whether a test runs it as it stands."""
        return self.mark == "run"

    @property
    def reason(self) -> str:
        """Why it is not run."""
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run: ") else ""

    @property
    def file(self) -> str:
        """Name of the file that it is."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else ""

    def __str__(self) -> str:
        return f"{self.page.name} line {self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block.

    Attributes:
        words: as a shell splits them.
        environment: variables that are set before it.
        code: the exit code that a comment beside it promises.
    """

    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    code: int = 0

    @property
    def of_vaebench(self) -> tuple[str, ...] | None:
        """Arguments of vaebench, whatever starts it; None of another command."""
        if "vaebench" not in self.words or self.words[:2] == ("pip", "install"):
            return None
        return self.words[self.words.index("vaebench") + 1 :]


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start("text")].count("\n"), found["language"], found["text"], found["mark"] or "")
        for found in _BLOCK.finditer(text)
    ]


def commands_of(text: str) -> Iterator[Command]:
    """Split the text of a shell block into its commands; what a redirection writes is left out."""
    for line in text.replace("\\\n", " ").splitlines():
        promised = _CODE.search(line)
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        for between, part in groupby(words, lambda word: word in ("&&", "||", ";")):
            if not between:
                yield _command(list(part), int(promised[1]) if promised else 0)


def _command(words: list[str], code: int) -> Command:
    environment = {}
    while re.fullmatch(r"[A-Z_]+=.*", words[0]) and len(words) > 1:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    written = next((place for place, word in enumerate(words) if word.startswith(">")), len(words))
    return Command(tuple(words[:written]), environment, code)
