"""Parse claims, such as ``blur/recon: dfcvae-mnist nearer than vae-mnist``, and check them before anything is run.

A claim's expression is ``METRIC[/PROTOCOL][, STRATUM]: LEFT RELATION RIGHT``. LEFT is a name as the tables have it: a
recipe, perhaps with settings in brackets, ``external/NAME``, ``baseline/NAME`` or ``real``. RIGHT is another name, a
number, or a number less or plus ``margin``, the difference that the metric declares not to matter.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean
from vaebench.core.results import PARTS
from vaebench.core.setting_names import split_name
from vaebench.core.subjects import REAL, TRAINING_IMAGES, is_model
from vaebench.core.validation import plain_line

if TYPE_CHECKING:
    from vaebench.core.metric import MetricSpec

GREATER, LESS, AT_LEAST, AT_MOST, EQUAL = ">", "<", ">=", "<=", "="
BETTER, NEARER = "better than", "nearer than"
RELATIONS: Final = (GREATER, LESS, AT_LEAST, AT_MOST, EQUAL, BETTER, NEARER)
Verdict = Literal["holds", "does not hold", "undecided", "not measured"]
HOLDS: Final = "holds"
FAILS: Final = "does not hold"
UNDECIDED: Final = "undecided"
NOT_MEASURED: Final = "not measured"
VERDICTS: Final[tuple[Verdict, ...]] = (HOLDS, FAILS, UNDECIDED, NOT_MEASURED)
EXAMPLE: Final = "blur/recon: dfcvae-mnist nearer than vae-mnist"

_METRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME = re.compile(r"(?:(?:external|baseline|real)/)?[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\[\]]*\])?")
_RELATION = re.compile(r"([<>]=?|=)(?![<>=])|(better|nearer)\s+than(?=\s)")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.%/\[-])", re.ASCII)
_PERCENT = re.compile(r"(\d+\.?\d*|\.\d+)\s*%", re.ASCII)
_SIGN = re.compile(r"\s*(!?=)\s*")  # in a stratum, with what space a writer has put around it
_MARGIN = re.compile(r"\s*([+-])\s*margin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of a source, what the source prints, and what it means in the tables' terms.

    Attributes:
        says: the sentence.
        source: the paper or page that says it.
        where: the place in the source, such as ``table 3``; empty where none is named.
        published: the number that the source prints, or what it says instead of one.
        expression: the claim in the grammar of :func:`parse`.
    """

    says: str
    source: str
    where: str
    published: str
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A parsed claim.

    Attributes:
        metric: name of the metric.
        protocol: the protocol or some of its words, such as ``samples``; empty: the metric's usual one.
        stratum: as the tables have it; ``all`` for the whole split.
        left: a name as the tables have it.
        relation: one of :data:`RELATIONS`.
        right: another name; empty where a number stands.
        number: what ``left`` is held against; None where a name stands.
        margin: how often the metric's margin is added to the number: -1, 0 or 1.
    """

    metric: str
    protocol: str
    stratum: str
    left: str
    relation: str
    right: str
    number: float | None
    margin: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are compared, one or two."""
        return (self.left, self.right) if self.right else (self.left,)

    @property
    def subject(self) -> str:
        """Metric, protocol and stratum as the expression has them."""
        whole = f"{self.metric}/{self.protocol}" if self.protocol else self.metric
        return whole if self.stratum == "all" else f"{whole}, {self.stratum}"


def parse(expression: str) -> Comparison:
    """Parse a claim.

    Args:
        expression: such as ``svm_accuracy: dfcvae-celeba >= 0.8695 - margin``.

    Raises:
        UserError: says which part is wrong, and what is expected there.
    """
    head, colon, said = " ".join(expression.split()).rpartition(":")
    if not colon:
        raise _wrong(expression, f"no colon parts the metric from what is claimed: write it as '{EXAMPLE}'")
    metric, protocol, stratum = _head(expression, head)
    found = _NAME.match(said := said.strip())
    if not found:
        raise _wrong(expression, f"'{said}' does not begin with a name: write LEFT RELATION RIGHT, as in '{EXAMPLE}'")
    if _NUMBER.match(said):
        raise _wrong(expression, f"a number stands left in '{said}': name a recipe there, and put the number right")
    left, rest = _checked(expression, found[0]), _after_name(expression, said, found.end())
    relation, rest = _relation(expression, left, rest)
    right, number, margin = _right(expression, relation, rest)
    return Comparison(
        metric=metric,
        protocol=protocol,
        stratum=stratum,
        left=left,
        relation=relation,
        right=right,
        number=number,
        margin=margin,
    )


def _wrong(expression: str, reason: str) -> UserError:
    return UserError(plain_line(f"claim '{' '.join(expression.split())}': {reason}"))


def _head(expression: str, head: str) -> tuple[str, str, str]:
    """Split ``METRIC[/PROTOCOL][, STRATUM]``; without a stratum it is ``all``."""
    what, comma, stratum = (part.strip() for part in head.partition(","))
    metric, slash, protocol = (part.strip() for part in what.partition("/"))
    if not _METRIC.fullmatch(metric):
        raise _wrong(expression, f"'{metric}' before the colon is no metric's name: begin with one, such as 'mse: …'")
    if slash and not protocol:
        raise _wrong(expression, f"no protocol follows '{metric}/': write one, such as '{metric}/recon', or no slash")
    if comma and not stratum:
        raise _wrong(expression, f"no stratum follows '{what},': write one, such as 'label!=1', or no comma")
    return metric, protocol, _SIGN.sub(r"\1", stratum) or "all"


def _checked(expression: str, name: str) -> str:
    """Return a name as the tables have it: settings sorted, without spaces."""
    recipe, settings = split_name(name)
    parts = sorted(part.strip() for part in settings)
    for part in parts:
        key, sign, value = part.partition("=")
        if not (key and sign and value):
            said = f"'{part}' in the brackets of '{name}' is no setting"
            raise _wrong(expression, f"{said}: write KEY=VALUE, such as {recipe}[latent_dim=10]")
    return f"{recipe}[{','.join(parts)}]" if parts else recipe


def _after_name(expression: str, text: str, end: int) -> str:
    """Return what follows a name, which must end there."""
    name, rest = text[:end], text[end:]
    if rest.startswith("["):
        raise _wrong(expression, f"the bracket after '{name}' is not closed: write {name}[KEY=VALUE]")
    word = text.split(maxsplit=1)[0]
    if rest.startswith(("/seed-", "@")):
        raise _wrong(expression, f"'{word}' is one run, and claims are about all seeds of a recipe: write {name}")
    if rest.startswith(("/", "%")):
        raise _wrong(expression, f"'{word}' is no name: write a recipe, external/NAME, baseline/NAME or real")
    return rest.strip()


def _relation(expression: str, left: str, rest: str) -> tuple[str, str]:
    """Read the relation; return it and what follows."""
    found = _RELATION.match(rest + " ")
    if found:
        return found[1] or f"{found[2]} than", rest[found.end() :].strip()
    choices = f"{', '.join(RELATIONS[:5])}, '{BETTER}' or '{NEARER}'"
    if not rest:
        raise _wrong(expression, f"nothing follows '{left}': write a relation ({choices}) and a name or a number")
    words = " ".join(rest.split()[:2])
    if rest.startswith("=="):
        hint = "write ="
    elif words.split()[0].isalpha() and (near := did_you_mean(words, (BETTER, NEARER))).startswith("did"):
        hint = near
    else:
        hint = f"write {choices}"
    raise _wrong(expression, f"'{words}' after '{left}' is no relation: {hint}")


def _right(expression: str, relation: str, rest: str) -> tuple[str, float | None, int]:
    """Read what stands right: a name, or a number and how often the margin is added."""
    if not rest:
        raise _wrong(expression, f"nothing follows '{relation}': write a name or a number")
    if found := _PERCENT.fullmatch(rest):
        share = f"{float(found[1]) / 100:.10g}"
        raise _wrong(expression, f"'{rest}' is a percentage: write {share} if the metric's values are shares")
    if found := _NUMBER.match(rest):
        return "", *_number(expression, relation, float(found[1]), rest[found.end() :])
    found = _NAME.match(rest)
    if not found:
        raise _wrong(expression, f"'{rest}' after '{relation}' is neither a name nor a number: write one of them")
    right, more = _checked(expression, found[0]), _after_name(expression, rest, found.end())
    if more == f"to {REAL}" and relation == NEARER:
        return right, None, 0
    if _MARGIN.fullmatch(" " + more):
        said = f"a margin follows the name '{right}', and only a number can have one"
        raise _wrong(expression, f"{said}: >=, <= and = hold between names that are equivalent within the margin")
    if more:
        or_real = f", or 'to {REAL}'" if relation == NEARER else ""
        raise _wrong(expression, f"'{more}' follows '{right}': write nothing after the name{or_real}")
    return right, None, 0


def _number(expression: str, relation: str, number: float, rest: str) -> tuple[float, int]:
    margin = _MARGIN.fullmatch(rest)
    if rest.strip() and not margin:
        raise _wrong(expression, f"'{rest.strip()}' follows the number: write nothing, '- margin' or '+ margin'")
    if relation == NEARER:
        raise _wrong(expression, f"'{NEARER}' compares two names: write >, <, >= or <= before a number")
    if not math.isfinite(number):
        raise _wrong(expression, "the number is too large: write one below 1e308")
    if margin and relation == EQUAL:
        said = "'=' holds where every seed has the number itself"
        raise _wrong(expression, f"{said}: write two claims, >= NUMBER - margin and <= NUMBER + margin")
    return number, {"+": 1, "-": -1}[margin[1]] if margin else 0


def check(
    comparison: Comparison,
    metrics: "Mapping[str, Sequence[MetricSpec]]",
    subjects: Iterable[str],
    strata: Collection[str] | None = None,
) -> list[str]:
    """List what is wrong with a claim before anything is measured, a line each; empty where nothing is.

    Args:
        comparison: the parsed claim.
        metrics: what each metric that will be measured declares, one specification a protocol, as built for the data.
        subjects: names that will be measured, baselines included; the real images need not be among them.
        strata: of the images on which all is measured; ``None`` where they are not known.
    """
    known = [*subjects]
    problems = [
        f"'{name}' is not compared here: {did_you_mean(name, known)}"
        for name in comparison.names
        if name not in (REAL, TRAINING_IMAGES, *known)
    ]
    if comparison.left == comparison.right:
        problems.append(f"'{comparison.left}' is compared with itself: name another")
    if comparison.metric not in metrics:
        return [
            f"no metric '{comparison.metric}' is measured here: {did_you_mean(comparison.metric, metrics)}",
            *problems,
        ]
    wrong = _protocol_problem(comparison, metrics)
    if wrong:
        return [wrong, *problems]
    specs = _specs_of(comparison, metrics[comparison.metric])
    if len({spec.protocol for spec in specs}) > 1:
        each = " or ".join(dict.fromkeys(f"{comparison.metric}/{spec.protocol}" for spec in specs))
        problems.append(f"{comparison.metric} is measured in several ways: write {each}")
    stratum, stratified = comparison.stratum, any(spec.stratified for spec in specs)
    if strata is not None and stratified and stratum not in ("all", *strata) and not stratum.startswith(PARTS):
        near = did_you_mean(stratum, strata) if strata else "leave the stratum away"
        problems.append(f"the images have no stratum '{stratum}': {near}")
    return [*problems, *_against_declared(comparison, specs)]


def _specs_of(comparison: Comparison, specs: "Sequence[MetricSpec]") -> "Sequence[MetricSpec]":
    """Choose what a claim means: the exact protocol or those with all its words; of several, the headline's.

    Where none has all of them, some of which only a measurement knows, the one that has most.
    """
    words = set(comparison.protocol.split("/")) if comparison.protocol else set()
    exact = [spec for spec in specs if spec.protocol == comparison.protocol]
    found = exact or [spec for spec in specs if words <= {*spec.protocol.split("/")}]
    if not found and words:
        shared = max(len(words & {*spec.protocol.split("/")}) for spec in specs)
        return [next(spec for spec in specs if len(words & {*spec.protocol.split("/")}) == shared)]
    parts = comparison.stratum == "all" or comparison.stratum.startswith(PARTS)
    for narrower in ([spec for spec in found if parts or spec.stratified], [spec for spec in found if spec.headline]):
        found = [spec for spec in found if spec in narrower] or found
    return found


def _protocol_problem(comparison: Comparison, metrics: "Mapping[str, Sequence[MetricSpec]]") -> str:
    """Say that a metric never has a protocol; words that only a measurement knows (a device, n, a network) pass.

    A word is wrong that is a misspelling of this metric's, or that only other metrics declare.
    """
    own = {word for spec in metrics[comparison.metric] for word in spec.protocol.split("/")}
    others = {word for specs in metrics.values() for spec in specs for word in spec.protocol.split("/")} - own
    for word in comparison.protocol.split("/") if comparison.protocol else ():
        near = did_you_mean(word, own)
        misspelt = near.startswith("did")
        if word not in own and not any(map(str.isdigit, word)) and (misspelt or word in others):
            has = ", ".join(dict.fromkeys(f"'{spec.protocol}'" for spec in metrics[comparison.metric]))
            said = f"{comparison.metric} never has the protocol '{comparison.protocol}', it has {has}"
            return f"{said}: {near}" if misspelt else f"{said}: name one of them, or none"
    return ""


def _against_declared(comparison: Comparison, specs: "Sequence[MetricSpec]") -> list[str]:
    """List what the metric's declaration rules out."""
    metric, relation = comparison.metric, comparison.relation
    target, real = all(spec.direction == "target" for spec in specs), REAL in comparison.names
    parts = comparison.stratum == "all" or comparison.stratum.startswith(PARTS)
    aims = f"{metric} aims at the real images' value"
    found = []
    if relation == NEARER and not target:
        found.append(
            f"{metric} does not aim at the real images' value, as '{NEARER}' asks: write > or <, or '{BETTER}'"
        )
    if relation == BETTER and not any(spec.ranked for spec in specs):
        found.append(f"{metric} describes, and no value of it is better: write > or < in place of '{BETTER}'")
    if relation == BETTER and target and comparison.number is not None:
        found.append(f"{aims}, and no number is better by itself: write > or < in place of '{BETTER}'")
    if target and real and relation in (BETTER, NEARER):
        found.append(f"{aims}, so that nothing can be '{relation}' beside it: write > or <")
    if not parts and not any(spec.stratified for spec in specs):
        found.append(f"{metric} has no strata such as '{comparison.stratum}': leave the stratum away")
    for name in comparison.names:
        taken = {REAL: "of_real", TRAINING_IMAGES: "of_training_images"}.get(name, "of_baselines")
        if not is_model(name) and not any(getattr(spec, taken) for spec in specs):
            found.append(f"{metric} is never taken of '{name}': name a model, or another metric")
    return [*found, *_number_problems(comparison, specs)]


def _number_problems(comparison: Comparison, specs: "Sequence[MetricSpec]") -> list[str]:
    """List what is wrong with the number: percent in place of a share, a margin that nobody declares."""
    if comparison.number is None:
        return []
    found, metric, number = [], comparison.metric, comparison.number
    if comparison.margin and not any(spec.margin for spec in specs):
        found.append(f"{metric} declares no margin: write the number alone")
    low, high = specs[0].lowest, specs[0].highest
    if (low is not None and number < low) or (high is not None and number > high):
        said = f"{metric} lies {_between(low, high)}, so that {number:g} is none of its values"
        percent = high == 1 and low == 0 and 1 < number <= 100
        found.append(
            f"{said}: " + (f"write {number / 100:.10g} for {number:g} %" if percent else "write another number")
        )
    return found


def _between(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at {high:g} or below" if low is None else f"at {low:g} or above"
    return f"between {low:g} and {high:g}"
