"""Test two recipes' values of one metric, and mirror the tests for metrics with a target."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vaebench import statistics
from vaebench.report.analysis.samples import Sample
from vaebench.statistics import Comparison

# the first of them that a pair has decides: training seeds speak of the recipe, images of these checkpoints
DECISIVE = ("nested-t", "clustered-t", "paired-t", "welch-t-images")


@dataclass(frozen=True, slots=True)
class Tested:
    """A test of ``a - b``, and for target metrics the same test of ``a + b - 2 * real``."""

    a: str
    b: str
    seeds: int
    difference: Comparison
    mirror: Comparison | None


def tests_of(a: Sample, b: Sample, real: Sample | None) -> Iterator[Tested]:
    """Run the tests over images (values averaged over seeds), then over training seeds and images if there are enough
    seeds.

    ``real`` is the target, where nearness to it counts and neither side is it.
    """
    seeds = min((len(group.values) for group in (a, b) if not group.fixed), default=0)
    for tests in (_image_tests, _rank_tests, _nested):
        for test in tests(a, b):
            mirror = None if real is None else _mirror(test, a, b, real)
            yield Tested(a.name, b.name, seeds, test, mirror)


def same_images(a: Sample, b: Sample) -> bool:
    """Tell whether row i of both belongs to the same image."""
    return a.ids == b.ids and len(a.ids) > 1


def independent(a: Sample, b: Sample) -> bool:
    """Tell whether the two have no image in common, and enough images."""
    return not set(a.ids) & set(b.ids) and min(len(a.ids), len(b.ids)) > 1


def _image_tests(a: Sample, b: Sample) -> Iterator[Comparison]:
    """Test these checkpoints: means over seeds, image by image."""
    mean_a, mean_b = a.values.mean(axis=0), b.values.mean(axis=0)
    if same_images(a, b) and a.clusters is not None:
        found = statistics.nested_t(mean_a[None], mean_b[None], shared=True, clusters=a.clusters)
        yield replace(found, test="clustered-t")
    elif same_images(a, b):
        yield statistics.paired_t(mean_a, mean_b)
    elif independent(a, b):
        yield replace(statistics.welch_t(mean_a, mean_b), test="welch-t-images")


def _rank_tests(a: Sample, b: Sample) -> Iterator[Comparison]:
    """Test by ranks which side tends to be larger, image by image.

    What images contribute to a value of all has no such meaning; images of one person are not as many as they seem.
    """
    if a.influence or b.influence or (same_images(a, b) and a.clusters is not None):
        return
    mean_a, mean_b = a.values.mean(axis=0), b.values.mean(axis=0)
    if same_images(a, b):
        yield statistics.mcnemar(mean_a, mean_b) if _binary(mean_a, mean_b) else statistics.wilcoxon(mean_a, mean_b)
    elif independent(a, b):
        yield statistics.mann_whitney(mean_a, mean_b)


def _binary(*sides: statistics.Vector) -> bool:
    return all(bool(np.isin(side, (0, 1)).all()) for side in sides)


def _nested(a: Sample, b: Sample) -> Iterator[Comparison]:
    """Test over seeds and images; skipped if the image sets overlap only partly, or if values that are one a run do not
    vary.

    A single value of images made elsewhere, without its error, is nothing to test against.
    """
    shared = same_images(a, b)
    if (not a.ids and a.fixed) or (not b.ids and b.fixed):
        return
    if (a.ids or b.ids) and not (shared or independent(a, b)):
        return
    least = min((len(group.values) for group in (a, b) if not group.fixed), default=0)
    spread = any(np.ptp(group.values.mean(axis=1)) > 0 for group in (a, b))
    if least >= 2 and spread:
        yield statistics.nested_t(a.values, b.values, shared=shared, clusters=a.clusters if shared else None)


def _mirror(test: Comparison, a: Sample, b: Sample, real: Sample) -> Comparison | None:
    """Run the same test of ``a + b - 2 * real``; ``None`` if the real images' values do not allow it."""
    shared = same_images(a, b)
    if shared and a.ids != real.ids:
        return None
    if test.test in ("paired-t", "wilcoxon", "mcnemar"):
        mirrored = 2 * real.values.mean(axis=0) - b.values.mean(axis=0)
        against = statistics.paired_t if test.test == "paired-t" else statistics.wilcoxon
        return against(a.values.mean(axis=0), mirrored)
    if test.test == "mann-whitney":
        return None  # the real images' own spread has no place in it
    sides = [group.values for group in (a, b, real)]
    if test.test in ("clustered-t", "welch-t-images"):
        sides = [side.mean(axis=0, keepdims=True) for side in sides]
    found = statistics.combination(sides, (1, 1, -2), shared=shared, clusters=a.clusters if shared else None)
    return statistics.comparison_of(test.test, found, n=test.n)
