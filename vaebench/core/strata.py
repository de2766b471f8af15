"""Strata: named subsets of images that tables are split by."""

from collections.abc import Mapping, Sequence


def strata(labels: Mapping[str, Sequence[int]]) -> dict[str, list[bool]]:
    """Named subsets of the images by their label or attributes, beside ``all``.

    ``labels`` maps ``label`` to class numbers, or an attribute's name to 0/1. Class numbers give
    ``label=k`` for each class, and ``label!=1`` (the MNIST article's stratum: every digit but the 1,
    whose few edges make its Laplacian variance a population of its own); an attribute gives ``NAME=1``.
    """
    named: dict[str, list[bool]] = {}
    for column, values in labels.items():
        if column == "label":
            if 1 in values:
                named["label!=1"] = [value != 1 for value in values]
            for label in sorted(set(values)):
                named[f"label={label}"] = [value == label for value in values]
        else:
            named[f"{column}=1"] = [value == 1 for value in values]
    return named
