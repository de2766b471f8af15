"""One small run on toy faces, trained once for all of the webcam's tests; what is fitted for it is kept with it."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from vaebench.cli import main
from vaebench.datasets import toyfaces
from vaebench.datasets.images.face_detection import Cascade
from vaebench.runs.load import open_run
from vaebench.runs.record import RunFolder
from vaebench.studies.webcam.reader import open_saved_fit

sys.path.insert(0, str(Path(__file__).parents[2] / "report"))  # chromium.py lies there

SIZES = {"train": 100, "valid": 40, "test": 60}
PLACES = ("RUNS", "DATA", "WEIGHTS", "CACHE")


@pytest.fixture(scope="session")
def made(tmp_path_factory, measured_defaults):
    """A root with runs/vae-toyfaces/seed-0, a copy of it as seed-1, and dcgan-toyfaces/seed-0; tests take copies."""
    root, threads = tmp_path_factory.mktemp("made"), torch.get_num_threads()
    measured_defaults(root / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for place in PLACES:
            patch.setenv(f"VAEBENCH_{place}", str(root / place.lower()))
        patch.setattr(toyfaces, "SIZES", SIZES)
        options = ["--device", "cpu", "--threads", "1", "--precision", "fp32"]
        for command in (
            ["train", "vae-toyfaces", "--steps", "8"],
            ["train", "dcgan-toyfaces", "--steps", "1"],
        ):
            with pytest.raises(SystemExit) as stopped:
                main.main([*command, *options])
            assert stopped.value.code == 0
        torch.set_num_threads(1)
        folder = RunFolder(root / "runs" / "vae-toyfaces" / "seed-0")
        record, model = open_run(folder, "cpu")
        open_saved_fit(folder, record, model, Cascade(), "cpu")
        torch.set_num_threads(threads)
        shutil.copytree(folder.path, folder.path.with_name("seed-1"))
    return root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    """The test's own copy of the runs; data and cache are shared."""
    shutil.copytree(made / "runs", tmp_path / "runs", dirs_exist_ok=True)
    monkeypatch.setenv("VAEBENCH_CACHE", str(made / "cache"))
    monkeypatch.setattr(toyfaces, "SIZES", SIZES)
    return tmp_path


@pytest.fixture
def folder(root):
    """The run that is read."""
    return RunFolder(root / "runs" / "vae-toyfaces" / "seed-0")
