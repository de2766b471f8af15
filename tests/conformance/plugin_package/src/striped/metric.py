"""Contrast: the span of an image's intensities."""

from torch import Tensor

from vaebench.core.metric import EvalBatch, Metric, Need, PerImage


def contrast(*, scale: float = 1.0) -> list[Metric]:
    """Brightest minus darkest pixel of each reconstruction, times ``scale``."""

    def span(batch: EvalBatch) -> Tensor:
        assert batch.reconstruction is not None
        flat = batch.reconstruction.flatten(1)
        return scale * (flat.amax(1) - flat.amin(1))

    return [
        PerImage(
            span,
            name="contrast",
            needs=Need.RECONSTRUCTION,
            unit="intensity",
            direction="target",
            protocol=f"recon/scale={scale:g}",
            of_real=True,
            stratified=True,
        )
    ]
