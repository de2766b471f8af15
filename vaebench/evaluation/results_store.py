"""Write results and per-image values into a run's folder; find the metrics that are not yet measured."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from vaebench import __version__
from vaebench.core import results
from vaebench.core.dataset import ImageDataset
from vaebench.core.files import exclusive, make_dir
from vaebench.core.machine import machine
from vaebench.core.metric import Metric, Need, Score
from vaebench.core.results import Provenance, Result
from vaebench.core.strata import strata
from vaebench.evaluation.source import EvaluationSource, Identity
from vaebench.runs import per_image
from vaebench.runs.provenance import command_line, now, package_versions
from vaebench.runs.record import RunFolder


def label_columns(data: ImageDataset) -> dict[str, list[int]]:
    """Return ``label`` and attributes by name, from which strata are made."""
    columns: dict[str, list[int]] = {}
    if data.labels is not None:
        columns["label"] = data.labels.tolist()
    if data.attributes is not None:
        for position, attribute in enumerate(data.attribute_names):
            columns[attribute] = data.attributes[:, position].int().tolist()
    return columns


def image_columns(data: ImageDataset) -> dict[str, list[int]]:
    """Return :func:`label_columns`, and the person on each image if that is known."""
    people = {} if data.people is None else {per_image.PERSON: data.people.tolist()}
    return {**label_columns(data), **people}


def place_of(data: ImageDataset) -> str:
    """Name a folder by a split's content: a subset is another set of images."""
    return f"{data.name}-{data.split}-{data.fingerprint[:12]}"


def question(metric: Metric, samples: int) -> str:
    """Identify what a result measures, as far as it is known before measuring: equal ones are not measured twice."""
    protocol = metric.protocol_of()
    return f"{protocol}; samples={samples}" if metric.spec.needs & Need.SAMPLE else protocol


def pending(
    folder: RunFolder,
    identity: Identity,
    data: ImageDataset,
    metrics: Sequence[Metric],
    samples: int,
) -> list[Metric]:
    """Find the metrics not yet measured of these weights and images, by this extractor and version of vaebench.

    The dataset's name counts: equal images under two names stand in two tables.
    """
    lines = results.read(folder.results) if folder.results.exists() else []
    last = lines[-1].provenance.weights_sha256 if lines else identity.content_sha256
    if last != identity.content_sha256:
        return list(metrics)  # the folder speaks of other weights, or images: all its answers are void
    answered = {
        (
            line.metric,
            origin.asked,
            origin.weights_sha256,
            line.dataset,
            origin.data_fingerprint,
            origin.extractor_sha256,
        )
        for line in lines
        if line.stratum == "all" and (origin := line.provenance).vaebench_version == __version__
    }
    return [
        metric
        for metric in metrics
        if (
            *(metric.spec.name, question(metric, samples), identity.content_sha256),
            *(data.name, data.fingerprint, metric.extractor_sha256),
        )
        not in answered
    ]


def store(
    folder: RunFolder,
    source: EvaluationSource,
    data: ImageDataset,
    scores: Sequence[tuple[Metric, Score]],
    *,
    samples: int,
    seconds: float,
) -> None:
    """Write per-image values, then the results that are their means; ``seconds`` are those of the evaluation pass."""
    identity = source.identity
    subsets = {name: torch.tensor(rows) for name, rows in strata(label_columns(data)).items()}
    provenance = Provenance(
        data_fingerprint=data.fingerprint,
        weights_sha256=identity.content_sha256,
        extractor_sha256="",
        vaebench_version=__version__,
        versions=package_versions(),
        device=machine(identity.device),
        command=command_line(),
        created=now(),
        seconds=round(seconds, 3),
        data_note=data.note,
    )
    kept: dict[per_image.Series, per_image.PerImageValues] = {}
    gone: list[per_image.Series] = []
    lines: list[Result] = []
    for metric, score in scores:
        cut = {"all": score, **score.parts}
        protocol = metric.protocol_of(score)
        for stratum, part in cut.items():
            series = per_image.Series(data.name, data.split, data.fingerprint, metric.spec.name, protocol, stratum)
            if part.per_image is None:
                gone.append(series)  # an earlier measurement may have had some
            else:
                ids = part.ids or (
                    data.ids if _belongs(part, metric, data, source.paired) else _numbered(identity, part)
                )
                kept[series] = per_image.PerImageValues(tuple(ids), part.per_image.numpy(), part.influence)
        if score.per_image is not None and metric.spec.stratified and _belongs(score, metric, data, source.paired):
            cut |= {name: Score.mean_of(score.per_image[rows]) for name, rows in subsets.items()}
        asked = question(metric, samples)
        origin = replace(provenance, extractor_sha256=metric.extractor_sha256, asked=asked)
        lines.extend(_result(metric, protocol, part, stratum, identity, data, origin) for stratum, part in cut.items())
    make_dir(folder.path)
    with exclusive(folder.path, wait=True):
        per_image.write(folder.per_image, kept, gone)
        results.append(folder.results, lines)


def _belongs(score: Score, metric: Metric, data: ImageDataset, paired: bool) -> bool:
    """Tell whether row i of the per-image values belongs to image i of the split."""
    rows = 0 if score.per_image is None else len(score.per_image)
    return paired and rows == len(data) and not score.ids and Need.SAMPLE not in metric.spec.needs


def _numbered(identity: Identity, score: Score) -> list[str]:
    rows = 0 if score.per_image is None else len(score.per_image)
    return [f"{identity.name}/{row:06d}" for row in range(rows)]


def _result(
    metric: Metric,
    protocol: str,
    score: Score,
    stratum: str,
    identity: Identity,
    data: ImageDataset,
    provenance: Provenance,
) -> Result:
    return Result(
        recipe=identity.name,
        seed=identity.seed,
        dataset=data.name,
        split=data.split,
        stratum=stratum,
        metric=metric.spec.name,
        protocol=protocol,
        unit=metric.spec.unit,
        direction=metric.spec.direction,
        value=score.value,
        std_error=score.std_error,
        n=score.n,
        note=score.note,
        provenance=provenance,
        margin=metric.spec.margin,
        facts=metric.spec.facts(),
    )
