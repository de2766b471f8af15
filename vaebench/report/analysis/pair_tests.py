"""Test two recipes' values of one metric, and mirror the tests for metrics with a target."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vaebench import statistics
from vaebench.report.analysis.samples import Sample
from vaebench.statistics import Comparison

# the first of them that a pair has decides: training seeds speak of the recipe, images of these checkpoints
DECISIVE = ("nested-t", "clustered-t", "paired-t", "welch-t-images")
OVER_SEEDS = ("nested-t",)
CHECKPOINTS = (
    "one training seed each: this checkpoint against that one, not recipe against recipe",
    "one training seed: the verdict is about this checkpoint, not its recipe",
)


@dataclass(frozen=True, slots=True)
class Tested:
    """A test of ``a - b``, and for target metrics the same test of ``a + b - 2 * real``.

    ``seeds`` are those of the side with fewer; ``note`` says what a reader must know of the test.
    """

    a: str
    b: str
    seeds: int
    difference: Comparison
    mirror: Comparison | None
    note: str = ""


def tests_of(a: Sample, b: Sample, real: Sample | None) -> Iterator[Tested]:
    """Run the tests over images (values averaged over seeds), then over training seeds and images if there are enough
    seeds.

    ``real`` is the target, where nearness to it counts and neither side is it.
    """
    seeds = min(_seeds(a, b), default=0)
    for tests in (_image_tests, _rank_tests, _nested):
        for test in tests(a, b):
            mirror = None if real is None else _mirror(test, a, b, real)
            yield Tested(a.name, b.name, seeds, test, mirror, _note(test, a, b))


def _seeds(a: Sample, b: Sample) -> list[int]:
    """List the numbers of training seeds of the sides that have any."""
    return [len(group.values) for group in (a, b) if not group.fixed]


def _note(test: Comparison, a: Sample, b: Sample) -> str:
    """Say what a test of few seeds speaks of."""
    seeds = _seeds(a, b)
    if test.test in OVER_SEEDS and len(seeds) == 2 and min(seeds) == 1:
        one, several = sorted((a, b), key=lambda group: len(group.values))
        return (
            f"{one.name} has one training seed: the training variance of {several.name} "
            f"({len(several.values)} seeds) is taken for both"
        )
    if seeds and max(seeds) == 1:
        return CHECKPOINTS[len(seeds) == 1]
    return ""


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
    """Test over seeds and images if a side has several seeds; one with a single seed takes the other's training
    variance.

    Skipped if the image sets overlap only partly, or if values that are one a run do not vary. A single value of images
    made elsewhere, without its error, is nothing to test against.
    """
    shared = same_images(a, b)
    if (not a.ids and a.fixed) or (not b.ids and b.fixed):
        return
    if (a.ids or b.ids) and not (shared or independent(a, b)):
        return
    spread = any(np.ptp(group.values.mean(axis=1)) > 0 for group in (a, b))
    if max(_seeds(a, b), default=0) >= 2 and (spread or a.ids):
        clusters = a.clusters if shared else None
        yield statistics.nested_t(a.values, b.values, shared=shared, clusters=clusters, fixed=(a.fixed, b.fixed))


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
    fixed = (a.fixed, b.fixed, True) if test.test in OVER_SEEDS else None
    clusters = a.clusters if shared else None
    found = statistics.combination(sides, (1, 1, -2), shared=shared, clusters=clusters, fixed=fixed)
    return statistics.comparison_of(test.test, found, n=test.n)
