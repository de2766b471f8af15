"""Registration is enrolment: whatever the tables name is checked as a third party's plugin would be."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vaebench.core.errors import UserError
from vaebench.core.metric import PerImage
from vaebench.datasets import DATASETS, toyfaces
from vaebench.metrics import METRICS
from vaebench.models import MODELS, RECIPES
from vaebench.models.vae import VAE
from vaebench.perceptual import PERCEPTUAL
from vaebench.testing import check_dataset, check_metric, check_perceptual, check_recipe

# torchvision's number of each convolution within `features`, and its channels
VGG19_CONVOLUTIONS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512, 23: 512}
VGG19_CONVOLUTIONS |= {25: 512, 28: 512}


@pytest.fixture(scope="session")
def random_vgg19(tmp_path_factory) -> Path:
    """A folder with a VGG-19 of random weights, down to relu5_1: what its losses do is the same."""
    draw = torch.Generator().manual_seed(0)
    tensors, inputs = {}, 3
    for index, width in VGG19_CONVOLUTIONS.items():
        scale = (2 / 9 / inputs) ** 0.5
        tensors[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3, generator=draw) * scale
        tensors[f"features.{index}.bias"] = torch.zeros(width)
        inputs = width
    folder = tmp_path_factory.mktemp("weights")
    save_file(tensors, folder / "vgg19.safetensors")
    return folder


def _shape(recipe):
    return (1, 28, 28) if recipe.dataset in ("digits", "mnist") else (3, 64, 64)


def _distinct():
    """One recipe of each model with its settings; others differ in data, batch size or length alone."""
    found = {}
    for name in RECIPES.names():
        recipe = RECIPES.get(name)()
        found.setdefault((recipe.model, repr(sorted(recipe.hyperparameters.items())), _shape(recipe)), name)
    return sorted(found.values())


@pytest.mark.parametrize("name", _distinct())
def test_recipe(name, random_vgg19, monkeypatch):
    monkeypatch.setenv("VAEBENCH_WEIGHTS", str(random_vgg19))
    recipe = RECIPES.get(name)()
    # a step of a large one takes a second or two; blendw's autoencoder has its first turn after five of its adversary's
    few = _shape(recipe) == (3, 64, 64) and not name.startswith("blendw")
    check_recipe(recipe, _shape(recipe), steps=2 if few else 4)


@pytest.mark.parametrize("name", RECIPES.names())
def test_what_a_recipe_says(name):
    recipe = RECIPES.get(name)()
    assert recipe.name == name
    assert RECIPES.get(name).__doc__, f"{name} must name its source and its departures"
    assert recipe.dataset in DATASETS.names()
    assert recipe.batch_size > 0 and recipe.epochs > 0
    DATASETS.get(recipe.dataset)(**recipe.dataset_options)


@pytest.mark.parametrize("name", DATASETS.names())
def test_dataset(name, monkeypatch):
    monkeypatch.setattr(toyfaces, "SIZES", {"train": 60, "valid": 20, "test": 20})  # drawing all takes half a minute
    source = DATASETS.get(name)()
    assert source.name == name
    try:
        source.load(source.splits[0])
    except UserError as missing:
        pytest.skip(str(missing))
    check_dataset(source)


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize("name", METRICS.names())
def test_metric(name, image_shape):
    assert {metric.spec.name for metric in METRICS.get(name)()} == {name}
    check_metric(METRICS.get(name), image_shape)


@pytest.mark.parametrize("name", PERCEPTUAL.names())
def test_perceptual(name, random_vgg19, monkeypatch):
    monkeypatch.setenv("VAEBENCH_WEIGHTS", str(random_vgg19))
    try:
        network = PERCEPTUAL.get(name)()
    except UserError as missing:
        pytest.skip(str(missing))
    assert network.name == name and len(network.sha256) == 64 and network.layers
    check_perceptual(network, side=28 if network.channels == 1 else 64)


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
    for fault, said in (
        ("checkpoint._lay_out_as_weights", "gave other weights"),
        ("loss_log.LossLog.resume", "has other terms"),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(f"vaebench.training.{fault}", lambda *given: None)
            with pytest.raises(AssertionError, match=f"stopped and resumed.*{said}"):
                check_recipe(RECIPES.get("dcgan-digits")())
    network = PERCEPTUAL.get("mnist_cnn")()
    network.stages["conv2"].train()
    with pytest.raises(AssertionError, match="conv2 is in training mode"):
        check_perceptual(network, side=28)
    with monkeypatch.context() as broken:
        broken.setattr(PerImage, "merge", lambda self, other: None)
        with pytest.raises(AssertionError, match="merged halves"):
            check_metric(METRICS.get("mse"))
    with monkeypatch.context() as broken:
        taken = PerImage.update
        broken.setattr(PerImage, "update", lambda self, batch: (taken(self, batch), setattr(self, "seen", {1: 2}))[0])
        with pytest.raises(AssertionError, match=r"seen is a dict, which cannot go to another process"):
            check_metric(METRICS.get("mse"))
