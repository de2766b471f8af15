"""Say in words what was found of claims, for both pages."""

from collections.abc import Sequence

from vaebench.core.subjects import title_of
from vaebench.report.analysis.formatting import p_text, short
from vaebench.report.analysis.judging import Judged
from vaebench.report.verdict_counts import MARKS, counted

READING = (
    "A claim about two names is judged by the test that decides between them, after its correction over all pairs; one "
    "about a number by the 95 % interval. It holds where that is shown, and does not where the opposite is; where "
    "neither is, it is undecided. Corrections do not extend over several claims."
)


def summary(held: Sequence[Judged]) -> str:
    """Count the verdicts, such as ``6 claims: 5 hold, 1 does not hold.``"""
    return f"{counted([claim.verdict for claim in held])}."


def verdict_lines(held: Sequence[Judged]) -> list[str]:
    """Say the verdict on each claim, and what it rests on, as lines of text; nothing where there are no claims."""
    lines = []
    for judged in held:
        lines += [f"{MARKS[judged.verdict]} {judged.verdict}: {judged.claim.says}"]
        lines += [f"    {part}" for part in (values(judged), found(judged)) if part]
    return [summary(held), *lines, ""] if held else []


def what(judged: Judged) -> str:
    """Name what was measured: metric, protocol and stratum."""
    asked = judged.comparison
    stratum = "" if asked.stratum == "all" else f", {asked.stratum}"
    return f"{asked.metric} ({judged.protocol}){stratum}" if judged.protocol else asked.subject


def values(judged: Judged) -> str:
    """Say the values that are compared."""
    said = ", ".join(f"{title_of(name)} {short(value)}" for name, value in judged.values.items())
    return f"{what(judged)}: {said}" if said else ""


def found(judged: Judged) -> str:
    """Say the difference, its interval, the test, and what would decide."""
    parts = []
    if judged.difference is not None:
        interval = "" if judged.ci_low is None else f" [{short(judged.ci_low)}, {short(judged.ci_high)}]"
        parts.append(f"difference {short(judged.difference)}{interval}")
    parts += [judged.test] if judged.test else []
    if judged.p_holm is not None:
        p = p_text(judged.p_holm) if judged.p_holm < 1e-300 else f"{judged.p_holm:.2g}"
        parts.append(f"p (Holm) {p}")
    if judged.seeds > 1:
        parts.append(f"{judged.seeds} seeds")
    sentences = [", ".join(parts)] if parts else []
    if len(judged.each_seed) > 1:
        sentences.append("t of one seed at a time " + ", ".join(f"{value:.2f}" for value in judged.each_seed))
    if judged.seeds_needed is not None:
        each = " each" if judged.comparison.right else ""
        sentences.append(f"{judged.seeds_needed} seeds{each} would decide it 4 times in 5")
    sentences += [judged.note] if judged.note else []
    return "; ".join(sentences)


def source(judged: Judged) -> str:
    """Say who claims it, and where."""
    return ", ".join(part for part in (judged.claim.source, judged.claim.where) if part)
