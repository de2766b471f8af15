"""One pass over what a run can do feeds every metric: the union of their needs is computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Metric, Need, Score, TrainingFacts
from vaebench.core.model import Autoencoder, GenerativeModel

BATCH = 500
_FIELDS = {
    Need.REAL: "real",
    Need.RECONSTRUCTION: "reconstruction",
    Need.DRAW: "draw",
    Need.SAMPLE: "sample",
    Need.LATENT: "mean",
}
_LACKING = {
    Need.REAL: "real images",
    Need.RECONSTRUCTION: "reconstructions",
    Need.DRAW: "draws from a posterior",
    Need.SAMPLE: "samples",
    Need.LATENT: "a posterior",
    Need.ATTRIBUTES: "labels or attributes",
    Need.TRAINING: "a training record",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: what it can provide, the batches that provide it, and facts of its training."""

    provides: Need
    batches: Iterator[EvalBatch]
    facts: TrainingFacts | None = None


def of_model(
    model: GenerativeModel,
    data: ImageDataset,
    *,
    needs: Need,
    samples: int,
    seed: int,
    device: torch.device | str,
    facts: TrainingFacts,
) -> Subject:
    """A trained model in evaluation mode, measured on ``data`` and on ``samples`` draws from the prior.

    Noise is drawn once for the whole set on the CPU, so values depend neither on batch size nor on device.
    """
    provides = Need.REAL | Need.SAMPLE | Need.TRAINING | _labelling(data)
    if isinstance(model, Autoencoder):
        provides |= Need.RECONSTRUCTION | Need.DRAW | Need.LATENT
    wanted = needs & provides

    @torch.inference_mode()
    def batches() -> Iterator[EvalBatch]:
        # all at once: torch.randn's stream depends on how many numbers a call asks for
        noise = torch.randn(len(data), model.latent_dim, generator=seeding.generator(seed, "posterior draws"))
        for rows in torch.arange(len(data)).split(BATCH):
            real = to_float(data.images[rows].to(device))
            filled: dict[str, Tensor | None] = {"real": real, **_labels(data, rows)}
            if isinstance(model, Autoencoder) and wanted & (Need.RECONSTRUCTION | Need.DRAW | Need.LATENT):
                mean, log_variance = model.posterior(real)
                filled |= {"mean": mean, "log_variance": log_variance}
                if Need.RECONSTRUCTION in wanted:
                    filled["reconstruction"] = model.decode(mean)
                if Need.DRAW in wanted:
                    filled["draw"] = model.decode(mean + noise[rows].to(device) * torch.exp(0.5 * log_variance))
            yield EvalBatch(**filled)
        if Need.SAMPLE in wanted:
            prior = torch.randn(samples, model.latent_dim, generator=seeding.generator(seed, "samples"))
            for latents in prior.split(BATCH):
                yield EvalBatch(sample=model.decode(latents.to(device)))

    return Subject(provides=provides, batches=batches(), facts=facts)


def of_images(images: Tensor, data: ImageDataset, *, kind: Need, paired: bool) -> Subject:
    """Images made elsewhere: uint8 or float (n, c, h, w), as ``Need.RECONSTRUCTION`` or ``Need.SAMPLE``.

    With ``paired``, image i belongs to image i of ``data``, and what compares the two can be measured. Samples
    are measured against ``data`` as a whole: its images come in batches of their own.
    """
    provides = kind
    if paired or kind == Need.SAMPLE:
        provides |= Need.REAL | _labelling(data)

    def batches() -> Iterator[EvalBatch]:
        if not paired and kind == Need.SAMPLE:
            yield from _real_batches(data)
        for rows in torch.arange(len(images)).split(BATCH):
            part = images[rows]
            filled: dict[str, Tensor | None] = {_FIELDS[kind]: to_float(part) if part.dtype == torch.uint8 else part}
            if paired:
                filled |= {"real": to_float(data.images[rows]), **_labels(data, rows)}
            yield EvalBatch(**filled)

    return Subject(provides=provides, batches=batches())


def _real_batches(data: ImageDataset) -> Iterator[EvalBatch]:
    for rows in torch.arange(len(data)).split(BATCH):
        yield EvalBatch(real=to_float(data.images[rows]), **_labels(data, rows))


def of_real(data: ImageDataset) -> Subject:
    """The real images themselves, standing in for reconstructions and for samples."""

    def batches() -> Iterator[EvalBatch]:
        for batch in _real_batches(data):
            yield replace(batch, reconstruction=batch.real, sample=batch.real)

    provides = Need.REAL | Need.RECONSTRUCTION | Need.SAMPLE | _labelling(data)
    return Subject(provides=provides, batches=batches())


def measure(metrics: Sequence[Metric], subject: Subject) -> list[tuple[Metric, Score]]:
    """Feed every metric that applies in one pass, and take its score.

    What the subject cannot do, or what a metric refuses, is a score without value whose note says why.
    """
    refused: dict[int, str] = {}
    for metric in metrics:
        missing = metric.needs & ~subject.provides
        if missing:
            refused[id(metric)] = "needs " + " and ".join(_LACKING[part] for part in missing)
    active = [metric for metric in metrics if id(metric) not in refused]
    for batch in subject.batches if any(metric.needs != Need.TRAINING for metric in active) else ():
        carried = _carried(batch)
        for metric in active:
            if id(metric) not in refused and _wants(metric.needs, carried):
                try:
                    metric.update(batch)
                except UserError as error:
                    refused[id(metric)] = str(error)
    scores = []
    for metric in metrics:
        note = refused.get(id(metric))
        score = _score(metric, subject) if note is None else Score(value=None, n=0, note=note)
        scores.append((metric, _finite(score)))
    return scores


def _score(metric: Metric, subject: Subject) -> Score:
    try:
        return metric.score(subject.facts)
    except UserError as error:
        return Score(value=None, n=0, note=str(error))


def _wants(needs: Need, carried: Need) -> bool:
    """Whether a batch holds all that the metric needs of real images, or all that it needs of samples."""
    parts = [part for part in (needs & Need.SAMPLE, needs & ~Need.SAMPLE & ~Need.TRAINING) if part]
    return any(part in carried for part in parts)


def _carried(batch: EvalBatch) -> Need:
    carried = Need(0)
    for need, field in _FIELDS.items():
        if getattr(batch, field) is not None:
            carried |= need
    if batch.labels is not None or batch.attributes is not None:
        carried |= Need.ATTRIBUTES
    return carried


def _finite(score: Score) -> Score:
    if score.value is None or torch.isfinite(torch.tensor(score.value)):
        return score
    return Score(value=None, n=score.n, note=f"the value is not finite ({score.value})")


def _labelling(data: ImageDataset) -> Need:
    return Need(0) if data.labels is None and data.attributes is None else Need.ATTRIBUTES


def _labels(data: ImageDataset, rows: Tensor) -> dict[str, Tensor | None]:
    return {
        "labels": None if data.labels is None else data.labels[rows],
        "attributes": None if data.attributes is None else data.attributes[rows],
    }
