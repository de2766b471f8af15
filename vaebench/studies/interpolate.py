"""Interpolation: straight lines in latent space, decoded, between two images or two draws from the prior."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.context import FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.interpolation import line
from vaebench.evaluation.judges import judge_network
from vaebench.perceptual.attribute_cnn import LOGITS
from vaebench.report.figures.image_sheet import Strip, image_sheet
from vaebench.runs.galleries import Pixels, grid, to_pixels
from vaebench.runs.study_figures import StudyFigure
from vaebench.studies.opened_runs import OpenedRun, OpenedRuns, Say, shown_pairs
from vaebench.studies.save import Write, keep
from vaebench.studies.user_images import load_user_images

FRAMES = 11
_CLASSES = ((1, 5), (1, 3), (3, 7))  # the MNIST article's pairs
_FRAME_MILLISECONDS, _GIF_SCALE = 120, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Ends of the lines: a name each, images (n, 2, c, h, w) uint8 of real ends, labels (n, 2) if known."""

    names: Sequence[tuple[str, str]]
    images: Tensor | None = None
    labels: Tensor | None = None
    shown: bool = True  # whether the real ends may be shown
    own: bool = False  # whether they are a user's


def interpolate(
    opened_runs: OpenedRuns, ends: Ends, *, frames: int = FRAMES, gif: bool = False, seed: int = 0
) -> tuple[StudyFigure, Path]:
    """Draw the lines of every run; without images between draws from the prior, the same for models of equal size.

    Raises :class:`UserError` for fewer than 3 frames.
    """
    if frames < 3:
        raise UserError(f"--frames {frames} leaves nothing between the ends: give 3 or more")
    judge = judge_network(opened_runs.data)
    reads = FeatureSpace(judge, LOGITS) if opened_runs.data.labels is not None and judge else None
    strips, sheets = [], []
    for pair, (first, second) in enumerate(ends.names):
        for position, run in enumerate(opened_runs.runs):
            path = line(*_latents(run, ends, pair, seed), frames)[0]
            made = run.context.decode(path)
            words, alarms = _reading(run, made, reads, None if ends.labels is None else ends.labels[pair])
            heading = f"{first} to {second}" if position == 0 else ""
            pixels = to_pixels(made)
            strips.append(_strip(run, pixels, ends, pair, opened_runs, heading, words, alarms))
            sheets.append(pixels)
    more: dict[str, str | Write] = {".gif": partial(_animate, sheets, len(opened_runs.runs))} if gif else {}
    return keep(
        opened_runs,
        "interpolate",
        _caption(opened_runs, ends, frames, reads),
        image_sheet(strips),
        more=more,
        own=ends.own,
    )


def chosen_ends(data: ImageDataset, count: int, seed: int | None) -> Ends:
    """Choose pairs of test images: of digits the article's classes first; else those that figures show, or any by
    ``seed``.
    """
    if data.labels is not None and seed is None:
        first = {int(label): int((data.labels == label).nonzero()[0]) for label in data.labels.unique()}
        wanted = [(a, b) for a, b in _CLASSES if a in first and b in first]
        rest = [(a, b) for a in first for b in first if a < b and (a, b) not in _CLASSES]
        rows = [(first[a], first[b]) for a, b in [*wanted, *rest[:: max(1, len(rest) // max(1, count))]]][:count]
    else:
        rows = shown_pairs(data, count, seed)
    chosen = torch.tensor(rows)
    known = None if data.labels is None else data.labels.tolist()
    return Ends(
        names=[(_named(data, a, known), _named(data, b, known)) for a, b in rows],
        images=data.images[chosen],
        labels=None if data.labels is None else data.labels[chosen],
        shown=data.redistributable,
    )


def _named(data: ImageDataset, row: int, labels: Sequence[int] | None) -> str:
    return data.ids[row] if labels is None else f"{labels[row]} ({data.ids[row]})"


def user_ends(paths: Sequence[Path], opened_runs: OpenedRuns, say: Say) -> Ends:
    """Pair a user's images, two by two."""
    images, names = load_user_images(paths, opened_runs.data.image_shape, say)
    if len(names) % 2:
        raise UserError(f"an odd number of images ({len(names)}) makes no pairs: give two, or four, …")
    pairs = [(names[row], names[row + 1]) for row in range(0, len(names), 2)]
    return Ends(names=pairs, images=images.unflatten(0, (-1, 2)), own=True)


def prior_ends(count: int) -> Ends:
    """Number draws from the prior."""
    return Ends(names=[(f"prior draw {2 * row + 1}", f"draw {2 * row + 2}") for row in range(count)])


def _latents(run: OpenedRun, ends: Ends, pair: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return both ends' latents, (1, d) each."""
    if ends.images is not None:
        means = run.context.encode(to_float(ends.images[pair]))
    else:
        means = torch.randn(2, run.latent_dim, generator=seeding.generator(seed, "prior ends", pair))
    return means[:1], means[1:]


def _reading(
    run: OpenedRun, made: Tensor, reads: FeatureSpace | None, labels: Tensor | None
) -> tuple[list[str], list[bool]]:
    """Name the class that each frame shows, and whether it is neither end's."""
    if reads is None:
        return [], []
    shown = run.context.features(reads, made).argmax(dim=1).tolist()
    expected = {shown[0], shown[-1]} if labels is None else set(labels.tolist())
    return [str(digit) for digit in shown], [digit not in expected for digit in shown]


def _strip(
    run: OpenedRun,
    pixels: Pixels,
    ends: Ends,
    pair: int,
    opened_runs: OpenedRuns,
    heading: str,
    words: Sequence[str],
    alarms: Sequence[bool],
) -> Strip:
    """Draw the frames, between the real ends if they may be shown."""
    if ends.images is None or not ends.shown:
        return Strip(label=run.label, pictures=pixels, heading=heading, words=words, alarms=alarms)
    real = to_pixels(ends.images[pair])
    around = np.concatenate([real[:1], pixels, real[1:]])
    words = ["", *words, ""] if words else []
    alarms = [False, *alarms, False] if words else []
    apart = (0, len(around) - 2)
    return Strip(label=run.label, pictures=around, heading=heading, words=words, alarms=alarms, apart=apart)


def _caption(opened_runs: OpenedRuns, ends: Ends, frames: int, reads: FeatureSpace | None) -> str:
    what = "posterior means of two images" if ends.images is not None else "two draws from the prior"
    said = f"Straight lines between {what}, decoded at {frames} equal steps; the same pairs for each model."
    if ends.images is not None and ends.shown:
        said += " Outside the gaps: the images themselves."
    elif ends.images is not None:
        said += " The images themselves may not be republished; both ends are reconstructions."
    if reads is not None:
        said += f" Under each frame the digit that {reads.network} sees; red: one that neither image is."
    return said


def _animate(sheets: Sequence[Pixels], runs: int, path: Path) -> None:
    """Animate the lines there and back, a row per pair, a column per run."""
    stacked = np.stack(sheets, axis=1)  # (frames, strips, h, w, c)
    there = [_enlarged(grid(frame, runs)) for frame in stacked]
    first, *rest = [*there, *there[-2:0:-1]]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=_FRAME_MILLISECONDS, loop=0)


def _enlarged(frame: Pixels) -> Image.Image:
    picture = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    return picture.resize((picture.width * _GIF_SCALE, picture.height * _GIF_SCALE))
