"""What a metric says of itself, for a list: direction, unit, question, and what it must be fed, in words."""

from dataclasses import dataclass

from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.metrics import METRICS

WORDS = {
    Need.REAL: "real images",
    Need.RECONSTRUCTION: "reconstructions",
    Need.DRAW: "reconstructions",
    Need.SAMPLE: "samples",
    Need.PATH: "interpolations",
    Need.LATENT: "latents",
    Need.VARIANCE: "a posterior's variance",
    Need.CODES: "codes",
    Need.ATTRIBUTES: "labels",
    Need.TRAINING: "a training's record",
    Need.BLEND: "blends",
    Need.CODE: "an encoder and decoder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFacts:
    """Facts of one metric; empty where a plugin cannot be loaded."""

    direction: str = ""
    unit: str = ""
    needs: str = ""
    question: str = questions.OTHER


def facts_of(name: str) -> MetricFacts:
    """Build a metric and read what it declares; of several protocols what they share."""
    try:
        specs = [metric.spec for metric in METRICS.get(name)()]
    except UserError:  # a plugin that cannot be loaded says so when it is asked for
        return MetricFacts()
    if not specs:
        return MetricFacts()
    alternatives = list(dict.fromkeys(", ".join(_words(spec.needs)) for spec in specs))
    return MetricFacts(
        direction=specs[0].direction,
        unit=specs[0].unit,
        needs=" or ".join(alternatives),
        question=specs[0].question,
    )


def _words(needs: Need) -> list[str]:
    wanted = [word for need, word in WORDS.items() if need in needs]
    fed = [word for word in wanted if word != WORDS[Need.REAL]]
    return list(dict.fromkeys(fed or wanted))  # real images stand beside whatever is held against them
