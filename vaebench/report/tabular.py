"""Return measurements as tables for Python: what a notebook shows is what the terminal shows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vaebench.core.subjects import is_baseline, is_real, title_of
from vaebench.report.analysis import comparisons, leaderboard
from vaebench.report.analysis.formatting import HIDDEN, to_text
from vaebench.report.analysis.measured import Measured, all_folders, collect
from vaebench.report.markdown import main_table


@dataclass(frozen=True)
class Results:
    """What was measured on one dataset's first split: of the named recipes, or of all.

    Attributes:
        dataset: its name.
        measured: results, per-image values and records.
        rows: the leaderboard, a row a recipe, metric, protocol and stratum.
    """

    dataset: str
    measured: Measured
    rows: Sequence[leaderboard.Row]

    @cached_property
    def table(self) -> pd.DataFrame:
        """The leaderboard over all images, with the columns of ``leaderboard.csv``."""
        return as_frame([row for row in self.rows if row.stratum == "all"])

    @cached_property
    def per_image(self) -> pd.DataFrame:
        """Values image by image: recipe, seed, metric, protocol, image, value."""
        names = {row.recipe for row in self.rows}
        parts = [
            pd.DataFrame(
                {
                    "recipe": recipe,
                    "seed": seed,
                    "metric": series.metric,
                    "protocol": series.protocol,
                    "image": list(content.ids),
                    "value": content.values,
                }
            )
            for (recipe, seed), known in self.measured.values.items()
            for series, content in known.items()
            if recipe in names and series.stratum == "all" and not content.influence
        ]
        columns = ["recipe", "seed", "metric", "protocol", "image", "value"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def plot(self) -> Figure:
        """Draw each metric's values with their intervals, a panel a metric and protocol; returns the figure."""
        cells: dict[tuple[str, str], list[leaderboard.Row]] = {}
        for row in self.rows:
            if row.stratum == "all" and row.value is not None and not is_baseline(row.recipe):
                cells.setdefault((row.metric, row.protocol), []).append(row)
        cells = {key: rows for key, rows in cells.items() if any(not is_real(row.recipe) for row in rows)}
        ratios = [0.7 + 0.28 * len(rows) for rows in cells.values()]
        figure = Figure(figsize=(6.5, max(1.0, sum(ratios))), layout="constrained")
        places = figure.subplots(max(1, len(cells)), 1, squeeze=False, height_ratios=ratios or None)
        for axes, ((metric, protocol), rows) in zip(places.flat, cells.items(), strict=False):
            _panel(axes, rows)
            axes.set_title(f"{metric} ({protocol}), {rows[0].unit}", fontsize=9, loc="left")
        return figure

    def __str__(self) -> str:
        """Return the table as the terminal shows it."""
        return "\n".join(to_text(*main_table(self.measured, self.rows)))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        head, body = main_table(self.measured, self.rows)
        heads = "".join(f"<th>{escape(name)}</th>" for name in head)
        lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        title = f"{escape(self.dataset)}: value ± half of its 95 % interval (rank)"
        return f"<table><caption>{title}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _panel(axes: Any, rows: Sequence[leaderboard.Row]) -> None:
    for place, row in enumerate(reversed(rows)):
        assert row.value is not None
        low, high = (row.value if end is None else end for end in (row.ci_low, row.ci_high))
        colour = "0.5" if is_real(row.recipe) else "C0"
        axes.plot([low, high], [place, place], color=colour)
        axes.plot([row.value], [place], "D" if is_real(row.recipe) else "o", color=colour)
    axes.set_yticks(range(len(rows)), [title_of(row.recipe) for row in reversed(rows)], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)


def as_frame(rows: Iterable[Any]) -> pd.DataFrame:
    """Convert rows, dataclasses alike, to a data frame; fields that are no columns of their CSV are left out."""
    rows = list(rows)
    if not rows:
        return pd.DataFrame()
    shown = [field.name for field in fields(rows[0]) if field.metadata != HIDDEN]
    return pd.DataFrame([{name: value for name, value in asdict(row).items() if name in shown} for row in rows])


def results_of(dataset: str, names: Sequence[str] = ()) -> Results:
    """Collect what was measured on the first split of a dataset, with the tests behind the ranks.

    Args:
        dataset: its name.
        names: recipes to keep, beside the real images; all by default. Ranks are among all.

    Raises:
        UserError: nothing was measured on it.
    """
    (measured, *_) = collect(dataset, all_folders()).parts()
    rows = leaderboard.leaderboard(measured, comparisons.all_pairs(measured))
    kept = [row for row in rows if not names or row.recipe in names or is_real(row.recipe)]
    return Results(dataset, measured, kept)
