"""Draw learning curves: every loss term of every recipe over its training, all seeds as thin lines."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaebench.core.setting_names import order_of
from vaebench.report.analysis.measured import Measured
from vaebench.report.figures.galleries import COLOURS, STYLE
from vaebench.report.figures.saving import save_figure
from vaebench.runs.history import Progress, read
from vaebench.runs.record import RunFolder

FILE = "learning_curves.png"
CAPTION = (
    "Learning curves: each term of each recipe's losses as the trainer logged it (means over the steps since the last "
    "row), one thin line a training seed. Vertical axes hold what follows the first twentieth of the training: what "
    "lies outside is cut off. Terms of different recipes share no scale."
)
_ACROSS = 5  # panels beside each other
_SETTLED = 0.05  # share of the training after which values count for the vertical axis

Histories = Mapping[int, Sequence[Progress]]  # seed -> rows


def draw_curves(measured: Measured, folder: Path) -> dict[str, str]:
    """Draw ``learning_curves.png`` where a run kept its history; file name -> caption."""
    histories = read_histories(measured)
    if not histories:
        return {}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # matplotlib's stub lists every key
        save_figure(_figure(histories), folder / FILE)
    return {FILE: CAPTION}


def read_histories(measured: Measured) -> dict[str, dict[int, list[Progress]]]:
    """Read ``history.csv`` of the runs that were measured and kept one: recipe -> seed -> rows."""
    found: dict[str, dict[int, list[Progress]]] = {}
    present = {(line.recipe, line.seed) for line in measured.results}
    runs = [(name, number) for name, number in present if number is not None]
    for recipe, seed in sorted(runs, key=lambda run: (order_of(run[0]), run[1])):
        path = measured.folders.get((recipe, seed))
        rows = read(RunFolder(path).history) if path is not None else []  # whole: collect has read it before
        if any(row.terms for row in rows):  # phases that return no terms have no curves
            found.setdefault(recipe, {})[seed] = rows
    return found


def _terms(histories: Histories) -> list[str]:
    rows = [row for seed in sorted(histories) for row in histories[seed]]
    return list(dict.fromkeys(name for row in rows for name in row.terms))


def _figure(histories: Mapping[str, Histories]) -> Figure:
    """Draw one figure: a recipe begins a line of its own; each panel is a term."""
    wanted = {recipe: _terms(seeds) for recipe, seeds in histories.items()}
    across = min(_ACROSS, max(len(terms) for terms in wanted.values()))
    deep = {recipe: math.ceil(len(terms) / across) for recipe, terms in wanted.items()}
    figure = Figure(figsize=(2.2 * across, sum(1.45 * lines + 0.35 for lines in deep.values())), layout="constrained")
    blocks = figure.subfigures(len(deep), 1, height_ratios=[1.45 * n + 0.35 for n in deep.values()], squeeze=False)
    for block, (recipe, terms) in zip(blocks[:, 0], wanted.items(), strict=True):
        plain = recipe.replace("$", r"\$")  # matplotlib sets what stands between dollars as mathematics
        block.suptitle(plain, x=0.01, ha="left", fontweight="bold")
        places = block.subplots(deep[recipe], across, squeeze=False)
        for axes in places.flat[len(terms) :]:
            axes.set_axis_off()
        for axes, term in zip(places.flat, terms, strict=False):
            _panel(axes, term, histories[recipe])
    return figure


def _panel(axes: Axes, term: str, seeds: Histories) -> None:
    settled: list[float] = []
    for position, seed in enumerate(sorted(seeds)):
        rows = [row for row in seeds[seed] if term in row.terms]
        axes.plot(
            [row.step for row in rows],
            [row.terms[term] for row in rows],
            color=COLOURS[position % len(COLOURS)],
            linewidth=0.7,
            label=f"seed {seed}",
        )
        settled += [row.terms[term] for row in rows if row.step > _SETTLED * row.steps]
    axes.set_title(term.replace("$", r"\$"), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3))
    axes.xaxis.set_major_formatter(mpl.ticker.EngFormatter(sep=""))
    finite = np.array(settled)[np.isfinite(settled)] if settled else np.array([])
    if len(finite):
        low, high = (float(end) for end in np.quantile(finite, (0.002, 0.998)))
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - room, high + room)
