"""Attribute vectors: the direction in latent space from images without an attribute to images with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean

EXAMPLES = 1_000  # images with an attribute, and without it, that its direction is taken from


SIX = ("Bald", "Black_Hair", "Eyeglasses", "Male", "Smiling", "Mustache")  # Hou et al. 2019, figure 5


FEWEST = 10  # of either kind, below which a mean says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeVector:
    """Direction (d,) float32 from images without an attribute to images with it, and the number of each."""

    name: str
    direction: Tensor
    with_it: int
    without_it: int


def attribute_vector(
    name: str,
    latents: Tensor,
    attributes: Tensor,
    names: Sequence[str],
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> AttributeVector:
    """Compute the mean latent of images with an attribute minus that of images without it.

    Hou et al. 2017, "Deep feature consistent variational autoencoder", section 4.3.2; 1,000 of each kind as in its
    replication, chosen at random from ``seed``, or all there are. ``latents`` (n, d), ``attributes`` bool (n, a) with
    their ``names``. Raises :class:`UserError` for an unknown name, and where fewer than 10 of either kind exist.
    """
    if examples < FEWEST:
        raise UserError(f"{examples} examples are too few for a direction: ask for {FEWEST} or more")
    has = attributes[:, position_of(name, names)]
    chosen = []
    for wanted, kind in ((has, "with"), (~has, "without")):
        rows = wanted.nonzero()[:, 0]
        if len(rows) < FEWEST:
            raise UserError(
                f"{name}: {len(rows)} images {kind} it, too few for a direction: choose another attribute or more data"
            )
        order = torch.randperm(len(rows), generator=seeding.generator(seed, f"attribute vector: {name}, {kind}"))
        chosen.append(rows[order[:examples]])
    first, second = (latents[rows].double().mean(dim=0) for rows in chosen)
    return AttributeVector(
        name=name, direction=(first - second).float(), with_it=len(chosen[0]), without_it=len(chosen[1])
    )


def position_of(name: str, names: Sequence[str]) -> int:
    """Find an attribute's column; :class:`UserError` suggests the nearest name if there is none."""
    if name not in names:
        raise UserError(f"no attribute is named '{name}': {did_you_mean(name, names)}")
    return list(names).index(name)


def chosen_attributes(wanted: Sequence[str], names: Sequence[str], usual: Sequence[str] = SIX) -> list[str]:
    """Choose attributes: those asked for, checked, each once; else the usual ones present; else as many of the first.

    Raises :class:`UserError` as :func:`position_of`.
    """
    for name in wanted:
        position_of(name, names)
    known = [name for name in usual if name in names]
    return list(dict.fromkeys(wanted)) or known or list(names[: len(usual)])
