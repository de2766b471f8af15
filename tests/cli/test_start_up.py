"""Start-up: naming, helping and listing load no engine. Counted in modules, which a busy machine does not slow."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vaebench import __version__
from vaebench.core import results
from vaebench.metrics import facts_of

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "torchvision", "PIL", "pyarrow", "safetensors"}

RUN = """
import contextlib, io, json, sys
arguments = json.loads(sys.argv[1])
import vaebench.cli.main
said = io.StringIO()
if arguments is not None:
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        vaebench.cli.main.main(arguments)
print(json.dumps([sorted({name.partition(".")[0] for name in sys.modules}), said.getvalue()]))
"""


def loaded_by(arguments):
    """Top-level modules loaded, and what was said, by a command in a process of its own."""
    command = [sys.executable, "-c", RUN, json.dumps(arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    modules, said = json.loads(answer.stdout.splitlines()[-1])
    return set(modules), said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (None, ""),
        ([], "vaebench quickstart"),
        (["--help"], "quickstart"),
        (["train", "--help"], "--resume"),
        (["evaluate", "--help"], "--metrics"),
        (["list"], "vae-digits"),
        (["list", "recipes", "--json"], '"vae-digits"'),
        (["list", "recipe"], ""),
        (["suite", "list"], "mnist-article"),
        (["suite", "verdicts", str(ROOT / "reports" / "mnist")], "| holds (3 seeds) |"),
        (["bogus"], ""),
    ],
)
def test_no_engine_is_loaded(arguments, says):
    modules, said = loaded_by(arguments)
    assert says in said
    assert "vaebench" in modules
    assert not modules & HEAVY


EVIDENCE = ROOT / "reports" / "mnist" / "evidence"


def test_checking_a_table_loads_no_engine():
    table = str(EVIDENCE.parent / "leaderboard.csv")
    modules, said = loaded_by(["check", table, "--baseline", table])
    assert "identical" in said
    assert not modules & HEAVY


def as_written_now(line):
    return replace(line, facts=facts_of(line), provenance=replace(line.provenance, vaebench_version=__version__))


def test_a_report_loads_no_torch_and_one_that_stands_loads_no_engine(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    shutil.copytree(EVIDENCE, runs)
    for path in runs.rglob("results.jsonl"):  # as this version writes them: what they lack, a metric's module is asked
        results.append(path, [as_written_now(line) for line in results.read(path)])
    monkeypatch.setenv("VAEBENCH_RUNS", str(runs))
    arguments = ["report", "--out", str(tmp_path / "out")]
    modules, said = loaded_by(arguments)
    assert "index.html" in said
    assert "matplotlib" in modules and not modules & {"torch", "torchvision", "sklearn", "pandas"}
    modules, said = loaded_by(arguments)
    assert "nothing new since" in said
    assert not modules & HEAVY
    for arguments in (["compare", "dfcvae-mnist", "vae-mnist"], ["explain", "vae-mnist/seed-0", "blur"]):
        modules, said = loaded_by(arguments)
        assert "blur" in said
        assert not modules & {"torch", "torchvision", "sklearn", "pandas", "matplotlib"}


# torch's optimisers import these
OF_TORCH = {"sympy"}
UNUSED = {"pandas", "scipy", "sklearn", "matplotlib", "torchvision", "torch_fidelity", "torchmetrics"}


def test_a_training_and_an_evaluation_load_what_they_use(places, defaults_known):
    train = ["train", "vae-digits", "--steps", "1", "--precision", "fp32", "--threads", "1"]
    evaluate = ["evaluate", "vae-digits", "--samples", "20", "--metrics", "mse", "--out", str(places / "out")]
    modules, said = loaded_by(train)
    assert "trained" in said
    assert not modules & (UNUSED | {"pyarrow"})
    modules, said = loaded_by(evaluate)
    assert "measured" in said and "matplotlib" in modules  # the report's figures, and its tests' scipy
    assert not modules & (OF_TORCH | UNUSED - {"matplotlib", "scipy"})
    modules, said = loaded_by(evaluate)
    assert "nothing new to measure" in said
    assert not modules & (OF_TORCH | UNUSED)


def test_the_measurement_would_see_an_engine():
    modules, said = loaded_by(["fetch", "digits"])
    assert "nothing to fetch" in said
    assert {"torch", "numpy"} <= modules & HEAVY


def test_a_reader_that_has_seen_enough_is_no_fault():
    """``vaebench list | head``: exit code 1 would say that a check found a regression."""
    answer = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m vaebench list | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
