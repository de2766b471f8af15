"""Which attributes ``toyfaces`` have: as often, and as often together, as CelebA's annotators found.

A Gaussian copula: 40 normal variables of the measured latent correlations, each cut at its attribute's share.
Then what cannot be drawn together is parted (``RULES``).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vaebench.datasets.toyface.measure_attribute_statistics import AttributeStatistics, read_statistics

STATISTICS = Path(__file__).with_name("celeba_attribute_statistics.csv")
SEED = 7140
HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
# the first, where it is set, unsets the others
RULES = (
    # nothing on top to comb, cover or colour; grey stays: a bald head keeps its fringe and brows
    ("Bald", ("Bangs", "Straight_Hair", "Wavy_Hair", "Black_Hair", "Blond_Hair", "Brown_Hair", "Wearing_Hat")),
    # a fringe hides the hairline
    ("Bangs", ("Receding_Hairline",)),
)
# of these, the one that is set by the widest margin stays: a head has one colour and one texture of hair
ONE_OF = (HAIR_COLOURS, ("Straight_Hair", "Wavy_Hair"))
# what these rules take from the shares is put on before, so that the shares that are left are CelebA's
MADE_UP_FOR: Mapping[str, float] = {
    "Black_Hair": 1.12,
    "Blond_Hair": 1.18,
    "Brown_Hair": 1.185,
    "Gray_Hair": 1.205,
    "Straight_Hair": 1.055,
    "Wavy_Hair": 1.03,
    "Wearing_Hat": 1.04,
}


@cache
def statistics() -> AttributeStatistics:
    """CelebA's, as measured by ``measure_attribute_statistics`` and shipped."""
    return read_statistics(STATISTICS)


@cache
def attribute_names() -> tuple[str, ...]:
    """The 40 names in CelebA's order."""
    return statistics().names


@cache
def _copula() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the normal variables are cut, (40,), and the Cholesky factor of their correlations, (40, 40)."""
    shares = statistics().shares * [MADE_UP_FOR.get(name, 1.0) for name in attribute_names()]
    return ndtri(shares), np.linalg.cholesky(statistics().correlations).astype(np.float64)


def draw_attributes(indices: range) -> NDArray[np.bool_]:
    """Attributes of the images of these indices, bool, (n, 40); each row a function of its index alone."""
    uniform = np.stack([np.random.default_rng((SEED, index)).random(40) for index in indices])
    cuts, factor = _copula()
    return exclude(cuts - ndtri(uniform) @ factor.T)


def exclude(margins: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Attributes from margins, (n, 40), of which the positive ones are set, where rules allow it."""
    column = {name: position for position, name in enumerate(attribute_names())}
    has = margins > 0
    for names in ONE_OF:
        rivals = [column[name] for name in names]
        has[:, rivals] &= margins[:, rivals] == margins[:, rivals].max(1, keepdims=True)
    for winner, losers in RULES:
        has[:, [column[name] for name in losers]] &= ~has[:, [column[winner]]]
    return has
