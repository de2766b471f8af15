"""Folders of runs, data, weights and caches, from environment variables; and those that come with vaebench."""

import os
from pathlib import Path


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaebench"


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser()


def runs_dir() -> Path:
    """Folder of trained runs: ``VAEBENCH_RUNS``, by default ``runs`` in the working directory."""
    return _place("VAEBENCH_RUNS", Path("runs"))


def data_dir() -> Path:
    """Folder of datasets: ``VAEBENCH_DATA``, by default under the user's cache directory."""
    return _place("VAEBENCH_DATA", _user_cache() / "data")


def weights_dir() -> Path:
    """Folder of downloaded or imported weights: ``VAEBENCH_WEIGHTS``."""
    return _place("VAEBENCH_WEIGHTS", _user_cache() / "weights")


def hub_dir() -> Path:
    """Torch hub's checkpoint directory, where torchvision keeps what it downloads; found without importing torch."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    return _place("TORCH_HOME", default) / "hub" / "checkpoints"


def cache_dir() -> Path:
    """Folder of what can be made again: ``VAEBENCH_CACHE``."""
    return _place("VAEBENCH_CACHE", _user_cache() / "cache")


def bundled(folder: str) -> Path:
    """Return a folder that comes with vaebench, such as ``benchmarks``: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next((path for path in (package / folder, package.parent / folder) if path.is_dir()), package / folder)
