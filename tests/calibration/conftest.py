"""Calibrate what changed, and write the report once all tests have run, in one process or in several."""

import os
from pathlib import Path

import pytest
from guarded import digest
from noted import SECTIONS, take, written

TARGET = "VAEBENCH_CALIBRATION"  # where the report lies, and is written to
ANEW = "VAEBENCH_CALIBRATE_ANEW"  # set: calibrate even what the report is about already


def pytest_collection_modifyitems(items):
    """Skip what the report was made of: the files that it guards have not changed since."""
    report = Path(os.environ.get(TARGET, ""))
    if os.environ.get(ANEW) or not report.is_file() or digest() not in report.read_text(encoding="utf-8"):
        return
    here = Path(__file__).parent
    skipped = pytest.mark.skip(reason=f"{report} is of these very sources; {ANEW}=1 calibrates anew")
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(skipped)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take in what a process of several found."""
    take(getattr(node, "workeroutput", {}).get("calibration", {}))


def pytest_sessionfinish(session, exitstatus):
    """Write the report of a whole calibration that passed, or hand on what this process found."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["calibration"] = SECTIONS
    elif SECTIONS and os.environ.get(TARGET) and exitstatus == 0 and not session.config.option.keyword:
        Path(os.environ[TARGET]).write_text(written(), encoding="utf-8")
