"""Models that were trained elsewhere: through whichever door the same weights come, they read the same, and what is
wrong with them is said before the first number.
"""

import csv
import textwrap
import warnings

import pytest
import torch

from vaebench.core import results
from vaebench.core.paths import runs_dir

METRICS = "blur,mse,ssim,kl,nll,fcd,active_units,svm_accuracy,interpolation_smoothness,diversity"
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 8))
            self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 784), nn.Sigmoid())

    def encode(self, images):
        return tuple(self.encoder(images).chunk(2, dim=1))

    def decode(self, latents):
        return self.decoder(latents).view(-1, 1, 28, 28)

def model():
    return Net()

def other():
    return Net(1)
"""


@pytest.fixture
def evaluate(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(spec, *options, name="mine", metrics="blur,mse", samples=60):
        named = ["--model", spec, "--name", name, "--dataset", "digits", "--metrics", metrics]
        return cli(["evaluate", *named, "--samples", str(samples), *options, "--out", str(tmp_path / "reports")])

    return call


def written(tmp_path, text):
    (tmp_path / "mine.py").write_text(textwrap.dedent(text))


def lines_of(run):
    found = results.read(runs_dir() / run / "results.jsonl")
    return {(line.metric, line.protocol, line.stratum): line for line in found}


def values_of(run):
    return {key: line.value for key, line in lines_of(run).items() if line.value is not None}


def test_a_run_reads_the_same_from_outside_to_the_digit(cli, evaluate, tmp_path):
    trained = cli(["train", "vae-digits", "--steps", "30", "--device", "cpu", "--threads", "1", "--precision", "fp32"])
    assert trained.code == 0, trained.err
    measured = ["vae-digits", "--metrics", METRICS, "--samples", "60", "--out", str(tmp_path / "reports")]
    assert cli(["evaluate", *measured]).code == 0
    written(
        tmp_path,
        """
        from pathlib import Path
        from vaebench.core.paths import runs_dir
        from vaebench.runs.load import open_run
        from vaebench.runs.record import RunFolder

        def model():
            return open_run(RunFolder(runs_dir() / "vae-digits" / "seed-0"), "cpu")[1]
        """,
    )
    answer = evaluate("./mine.py:model", metrics=METRICS)
    assert answer.code == 0, answer.err
    inside, outside = values_of("vae-digits/seed-0"), values_of("external/mine")
    assert inside.keys() == outside.keys() and len(inside) > 30
    assert inside == outside


def test_the_same_weights_read_the_same_through_every_door(evaluate, tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install 'vaebench[onnx]'")
    pytest.importorskip("onnxscript", reason="torch.onnx writes graphs with it")
    written(tmp_path, NET)
    names: dict[str, object] = {}
    exec(NET, names)
    net = names["Net"]().eval()

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net.encoder

        def forward(self, images):
            return self.inner(images).chunk(2, dim=1)

    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net.decoder

        def forward(self, latents):
            return self.inner(latents).view(-1, 1, 28, 28)

    some = torch.export.Dim("n", min=1)
    for module, given, name in ((Encoder(), torch.rand(3, 1, 28, 28), "e"), (Decoder(), torch.rand(3, 4), "d")):
        program = torch.export.export(module, (given,), dynamic_shapes=({0: some},))
        torch.export.save(program, tmp_path / f"{name}.pt2")
        with warnings.catch_warnings():  # that torch would rather export
            warnings.simplefilter("ignore")
            torch.jit.trace(module, given).save(tmp_path / f"{name}.pt")
            torch.onnx.export(program, f=tmp_path / f"{name}.onnx", dynamo=True)
    specs = {"file": "./mine.py:model", "export": "export:e.pt2,d.pt2"}
    specs |= {"script": "torchscript:e.pt,d.pt", "onnx": "onnx:e.onnx,d.onnx"}
    for name, spec in specs.items():
        answer = evaluate(spec, name=name, metrics="blur,mse,ssim,kl,nll,fcd")
        assert answer.code == 0, answer.err
    first = values_of("external/file")
    assert ("kl", "posterior", "all") in first and ("blur", "samples", "all") in first
    for name in ("export", "script", "onnx"):
        other = values_of(f"external/{name}")
        assert other.keys() == first.keys()
        for key, value in first.items():
            assert other[key] == pytest.approx(value, rel=1e-5), (name, key)


def test_seeds_of_a_model_are_tested_over_seeds(evaluate, tmp_path):
    written(tmp_path, NET + "\n".join(f"\ndef seed_{k}(): return Net({k})\n" for k in range(6)))
    for name, seeds in (("a", (0, 1, 2)), ("b", (3, 4, 5))):
        for place, seed in enumerate(seeds):
            assert evaluate(f"./mine.py:seed_{seed}", name=f"{name}@{place}").code == 0
    with (tmp_path / "reports" / "digits" / "comparisons.csv").open(newline="") as handle:
        tests = {row["test"] for row in csv.DictReader(handle) if {row["a"], row["b"]} == {"external/a", "external/b"}}
    assert "nested-t" in tests
    with (tmp_path / "reports" / "digits" / "leaderboard.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if (row["recipe"], row["metric"]) == ("external/a", "mse")]
    assert rows[0]["seeds"] == "3" and rows[0]["ci_low"]


def test_compare_finds_a_models_seeds(evaluate, cli, tmp_path):
    written(tmp_path, NET)
    for name in ("a@0", "a@1"):
        assert evaluate("./mine.py:model" if name == "a@0" else "./mine.py:other", name=name).code == 0
    assert evaluate("./mine.py:other", name="b").code == 0
    answer = cli(["compare", "external/a", "external/b"])
    assert answer.code == 0 and "mse" in answer.out


def test_a_second_evaluation_measures_nothing_and_an_edited_file_all(evaluate, tmp_path):
    written(tmp_path, NET)
    assert "measured on digits:test" in evaluate("./mine.py:model").out
    assert "nothing new to measure" in evaluate("./mine.py:model").out
    written(tmp_path, NET.replace("Sigmoid()", "Hardsigmoid()"))
    assert "external/mine: measured" in evaluate("./mine.py:model").out


ENDS = {
    "a sampler": """
        import torch
        def draw(n, generator):
            return torch.rand(n, 1, 28, 28, generator=generator)
        """,
    "a decoder": """
        import torch
        from torch import nn
        class Decoder(nn.Module):
            latent_dim = 3
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(3, 784)
            def decode(self, latents):
                return self.layer(latents).sigmoid().view(-1, 1, 28, 28)
        def draw():
            return Decoder()
        """,
    "an encoder": """
        import torch
        from torch import nn
        class Encoder(nn.Module):
            def encode(self, images):
                return nn.functional.avg_pool2d(images, 4)
        def draw():
            return Encoder()
        """,
    "an ImageModel": """
        import torch
        from vaebench.core.image_model import Capability, ImageModel, Posterior
        class Pooling(ImageModel):
            latent_shape = (1, 14, 14)
            image_shape = (1, 28, 28)
            can = Capability.ENCODE | Capability.DECODE
            def encode(self, images):
                return Posterior(mean=torch.nn.functional.avg_pool2d(images, 2))
            def decode(self, latents):
                return torch.nn.functional.interpolate(latents, scale_factor=2)
        def draw():
            return Pooling()
        """,
}


@pytest.mark.parametrize(
    ("what", "lacking"),
    [
        ("a sampler", {"mse": "needs reconstructions", "kl": "needs a posterior with a variance"}),
        ("a decoder", {"mse": "needs reconstructions"}),
        ("an encoder", {"mse": "needs reconstructions", "diversity": "needs samples"}),
        ("an ImageModel", {"diversity": "needs samples", "kl": "needs a posterior with a variance"}),
        ("an encoder", {"mse": "needs reconstructions", "posterior_mismatch": "needs a posterior with a variance"}),
    ],
)
def test_what_a_model_cannot_do_reads_na_with_the_reason(what, lacking, evaluate, tmp_path):
    written(tmp_path, ENDS[what])
    answer = evaluate("./mine.py:draw", metrics="mse,kl,diversity,svm_accuracy,posterior_mismatch")
    assert answer.code == 0, answer.err
    found = {line.metric: line for line in lines_of("external/mine").values() if line.stratum == "all"}
    for metric in ("mse", "kl", "diversity", "svm_accuracy", "posterior_mismatch"):
        if metric in lacking:
            assert (found[metric].value, found[metric].note) == (None, lacking[metric])
    assert any(line.value is not None for line in found.values())


def test_a_pooling_autoencoder_reads_what_pooling_does(evaluate, tmp_path):
    from vaebench.datasets import DATASETS

    written(tmp_path, ENDS["an ImageModel"])
    assert evaluate("./mine.py:draw", metrics="mse").code == 0
    images = DATASETS.get("digits")().load("test").images.double() / 255
    pooled = torch.nn.functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = float((pooled - images).square().mean())
    assert values_of("external/mine")["mse", "recon", "all"] == pytest.approx(expected, rel=1e-6)


FAULTS = {
    "batch normalisation in training mode": (
        "def encode(self, images):\n"
        "        return nn.functional.batch_norm(self.encoder(images), None, None, training=True)[:, :4]",
        "changes with the other images in the batch",
        [],
    ),
    "a mean over the batch": (
        "def decode(self, latents): return (self.decoder(latents) * 0.5 + self.decoder(latents).mean(0) * 0.5)"
        ".view(-1, 1, 28, 28)",
        "changes with the other images in the batch",
        [],
    ),
    "images in [-1, 1]": (
        "def decode(self, latents): return (2 * self.decoder(latents) - 1).view(-1, 1, 28, 28)",
        "looks like [-1, 1]: add --range=-1,1",
        [],
    ),
    "images in [0, 255]": (
        "def decode(self, latents): return (255 * self.decoder(latents)).view(-1, 1, 28, 28)",
        "looks like [0, 255]: add --range=0,255",
        [],
    ),
    "half precision overflows": (
        "def decode(self, latents): return (self.decoder(latents) * 1e6 / 1e6).view(-1, 1, 28, 28)",
        "not finite in fp16",
        ["--precision", "fp16"],
    ),
    "not a number": (
        "def decode(self, latents): return (self.decoder(latents) * float('nan')).view(-1, 1, 28, 28)",
        "not finite: mend the model",
        [],
    ),
    "another shape": (
        "def decode(self, latents): return self.decoder(latents)[:, :196].view(-1, 1, 14, 14)",
        "has the shape (1, 14, 14)",
        [],
    ),
    "an error of its own": (
        "def decode(self, latents): raise KeyError('the third layer')",
        "mine.py:",
        [],
    ),
    "an answer without latents": (
        "def encode(self, images): return {'nothing': images}",
        "holds no latents that can be read",
        [],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_said_by_name_and_leaves_nothing_behind(fault, evaluate, tmp_path):
    method, said, options = FAULTS[fault]
    written(tmp_path, NET + "\n\nclass Bad(Net):\n    " + method + "\n\ndef bad():\n    return Bad()\n")
    answer = evaluate("./mine.py:bad", *options)
    assert answer.code == 2, (answer.out, answer.err)
    (told,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert said in told
    assert not (runs_dir() / "external").exists() and not (tmp_path / "reports").exists()


def test_the_advice_on_the_range_works(evaluate, tmp_path):
    method = FAULTS["images in [-1, 1]"][0]
    written(tmp_path, NET + "\n\nclass Bad(Net):\n    " + method + "\n\ndef bad():\n    return Bad()\n")
    assert evaluate("./mine.py:bad", "--range=-1,1", name="wide").code == 0
    assert evaluate("./mine.py:bad", name="narrow").code == 2


def test_dropout_and_batch_norm_are_put_into_evaluation_mode(evaluate, tmp_path):
    layers = "nn.Linear(784, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.ReLU()"
    written(tmp_path, NET.replace("nn.Linear(784, 32), nn.ReLU()", layers))
    assert evaluate("./mine.py:model").code == 0
    first = values_of("external/mine")
    assert evaluate("./mine.py:model", name="again").code == 0
    assert values_of("external/again") == first


REFUSED = {
    "no colon": ("mine", "names no model"),
    "a file alone": ("mine.py", "write mine.py:NAME, where NAME is one of"),
    "no file": ("./nowhere.py:model", "does not exist"),
    "no function": ("./mine.py:modle", "did you mean 'model'?"),
    "no model": ("./mine.py:torch", "name a function that returns the model"),
    "an adapter's slip": ("difusers:here", "did you mean 'diffusers'?"),
    "no module": ("no_such_module:model", "there is no module and no adapter 'no_such_module'"),
    "no such folder": ("diffusers:/nowhere", "holds no config.json"),
    "one file of two": ("export:here.pt2", "name an encoder and a decoder"),
    "no program": ("torchscript:mine.py,mine.py", "cannot be read"),
    "nothing behind the colon": ("onnx:", "names nothing behind the colon"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_names_no_model_is_refused(what, evaluate, tmp_path):
    spec, said = REFUSED[what]
    written(tmp_path, NET)
    answer = evaluate(spec)
    assert answer.code == 2, answer.err
    assert said in answer.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "a/b"], "names no run"),
        (["--name", "a@x"], "is no training seed"),
        (["--precision", "fp8"], "--precision fp8"),
        (["--range", "1,0"], "is no range"),
        (["--dataset", "digits:"], "names no split"),
        (["--dataset", "digts"], "did you mean 'digits'?"),
        (["--set", "dataset.sice=3"], "has no option 'sice'"),
        (["--all"], "--model measures one model"),
    ],
)
def test_refused_options(options, said, evaluate, tmp_path):
    written(tmp_path, NET)
    answer = evaluate("./mine.py:model", *options)
    assert answer.code == 2, answer.err
    assert said in answer.err


def test_a_pickle_is_not_run(evaluate, tmp_path):
    written(
        tmp_path,
        """
        import torch
        def model():
            return torch.load("weights.pt", weights_only=True)
        """,
    )
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.write_text, ("x",))

    torch.save(Evil(), tmp_path / "weights.pt")
    answer = evaluate("./mine.py:model")
    assert answer.code == 2 and not marker.exists()
