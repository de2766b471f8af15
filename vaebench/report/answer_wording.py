"""Say an answer in words, the same for the terminal and the page; names as the reader sees them."""

import re
from collections.abc import Callable, Sequence

from vaebench.core.subjects import EXTERNAL
from vaebench.report import verdict_counts
from vaebench.report.analysis.formatting import with_error
from vaebench.report.answer import Answer, Finding, Missing, Value

_COMMAND = re.compile(r"'(vaebench [^']+)'")
COMMAND = "vaebench "  # a reason that names one can be mended
NOT_TESTED = "; too few images or training seeds for any test"
LISTED = 3  # models that a sentence names with their values

Name = Callable[[str], str]


def shown(value: Value | None) -> str:
    """Format a value to two digits of its interval's half-width, or to four digits where there is none."""
    if value is None or value.value is None:
        return "n/a"
    return with_error(value.value, value.half)[0]


def short_names(models: Sequence[str], dataset: str) -> Name:
    """Return a function that shortens names: without the dataset, which is said elsewhere, where they stay apart."""
    ending = f"-{dataset}"
    names = {name: name.removeprefix(EXTERNAL) for name in models}
    names = {name: said.replace(ending, "", 1) if _of_dataset(said, ending) else said for name, said in names.items()}
    apart = len(set(names.values())) == len(names)
    return lambda name: names.get(name, name) if apart else name


def _of_dataset(name: str, ending: str) -> bool:
    recipe = name.partition("[")[0].partition("/")[0]
    return recipe.endswith(ending) and recipe != ending


def what(answer: Answer) -> str:
    """Say what was compared: images, seeds, and of what the verdicts speak."""
    images = f"{answer.images:,} {answer.split} images" if answer.images else f"{answer.split} images"
    return ", ".join([images, *seeds(answer)])


def seeds(answer: Answer) -> list[str]:
    """Say how many training seeds stand behind the models, and what that means for the verdicts."""
    trained = [count for count in answer.seeds.values() if count]
    few, many = min(trained, default=0), max(trained, default=0)
    if not trained:
        return []
    each = f"{few} training seed{'' if few == 1 else 's'}" if few == many else f"{few} to {many} training seeds"
    each += " each" if few == many and (many > 1 or len(trained) > 1) else ""
    elsewhere = len(answer.seeds) - len(trained)
    beside = [f"{elsewhere} from elsewhere"] if elsewhere else []
    return [*beside, f"{each}: checkpoints, not recipes" if many == 1 and len(answer.models) > 1 else each]


def images_of(protocol: str) -> str:
    """Name the images that a metric was taken of, where its protocol says: ``recon``, ``samples`` or nothing."""
    return next((part for part in protocol.split("/") if part in ("recon", "samples")), "")


def metric(name: str, protocol: str) -> str:
    """Name a metric and the images that it is of: ``blur (recon)``."""
    kind = images_of(protocol)
    return f"{name} ({kind})" if kind else name


def metrics_apart(cells: Sequence[tuple[str, str]]) -> list[str]:
    """Name metrics as :func:`metric` does; where two would read alike, with what their protocols have of their own."""
    names = [metric(*cell) for cell in cells]
    return [
        _apart(name, cell, [cells[i] for i, each in enumerate(names) if each == name])
        for name, cell in zip(names, cells, strict=True)
    ]


def _apart(name: str, cell: tuple[str, str], alike: Sequence[tuple[str, str]]) -> str:
    parts = [protocol.split("/") for _, protocol in dict.fromkeys(alike)]
    shared = set(parts[0]).intersection(*parts)
    own = next((part for part in cell[1].split("/") if part not in shared), "")
    said = own.partition(",")[0]  # of size=28,crop=centre,filter=bicubic the size is enough
    return f"{name.removesuffix(')')}, {said})" if said and name.endswith(")") else f"{name} ({said})" if said else name


def sentence(found: Finding, name: Name = str, *, aim: bool = True) -> str:
    """Say who leads, by how much, and whether that is decided; ``aim``: with the originals' value where that counts."""
    by = f"by {metric(found.metric, found.protocol)}"
    if found.verdict == "no target":
        return f"nobody can be ranked {by}: the originals were not measured"
    best = found.first[0]
    values = {each: f"{name(each)} {shown(value)}" for each, value in found.values.items()}
    originals = f"; originals {shown(found.originals)}" if found.originals and aim else ""
    if found.verdict == "alone":
        return f"{values[best]} {by}, the only model measured{originals}"
    if found.verdict == "leads":
        return f"{name(best)} leads {by}: {shown(found.values[best])} against {values[found.behind[0]]}{originals}"
    near = _listed([values[each] for each in found.first])
    if found.verdict == "tied":
        same = len({found.values[each].value for each in found.first}) == 1
        return f"{'the same' if same else 'equal within the margin'} {by}: {near}{originals}"
    return f"undecided {by}: {near}{originals}{NOT_TESTED if untested(found) else needed(found)}"


def untested(found: Finding) -> bool:
    """Tell whether a question is open since no test could be made at all."""
    return bool(found.open) and found.open == found.untested


def needed(found: Finding) -> str:
    """Say how many seeds would decide, as the end of a sentence; nothing where that is not known."""
    if found.seeds_needed is None:
        return ""
    if found.more_needed:
        return f"; more than {found.seeds_needed} seeds each would be needed"
    return f"; {found.seeds_needed} seeds each would decide"


def _listed(said: Sequence[str]) -> str:
    more = len(said) - LISTED
    return ", ".join([*said[:LISTED], *([f"and {more} more"] if more > 0 else [])])


def missing(answer: Answer, name: Name = str, *, full: bool = False) -> list[str]:
    """Say what has no value and why: what a command gets, and in one line what some models have and others lack.

    What no model has for another reason, such as attributes of images without any, is said with ``full`` alone, which
    gives a line to each reason.
    """
    if full:
        return [_missing(each, name) for each in answer.missing]
    gets = [each for each in answer.missing if COMMAND in each.reason]
    nobody = _of_nobody(answer)
    rest = [each for each in answer.missing if each not in gets and set(each.metrics) - nobody]
    lines = [_gotten(each) for each in gets[:LISTED]]
    if rest:
        metrics = {metric for each in rest for metric in each.metrics} - nobody
        models = list(dict.fromkeys(model for each in rest for model in each.models))
        reasons = list(dict.fromkeys(each.reason.partition(":")[0] for each in rest))
        plural = "" if len(metrics) == 1 else "s"
        lines.append(
            f"{len(metrics)} metric{plural} of {_listed(list(map(name, models)))}: {reasons[0]}{_more(reasons)}"
        )
    return lines


def _of_nobody(answer: Answer) -> set[str]:
    """Name the metrics that no model has a value of, for whatever reasons."""
    lacking: dict[str, set[str]] = {}
    for each in answer.missing:
        for metric_name in each.metrics:
            lacking.setdefault(metric_name, set()).update(each.models)
    return {metric_name for metric_name, models in lacking.items() if models >= set(answer.models)}


def _gotten(each: Missing) -> str:
    """Name metrics and the command that gets them, out of the reason that names it."""
    found = _COMMAND.search(each.reason)
    return f"{_listed(each.metrics)}: {found[1] if found else each.reason}"


def _missing(each: Missing, name: Name) -> str:
    return f"{_listed(each.metrics)} of {_listed(list(map(name, each.models)))}: {each.reason}"


def _more(reasons: Sequence[str]) -> str:
    return f", and {len(reasons) - 1} other reasons" if len(reasons) > 2 else "".join(f"; {it}" for it in reasons[1:])


def verdicts(answer: Answer, *, listed: int) -> list[str]:
    """Count the verdicts on claims in one line, and say each where there are no more than ``listed``.

    Of a suite that was run with claims of its own, those alone.
    """
    claims = [each for each in answer.claims if each.own] or answer.claims
    if not claims:
        return []
    count = verdict_counts.counted([each.verdict for each in claims])
    each = [f"{verdict_counts.MARKS.get(one.verdict, '')} {one.verdict}: {one.says}" for one in claims]
    return [count, *each] if len(claims) <= listed else [count]
