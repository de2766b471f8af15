"""The Python API: what a notebook calls gives what the command line gives."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import vaebench as vb
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.datasets import DATASETS
from vaebench.report.write import write_report

FAST = {"steps": 3, "device": "cpu", "precision": "fp32", "threads": 1}


class Mean(nn.Module):
    """Decodes the mean brightness of an image, and no more."""

    def encode(self, images):
        return images.mean(dim=(1, 2, 3))[:, None]

    def decode(self, latents):
        return latents[:, :, None, None].expand(-1, 1, 28, 28)


def test_names_are_there_and_nothing_is_imported_before_they_are_asked_for():
    assert {"train", "evaluate", "compare", "leaderboard", "load_run", "ImageModel"} <= set(dir(vb))
    code = "import sys, vaebench; assert 'torch' not in sys.modules; vaebench.ImageModel; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        vb.trian  # noqa: B018


def test_a_run_is_trained_once_and_its_model_looked_into():
    run = vb.train("vae-digits", seed=1, latent_dim=3, **FAST)
    assert run.name == "vae-digits[latent_dim=3]/seed-1" and run.record.hyperparameters["latent_dim"] == 3
    again = vb.train("vae-digits", seed=1, latent_dim=3, **FAST)
    assert again.record.weights_sha256 == run.record.weights_sha256
    loaded = vb.load_run("vae-digits[latent_dim=3]/seed-1", device="cpu")
    images = DATASETS.get("digits")().load("test").images[:5].float() / 255
    latents = loaded.encode(images)
    assert latents.shape == (5, 3) and loaded.decode(latents).shape == (5, 1, 28, 28)
    assert torch.equal(loaded.sample(4), loaded.sample(4)) and not torch.equal(loaded.sample(4), loaded.sample(4, 1))


def test_a_gan_says_that_it_cannot_encode():
    run = vb.train("dcgan-digits", **FAST)
    with pytest.raises(UserError, match="it has no encoder"):
        run.encode(torch.zeros(1, 1, 28, 28))


@pytest.fixture
def run():
    return vb.train("vae-digits", **FAST)


@pytest.mark.parametrize("form", ["run", "name", "recipe"])
def test_a_run_is_evaluated_as_the_command_line_does(form, run, cli, tmp_path):
    what = {"run": run, "name": "vae-digits/seed-0", "recipe": "vae-digits"}[form]
    found = vb.evaluate(what, metrics=["mse", "blur"], samples=30)
    assert set(found.table["recipe"]) == {"real", "vae-digits"}
    write_report("digits", tmp_path / "reports")
    with (tmp_path / "reports" / "digits" / "leaderboard.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["stratum"] == "all"]
    assert list(found.table.columns) == list(rows[0])
    assert [f"{value:.10g}" for value in found.table["value"]] == [row["value"] for row in rows]


def test_models_of_every_form_are_evaluated():
    first = vb.evaluate(Mean(), dataset="digits", metrics=["mse"], name="module").table
    images = DATASETS.get("digits")().load("test").images.double() / 255
    expected = float(images.var(dim=(1, 2, 3), correction=0).mean())
    assert first["value"].tolist() == pytest.approx([expected], rel=1e-6)

    class Own(vb.ImageModel):
        image_shape, latent_shape = (1, 28, 28), (1,)

        def __init__(self):
            from vaebench.core.image_model import Capability

            self.can = Capability.ENCODE | Capability.DECODE

        def encode(self, images):
            return vb.Posterior(mean=images.mean(dim=(1, 2, 3))[:, None])

        def decode(self, latents):
            return latents[:, :, None, None].expand(-1, 1, 28, 28)

    own = vb.evaluate(Own(), dataset="digits", metrics="mse", name="own@0").table
    assert own["value"].tolist() == first["value"].tolist()

    def draw(n, generator):
        return torch.rand(n, 1, 28, 28, generator=generator)

    drawn = vb.evaluate(draw, dataset="digits", metrics=["fcd"], name="noise", samples=50).table
    assert drawn[drawn["recipe"] == "external/noise"]["value"].max() > 0


def test_images_of_every_form_are_evaluated(tmp_path):
    images = DATASETS.get("digits")().load("test").images
    forms = {
        "tensor": images,
        "array": images.numpy(),
        "last": images.permute(0, 2, 3, 1).numpy(),
        "floats": images.numpy() / np.float32(255),
        "file": tmp_path / "images.npz",
    }
    np.savez(tmp_path / "images.npz", images=images.numpy())
    for name, form in forms.items():
        found = vb.evaluate(form, dataset="digits", metrics=["mse"], name=name, paired="position")
        assert found.table["value"].tolist() == pytest.approx([0], abs=1e-12)


def test_results_are_tables_and_pictures(run):
    vb.evaluate(Mean(), dataset="digits", metrics=["mse", "blur"], name="module", samples=30)
    vb.evaluate(run, metrics=["mse", "blur"], samples=30)
    found = vb.leaderboard("digits")
    assert {"real", "vae-digits", "external/module"} == set(found.table["recipe"])
    rows = found.per_image
    chosen = rows[(rows["recipe"] == "vae-digits") & (rows["metric"] == "mse")]
    assert len(chosen) == 360
    mean = found.table.set_index(["recipe", "metric"]).loc[("vae-digits", "mse"), "value"]
    assert chosen["value"].mean() == pytest.approx(mean, rel=1e-6)
    assert isinstance(found.plot(), Figure) and len(found.plot().axes) == 3
    assert "external/module" in str(found) and "<table>" in found._repr_html_()
    tests = vb.compare("vae-digits", "external/module")
    assert {"a", "b", "metric", "p_value", "verdict"} <= set(tests.columns) and len(tests) > 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: vb.train("vae-digts"), "did you mean 'vae-digits'?"),
        (lambda: vb.train("vae-digits", latent_dmi=3), "did you mean 'latent_dim'?"),
        (lambda: vb.load_run("vae-digits"), "no run 'vae-digits'"),
        (lambda: vb.evaluate("vae-digits"), "no run 'vae-digits'"),
        (lambda: vb.evaluate(Mean(), name="x"), "--model needs --dataset"),
        (lambda: vb.evaluate(Mean(), dataset="digits"), "names no run"),
        (lambda: vb.evaluate(3, dataset="digits", name="x"), "no model"),
        (lambda: vb.compare("a", "b"), "not measured on a dataset in common"),
        (lambda: vb.leaderboard("digits"), "nothing was measured on 'digits'"),
    ],
)
def test_what_cannot_be_done_says_how_to_mend_it(call, said):
    with pytest.raises(UserError) as refused:
        call()
    assert said in str(refused.value)
    assert not (runs_dir() / "external").exists()
