"""What stands beside latents: the majority class, principal components of the pixels, VGG-19's features."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.evaluation import baselines as module
from vaebench.evaluation.baselines import baselines
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext

SIZES = {"train": 120, "test": 40}


def split(name, channels=1, attributes=False):
    draw = torch.Generator().manual_seed(len(name))
    shade = torch.rand(SIZES[name], 1, 8, 8, generator=draw) * torch.linspace(0.2, 1, 64).view(8, 8)
    images = (255 * shade).to(torch.uint8).repeat(1, channels, 1, 1)
    fields = {"attributes": torch.rand(SIZES[name], 2, generator=draw) < 0.5, "attribute_names": ("A", "B")}
    return ImageDataset(
        name="made",
        split=name,
        images=images,
        ids=[f"{name}/{i}" for i in range(SIZES[name])],
        **(fields if attributes else {}),
    )


def found(sizes=(3,), **options):
    data = {name: split(name, **options) for name in SIZES}
    context = Context(splits=tuple(SIZES), data=data.__getitem__)
    return {each.identity.name: each for each in baselines(data["test"], context, sizes)}, data


def test_which_there_are():
    assert list(found((5, 3, 5))[0]) == ["baseline/majority", "baseline/pca-3", "baseline/pca-5"]
    assert "baseline/VGG-FC" in found(channels=3, attributes=True)[0]
    assert "baseline/VGG-FC" not in found(channels=1, attributes=True)[0]
    data = split("test")
    assert not list(baselines(data, Context(splits=("test",), data=lambda name: data), [3]))


@pytest.mark.parametrize("exact", [True, False])
def test_components_are_those_of_scikit_learn(exact, monkeypatch):
    monkeypatch.setattr(module, "EXACT", 4096 if exact else 1)
    subjects, data = found()
    ours = {name: subjects["baseline/pca-3"].context.latents(name, "whole").numpy() for name in SIZES}
    pixels = {name: data[name].images.flatten(1).numpy() / 255 for name in SIZES}
    theirs = PCA(3, svd_solver="full").fit(pixels["train"])
    for name in SIZES:
        expected = theirs.transform(pixels[name])
        np.testing.assert_allclose(np.abs(ours[name]), np.abs(expected), atol=2e-3)


def test_no_more_components_than_there_are():
    subjects, _ = found((500,))
    assert subjects["baseline/pca-500"].context.latents("test", "whole").shape == (40, 64)


def test_components_leave_the_global_generator_alone(global_rng_untouched, monkeypatch):
    monkeypatch.setattr(module, "EXACT", 1)
    found()[0]["baseline/pca-3"].context.latents("test", "whole")


def test_the_majority_class_needs_nothing_and_has_no_views():
    subject = found()[0]["baseline/majority"]
    assert subject.context.latents("train", "whole").unique().tolist() == [0.0]
    with pytest.raises(UserError, match="no views"):
        subject.context.latents("train", "mirrored")


def test_missing_weights_are_refused_with_the_command_that_gets_them():
    data = split("test", channels=3, attributes=True)
    context = SplitContext(data, None, Networks()).context()
    with pytest.raises(UserError, match="vaebench fetch vgg19-fc"):
        context.reference(module.VGG_FC, "test")
    with pytest.raises(UserError, match="no split 'train'"):
        context.data("train")
