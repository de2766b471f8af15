"""Correlations of attribute directions in latent space, beside those of the labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaebench.core.errors import UserError
from vaebench.metrics.probes.attribute_vectors import EXAMPLES
from vaebench.runs.study_figures import StudyFigure
from vaebench.studies.attributes import direction, usual_attributes
from vaebench.studies.correlation import clustered_order, correlations, heat_map, label_correlations, mantel
from vaebench.studies.opened_runs import OpenedRuns, Say
from vaebench.studies.save import keep, matrix_csv

# Hou et al. 2017, section 4.3.3, "selected 13 of 40 attributes" and shows them in a figure. Nine its text names; the
# last four, which only the figure could tell, are chosen here.
THIRTEEN = (
    *("Attractive", "Heavy_Makeup", "Male", "Gray_Hair", "Bald", "Eyeglasses", "Young", "Smiling", "Pale_Skin"),
    *("Black_Hair", "Blond_Hair", "Mustache", "Wearing_Hat"),
)
PERMUTATIONS = 9_999


def correlate(
    opened_runs: OpenedRuns,
    wanted: Sequence[str],
    *,
    every: bool = False,
    examples: int = EXAMPLES,
    seed: int = 0,
    say: Say,
) -> tuple[StudyFigure, Path]:
    """Draw the correlations of attribute directions of every run and of the labels, and say how alike they are."""
    if every and wanted:
        raise UserError("--all takes every attribute: leave --attributes away")
    training = opened_runs.split.split("train")
    names = usual_attributes(training, training.attribute_names if every else wanted, THIRTEEN)
    assert training.attributes is not None
    columns = [list(training.attribute_names).index(name) for name in names]
    labels = label_correlations(training.attributes[:, columns].numpy())
    matrices = []
    for run in opened_runs.runs:
        told = say if run is opened_runs.runs[0] else None  # the images are the same for all
        vectors = np.stack([direction(run, training, name, examples, seed, told).direction.numpy() for name in names])
        matrices.append((run.name, correlations(vectors, names=names)))
    order = clustered_order(matrices[0][1])
    shown = [*matrices, (f"labels of {len(training):,} images", labels)]
    lines = []
    for title, matrix in matrices:
        found = mantel(matrix, labels, PERMUTATIONS, seed)
        lines.append(f"{title}: follows the labels with r = {found.r:.3f} (Mantel's test, p = {found.p:.4f})")
    caption = (
        "Correlations of attributes' directions in latent space (Pearson over the latent dimensions, up to "
        f"{examples:,} training images with and without each) and of the labels themselves; the area of a circle is "
        "the correlation's size, blue positive, red negative; ordered by hierarchical clustering of the first matrix. "
        + "; ".join(lines)
        + "."
    )
    ordered = [names[row] for row in order]
    table = matrix_csv(ordered, {title: matrix[np.ix_(order, order)].tolist() for title, matrix in shown})
    return keep(opened_runs, "correlate", caption, heat_map(shown, names, order), more={".csv": table})
