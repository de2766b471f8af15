"""The figure of growth.py, which may be drawn anew from its table:

    python benchmarks/speed/growth_figure.py FOLDER/growth.csv [--machine TEXT]

Seconds and peak memory of training and of evaluation against the number of images and against their side, on
logarithmic axes; the legend has the slope of each line, fitted by least squares to the logarithms.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from vaebench.core.files import write_atomic

KINDS = ("training", "evaluation")
SECONDS = {"training": "an epoch of training", "evaluation": "an evaluation"}
COLOURS = {"training": "#0072B2", "evaluation": "#D55E00"}  # of Okabe and Ito's palette, as the reports' figures
MARKERS = {"training": "o", "evaluation": "s"}
GREY = "#777777"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "savefig.dpi": 170,
}


class Point(NamedTuple):
    """One measurement: a line of the table."""

    kind: str
    images: int
    side: int
    seconds: float
    mebibytes: float
    how: str

    def line(self) -> str:
        """For people."""
        size = f"{self.side} x {self.side}"
        return f"{self.kind:10} {self.images:8,} {size:>9} {self.seconds:9.2f} {self.mebibytes:9.0f}   {self.how}"


def read(path: Path) -> list[Point]:
    """The table."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Point(
                row["kind"],
                int(row["images"]),
                int(row["side"]),
                float(row["seconds"]),
                float(row["mebibytes"]),
                row["how"],
            )
            for row in csv.DictReader(lines)
        ]


def by_number(found: Sequence[Point]) -> list[Point]:
    """Those at the image size that has most numbers of images."""
    sides = [point.side for point in found]
    usual = max(set(sides), key=sides.count)
    return list({(point.kind, point.images): point for point in found if point.side == usual}.values())


def by_side(found: Sequence[Point]) -> list[Point]:
    """Those at the number of images that has most sizes of them."""
    many = {n: len({point.side for point in found if point.images == n}) for n in {point.images for point in found}}
    fixed = max(many, key=lambda n: many[n])
    return list({(point.kind, point.side): point for point in found if point.images == fixed}.values())


def slope(across: Sequence[float], up: Sequence[float]) -> float:
    """Of the straight line through the logarithms; not a number for a single point."""
    return float(np.polyfit(np.log(across), np.log(up), 1)[0]) if len(set(across)) > 1 else float("nan")


def slopes(found: Sequence[Point]) -> str:
    """Of seconds, in words."""
    said = []
    for what, part, attribute in (("images", by_number(found), "images"), ("side", by_side(found), "side")):
        for kind in KINDS:
            line = sorted((getattr(point, attribute), point.seconds) for point in part if point.kind == kind)
            if len(line) > 1:
                said.append(f"{kind} as {what}^{slope(*zip(*line, strict=True)):.2f}")
    return f"seconds grow: {', '.join(said)}"


def draw(found: Sequence[Point], path: Path, machine: str = "") -> None:
    """The figure, as PNG."""
    number, side = by_number(found), by_side(found)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 7.0), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.09, w_pad=0.09, hspace=0.03, wspace=0.03)
        grid = figure.subplots(2, 2, sharex="col")
        for row, attribute in enumerate(("seconds", "mebibytes")):
            _panel(grid[row][0], number, "images", attribute)
            _panel(grid[row][1], side, "side", attribute)
        grid[0][0].set_title(f"More images, each {number[0].side} x {number[0].side} pixels")
        grid[0][1].set_title(f"Larger images, {side[0].images:,} of them")
        grid[1][0].set_xlabel("number of images (k: thousand)")
        grid[1][1].set_xlabel("side of the images (pixels)")
        for axes in grid[0]:
            axes.set_ylabel("time (seconds)")
        for axes in grid[1]:
            axes.set_ylabel("peak memory (MiB)")
        if machine:
            figure.supxlabel(machine, fontsize=8, color=GREY)
        write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", metadata={"Software": None}))


def _panel(axes: Axes, found: Sequence[Point], across: str, up: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for kind in KINDS:
        line = sorted((getattr(point, across), getattr(point, up)) for point in found if point.kind == kind)
        if line:
            x, y = zip(*line, strict=True)
            called = SECONDS[kind] if up == "seconds" else kind
            label = f"{called}, slope {slope(x, y):.2f}" if len(line) > 1 else called
            axes.plot(x, y, color=COLOURS[kind], marker=MARKERS[kind], markersize=5, linewidth=1.6, label=label)
    if up == "mebibytes":
        line = sorted({(getattr(point, across), 3 * point.images * point.side**2 / 2**20) for point in found})
        axes.plot(*zip(*line, strict=True), color=GREY, linestyle=(0, (4, 3)), linewidth=1.1, label="the images alone")
    ticks = sorted({getattr(point, across) for point in found})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, loc="upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.28)  # room for the legend above the lines


def _short(value: float) -> str:
    """Six numbers of images beside each other leave no room for their noughts."""
    return f"{value / 1000:g}k" if value >= 1000 and value % 500 == 0 else f"{value:,.0f}"


def main() -> None:
    """Draw from the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--machine", default="", help="shown below")
    given = parser.parse_args()
    draw(read(given.table), given.table.with_suffix(".png"), given.machine)


if __name__ == "__main__":
    main()
