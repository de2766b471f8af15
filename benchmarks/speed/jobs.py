"""Several runs, one after the other on all processors, or as many at once as there are processors, a thread each.

    python benchmarks/speed/jobs.py [--rounds 2] [--steps 250]

The whole command is timed, as its user waits for it: ``vaebench train … --jobs 1`` against ``--jobs N``, in turns, the
images of the built-in datasets drawn and the machine measured before. Once for seeds of one recipe, which end
together; once for recipes of unlike length, of which the longest ends alone, on one thread. Each run at once starts a
process of its own, which weighs in short runs: so the rates that the trainer itself saw are added up, too. Prints
seconds and images/s, the ratios round by round, and what ``--jobs auto`` would choose here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shared import Failed, in_turns

from vaebench.core.machine import machine
from vaebench.core.processes import cores
from vaebench.training.compute import choose, jobs_at_once

CASES = {
    "seeds of one recipe": ["dcgan-toyfaces", "--seeds", ",".join(map(str, range(cores())))],
    "recipes of unlike length": ["vae-toyfaces", "dcgan-toyfaces"],
}


def taken(jobs: str, steps: int, what: list[str]) -> tuple[float, float]:
    """Seconds of one command, into an empty place; images a second of what trains at a time, added up."""
    command = [sys.executable, "-m", "vaebench", "train", *what, "--steps", str(steps), "--jobs", jobs]
    with tempfile.TemporaryDirectory() as runs:
        began = time.perf_counter()
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, "VAEBENCH_RUNS": runs}
        )
        elapsed = time.perf_counter() - began
        records = [json.loads(path.read_text()) for path in Path(runs).glob("*/*/run.json")]
    rates = [record["facts"].get("images_per_second", 0.0) for record in records]
    if done.returncode or not all(rates):
        raise Failed(f"exit code {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}")
    return elapsed, statistics.mean(rates) * int(jobs)


def compare(name: str, rounds: int, steps: int) -> str:
    """Both ways in turns; how many times as fast the second one is."""
    at_once = str(cores())
    found = in_turns(
        ["1", at_once],
        rounds,
        lambda jobs: taken(jobs, steps, CASES[name]),
        lambda it: f"{it[0]:.1f} s, {it[1]:.0f} images/s",
    )
    if set(found) < {"1", at_once}:
        sys.exit("nothing to compare")
    print(f"\n{name}: vaebench train {' '.join(CASES[name])} --steps {steps}, seconds of the whole command")
    for jobs, way in (
        ("1", "one after the other, all processors each"),
        (at_once, f"{at_once} at once, a thread each"),
    ):
        spent, rates = ([one[part] for one in found[jobs]] for part in (0, 1))
        print(f"{way:42} {statistics.median(spent):7.1f} (min {min(spent):.1f}, max {max(spent):.1f}), ", end="")
        print(f"training at {statistics.median(rates):.0f} images/s")
    pairs = list(zip(found["1"], found[at_once], strict=True))
    whole = statistics.median(alone[0] / together[0] for alone, together in pairs)
    rate = statistics.median(together[1] / alone[1] for alone, together in pairs)
    print(f"times as fast at once: {whole:.2f}, without starting {rate:.2f}")
    return f"{name} {whole:.2f}, without starting {rate:.2f}"


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=250, help="of each run")
    given = parser.parse_args()
    print(f"{machine('cpu')}; alone: {choose(device='cpu')}; --jobs auto: {jobs_at_once('cpu')} at once")
    taken("1", 1, ["vae-toyfaces"])  # draws the images
    said = [compare(name, given.rounds, given.steps) for name in CASES]
    print(f"\nheadline: {cores()} runs at once are as many times as fast as one after the other: {'; '.join(said)}")


if __name__ == "__main__":
    main()
