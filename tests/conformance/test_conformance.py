"""Registration is enrolment: whatever the tables name is checked as a third party's plugin would be."""

import pytest

from vaebench.builtins import DATASETS, METRICS, MODELS, PERCEPTUAL, RECIPES
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, PerImage
from vaebench.models.vae import VAE
from vaebench.testing import check_dataset, check_metric, check_recipe


@pytest.mark.parametrize("name", RECIPES.names())
def test_recipe(name):
    recipe = RECIPES.get(name)()
    assert recipe.name == name
    assert RECIPES.get(name).__doc__, f"{name} must name its source and its departures"
    check_recipe(recipe)


@pytest.mark.parametrize("name", DATASETS.names())
def test_dataset(name):
    source = DATASETS.get(name)()
    assert source.name == name
    try:
        source.load(source.splits[0])
    except UserError as missing:
        pytest.skip(str(missing))
    check_dataset(source)


@pytest.mark.parametrize("name", METRICS.names())
def test_metric(name):
    assert {metric.name for metric in METRICS.get(name)()} == {name}
    check_metric(METRICS.get(name))


@pytest.mark.parametrize("name", PERCEPTUAL.names())
def test_perceptual(name):
    network = PERCEPTUAL.get(name)()
    assert network.name == name and len(network.sha256) == 64 and network.layers


@pytest.mark.parametrize("name", MODELS.names())
def test_model(name):
    assert MODELS.get(name).__doc__


def test_the_checks_catch_what_they_are_for(monkeypatch):
    """A check that cannot fail checks nothing: break each contract once."""
    recipe = RECIPES.get("vae-digits")()
    with monkeypatch.context() as broken:
        broken.setattr(VAE, "decode", lambda self, z: self.decoder(z) * 10)
        with pytest.raises(AssertionError, match=r"left \[0, 1\]"):
            check_recipe(recipe)
    with monkeypatch.context() as broken:
        broken.setattr("vaebench.models.vae.kl_to_standard_normal", lambda mean, log_variance: mean.sum(1) * 0)
        broken.setattr("vaebench.models.vae.reparameterise", lambda mean, log_variance, generator: mean)
        with pytest.raises(AssertionError, match="log_variance"):
            check_recipe(recipe)
    with monkeypatch.context() as broken:
        broken.setattr(PerImage, "merge", lambda self, other: None)
        with pytest.raises(AssertionError, match="merged halves"):
            check_metric(METRICS.get("mse"))
    assert EvalBatch().real is None
