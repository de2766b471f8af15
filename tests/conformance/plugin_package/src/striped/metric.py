"""Contrast and brightness of reconstructions: one is ranked and a headline, the other describes."""

from torch import Tensor

from vaebench.core import questions
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage

QUESTION = "How strong are the contrasts?"


def contrast(*, scale: float = 1.0) -> list[Metric]:
    """Brightest minus darkest pixel of each reconstruction, times ``scale``."""

    def span(batch: EvalBatch) -> Tensor:
        assert batch.reconstruction is not None
        flat = batch.reconstruction.flatten(1)
        return scale * (flat.amax(1) - flat.amin(1))

    spec = MetricSpec(
        name="contrast",
        needs=Need.RECONSTRUCTION,
        unit="intensity",
        direction="target",
        protocol=f"recon/scale={scale:g}",
        of_real=True,
        stratified=True,
        question=QUESTION,
        headline=1,
        distribution="Contrast",
    )
    return [PerImage(span, spec)]


def _mean(batch: EvalBatch) -> Tensor:
    assert batch.reconstruction is not None
    return batch.reconstruction.flatten(1).mean(dim=1)


def brightness() -> list[Metric]:
    """Mean intensity of each reconstruction: it describes, so no model is better for more of it."""
    spec = MetricSpec(
        name="brightness",
        needs=Need.RECONSTRUCTION,
        unit="intensity",
        direction="higher",
        protocol="recon",
        question=questions.RECONSTRUCTION,
        ranked=False,
    )
    return [PerImage(_mean, spec)]
