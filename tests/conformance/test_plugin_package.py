"""A third-party package: installed into a fresh environment, it is listed, trained and measured like our own."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

SOURCE = Path(__file__).with_name("plugin_package")
NAME = "vaebench-striped"


@pytest.fixture(scope="module")
def vaebench(tmp_path_factory, measured_defaults):
    """The command of a fresh environment with the package in it: ``vaebench(*arguments)`` -> stdout.

    The environment sees what this one holds through a path file, and the package is built with this one's
    setuptools: nothing is downloaded.
    """
    pytest.importorskip("setuptools", reason="the package is built with setuptools")
    pytest.importorskip("pip", reason="the package is installed with pip")
    home = tmp_path_factory.mktemp("plugin")
    measured_defaults(home / "cache")
    venv.create(home / "env", with_pip=False, symlinks=os.name != "nt")
    scheme = {"base": str(home / "env"), "platbase": str(home / "env")}
    ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    beside = Path(sysconfig.get_path("purelib", scheme="venv", vars=scheme))
    # addsitedir, not a bare path: it follows the path files of editable installations too
    lines = [f"import site; site.addsitedir({path!r})\n" for path in sorted(ours)]
    (beside / "environment_of_the_tests.pth").write_text("".join(lines))
    python = Path(sysconfig.get_path("scripts", scheme="venv", vars=scheme)) / "python"
    places = {f"VAEBENCH_{place}": str(home / place.lower()) for place in ("RUNS", "DATA", "WEIGHTS", "CACHE")}
    environment = {**os.environ, **places, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(home / "matplotlib")}

    def call(*arguments, **others):
        answer = subprocess.run(
            [python, *arguments], cwd=home, env=environment | others, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    shutil.copytree(SOURCE, home / "source")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    call("-m", "pip", "install", *offline, "--target", str(beside), str(home / "source"))
    return lambda *arguments, **others: call("-m", "vaebench", *arguments, **others), home


def test_this_environment_does_not_have_it():
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('striped') is not None)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_list_names_the_package_as_the_source(vaebench):
    command, _ = vaebench
    listed = json.loads(command("list", "--json"))
    theirs = {(line["kind"], line["name"]): line["summary"] for line in listed if line["origin"] == NAME}
    assert theirs == {  # the docstring of each
        ("recipes", "linear-stripes"): "Two epochs of ``stripes``.",
        ("datasets", "stripes"): "Images with stripes of two to four pixels; made, not loaded.",
        ("metrics", "contrast"): "Brightest minus darkest pixel of each reconstruction, times ``scale``.",
        (
            "metrics",
            "brightness",
        ): "Mean intensity of each reconstruction: it describes, so no model is better for more of it.",
        ("adapters", "smoothed"): "Average squares of SIDE x SIDE pixels: ``--model smoothed:SIDE``.",
    }
    assert "smoothed" in command("list", "adapters")
    assert any(line["origin"] == "built-in" for line in listed)


def test_train_evaluate_and_read_the_leaderboard(vaebench):
    command, home = vaebench
    training = ["--steps", "5", "--precision", "fp32", "--threads", "1", "--set", "dataset.per_period=15"]
    name = "linear-stripes[dataset.per_period=15]"
    assert f"{name}/seed-0: trained" in command("train", "linear-stripes", *training)
    record = json.loads((home / "runs" / name / "seed-0" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["dataset_options"] == {"per_period": 15}

    measuring = ["--metrics", "mse,contrast,brightness", "--set", "contrast.scale=2", "--samples", "20"]
    assert "page          reports/stripes/index.html\n" in command("evaluate", name, *measuring)
    with (home / "reports" / "stripes" / "leaderboard.csv").open(newline="") as file:
        rows = {(row["recipe"], row["metric"], row["stratum"]): row for row in csv.DictReader(file)}

    real = rows["real", "contrast", "all"]
    bright, dark = torch.tensor([200, 55], dtype=torch.float32) / 255
    assert float(real["value"]) == pytest.approx(2 * (bright - dark).item(), rel=1e-6)
    assert real["n"] == "45"
    ours = rows[name, "contrast", "all"]
    assert 0 < float(ours["value"]) < 2
    assert (ours["protocol"], ours["unit"], ours["direction"]) == ("recon/scale=2", "intensity", "target")
    assert rows[name, "contrast", "label=3"]["n"] == "15"
    assert float(rows[name, "mse", "all"]["value"]) > 0


def test_the_report_shows_its_metrics_as_they_declare(vaebench):
    """A second model gives ranks: contrast is ranked, brightness describes; each stands under its question."""
    command, home = vaebench[0], vaebench[1] / "other"
    home.mkdir()
    command = partial(command, VAEBENCH_RUNS=str(home / "runs"))
    command("train", "linear-stripes", "--seeds", "0,1", "--steps", "5", "--precision", "fp32", "--threads", "1")
    images = home / "images.npz"
    np.savez(images, images=np.random.default_rng(0).integers(0, 255, (60, 1, 8, 8), np.uint8))
    measuring = ["--metrics", "mse,contrast,brightness", "--out", str(home / "reports")]
    command("evaluate", "--all", "--samples", "20", *measuring)
    named = ["--images", str(images), "--reference", "stripes", "--name", "noise", "--kind", "reconstructions"]
    command("evaluate", *named, *measuring)
    folder = home / "reports" / "stripes"
    with (folder / "leaderboard.csv").open(newline="") as file:
        ranks = {row["metric"]: row["rank_low"] for row in csv.DictReader(file) if row["recipe"] == "external/noise"}
    assert ranks["contrast"] and not ranks["brightness"]
    page = (folder / "index.html").read_text()
    spoken_of = re.findall(
        "How near are the images|How strong are the contrasts|(?<=>)brightness(?=<)|(?<=>)contrast(?=<)", page
    )
    spoken_of = [name for name, _ in groupby(spoken_of)]
    wanted = ["How near are the images", "brightness", "How strong are the contrasts", "contrast"]
    assert wanted in [spoken_of[at : at + 4] for at in range(len(spoken_of))], spoken_of
    assert "contrast (" in (folder / "figures" / "forest.svg").read_text()
    assert "brightness" not in (folder / "figures" / "forest.svg").read_text()
    assert (folder / "figures" / "contrast_per_class.png").exists()
    assert "## Contrast by stratum" in (folder / "leaderboard.md").read_text()


def test_a_model_is_measured_through_its_adapter(vaebench, monkeypatch):
    command, home = vaebench
    for side in (2, 4, 2):  # under one name: another side is another model, though no file tells them apart
        named = ["--model", f"smoothed:{side}", "--name", "smooth", "--dataset", "stripes", "--metrics", "mse,contrast"]
        assert "external/smooth: measured on stripes:test" in command("evaluate", *named, "--out", "adapted")
    with (home / "adapted" / "stripes" / "leaderboard.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["recipe"] == "external/smooth" and row["stratum"] == "all"]
    found = {row["metric"]: float(row["value"]) for row in rows}
    monkeypatch.syspath_prepend(SOURCE / "src")
    from striped.dataset import Stripes

    images = Stripes().load("test").images.double() / 255
    averages = torch.nn.functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert found["mse"] == pytest.approx(float((averages - images).square().mean()), rel=1e-5)


def test_an_adapter_s_own_refusal_and_fault_are_said_in_one_line(cli, monkeypatch):
    from vaebench.adapters import ADAPTERS

    def broken(what, opening):
        raise KeyError("the third layer")

    monkeypatch.syspath_prepend(SOURCE / "src")
    from striped.adapter import open_smoothed

    known = ADAPTERS.names()
    monkeypatch.setattr(ADAPTERS, "names", lambda: [*known, "smoothed"])
    for adapter, said in ((open_smoothed, "smoothed:9 names no side: write smoothed:1"), (broken, "KeyError")):
        monkeypatch.setattr(ADAPTERS, "get", lambda name, adapter=adapter: adapter)
        answer = cli(["evaluate", "--model", "smoothed:9", "--name", "x", "--dataset", "digits", "--metrics", "mse"])
        assert answer.code == 2 and said in answer.err
    assert "test_plugin_package.py:" in answer.err


def test_it_passes_the_conformance_checks(monkeypatch):
    testing = pytest.importorskip("vaebench.testing")
    monkeypatch.syspath_prepend(SOURCE / "src")
    from striped.adapter import Smoothed, open_smoothed
    from striped.dataset import Stripes
    from striped.metric import brightness, contrast
    from striped.recipe import linear_stripes

    testing.check_recipe(linear_stripes(), image_shape=(1, 8, 8))
    testing.check_dataset(Stripes())
    testing.check_metric(contrast)
    testing.check_metric(brightness)
    testing.check_adapter(open_smoothed, "2", image_shape=(1, 8, 8))

    class Wrong(Smoothed):
        def encode(self, images):
            return super().encode(images.flip(2) if self.side == 2 else images)

        def decode(self, latents):
            return super().decode(latents) + self.shade

    def opened(shade):
        model = Wrong(2, (1, 8, 8))
        model.shade = shade
        return model

    shades = iter((0.0, 0.1))
    with pytest.raises(AssertionError, match="opened again"):
        testing.check_adapter(lambda what, opening: opened(next(shades)), "2", image_shape=(1, 8, 8))
    with pytest.raises(AssertionError, match="outside of"):
        testing.check_adapter(lambda what, opening: opened(1.0), "2", image_shape=(1, 8, 8))
