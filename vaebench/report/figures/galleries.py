"""Draw galleries of reconstructions and samples, box plots and histograms, as the MNIST article does."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaebench.core.setting_names import order_of
from vaebench.core.subjects import REAL, title_of
from vaebench.report.analysis.measured import Mask, Measured, Subject
from vaebench.report.analysis.samples import Sample, samples_of
from vaebench.report.figures.image_sheet import Strip, image_sheet
from vaebench.report.figures.saving import save_figure
from vaebench.runs.galleries import Pixels
from vaebench.runs.per_image import Series

# Okabe and Ito's palette: told apart by colour-blind readers too; the real images are black
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
STYLE: Mapping[str, object] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "vaebench",
}
CONTENTS = ("reconstructions", "samples")  # of galleries, that a report shows
SMALL = 32  # pixels a side of digits, against faces
LARGE = 128  # pixels a side, above which images are shown reduced


def draw_all(measured: Measured, folder: Path) -> dict[str, str]:
    """Draw what the measurements allow; file name -> caption."""
    captions: dict[str, str] = {}
    facts = measured.facts()
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # matplotlib's stub lists every key
        for kind, draw in (("reconstructions", _reconstruction_rows), ("samples", _sample_grids)):
            figure, caption = draw(measured)
            if figure is not None:
                save_figure(figure, folder / f"{kind}.png", figure.dpi)
                captions[f"{kind}.png"] = caption
        for series in sorted({series for known in measured.values.values() for series in known}):
            called = facts[series.metric, series.protocol].distribution
            if called and series.stratum == "all":
                captions |= _distributions(measured, series, called, folder)
    return captions


def first_seeds(galleries: Mapping[Subject, Mapping[str, Pixels]], content: str) -> list[tuple[Subject, Pixels]]:
    """Return one gallery a recipe: that of its first seed, the real images first."""
    chosen: dict[str, tuple[Subject, Pixels]] = {}
    for subject in sorted(galleries, key=lambda pair: (pair[0] != REAL, order_of(pair[0]), pair[1] or 0)):
        if len(galleries[subject].get(content, ())):
            chosen.setdefault(subject[0], (subject, galleries[subject][content]))
    return list(chosen.values())


def shown_images(galleries: Mapping[Subject, Mapping[str, Pixels]], content: str) -> list[tuple[Subject, Pixels]]:
    """Return of :func:`first_seeds` the images that a report shows."""
    found = first_seeds(galleries, content)
    if content != "samples":
        return found
    return [(subject, images[: math.prod(sample_grid(images.shape[1]))]) for subject, images in found]


def sample_grid(side: int) -> tuple[int, int]:
    """Return columns and lines of a grid of samples; faces need room."""
    return (10, 6) if side <= SMALL else (8, 4)


def _label(subject: Subject) -> str:
    recipe, seed = subject
    return "original" if recipe == REAL else recipe + ("" if seed is None else f"\nseed {seed}")


def _reconstruction_rows(measured: Measured) -> tuple[Figure | None, str]:
    rows = shown_images(measured.galleries, "reconstructions")
    if all(subject[0] == REAL for subject, _ in rows):
        return None, ""
    # names with settings take room
    labels = [_label(subject).replace("[", "\n[").replace(",", ",\n") for subject, _ in rows]
    strips = [Strip(label=label, pictures=_reduced(images)) for label, (_, images) in zip(labels, rows, strict=True)]
    figure = image_sheet(strips)
    if rows[0][0][0] == REAL:
        return figure, "Test images (first row) and their reconstructions from the posterior mean, one row a recipe."
    return figure, (
        "Reconstructions of test images from the posterior mean, one row a recipe. The images themselves may not be "
        "republished; `reconstructions.png` of each run has them above."
    )


def _sample_grids(measured: Measured) -> tuple[Figure | None, str]:
    grids = shown_images(measured.galleries, "samples")
    if not grids:
        return None, ""
    strips = []
    for subject, images in grids:
        columns, _ = sample_grid(images.shape[1])
        for first in range(0, len(images), columns):
            heading = _label(subject).replace("\n", ", ") if first == 0 else ""
            strips.append(Strip(label="", heading=heading, pictures=_reduced(images[first : first + columns])))
    figure = image_sheet(strips, stacks=2)
    return figure, "Samples: images decoded from draws of the prior, the same draws for recipes of as many latents."


def _reduced(images: Pixels) -> Pixels:
    """Reduce images (n, h, w, c) larger than :data:`LARGE` by a whole number: each pixel is the mean of a square."""
    factor = -(-max(images.shape[1:3]) // LARGE)
    if factor == 1:
        return images
    count, height, width, channels = images.shape
    squares = images[:, : height // factor * factor, : width // factor * factor]
    split = squares.reshape(count, height // factor, factor, width // factor, factor, channels)
    reduced: Pixels = split.mean(axis=(2, 4)).round().astype(np.uint8)
    return reduced


def _distributions(measured: Measured, series: Series, called: str, folder: Path) -> dict[str, str]:
    """Draw box plots per class if there are labels, and histograms of each stratum worth a picture."""
    every = samples_of(measured, series)
    groups = [group for group in every if group.ids == every[0].ids]  # the real images stand first
    captions: dict[str, str] = {}
    labels = measured.labels.get(series.data_fingerprint, {}).get("label")
    if labels is not None and len(labels) == len(every[0].ids):
        file = f"{series.metric}_per_class.png"
        save_figure(_boxes(groups, np.array(labels), called), folder / file)
        captions[file] = (
            f"{called} of the originals and of each recipe's reconstructions by class (mean over seeds); "
            "boxes are quartiles, whiskers 1.5 interquartile ranges, outliers left out."
        )
    cuts = measured.strata.get(series.data_fingerprint, {})
    cuts = {name: mask for name, mask in cuts.items() if len(mask) == len(every[0].ids)}
    wanted = [name for name in cuts if name in ("label!=1", "label=1")]
    for name in wanted or ["all"]:
        mask = cuts.get(name)
        file = f"{series.metric}_histogram_{name.replace('!=', '_not_').replace('=', '_')}.png"
        save_figure(_histogram(groups, mask, name, called), folder / file)
        captions[file] = f"{called} of originals and reconstructions, {name} (mean over seeds)."
    return captions


def _colour(position: int, group: Sample) -> str:
    return "black" if group.name == REAL else COLOURS[(position - 1) % len(COLOURS)]


def _boxes(groups: Sequence[Sample], labels: NDArray[np.int64], called: str) -> Figure:
    classes = sorted(set(labels.tolist()))
    across = min(len(groups), 4)
    down = math.ceil(len(groups) / across)
    figure = Figure(figsize=(2.9 * across, 2.8 * down), layout="constrained")
    places = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes in places.flat[len(groups) :]:
        axes.set_axis_off()
    for axes, group in zip(places.flat, groups, strict=False):
        means = group.values.mean(axis=0)
        axes.boxplot([means[labels == label] for label in classes], tick_labels=classes, showfliers=False)
        axes.set_title(title_of(group.name))
        axes.set_xlabel("class")
    figure.axes[0].set_ylabel(called)
    return figure


def _histogram(groups: Sequence[Sample], mask: Mask | None, stratum: str, called: str) -> Figure:
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axes = figure.subplots()
    cut = [(group, group.on(mask).values.mean(axis=0)) for group in groups]
    low = min(float(values.min()) for _, values in cut)
    high = max(float(np.quantile(values, 0.999)) for _, values in cut)
    bins = np.linspace(low, high, min(80, 2 + math.isqrt(len(cut[0][1])))).tolist()
    for position, (group, values) in enumerate(cut):
        colour = _colour(position, group)
        axes.hist(values, bins=bins, histtype="stepfilled", alpha=0.25, color=colour)
        axes.hist(values, bins=bins, histtype="step", linewidth=1.3, color=colour, label=title_of(group.name))
    axes.set_xlabel(called)
    axes.set_ylabel("images")
    axes.set_title(stratum)
    axes.legend(frameon=False)
    return figure
