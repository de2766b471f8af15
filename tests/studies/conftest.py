"""Small trained runs that studies look into: toy faces and digits, a few steps each, trained once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vaebench.cli import main as command_line
from vaebench.datasets import toyfaces

SIZES = {"train": 240, "valid": 30, "test": 60}
TRAINED = (("vae-toyfaces", "vaewgan-toyfaces", "dcgan-toyfaces", "--steps", "4"), ("vae-digits", "--steps", "60"))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, measured_defaults: Callable[[Path], None]) -> Path:
    """A folder with ``runs`` and ``cache``."""
    root = tmp_path_factory.mktemp("studied")
    measured_defaults(root / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
            patch.setenv(f"VAEBENCH_{place}", str(root / place.lower()))
        patch.setattr(toyfaces, "SIZES", SIZES)
        for arguments in TRAINED:
            with pytest.raises(SystemExit) as stopped:
                command_line.main(["train", *arguments, "--precision", "fp32", "--threads", "1"])
            assert not stopped.value.code
    return root


@pytest.fixture
def studied(trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own copy of the runs; the cache is shared, since it is kept by content."""
    shutil.copytree(trained_once / "runs", tmp_path / "runs")
    monkeypatch.setenv("VAEBENCH_CACHE", str(trained_once / "cache"))
    monkeypatch.setattr(toyfaces, "SIZES", SIZES)
    monkeypatch.chdir(tmp_path)
    return tmp_path
