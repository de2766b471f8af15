"""Lay out the answer with which the page opens: a sentence a question, and why what is open is open."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from vaebench.report.answer import Answer, Finding
from vaebench.report.answer_wording import sentence, untested

_MARKS = {"leads": "\N{CHECK MARK}", "tied": "=", "undecided": "?", "alone": "\N{EN DASH}", "no target": "\N{EN DASH}"}
_KINDS = {"leads": "holds", "tied": "holds", "undecided": "undecided"}
UNTESTED = (
    "No test could be made between these models: that takes a value of each image, several training seeds, or, of a "
    "metric of all images together, more images."
)
_SAID = {"leads": "decided", "tied": "equal", "undecided": "undecided", "alone": "alone", "no target": "not ranked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLine:
    """One question's answer.

    Attributes:
        question, sentence: in words.
        mark, verdict, kind: a sign, its word, and the class of its colours.
        why: of what is undecided, the reason; empty otherwise.
        plan: the command that says what would decide it; empty where none can.
    """

    question: str
    sentence: str
    mark: str
    verdict: str
    kind: str
    why: str = ""
    plan: str = ""


def answer_lines(answer: Answer | None) -> Sequence[AnswerLine]:
    """Lay out an answer's findings; none without an answer."""
    return [_line(found, answer) for found in answer.findings] if answer else []


def _line(found: Finding, answer: Answer) -> AnswerLine:
    undecided = found.verdict == "undecided" and len(found.first) > 1
    return AnswerLine(
        question=found.question,
        sentence=sentence(found).removeprefix(f"{found.verdict} "),  # the mark beside it says that
        mark=_MARKS[found.verdict],
        verdict=_SAID[found.verdict],
        kind=_KINDS.get(found.verdict, ""),
        why=_why(found, answer) if undecided else "",
        plan=_plan(found, answer) if undecided else "",
    )


def _plan(found: Finding, answer: Answer) -> str:
    """Return the command that plans what would decide; empty where none can, as without a test or training seeds."""
    for other in found.open:
        seeds = [answer.seeds.get(name, 0) for name in (found.first[0], other)]
        if other not in found.untested and any(seeds):
            return shlex.join(["vaebench", "plan", found.first[0], other, "--metric", found.metric])
    return ""


def _why(found: Finding, answer: Answer) -> str:
    """Say why a question is open: what scatters more than the models differ, and what would decide."""
    if untested(found):
        return UNTESTED
    trained = [seeds for name in found.first if (seeds := answer.seeds.get(name, 0))]
    several = min(trained, default=0) > 1
    scatter = "training seeds and images scatter" if several else "images scatter"
    reason = f"The {scatter} more than these models differ: no test, after its correction, tells them apart."
    if found.more_needed:
        return f"{reason} More than {found.seeds_needed} training seeds each would be needed to show this difference."
    if found.seeds_needed is not None:
        return f"{reason} {found.seeds_needed} training seeds each would show this difference 4 times in 5."
    if trained and not several:
        return f"{reason} With one training seed nobody knows how much seeds scatter: train more of them."
    return reason
