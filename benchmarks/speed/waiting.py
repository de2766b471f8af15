"""How threads wait for one another: spinning, as OpenMP's libraries do, or passively, as vaebench asks.

    python benchmarks/speed/waiting.py [--steps 300] [--samples 2000] [--rounds 2] [--neighbours 0 1 2]

Each row is a training of vae-digits and an evaluation of it by the command line, once for each way, in turns, beside so
many processes that compute all the while (matrix products, one thread each). Spinning threads take the processor from
the one that they wait for. `OMP_WAIT_POLICY`, where it is set, is left as it is by vaebench: that is how the first way
is asked for.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vaebench.core.machine import machine
from vaebench.core.processes import cores

BUSY = "import torch; torch.set_num_threads(1); a = torch.randn(500, 500)\nwhile True: a @ a"
WAYS = {"spinning": "ACTIVE", "passively": "PASSIVE"}


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Let so many processes compute until the block ends."""
    beside = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    time.sleep(5 if count else 0)  # until they have imported
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def seconds(arguments: list[str], place: Path, policy: str) -> float:
    """Run the command line; return how long it took."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    environment |= {"VAEBENCH_RUNS": str(place / "runs"), "VAEBENCH_CACHE": str(place / "cache")}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vaebench", *arguments], check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """One row a number of neighbours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, cores()])
    given = parser.parse_args()
    threads = str(cores())
    training = ["train", "vae-digits", "--steps", str(given.steps), "--precision", "fp32", "--threads", threads]
    evaluation = ["evaluate", "vae-digits", "--samples", str(given.samples), "--metrics", "blur,mse,ssim,nll,fcd"]
    print(f"{machine('cpu')}; {threads} threads, {given.rounds} rounds, the fastest of each; seconds\n")
    print(f"{'neighbours':>10} {'command':12} {'spinning':>9} {'passively':>10} {'ratio':>6}")
    for count in given.neighbours:
        fastest: dict[tuple[str, str], float] = {}
        with neighbours(count):
            for _ in range(given.rounds):
                for way, policy in WAYS.items():
                    with tempfile.TemporaryDirectory() as scratch:
                        place = Path(scratch)
                        for name, command in (("train", training), ("evaluate", evaluation)):
                            out = ["--out", str(place / "reports")] if name == "evaluate" else []
                            took = seconds([*command, *out], place, policy)
                            fastest[name, way] = min(took, fastest.get((name, way), took))
        for name in ("train", "evaluate"):
            spinning, passive = (fastest[name, way] for way in WAYS)
            print(f"{count:10} {name:12} {spinning:9.1f} {passive:10.1f} {spinning / passive:6.2f}", flush=True)


if __name__ == "__main__":
    main()
