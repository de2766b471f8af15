"""Find copies and near-copies in a set of features, and let them count once in the error of a metric."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.core.metric import Score

NEAR = 0.01  # of the median distance between two images: what is nearer is a copy
_DIRECTIONS, _NEIGHBOURS, _PAIRS = 4, 2, 2_000


def copies(features: Tensor) -> Tensor | None:
    """Group rows that are copies or near-copies of one another.

    Rows are projected onto a few random directions, and those beside one another there are compared: copies lie beside
    one another whatever the direction. Time grows as n log n.

    Args:
        features: float (n, d), finite.

    Returns:
        The number of each row's group, int64 (n,) on the CPU, or None if no row has a copy.
    """
    n = len(features)
    if n < 3:
        return None
    rows = features.float()
    draw = seeding.generator(0, "copies")
    one, other = (torch.randint(n, (_PAIRS,), generator=draw).to(rows.device) for _ in range(2))
    apart = (rows[one] - rows[other]).norm(dim=1)[one != other]
    least = NEAR * float(apart.median()) if len(apart) else 0.0
    group = torch.arange(n)
    found = False
    for _ in range(_DIRECTIONS):
        direction = torch.randn(rows.shape[1], generator=draw).to(rows.device)
        order = (rows @ direction).argsort()
        for step in range(1, min(_NEIGHBOURS, n - 1) + 1):
            first, second = order[:-step], order[step:]
            near = (rows[first] - rows[second]).norm(dim=1) <= least
            for a, b in zip(first[near].tolist(), second[near].tolist(), strict=True):
                low, high = sorted((int(group[a]), int(group[b])))
                if low != high:
                    group[group == high] = low
                    found = True
    return group.unique(return_inverse=True)[1] if found else None


def copies_counted_once(features: Tensor, score_of: Callable[[Tensor], Score]) -> Score:
    """Take a score of all rows, with the error that their distinct ones give.

    A copy tells nothing new: with every image doubled, the error would otherwise shrink by the root of two, or by far
    more where it comes from leaving one image out.

    Args:
        features: float (n, d).
        score_of: takes a score of any number of rows.
    """
    whole, group = score_of(features), copies(features)
    if group is None or whole.per_image is None or whole.value is None:
        return whole
    n, sizes = len(features), torch.bincount(group)
    m = len(sizes)
    note = f"{n - m:,} of {n:,} images are copies or near-copies of others, and count once in the error"
    first = torch.full((m,), n).scatter_reduce(0, group, torch.arange(n), "amin")
    alone = None
    if m > 1:
        with contextlib.suppress(UserError):  # too few distinct images for this metric
            alone = score_of(features[first.to(features.device)])
    if alone is None or alone.per_image is None:
        return replace(whole, std_error=None, per_image=None, note="; ".join(filter(None, [whole.note, note])))
    deviations = (alone.per_image - alone.per_image.mean())[group]
    stretched = deviations * (n * (n - 1) / (m * (m - 1)) / sizes[group]).sqrt()
    found = Score.influenced(whole.value, stretched, whole.protocol, whole.ids)
    return replace(found, note="; ".join(filter(None, [whole.note, note])))
