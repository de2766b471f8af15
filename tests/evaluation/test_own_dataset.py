"""A dataset in a file of the user's own: named on the command line or by a recipe of that file, never by a run."""

import json

import numpy as np
import pytest
import torch

from vaebench.core import results
from vaebench.core.paths import runs_dir

DATA = """
import torch
from functools import partial
from torch import nn
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.recipe import Recipe
from vaebench.models.vae import plain_vae

class Discs(DatasetSource):
    \"\"\"Grey discs.\"\"\"
    name = "discs"
    splits = ("train", "valid", "test")

    def __init__(self, count: int = 40):
        self.count = count

    def load(self, split):
        generator = torch.Generator().manual_seed(self.splits.index(split))
        middle = torch.randint(8, 20, (self.count, 2, 1, 1), generator=generator)
        rows, columns = torch.arange(28).view(1, 28, 1), torch.arange(28).view(1, 1, 28)
        inside = (rows - middle[:, 0]) ** 2 + (columns - middle[:, 1]) ** 2 < 36
        images = torch.where(inside, 220, 30).to(torch.uint8)[:, None]
        ids = [f"{split}/{row}" for row in range(self.count)]
        return ImageDataset(name="discs", split=split, images=images, ids=ids)

    def fetch(self, source):
        return "made"

class Digits(Discs):
    name = "digits"

class Broken(Discs):
    def load(self, split):
        return {}["nothing"]

def discs(count: int = 30):
    return Discs(count)

def number():
    return 3

def sampler(n, generator):
    return torch.rand(n, 1, 28, 28, generator=generator)

def vae_discs():
    return Recipe(name="vae-discs", model=plain_vae, dataset="discs", dataset_source=Discs, batch_size=8, epochs=1)

def vae_fakes():
    return Recipe(name="vae-fakes", model=plain_vae, dataset="digits", dataset_source=Discs, batch_size=8, epochs=1)
"""


@pytest.fixture
def call(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(DATA)
    return cli


def lines_of(run):
    return results.read(runs_dir() / run / "results.jsonl")


def model(*more, dataset="./mine.py:Discs"):
    named = ["--model", "./mine.py:sampler", "--name", "noise", "--dataset", dataset, "--metrics", "blur,diversity"]
    return ["evaluate", *named, "--set", "diversity.features=pixels", "--samples", "20", "--out", "reports", *more]


@pytest.mark.parametrize(
    ("dataset", "options", "split", "n"),
    [
        ("./mine.py:Discs", [], "test", 40),
        ("./mine.py:discs", [], "test", 30),
        ("./mine.py:Discs:valid", ["--set", "dataset.count=12"], "valid", 12),
    ],
)
def test_a_model_is_measured_on_it(dataset, options, split, n, call, tmp_path):
    answer = call(model(*options, dataset=dataset))
    assert answer.code == 0, answer.err
    assert {(line.dataset, line.split) for line in lines_of("external/noise")} == {("discs", split)}
    (real,) = [path for path in (runs_dir() / "real").iterdir() if path.name.startswith(f"discs-{split}")]
    assert {line.n for line in results.read(real / "results.jsonl") if line.metric == "blur"} == {n}
    assert (tmp_path / "reports" / "discs" / "leaderboard.csv").is_file()


@pytest.mark.parametrize("reference", ["./mine.py:Discs", "./mine.py:Discs:train"])
def test_images_are_measured_against_it(reference, call, tmp_path):
    np.savez(tmp_path / "images.npz", images=np.full((40, 28, 28), 99, np.uint8))
    named = ["--images", "images.npz", "--name", "grey", "--reference", reference, "--metrics", "blur,mse"]
    answer = call(["evaluate", *named, "--paired", "position", "--out", "reports"])
    assert answer.code == 0, answer.err
    assert {line.split for line in lines_of("external/grey")} == {reference.partition("Discs:")[2] or "test"}
    (mse,) = [line for line in lines_of("external/grey") if line.metric == "mse"]
    assert mse.value > 0 and mse.n == 40


TRAINING = ["--steps", "3", "--precision", "fp32", "--threads", "1"]
MEASURING = ["--metrics", "mse", "--samples", "5", "--out", "reports"]


def test_a_recipe_of_the_same_file_is_trained_on_it_and_measured(call, tmp_path):
    assert call(["train", "./mine.py:vae_discs", *TRAINING, "--set", "dataset.count=24"]).code == 0
    name = "vae-discs[dataset.count=24]"
    record = json.loads((runs_dir() / name / "seed-0" / "run.json").read_text())
    assert (record["dataset"], record["dataset_options"], record["images"]) == ("discs", {"count": 24}, 24)
    answer = call(["evaluate", name, *MEASURING])
    assert answer.code == 0, answer.err
    (mse,) = [line for line in lines_of(f"{name}/seed-0") if line.metric == "mse"]
    assert mse.n == 24 and mse.dataset == "discs"
    assert call(["evaluate", "--all", "--dataset", "discs", *MEASURING]).code == 0
    assert call(["reconstruct", name, "--out", "reports"]).code == 0


def test_a_run_alone_makes_no_dataset_run(call, tmp_path, monkeypatch):
    """Of a file that this user has not trained from here, neither recipe nor dataset are imported."""
    assert call(["train", "./mine.py:vae_discs", *TRAINING]).code == 0
    (tmp_path / "mine.py").write_text(DATA + "\nfrom pathlib import Path\nPath('was_run').write_text('x')\n")
    answer = call(["evaluate", "vae-discs", *MEASURING])
    assert answer.code == 2 and "is not run unless you name it" in answer.err
    assert not (tmp_path / "was_run").exists()
    assert call(["evaluate", "vae-discs", "--recipe-file", "./mine.py", *MEASURING]).code == 0
    assert (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", ["./mine.py:Discs", "mine.py:Discs"])
def test_a_record_that_names_a_file_as_its_dataset_is_refused(name, call, tmp_path):
    assert call(["train", "vae-digits", *TRAINING]).code == 0
    file = runs_dir() / "vae-digits" / "seed-0" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dataset": name}))
    (tmp_path / "mine.py").write_text("from pathlib import Path\nPath('was_run').write_text('x')\n")
    answer = call(["evaluate", "vae-digits", *MEASURING])
    assert answer.code == 2 and "dataset" in answer.err
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("./mine.py:Disc", "did you mean 'Discs'?"),
        ("./none.py:Discs", "does not exist"),
        ("./mine.py:number", "gives a int, no dataset: return a vaebench.core.dataset.DatasetSource"),
        ("./mine.py:Digits", "calls its dataset 'digits', which vaebench or a plugin has: give it another name"),
        ("./mine.py:Discs:tset", "did you mean 'test'?"),
        ("./mine.py:Discs:", "names no split after the colon"),
        ("./mine.py:Broken", "KeyError: 'nothing', "),
    ],
)
def test_what_is_no_dataset_is_refused(dataset, said, call, tmp_path):
    answer = call(model(dataset=dataset))
    assert answer.code == 2 and said in answer.err, answer.err
    assert not (runs_dir() / "external").exists()


def test_options_are_checked(call):
    answer = call(model("--set", "dataset.cuont=3"))
    assert answer.code == 2 and "has no option 'cuont': did you mean 'count'?" in answer.err


def test_a_recipes_own_dataset_has_a_name_of_its_own(call):
    answer = call(["train", "./mine.py:vae_fakes", *TRAINING])
    assert answer.code == 2 and "calls its dataset 'digits'" in answer.err


def test_from_python(call):
    import vaebench as vb

    found = vb.evaluate("./mine.py:sampler", dataset="./mine.py:discs", name="noise", metrics=["blur"], samples=10)
    assert set(found.table["metric"]) == {"blur"}
    run = vb.train("./mine.py:vae_discs", steps=2)
    assert run.record.dataset == "discs" and run.sample(2).shape == torch.Size([2, 1, 28, 28])
