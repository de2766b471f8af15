"""Draw attribute accuracy on displaced faces: as they come, and realigned by their eyes."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from vaebench.core.setting_names import order_of
from vaebench.report.analysis import latent_space
from vaebench.report.figures.galleries import COLOURS, STYLE

FILE = "shift.png"
MAJORITY = "majority class"
CAPTION = (
    "Mean attribute accuracy of linear SVMs on latents of test faces that were moved, scaled or turned: as they come "
    "(filled), and put back by their eyes (open; where no eyes are found the face stays as it is); bars are 95 % "
    "intervals, the dotted line is always naming the majority class."
)


def shift_figure(studied: Sequence[latent_space.Row]) -> Figure | None:
    """Draw a point a model and condition; nothing if accuracies on displaced faces were not measured."""
    rows = [row for row in studied if row.metric == "shift_accuracy" and row.value is not None]
    guessed = next((row.value for row in rows if row.condition == MAJORITY), None)
    rows = [row for row in rows if row.condition not in (latent_space.MEAN, MAJORITY)]
    if not rows:
        return None
    conditions = sorted({row.condition for row in rows}, key=latent_space.natural)
    models = sorted({row.recipe for row in rows}, key=order_of)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # matplotlib's stub lists every key
        figure = Figure(figsize=(7.5, 3.0), layout="constrained")
        axes = figure.subplots()
        for row in rows:
            plain = row.protocol.startswith("plain")
            place = models.index(row.recipe) - (len(models) - 1) / 2
            x = conditions.index(row.condition) + place * 0.8 / len(models) + (-0.05 if plain else 0.05)
            colour = COLOURS[models.index(row.recipe) % len(COLOURS)]
            value = row.value or 0.0
            error = None if row.ci_low is None else [[value - row.ci_low], [(row.ci_high or value) - value]]
            label = row.recipe if plain and row.condition == conditions[0] else None
            face = colour if plain else "white"
            axes.errorbar(x, value, error, fmt="o", ms=4, lw=1, color=colour, mfc=face, label=label)
        if guessed is not None:
            axes.axhline(guessed, color="grey", lw=1, ls=":", label="majority class")
        axes.set_xticks(range(len(conditions)), conditions)
        axes.set_ylabel("mean accuracy")
        axes.legend(frameon=False, ncols=len(models) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure
