"""The one pass: a source's batches feed every metric; images go through each network once for all of them."""

import functools
import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vaebench.core import stages
from vaebench.core.context import FeatureSpace
from vaebench.core.device import tf32
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import UserError
from vaebench.core.mapped import give_back_mapped_pages
from vaebench.core.memory import give_back_freed_memory
from vaebench.core.metric import EvalBatch, Facet, Metric, Need, Score
from vaebench.evaluation.accumulator_transfer import pack, unpack
from vaebench.evaluation.features import Networks
from vaebench.evaluation.source import FIELDS, EvaluationSource

_LACKING = {
    Need.REAL: "real images",
    Need.RECONSTRUCTION: "reconstructions",
    Need.DRAW: "draws from a posterior",
    Need.SAMPLE: "samples",
    Need.PATH: "a decoder",
    Need.LATENT: "a posterior",
    Need.VARIANCE: "a posterior with a variance",
    Need.CODES: "a codebook",
    Need.ATTRIBUTES: "labels or attributes",
    Need.TRAINING: "a training record",
    Need.BLEND: "an encoder to blend with",
    Need.CODE: "an encoder",
}


BATCHES_UNTIL_TRIM = 32  # after so many batches the memory that they freed goes back to the operating system
_APART = Need.TRAINING | Need.BLEND | Need.CODE  # metrics read these from the context, not from batches


@dataclass(slots=True)
class _Consumer:
    """A metric that takes in batches, or the shared measurement that several metrics read."""

    accumulator: Any  # Metric or SharedMeasurement
    metrics: list[Metric]
    refusal: str = ""

    @property
    def needs(self) -> Need:
        return self.metrics[0].spec.needs

    @property
    def space(self) -> FeatureSpace | None:
        """Return the feature space that all its metrics use; None if they use different ones: the shared
        measurement then extracts its own features.
        """
        spaces = {metric.spec.space for metric in self.metrics}
        return spaces.pop() if len(spaces) == 1 else None


def measure(
    metrics: Sequence[Metric], source: EvaluationSource, networks: Networks | None = None, group: Group = ALONE
) -> list[tuple[Metric, Score]]:
    """Feed every metric that applies in one pass, and return each with its score.

    What the source cannot do, or what a metric or a network refuses, is a score without value whose note says why.
    Of several processes each feeds its share of what the source provides; the first one has the scores, the others
    nothing.
    """
    networks = networks or Networks()
    name_extractors(metrics, networks)
    consumers = _consumers(metrics)
    for consumer in consumers:
        missing = consumer.needs & ~source.provides
        known = [source.reasons[part] for part in missing if part in source.reasons]
        lacking = "needs " + " and ".join(_LACKING[part] for part in missing) if missing else ""
        consumer.refusal = f"{lacking}: {known[0]}" if known else lacking
        if consumer.space is not None and not missing and source.ready is None:
            try:
                networks.sha256(consumer.space)
            except UserError as error:
                consumer.refusal = str(error)
    fed = [consumer for consumer in consumers if not consumer.refusal]
    needs = functools.reduce(operator.or_, (consumer.needs for consumer in fed), Need(0))
    row, total, seen = 0, source.length(needs), 0
    with tf32(networks.allow_tf32):
        for number, batch in enumerate(source.batches(needs, group) if needs & ~_APART else (), 1):
            _feed(batch, fed, source, networks, row)
            row += 0 if batch.real is None else len(batch.real)
            seen += batch.rows
            stages.tell(f"{source.title}: images", min(seen * group.size, total), total)
            if number % BATCHES_UNTIL_TRIM == 0:
                give_back_freed_memory()
            give_back_mapped_pages()
        if not _brought_together(consumers, group):
            return []
        refusals = {
            id(metric): consumer.refusal for consumer in consumers for metric in consumer.metrics if consumer.refusal
        }
        scores = []
        for number, metric in enumerate(metrics):
            stages.tell(f"{source.title}: {metric.spec.name}", number, len(metrics))
            scores.append((metric, _score(metric, source, refusals.get(id(metric), ""))))
        return scores


def _brought_together(consumers: Sequence[_Consumer], group: Group) -> bool:
    """Merge all processes' accumulators on rank 0; return whether this is rank 0."""
    if group.size == 1:
        return True
    packed = pack([consumer.accumulator for consumer in consumers], [consumer.refusal for consumer in consumers])
    for content in group.gathered(packed)[1:]:
        others, refusals = unpack(content, [consumer.accumulator for consumer in consumers])
        for consumer, other, refusal in zip(consumers, others, refusals, strict=True):
            consumer.refusal = consumer.refusal or refusal
            if not consumer.refusal:
                consumer.accumulator.merge(other)
    return group.leads


def name_extractors(metrics: Sequence[Metric], networks: Networks) -> None:
    """Set each metric's hash of the weights that its features come from, if they are at hand."""
    for metric in metrics:
        if metric.spec.space is not None:
            with suppress(UserError):
                metric.extractor_sha256 = networks.sha256(metric.spec.space)


def _consumers(metrics: Sequence[Metric]) -> list[_Consumer]:
    """Group metrics into consumers: one per metric; facets of equal measurements share one."""
    consumers: dict[Any, _Consumer] = {}
    for metric in metrics:
        if isinstance(metric, Facet):
            consumer = consumers.setdefault((Facet, metric.measurement.key), _Consumer(metric.measurement, []))
            metric.measurement = consumer.accumulator
        else:
            consumer = consumers.setdefault(id(metric), _Consumer(metric, []))
        consumer.metrics.append(metric)
    return list(consumers.values())


def _feed(
    batch: EvalBatch, consumers: Sequence[_Consumer], source: EvaluationSource, networks: Networks, row: int
) -> None:
    carried = _carried(batch)
    to_feed = [consumer for consumer in consumers if not consumer.refusal and _wants(consumer.needs, carried)]
    features = _features(batch, to_feed, source, networks, row)
    for consumer in to_feed:
        try:
            if not consumer.refusal:
                found = features.get(consumer.space, {}) if consumer.space else {}
                consumer.accumulator.update(replace(batch, features=found))
        except UserError as error:
            consumer.refusal = str(error)


def _features(
    batch: EvalBatch, consumers: Sequence[_Consumer], source: EvaluationSource, networks: Networks, row: int
) -> dict[FeatureSpace, dict[str, Tensor]]:
    """Extract features of the images that consumers want, each image set through each network once."""
    found: dict[FeatureSpace, dict[str, Tensor]] = {}
    for need, name in ((Need.RECONSTRUCTION, "reconstruction"), (Need.SAMPLE, "sample")):
        images: Tensor | None = getattr(batch, name)
        wanted = [consumer for consumer in consumers if consumer.space is not None and need in consumer.needs]
        for network in sorted(
            {consumer.space.network for consumer in wanted if consumer.space} if images is not None else ()
        ):
            inside = [consumer for consumer in wanted if consumer.space and consumer.space.network == network]
            spaces = sorted({consumer.space for consumer in inside if consumer.space})
            assert images is not None
            try:
                if source.ready is not None:
                    parts = {space: source.ready(space)[row : row + len(images)] for space in spaces}
                else:
                    parts = networks.extract(images, spaces)
            except UserError as error:
                for consumer in inside:
                    consumer.refusal = str(error)
                continue
            for space, part in parts.items():
                found.setdefault(space, {})[name] = part
    return found


def _score(metric: Metric, source: EvaluationSource, refusal: str) -> Score:
    try:
        score = Score(value=None, n=0, note=refusal) if refusal else metric.score(source.context)
    except UserError as error:
        score = Score(value=None, n=0, note=str(error))
    return _finite(score)


def _wants(needs: Need, carried: Need) -> bool:
    """Tell whether a batch holds all that the metric needs of real images, or all that it needs of samples."""
    apart = Need.SAMPLE | Need.PATH
    parts = [part for part in (needs & Need.SAMPLE, needs & Need.PATH, needs & ~apart & ~_APART) if part]
    return any(part in carried for part in parts)


def _carried(batch: EvalBatch) -> Need:
    carried = Need(0)
    for need, name in FIELDS.items():
        if getattr(batch, name) is not None:
            carried |= need
    if batch.labels is not None or batch.attributes is not None:
        carried |= Need.ATTRIBUTES
    return carried


def _finite(score: Score) -> Score:
    parts = {name: _finite(part) for name, part in score.parts.items()}
    known = [number for number in (score.value, score.std_error) if number is not None]
    if all(map(math.isfinite, known)):
        return replace(score, parts=parts)
    return Score(value=None, n=score.n, note=f"the value is not finite ({score.value})", parts=parts)
