"""Draw galleries of reconstructions and samples, box plots and histograms, as the MNIST article does."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaebench.core.files import write_atomic
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import REAL, title_of
from vaebench.report.analysis.measured import Mask, Measured, Subject
from vaebench.report.analysis.samples import Sample, samples_of
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
LETTER, LINE, IMAGE = 0.085, 0.16, 0.57  # inches of a letter, of a line and of an image in a row
CONTENTS = ("reconstructions", "samples")  # of galleries, that a report shows
SMALL = 32  # pixels a side of digits, against faces
GAP = 0.14  # between images, in widths of one


def draw_all(measured: Measured, folder: Path) -> dict[str, str]:
    """Draw what the measurements allow; file name -> caption."""
    captions: dict[str, str] = {}
    facts = measured.facts()
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # matplotlib's stub lists every key
        for kind, draw in (("reconstructions", _reconstruction_rows), ("samples", _sample_grids)):
            figure, caption = draw(measured)
            if figure is not None:
                save_figure(figure, folder / f"{kind}.png")
                captions[f"{kind}.png"] = caption
        for series in sorted({series for known in measured.values.values() for series in known}):
            called = facts[series.metric, series.protocol].distribution
            if called and series.stratum == "all":
                captions |= _distributions(measured, series, called, folder)
    return captions


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, atomically."""
    # no date and no version of matplotlib in the file: the same numbers give the same bytes
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", metadata={"Software": None}))


def first_seeds(galleries: Mapping[Subject, Mapping[str, Pixels]], content: str) -> list[tuple[Subject, Pixels]]:
    """Return one gallery a recipe: that of its first seed, the real images first."""
    chosen: dict[str, tuple[Subject, Pixels]] = {}
    for subject in sorted(galleries, key=lambda pair: (pair[0] != REAL, order_of(pair[0]), pair[1] or 0)):
        if content in galleries[subject]:
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
    rows = first_seeds(measured.galleries, "reconstructions")
    if all(subject[0] == REAL for subject, _ in rows):
        return None, ""
    columns = max(len(images) for _, images in rows)
    labels = [_label(subject).replace("[", "\n[").replace(",", ",\n") for subject, _ in rows]
    # names with settings take room
    longest = max(len(line) for label in labels for line in label.split("\n"))
    tallest = max(label.count("\n") + 1 for label in labels)
    left, across, down = LETTER * longest, IMAGE * columns * (1 + GAP), max(0.66, LINE * tallest)
    width, height = left + across, down * len(rows)
    figure = Figure(figsize=(width, height))
    # one picture a row, placed by hand: axes for each image, and a layout that is solved, took half of a report's time
    for place, (label, (_, images)) in enumerate(zip(labels, rows, strict=True), 1):
        box = (left / width, 1 - (place - 0.06) * down / height, across / width, 0.88 * down / height)
        axes = figure.add_axes(box, anchor="W", xticks=[], yticks=[])
        _show(axes, _side_by_side(images, columns))
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
    if rows[0][0][0] == REAL:
        return figure, "Test images (first row) and their reconstructions from the posterior mean, one row a recipe."
    return figure, (
        "Reconstructions of test images from the posterior mean, one row a recipe. The images themselves may not be "
        "republished; `reconstructions.png` of each run has them above."
    )


def _side_by_side(images: Pixels, columns: int) -> Pixels:
    """Lay images (n, h, w, c) beside each other in one (h, width, c), white between them and where one is wanting."""
    count, height, width, channels = images.shape
    gap = max(1, round(GAP * width))
    row = np.full((height, columns * (width + gap), channels), 255, np.uint8)
    row.reshape(height, columns, width + gap, channels)[:, :count, :width] = images.transpose(1, 0, 2, 3)
    return row[:, :-gap]


def _sample_grids(measured: Measured) -> tuple[Figure | None, str]:
    grids = shown_images(measured.galleries, "samples")
    if not grids:
        return None, ""
    side = grids[0][1].shape[1]
    columns, lines = sample_grid(side)
    across = min(len(grids), 4 if side <= SMALL else 2)
    size = (3.2, 2.2) if side <= SMALL else (5.2, 2.9)
    down = math.ceil(len(grids) / across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
    places = figure.subplots(down, across, squeeze=False)
    for axes, (subject, shown) in zip(places.flat, grids, strict=False):
        height, width = shown.shape[1:3]
        blank = np.zeros((columns * lines - len(shown), *shown.shape[1:]), np.uint8)
        tiled = np.concatenate([shown, blank]).reshape(lines, columns, height, width, -1)
        _show(axes, tiled.transpose(0, 2, 1, 3, 4).reshape(lines * height, columns * width, -1))
        axes.set_title(_label(subject).replace("\n", ", ").replace("[", "\n["))
    for axes in places.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in places.flat[len(grids) :]:
        axes.set_axis_off()
    return figure, "Samples: images decoded from draws of the prior, the same draws for recipes of as many latents."


def _show(axes: Axes, image: Pixels) -> None:
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
    for spine in axes.spines.values():
        spine.set_visible(False)


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
