"""Show a diagnosis: a mark a finding, and under what is missing the command that gets it."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby

from rich.text import Text

from vaebench.cli.console import for_machines, out, say
from vaebench.cli.doctor import Finding
from vaebench.cli.prose import FAINT, LEAST, WIDEST
from vaebench.cli.tables import GOOD, WARNING, Table, show
from vaebench.core.validation import plain_line

GOES = "\N{RIGHTWARDS ARROW}"
GOOD_MARK, BAD_MARK, NO_MARK = "\N{CHECK MARK}", "\N{BALLOT X}", " "
JUDGED = ("datasets", "perceptual", "place")  # what can be there or missing; the rest is said


def show_findings(findings: Iterable[Finding]) -> None:
    """Show findings as they are found: under a heading a topic, or a line each where the output is piped."""
    if for_machines():
        show(Table(columns=[], rows=[], records=[asdict(each) for each in findings]))
        return
    if not out.is_terminal:
        for each in findings:
            say(f"{each.topic:10} {each.what}" + (f": {each.mend}" if each.mend else ""))
        return
    for topic, group in groupby(findings, key=lambda each: each.topic):
        out.print(Text(topic, style="bold"))
        for each in group:
            mark = BAD_MARK if each.mend else GOOD_MARK if topic in JUDGED else NO_MARK
            first, *more = _lines(each.what)
            line = Text(f"  {mark} ", style=WARNING if each.mend else GOOD)
            line.append(first, style="default")
            for text in (line, *(Text(f"    {text}") for text in more)):
                out.print(text, soft_wrap=True, highlight=False)
            if each.mend:
                out.print(Text(f"    {GOES} {plain_line(each.mend)}", style=FAINT), soft_wrap=True, highlight=False)


def _lines(text: str) -> list[str]:
    """Break a text into lines of the terminal."""
    room = max(min(out.width, WIDEST) - 4, LEAST)
    return textwrap.wrap(plain_line(text), room, break_long_words=False, break_on_hyphens=False) or [""]
