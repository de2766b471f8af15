"""Several runs, one after the other on all processors, or as many at once as there are processors, a thread each.

    python benchmarks/speed/jobs.py [--rounds 3] [--steps 300] [--recipes vae-toyfaces dcgan-toyfaces]

The whole command is timed, as its user waits for it: ``vaebench train … --jobs 1`` against ``--jobs N``, in turns, the
images of the built-in datasets drawn and the machine measured before. Prints seconds, the ratio round by round, and
what ``--jobs auto`` would choose here.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shared import Failed, in_turns

from vaebench.compute import choose, jobs_at_once
from vaebench.core.processors import cores
from vaebench.trials import machine


def seconds(jobs: str, steps: int, recipes: list[str]) -> float:
    """Of one command, into an empty place."""
    command = [sys.executable, "-m", "vaebench", "train", *recipes, "--steps", str(steps), "--jobs", jobs]
    with tempfile.TemporaryDirectory() as runs:
        began = time.perf_counter()
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, "VAEBENCH_RUNS": runs}
        )
        elapsed = time.perf_counter() - began
        trained = len(list(Path(runs).glob("*/*/weights.safetensors")))
    if done.returncode or trained != len(recipes):
        raise Failed(f"exit code {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}")
    return elapsed


def main() -> None:
    """Both ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of each recipe")
    parser.add_argument("--recipes", nargs="+", default=["vae-toyfaces", "dcgan-toyfaces"])
    given = parser.parse_args()
    at_once = str(cores())
    print(f"{machine('cpu')}; alone: {choose(device='cpu')}; --jobs auto: {jobs_at_once('cpu')} at once")
    seconds("1", 1, given.recipes)  # draws the datasets' images
    found = in_turns(
        ["1", at_once], given.rounds, lambda jobs: seconds(jobs, given.steps, given.recipes), lambda s: f"{s:.1f} s"
    )
    if len(found) < len({"1", at_once}):
        sys.exit("nothing to compare")
    ratios = [alone / together for alone, together in zip(found["1"], found[at_once], strict=True)]
    print(f"\n{given.steps} steps each of {', '.join(given.recipes)}: seconds of the whole command")
    for jobs, name in (
        ("1", "one after the other, all processors each"),
        (at_once, f"{at_once} at once, a thread each"),
    ):
        print(
            f"{name:42} {statistics.median(found[jobs]):7.1f} (min {min(found[jobs]):.1f}, max {max(found[jobs]):.1f})"
        )
    print(f"times as fast at once: {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")
    print(
        f"headline: {at_once} runs at once finish {statistics.median(ratios):.2f} times as fast as one after the other"
    )


if __name__ == "__main__":
    main()
