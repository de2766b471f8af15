"""What every test has: places of its own, one thread, and the command line in process."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from vaebench.cli import main as command_line
from vaebench.core import machine
from vaebench.training import autotune

# files that take longest go first: at the end of a run on several processors none of them waits for one of these
LONGEST = (
    *("training/test_fast_paths.py", "training/test_loop.py", "training/test_distributed.py"),
    *("conformance/test_conformance.py", "report/test_published_reports.py", "cli/test_quickstart.py"),
    *("conformance/test_plugin_package.py", "evaluation/test_evaluate_again.py", "studies/test_study_commands.py"),
    *("runs/test_strangers_runs.py", "evaluation/test_evaluate.py", "evaluation/test_judges.py"),
    *("cli/test_console.py", "cli/test_start_up.py", "faults/test_killed_trainings.py", "docs/test_commands.py"),
    *("training/test_job.py", "cli/test_bad_input.py", "evaluation/test_evaluate_images.py"),
    "report/test_gate_exact.py",
)
PLACES = ("RUNS", "DATA", "WEIGHTS", "CACHE")
GPU = torch.cuda.is_available()
_hidden = pytest.MonkeyPatch()


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def pytest_configure() -> None:
    """Open the GPU while processes see it: later it is hidden, and what is opened then stays closed."""
    if GPU:
        torch.cuda.init()


@pytest.hookimpl(tryfirst=True)  # before fixtures of modules are made
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show a GPU to tests marked ``gpu`` alone: the others pin a CPU's values, names and defaults on any machine."""
    _hidden.undo()
    marked = item.get_closest_marker("gpu") is not None
    if marked and not GPU:
        pytest.skip("no CUDA device")
    if GPU and not marked:
        _hidden.setattr(torch.cuda, "is_available", lambda: False)
        _hidden.setattr(torch.cuda, "device_count", lambda: 0)
        _hidden.setenv("CUDA_VISIBLE_DEVICES", "")  # of processes that a test starts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by :data:`LONGEST`, the others behind them as they are."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.fixture(scope="session")
def measured_defaults() -> Callable[[Path], None]:
    """Put what is measured on this machine into a cache folder; measuring it for every test takes seconds each."""
    known = json.dumps({machine.machine("cpu"): dict(autotune.measure("cpu").rates)})

    def put(cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "compute.json").write_text(known)

    return put


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runs, data, weights and caches are out of reach: all lie under ``tmp_path``."""
    for place in PLACES:
        monkeypatch.setenv(f"VAEBENCH_{place}", str(tmp_path / place.lower()))
    return tmp_path


@pytest.fixture
def defaults_known(places: Path, measured_defaults: Callable[[Path], None]) -> None:
    """This test's cache holds what is measured on this machine."""
    measured_defaults(places / "cache")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def global_rng_untouched() -> Iterator[None]:
    """The test must leave torch's global random number generator as it found it."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before), "the test moved torch's global RNG"


@pytest.fixture
def cli(defaults_known: None, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], Answer]:
    """Call the command line in process: ``cli(["list"])`` -> exit code, stdout, stderr of that call alone."""

    def call(arguments: list[str]) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """A folder to set ``VAEBENCH_DATA`` to, with the real MNIST under ``mnist/``; the test is skipped without."""
    given = os.environ.get("VAEBENCH_TEST_MNIST")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    stems = ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    if not all(list(folder.glob(f"mnist/{stem}*")) for stem in stems):
        pytest.skip(f"no MNIST under {folder}/mnist: set VAEBENCH_TEST_MNIST to a folder that holds mnist/")
    return folder
