"""Every face family at every size that it takes: built, trained, used, and through the command line."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder, Step, trained_modules
from vaebench.core.perceptual import Perceptual
from vaebench.core.recipe import nearest_sizes
from vaebench.models import RECIPES
from vaebench.models.blend import blend
from vaebench.models.dcgan import DCGAN
from vaebench.models.image_sizes import FACE_SIZES, halvings, widths
from vaebench.models.vae import plain_face_vae
from vaebench.models.vaewgan import vae_wgan_faces
from vaebench.perceptual import PERCEPTUAL
from vaebench.perceptual.toyfaces_cnn import toyfaces_cnn
from vaebench.runs.recipes import build_model
from vaebench.testing import random_images
from vaebench.training.batches import TrainingBatches
from vaebench.training.compute import Compute

FAMILIES = ("vae", "dfcvae", "dfcvae345", "dcgan", "vaewgan", "blend", "blendw")
PLAIN = Compute(device="cpu", precision="fp32", channels_last=False, compile=False, threads=1, fused=False)


@pytest.fixture
def small_network(monkeypatch):
    """A network of few channels by the name of VGG-19, whose weights are not in the repository."""
    stages, inputs = {}, 3
    with seeding.isolated(5, "network"):
        for name, pools in (("relu1_2", 0), ("relu2_1", 1), ("relu3_1", 1), ("relu4_1", 1), ("relu5_1", 1)):
            pooling = [nn.MaxPool2d(2)] * pools
            stages[name] = nn.Sequential(*pooling, nn.Conv2d(inputs, 4, 3, padding=1), nn.ReLU())
            inputs = 4
    network = Perceptual("vgg19", stages, channels=3, sha256="0" * 64)
    monkeypatch.setattr(PERCEPTUAL, "get", lambda name: lambda: network)


@pytest.fixture
def pictures(tmp_path):
    """A folder of 60 photographs of noise, too few pixels for some sizes and too many for others."""
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for index in range(60):
        coarse = Image.fromarray(draw.integers(0, 256, (7, 8, 3), dtype=np.uint8))
        coarse.resize((150, 140), Image.Resampling.BICUBIC).save(folder / f"{index:02d}.png")
    return folder


def test_an_image_of_twice_the_side_is_halved_once_more():
    assert {side: halvings(side, side) for side in FACE_SIZES} == {64: 4, 96: 4, 128: 5, 192: 5, 256: 6}
    assert {side >> halvings(side, side) for side in FACE_SIZES} == {4, 6}
    assert halvings(28, 28, least=2) == 2
    assert widths(32, 6) == (32, 64, 128, 256, 512, 512)


@pytest.mark.parametrize("side", FACE_SIZES)
def test_layers_and_channels_grow_as_the_table_says(side):
    hou = {64: (32, 64, 128, 256), 96: (32, 64, 128, 256), 128: (32, 64, 128, 256, 512)}
    hou |= {192: hou[128], 256: (32, 64, 128, 256, 512, 512)}
    smallest = 6 if side in (96, 192) else 4
    with torch.device("meta"):
        vae, gan = plain_face_vae(image_shape=(3, side, side)), DCGAN(image_shape=(3, side, side))
    down = [part.out_channels for part in vae.encoder if isinstance(part, nn.Conv2d)]
    up = [part.in_channels for part in vae.decoder if isinstance(part, nn.Conv2d)]
    assert tuple(down) == hou[side] and tuple(up) == hou[side][::-1]
    assert vae.decoder[0].out_features == hou[side][-1] * smallest**2
    made = [part for part in gan.generator if isinstance(part, nn.ConvTranspose2d)]
    assert [part.in_channels for part in made[1:]] == [2 * width for width in hou[side][::-1]]
    assert made[0].kernel_size == (smallest, smallest)


@pytest.mark.parametrize("side", FACE_SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_trains_every_phase_and_images_come_out_in_range(family, side, small_network):
    recipe = replace(RECIPES.get(f"{family}-folder")(), batch_size=2)
    data = random_images((3, side, side), 4)
    model = build_model(recipe, data.image_shape, seed=0)
    batches = TrainingBatches(data, seed=0, batch_size=2, compute=PLAIN)
    for phase in model.phases():
        parts = trained_modules(model, [phase])
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        optimizer = phase.optimizer([parameter for part in parts.values() for parameter in part.parameters()])
        turn = Step(index=int(phase.name == "blending"), total=2, generator=torch.Generator().manual_seed(1))
        sum(phase.loss(batches.batch(0), turn).values()).backward()
        optimizer.step()
        moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
        assert moved and all(name.startswith(tuple(f"{part}." for part in parts)) for name in moved), phase.name
    model.eval()
    with torch.inference_mode():
        latents = torch.randn(3, model.latent_dim, generator=torch.Generator().manual_seed(2))
        if isinstance(model, Autoencoder):
            mean, log_variance = model.posterior(batches.batch(0).images)
            assert mean.shape == log_variance.shape == (2, model.latent_dim)
        made = model.decode(latents)
    assert made.shape == (3, 3, side, side) and made.dtype == torch.float32
    assert 0 <= made.min() <= made.max() <= 1 and made.std() > 0


@pytest.mark.parametrize(
    ("family", "side"),
    [("vae", 256), ("dfcvae", 128), ("dfcvae345", 96), ("dcgan", 128), ("vaewgan", 96), ("blend", 256), ("blendw", 64)],
)
def test_each_family_trains_at_a_size_from_the_command_line(family, side, cli, pictures, places, small_network):
    sized = ["--set", f"dataset.path={pictures}", "--set", f"dataset.size={side}", "--set", "batch_size=4"]
    few = ["--set", "feature_maps=8"] if family == "dcgan" else []
    plain = ["--precision", "fp32", "--threads", "1", "--steps", "1"]
    answer = cli(["train", f"{family}-folder", *sized, *few, *plain])
    assert answer.code == 0, answer.err
    assert f"{family}-folder" in answer.out and "trained" in answer.out


@pytest.mark.parametrize(("size", "nearest"), [(100, "96 or 128"), (32, "64"), (0, "64"), (1_000_000, "256")])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_sizes_are_refused_with_the_nearest_before_an_image_is_prepared(
    family, size, nearest, cli, pictures, places
):
    for data, path in (("folder", ["--set", f"dataset.path={pictures}"]), ("lfw", []), ("celeba", [])):
        answer = cli(["train", f"{family}-{data}", *path, "--set", f"dataset.size={size}"])
        assert answer.code == 2
        (told,) = answer.err.splitlines()
        assert told.endswith(f"not {size}: --set dataset.size={nearest}")
    assert not (places / "cache" / "images").exists() and not (places / "runs").exists()


@pytest.mark.parametrize("size", ["128", "96"])
def test_the_advice_of_a_refusal_works(size, cli, pictures):
    sized = ["--set", f"dataset.path={pictures}", "--set", "batch_size=4", "--steps", "1"]
    refused = cli(["train", "vae-folder", *sized, "--set", "dataset.size=100"])
    assert size in refused.err
    assert cli(["train", "vae-folder", *sized, "--set", f"dataset.size={size}"]).code == 0


def test_blending_keeps_the_published_size_of_its_photographs():
    assert 250 in RECIPES.get("blend-lfw")().image_sizes and 250 not in RECIPES.get("vae-lfw")().image_sizes
    assert RECIPES.get("blend-lfw")().dataset_options == {"size": 250}


@pytest.mark.parametrize("factory", [DCGAN, vae_wgan_faces, plain_face_vae])
def test_a_model_of_ones_own_data_is_refused_with_the_nearest_size(factory, small_network):
    with pytest.raises(UserError, match=r"choose .*96 or 128 pixels"):
        factory(image_shape=(3, 100, 100))


def test_blending_takes_any_square_of_ones_own_data():
    with torch.device("meta"):
        model = blend(image_shape=(3, 100, 100))
        assert model.decoder(torch.empty(1, 200)).shape == (1, 3, 100, 100)
        assert blend(image_shape=(3, 128, 128)).encoder[1].in_features == 32 * 16 * 16


@pytest.mark.parametrize(("size", "words"), [(64, "64"), (100, "96 or 128"), (1, "64"), (300, "256")])
def test_the_nearest_sizes(size, words):
    known = (96, 128) if size == 64 else FACE_SIZES
    assert nearest_sizes(size, known) == ("96" if size == 64 else words)


def test_a_frozen_layer_of_one_size_is_refused_at_others():
    network = toyfaces_cnn()
    network.check(["conv3"], 3, 128)
    network.check(["dense"], 3, 64)
    with pytest.raises(UserError, match=r"'dense' takes 64 x 64 images, not 128 x 128: choose from conv1, .*conv4, "):
        network.check(["conv1", "dense"], 3, 128)


def test_a_frozen_layer_of_one_size_is_refused_on_the_command_line(cli, pictures):
    sized = ["--set", f"dataset.path={pictures}", "--set", "dataset.size=96", "--set", "perceptual=toyfaces_cnn"]
    answer = cli(["train", "dfcvae-folder", *sized, "--set", "layers=dense", "--set", "batch_size=4", "--steps", "1"])
    assert answer.code == 2 and "'dense' takes 64 x 64 images, not 96 x 96" in answer.err
    answer = cli(["train", "dfcvae-folder", *sized, "--set", "layers=conv1", "--set", "batch_size=4", "--steps", "1"])
    assert answer.code == 0, answer.err


def test_an_evaluation_at_128_from_end_to_end(cli, pictures, tmp_path):
    sized = ["--set", f"dataset.path={pictures}", "--set", "dataset.size=128", "--set", "batch_size=4"]
    assert cli(["train", "vae-folder", *sized, "--steps", "2", "--precision", "fp32", "--threads", "1"]).code == 0
    measured = ["--metrics", "mse,ssim,blur", "--samples", "8", "--out", str(tmp_path / "reports")]
    answer = cli(["evaluate", "--all", *measured])
    assert answer.code == 0, answer.err
    with (tmp_path / "reports" / "folder" / "leaderboard.csv").open(newline="") as handle:
        rows = {(row["recipe"], row["metric"], row["protocol"]): row for row in csv.DictReader(handle)}
    (name,) = {recipe for recipe, _, _ in rows if recipe.startswith("vae-folder[")}
    for metric, protocol in (("mse", "recon"), ("blur", "recon"), ("blur", "samples")):
        assert float(rows[name, metric, protocol]["value"]) > 0
    (ssim,) = [row for key, row in rows.items() if key[:2] == (name, "ssim")]
    assert -1 <= float(ssim["value"]) <= 1
