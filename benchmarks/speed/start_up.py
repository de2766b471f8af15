"""Seconds that the command line takes to start, beside Python's own start and that of ``import torch``.

    python benchmarks/speed/start_up.py [--rounds 7]

``vaebench --help``, ``list`` and ``check`` (a table against itself) must answer at once, so they must not load torch;
``report`` reads the evidence of reports/mnist: into a new place, where it writes tables, page and figures, and into one
where the same report stands already, where it must see that at once. Commands take turns; prints the
shortest and the median of the rounds, and how many times the start of Python that is. The first round, which fills the
file system's caches, is not counted.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vaebench.core.machine import machine

ROOT = Path(__file__).parents[2]
PYTHON, TORCH = "python -c pass", 'python -c "import torch"'
HELP = "vaebench --help"


def commands(scratch: str, number: int) -> dict[str, list[str]]:
    """What is timed in a round, by name; the command line is run as the installed script runs it."""
    script = shutil.which("vaebench", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    vaebench = [script] if script else [sys.executable, "-m", "vaebench"]
    table = str(ROOT / "baselines" / "digits.csv")
    return {
        PYTHON: [sys.executable, "-c", "pass"],
        TORCH: [sys.executable, "-c", "import torch"],
        HELP: [*vaebench, "--help"],
        "vaebench list": [*vaebench, "list"],
        "vaebench check": [*vaebench, "check", table, "--baseline", table],
        "report that stands": [*vaebench, "report", "--dataset", "mnist", "--out", scratch],
        "report, new": [*vaebench, "report", "--dataset", "mnist", "--out", f"{scratch}/{number}"],
    }


def seconds(command: list[str]) -> float:
    """Of one start; its words are shown where it fails."""
    environment = {**os.environ, "VAEBENCH_RUNS": str(ROOT / "reports" / "mnist" / "evidence")}
    began = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    elapsed = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} ends with {done.returncode}: {done.stderr.strip()[-300:]}")
    return elapsed


def main() -> None:
    """All in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(f"{machine('cpu')}, Python {sys.version.split()[0]}; {given.rounds} rounds after one that warms up\n")
    with tempfile.TemporaryDirectory() as scratch:
        rounds = [
            {name: seconds(command) for name, command in commands(scratch, number).items()}
            for number in range(given.rounds + 1)
        ][1:]
    medians = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
    print(f"{'':26} {'shortest s':>10} {'median s':>9} {'times python':>13}")
    for name, median in medians.items():
        print(f"{name:26} {min(found[name] for found in rounds):10.2f} {median:9.2f} {median / medians[PYTHON]:13.1f}")
    share = medians[HELP] / medians[TORCH]
    print(f"headline: {HELP} answers in {medians[HELP]:.2f} s, {share:.2f} of what import torch takes; ", end="")
    print(", ".join(f"{name} in {median:.2f} s" for name, median in list(medians.items())[3:]), flush=True)


if __name__ == "__main__":
    main()
