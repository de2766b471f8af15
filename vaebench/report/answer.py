"""What a report found, as data: ``answer.json`` beside its tables, which opens the page and ends a command.

:mod:`vaebench.report.answering` computes it; this module loads no engine.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError

FILE = "answer.json"
REMEDY = "delete it and write the report again"
Verdict = Literal["leads", "tied", "undecided", "alone", "no target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One model's value of one metric; ``half`` is half its 95 % interval, 0 where there is none.

    ``value`` None means n/a. ``first``: no test shows another model to be better.
    """

    value: float | None
    half: float = 0.0
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric over all models and the originals; ``ranked`` False: a better value makes no better model."""

    question: str
    metric: str
    protocol: str
    unit: str
    direction: str
    values: dict[str, Value]
    ranked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one question's metric says of the models.

    Attributes:
        question, metric, protocol: what was asked, and by what it is answered.
        verdict: whether one model is shown to be better than all others (``leads``), equal to others within the
            metric's margin (``tied``), not told apart from others (``undecided``), measured by itself (``alone``), or
            not to be ranked, since nobody measured the originals (``no target``).
        first: the best value's model, then those that are not shown to be worse.
        behind: the others, the better ones first.
        open: those of ``first`` for which neither a difference nor equality is shown.
        untested: those of ``open`` that no test could hold against the first: values of other images, or one a run.
        values: each model's value; ``originals`` is that of the real images, where nearness to them counts.
        seeds_needed: training seeds a side that would tell the first two apart 4 times in 5, where that is open and
            the scatter of seeds is known.
        more_needed: whether even these are too few.
    """

    question: str
    metric: str
    protocol: str
    verdict: Verdict
    first: list[str]
    behind: list[str]
    open: list[str]
    values: dict[str, Value]
    originals: Value | None
    seeds_needed: int | None = None
    more_needed: bool = False
    untested: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Metrics that models have no value of, for one reason."""

    reason: str
    models: list[str]
    metrics: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim and the verdict on it; ``own``: it is the suite's that was run, and not another source's."""

    verdict: str
    says: str
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a report found, over one split of one dataset.

    Attributes:
        title: the suite's, or the dataset's name.
        dataset, images: the dataset's name, and how many real images of the split the models were held against.
        models: names in the tables, in their order.
        seeds: how many training seeds each has, 0 of models and images from elsewhere.
        checkpoints: whether no verdict is about recipes, since no model has several seeds.
        lines: the headline metrics; costs: what trainings cost; others: all other metrics, in reading order.
        findings: one a question.
        claims: verdicts on claims.
        missing: what is n/a.
        next: commands that go on from here.
    """

    title: str
    dataset: str
    split: str
    images: int
    models: list[str]
    seeds: dict[str, int]
    checkpoints: bool
    lines: list[Line]
    costs: list[Line]
    findings: list[Finding]
    claims: list[Claimed]
    missing: list[Missing]
    next: list[str]
    others: list[Line] = field(default_factory=list)


def to_json(answers: Sequence[Answer]) -> str:
    """Format :data:`FILE`: a list, the test split first."""
    return json.dumps([asdict(each) for each in answers], indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_answers(folder: Path) -> list[Answer]:
    """Read the answers that lie in a report's folder.

    Raises:
        UserError: there are none, or the file is not whole.
    """
    path = folder / FILE
    try:
        content = input_files.read_bytes(path, most=input_files.LOG, remedy=REMEDY)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: write the report again, 'vaebench report'") from None
    return validation.from_json(content, list[Answer], str(path), REMEDY)
