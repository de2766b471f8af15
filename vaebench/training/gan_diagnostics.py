"""GAN diagnostics: known failures of adversarial training as numbers, pure functions of samples and history.

Mode collapse (Radford et al. 2016; Ruiz and Lipson, "Feature blending with VAEs and GANs", figure 4), a colour cast
(their figure 7), a discriminator that wins outright so that the generator's gradient vanishes (Arjovsky and Bottou
2017), and losses that chase each other (Ruiz and Lipson, figure 5). None proves a failure; each is a reason to look at
the samples.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebench.runs.history import Progress

SAMPLES = 64  # of the prior and of the data, the same ones all through a training
WINDOW = 10  # rows of the history over which losses are judged; a row is 100 steps
SETTLED = 5  # rows after which samples should vary, and over which a discriminator must have won
DIVERSITY, COLOUR_CAST = "samples/diversity", "samples/colour_cast"
LITTLE_DIVERSITY = 0.6  # of the real images', or of what the samples have had
STRONG_CAST = 0.06  # of the intensity range
SATURATED = 0.1  # nats, discriminator's two terms together; 2 log 2 where it cannot tell
SWING, ANTIPHASE = 1.0, -0.7


def of_samples(samples: Tensor, real: Tensor) -> dict[str, float]:
    """Compute diversity and, of colour images, colour cast of samples against real images; each (n, c, h, w) float in
    [0, 1], n may differ.

    Diversity is the mean distance between two samples divided by that between two real images: 1 where they vary as
    much, near 0 where all samples are one. The cast is how far the samples' mean of a channel strays from the real
    images', beyond what all channels do together (which is brightness), in units of the intensity range.
    """
    found = {DIVERSITY: _spread(samples) / max(_spread(real), 1e-12)}
    if samples.shape[1] == 3:
        found[COLOUR_CAST] = _cast(samples, real)
    return found


def _spread(images: Tensor) -> float:
    return torch.pdist(images.float().flatten(1)).mean().item() if len(images) > 1 else 0.0


def _cast(samples: Tensor, real: Tensor) -> float:
    shift = samples.float().mean((0, 2, 3)) - real.float().mean((0, 2, 3))
    shift = shift - shift.mean()
    return shift[shift.abs().argmax()].item()


def warnings(rows: Sequence[Progress], adversaries: Mapping[str, str]) -> list[str]:
    """Return the warnings that the newest row of the history causes and the row before did not.

    ``adversaries`` maps the name of an adversary's phase to its kind, ``discriminator`` or ``critic``.
    """
    return list(_events(rows, adversaries, len(rows) - 1))


def log_text(rows: Sequence[Progress], adversaries: Mapping[str, str]) -> str:
    """Format every warning of a history, one per line, as in ``warnings.log``."""
    return "".join(f"{text}\n" for text in _events(rows, adversaries, 0))


def _events(rows: Sequence[Progress], adversaries: Mapping[str, str], start: int) -> Iterator[str]:
    """Find what begins to go wrong at each row from the ``start``-th on, in words."""
    best = list(accumulate((row.terms.get(DIVERSITY, 0.0) for row in rows), max))

    def wrong(at: int) -> dict[str, str]:
        return {
            **_of_row(rows[at], best[at], settled=at >= SETTLED),
            **_of_losses(rows[max(0, at + 1 - WINDOW) : at + 1], adversaries),
        }

    before = wrong(start - 1) if start else {}
    for at in range(start, len(rows)):
        now = wrong(at)
        yield from (f"step {rows[at].step}: {text}" for kind, text in now.items() if kind not in before)
        before = now


def _of_row(row: Progress, best: float, *, settled: bool) -> dict[str, str]:
    """Find what a row's samples warn of: kind -> words with numbers."""
    found = {}
    diversity, cast = row.terms.get(DIVERSITY), row.terms.get(COLOUR_CAST)
    if diversity is not None and diversity < LITTLE_DIVERSITY * (1.0 if settled else min(1.0, best)):
        found["collapse"] = (
            f"mode collapse? samples vary {diversity:.2f} as much as real images do (at best {best:.2f} so far)"
        )
    if cast is not None and abs(cast) > STRONG_CAST:
        found["cast"] = f"colour cast: one channel of the samples strays by {cast:+.2f} of the intensity range"
    return found


def _of_losses(rows: Sequence[Progress], adversaries: Mapping[str, str]) -> dict[str, str]:
    """Find what the last rows' losses warn of: kind -> words with numbers."""
    found = {}
    for phase, kind in adversaries.items():
        losses = np.array([_total(row, phase) for row in rows])
        if kind == "discriminator" and len(losses) >= SETTLED and max(losses[-SETTLED:]) < SATURATED:
            found[f"{phase} saturated"] = (
                f"{phase} wins outright: its loss is {losses[-1]:.3f} (2 log 2 = 1.386 where it cannot tell), "
                "little is left for the other side to learn from"
            )
        swing, together = _chase(losses, [_opposed(row, phase) for row in rows])
        if swing > SWING and together < ANTIPHASE:
            found[f"{phase} oscillates"] = (
                f"losses chase each other: over {WINDOW} rows {phase}'s swings by {swing:.1f} of its median, "
                f"correlation with the other side's {together:.2f}"
            )
    return found


def _total(row: Progress, phase: str) -> float:
    return sum(value for name, value in row.terms.items() if name.startswith(f"{phase}/"))


def _opposed(row: Progress, phase: str) -> float:
    """Sum the losses of the phases that play against the adversary."""
    return sum(
        value for name, value in row.terms.items() if name.endswith("/adversarial") and not name.startswith(f"{phase}/")
    )


def _chase(losses: NDArray[np.float64], opposed: Sequence[float]) -> tuple[float, float]:
    """Measure the swing of the adversary's loss (10th to 90th percentile, over the median), and its correlation with
    the others'.
    """
    if len(losses) < WINDOW or np.std(losses) == 0 or np.std(opposed) == 0:
        return 0.0, 0.0
    low, middle, high = np.percentile(losses, (10, 50, 90))
    return float((high - low) / max(abs(middle), 1e-12)), float(np.corrcoef(losses, opposed)[0, 1])
