"""Samples and reconstructions of several runs side by side."""

from pathlib import Path

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.report.figures.image_sheet import Strip, image_sheet
from vaebench.runs.galleries import to_pixels
from vaebench.runs.study_figures import StudyFigure
from vaebench.studies.attributes import strangeness_said
from vaebench.studies.opened_runs import OpenedRun, OpenedRuns
from vaebench.studies.save import keep

ACROSS = 10


def sample(opened_runs: OpenedRuns, *, count: int = 3 * ACROSS, seed: int = 0) -> tuple[StudyFigure, Path]:
    """Draw samples: the same draws from the prior for models of as many latents."""
    if count < 1:
        raise UserError(f"--count {count} draws nothing: give 1 or more")
    strips: list[Strip] = []
    for run in opened_runs.runs:
        prior = torch.randn(count, run.latent_dim, generator=seeding.generator(seed, "samples"))
        pixels = to_pixels(run.context.decode(prior))
        strips.extend(
            Strip(label=run.label if start == 0 else "", pictures=pixels[start : start + ACROSS])
            for start in range(0, count, ACROSS)
        )
    return keep(opened_runs, "sample", "Samples: images decoded from draws of the prior.", image_sheet(strips))


def reconstruct(opened_runs: OpenedRuns, images: Tensor, *, own: bool) -> tuple[StudyFigure, Path]:
    """Draw images (n, c, h, w) uint8, n of 1 or more, and their reconstructions; ``own``: they are a user's."""
    if not len(images):
        raise UserError("there is no image to reconstruct: ask for 1 or more")
    strips = []
    for part in images.split(ACROSS):
        strips += [Strip(label="original", pictures=to_pixels(part))] if own or opened_runs.data.redistributable else []
        strips += [_reconstructed(run, to_float(part)) for run in opened_runs.runs]
    caption = (
        "Reconstructions from the posterior mean. Under each the share of test images with a smaller error; red: "
        "unlike the run's test images, by error or latent norm."
    )
    return keep(opened_runs, "reconstruct", caption, image_sheet(strips), own=own)


def _reconstructed(run: OpenedRun, real: Tensor) -> Strip:
    mean = run.context.encode(real)
    made = run.context.decode(mean)
    strange = run.familiar.judge(real, made, mean)
    words = [strangeness_said(strange, row).partition(",")[0] for row in range(len(real))]
    return Strip(label=run.label, pictures=to_pixels(made), words=words, alarms=strange.outside.tolist())
