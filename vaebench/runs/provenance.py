"""Provenance of runs and results: versions, time, the command line."""

import shlex
import sys
from datetime import UTC, datetime

from vaebench.core.validation import plain_line


def package_versions() -> dict[str, str]:
    """Versions that decide a number: Python, torch, numpy."""
    import platform  # noqa: PLC0415

    import numpy  # noqa: PLC0415
    import torch  # noqa: PLC0415

    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """The running command, as typed, on one line."""
    return plain_line(shlex.join(["vaebench", *sys.argv[1:]]))
