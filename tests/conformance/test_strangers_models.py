"""A model is trained and measured however its author annotates the constructor."""

import pytest

RECIPE = """
from __future__ import annotations
from typing import TYPE_CHECKING
from vaebench.core.recipe import Recipe
from vaebench.models.vae import plain_vae
if TYPE_CHECKING:
    from nowhere import Width

def model({parameters}):
    assert latent_dim == 3
    return plain_vae(image_shape=image_shape, latent_dim=latent_dim)

def mine():
    return Recipe(name="mine-digits", model=model, dataset="digits", batch_size=32, epochs=1,
                  hyperparameters={hyperparameters})
"""


@pytest.mark.parametrize(
    ("parameters", "hyperparameters"),
    [
        ("*, image_shape, latent_dim=3", {}),
        ("*, image_shape, latent_dim", {"latent_dim": 3}),
        ("*, image_shape: tuple[int, int, int], latent_dim: int = 3", {}),
        ("*, image_shape, latent_dim: Width = 3", {}),
        ("*, image_shape, latent_dim=3, **rest", {"width": 5}),
    ],
    ids=["none", "none, required", "all", "for a type checker only", "passed on"],
)
def test_every_annotation_of_a_constructor(places, cli, parameters, hyperparameters):
    file = places / "mine.py"
    file.write_text(RECIPE.format(parameters=parameters, hyperparameters=repr(hyperparameters)))
    settings = ["--steps", "2", "--precision", "fp32", "--threads", "1"]
    assert cli(["train", f"{file}:mine", *settings]).code == 0
    options = ["--metrics", "mse", "--samples", "8", "--out", str(places / "reports")]
    evaluated = cli(["evaluate", "mine-digits", *options])
    assert evaluated.code == 0, evaluated.err
