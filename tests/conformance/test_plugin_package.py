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
METRICS = {("metrics", "contrast"), ("metrics", "brightness")}


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
    assert set(theirs) == {("recipes", "linear-stripes"), ("datasets", "stripes"), *METRICS}
    assert set(theirs.values()) == {"Stripes, a linear autoencoder for them, and their contrast"}
    assert any(line["origin"] == "built-in" for line in listed)


def test_train_evaluate_and_read_the_leaderboard(vaebench):
    command, home = vaebench
    training = ["--steps", "5", "--precision", "fp32", "--threads", "1", "--set", "dataset.per_period=15"]
    assert "linear-stripes/seed-0: trained" in command("train", "linear-stripes", *training)
    record = json.loads((home / "runs" / "linear-stripes" / "seed-0" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["dataset_options"] == {"per_period": 15}

    measuring = ["--metrics", "mse,contrast,brightness", "--set", "contrast.scale=2", "--samples", "20"]
    assert "stripes/index.html; tables beside it" in command("evaluate", "linear-stripes", *measuring)
    with (home / "reports" / "stripes" / "leaderboard.csv").open(newline="") as file:
        rows = {(row["recipe"], row["metric"], row["stratum"]): row for row in csv.DictReader(file)}

    real = rows["real", "contrast", "all"]
    bright, dark = torch.tensor([200, 55], dtype=torch.float32) / 255
    assert float(real["value"]) == pytest.approx(2 * (bright - dark).item(), rel=1e-6)
    assert real["n"] == "45"
    ours = rows["linear-stripes", "contrast", "all"]
    assert 0 < float(ours["value"]) < 2
    assert (ours["protocol"], ours["unit"], ours["direction"]) == ("recon/scale=2", "intensity", "target")
    assert rows["linear-stripes", "contrast", "label=3"]["n"] == "15"
    assert float(rows["linear-stripes", "mse", "all"]["value"]) > 0


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


def test_it_passes_the_conformance_checks(monkeypatch):
    testing = pytest.importorskip("vaebench.testing")
    monkeypatch.syspath_prepend(SOURCE / "src")
    from striped.dataset import Stripes
    from striped.metric import brightness, contrast
    from striped.recipe import linear_stripes

    testing.check_recipe(linear_stripes(), image_shape=(1, 8, 8))
    testing.check_dataset(Stripes())
    testing.check_metric(contrast)
    testing.check_metric(brightness)
