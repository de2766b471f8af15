"""Peak memory of measuring samples against real images: FID alone, and FID, KID, precision and recall.

    python benchmarks/speed/evaluate_memory.py [--images 2000 20000] [--threads 2]

Made-up grey images of 28 x 28, with their 784 pixels in place of Inception's features (layer 768 has about as many), so
that it takes minutes. Each row is a process of its own; its peak is the largest resident memory that the kernel saw
(VmHWM), once with the images made and everything imported, and once at the end. Real images' features start uncached.
Linux only.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from vaebench.core.context import PIXELS, FeatureSpace
from vaebench.core.dataset import ImageDataset
from vaebench.core.machine import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.metric import Metric, Need
from vaebench.core.processes import cores
from vaebench.evaluation import evaluator, image_sources
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import fidelity

ASKED = {"fid": ("fid",), "fid+kid+precision/recall": ("fid", "kid", "precision", "recall")}


def peak() -> float:
    """Largest resident memory of this process so far, MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def pictures(n: int, seed: int) -> Tensor:
    """uint8 (n, 1, 28, 28) noise."""
    return torch.randint(0, 256, (n, 1, 28, 28), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def metrics(names: tuple[str, ...]) -> list[Metric]:
    """Of samples, in the space of pixels."""
    fidelity.inception_space = lambda width: FeatureSpace(PIXELS)
    built = [metric for name in names for metric in getattr(fidelity, name)()]
    return [metric for metric in built if metric.spec.needs == Need.SAMPLE]


def run_one(name: str, n: int) -> None:
    """In a process of its own: measure, and print one line of JSON."""
    keep_freed_memory()
    real, made = pictures(n, 0), pictures(n, 1)
    data, networks = ImageDataset("made-up", "test", real, [str(row) for row in range(n)]), Networks()
    context = SplitContext(data, None, networks).context()
    subject = image_sources.of_images(made, data, kind=Need.SAMPLE, partners=None, context=context)
    before, began = peak(), time.perf_counter()
    scores = evaluator.measure(metrics(ASKED[name]), subject, networks)
    refused = [score.note for _, score in scores if score.value is None]
    assert not refused, refused
    print(json.dumps([before, peak(), time.perf_counter() - began]))


def main() -> None:
    """One process a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 20_000], help="real ones, and as many samples")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        torch.set_num_threads(given.threads)
        run_one(given.only, given.images[0])
        return
    print(f"{machine('cpu')}; 784 pixels as features, {given.threads} threads; MiB\n")
    print(f"{'':26} {'images':>8} {'at start':>9} {'peak':>8} {'more':>8} {'seconds':>8}")
    for name in ASKED:
        for n in given.images:
            command = [sys.executable, __file__, "--only", name, "--images", str(n), "--threads", str(given.threads)]
            with tempfile.TemporaryDirectory() as cache:
                environment = {**os.environ, "VAEBENCH_CACHE": cache}
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            before, after, seconds = json.loads(answer.stdout.splitlines()[-1])
            more = after - before
            print(f"{name:26} {n:8,} {before:9.0f} {after:8.0f} {more:8.0f} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
