"""What the calibration found, a table a section, for the report."""

from datetime import UTC, datetime

import numpy
import scipy
from guarded import digest

from vaebench.core.machine import machine
from vaebench.report.analysis.formatting import to_markdown

TRIALS = 2_000
SECTIONS: dict[str, tuple[str, list[str], list[list[str]]]] = {}


def note(section, lead, header, *cells):
    """Add a row to a section's table."""
    SECTIONS.setdefault(section, (lead, header, []))[2].append([str(cell) for cell in cells])


def take(sections):
    """Add the sections that another process noted."""
    for title, (lead, header, rows) in sections.items():
        SECTIONS.setdefault(title, (lead, header, []))[2].extend(rows)


def written():
    """All sections as a page, in the order of their titles."""
    parts = [
        "# Calibration of the statistics\n",
        f"Made by `tox -e calibration` on {datetime.now(UTC):%Y-%m-%d}, {machine('cpu')}, numpy {numpy.__version__}, "
        f"scipy {scipy.__version__} ({TRIALS:,} trials a row, seeded): two samples of one truth are tested, or an "
        "interval is asked whether it holds a known truth. Binomial noise of a row is about 0.5 points. Of the sources "
        f"with digest {digest()} (tests/calibration/guarded.py): while they stay, it need not be made anew.\n",
    ]
    for title, (lead, header, rows) in sorted(SECTIONS.items()):
        parts += [f"## {title}\n", f"{lead}\n", to_markdown(header, rows)]
    return "\n".join(parts)
