"""How the cost of training and of evaluation grows: with the number of images, and with their size.

    python benchmarks/speed/growth.py --out FOLDER [--sizes 1000 ... 200000] [--sides 32 64 128] [--steps 45]

The plain VAE of CelebA on made-up colour images, in a memory-mapped file as prepared datasets are, 64 x 64 for the
first, --fixed of them for the second. Training: a rate, from --steps steps of vaebench's trainer, and seconds an epoch
by that rate; the file is read through first, since an epoch would. Evaluation: Frechet distance (of samples and of
reconstructions, in the features of the shipped toyfaces_cnn), blur and squared error of all the images and as many
samples, caches empty. Peak memory is the process's largest resident, mapped pages among it; on a GPU its tensors'.
Each point in a process of its own. Writes growth.csv and growth.png into FOLDER (growth_figure.py draws).
"""

import argparse
import csv
import io
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from growth_figure import KINDS, Point, draw, slopes
from shared import DISTINCT, Failed, answer, dataset, pictures, trained
from torch import Tensor

from vaebench.core.device import pick_device
from vaebench.core.files import write_text
from vaebench.core.machine import machine
from vaebench.core.memory import forget_peak_memory, keep_freed_memory, peak_memory
from vaebench.core.processes import cores
from vaebench.evaluation import evaluator, model_source
from vaebench.evaluation.features import Networks
from vaebench.evaluation.source import Identity
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import fidelity, reconstruction, sharpness
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.runs.trained_model import TrainedModel
from vaebench.training.compute import choose

RECIPE, SPACE = "vae-celeba", "toyfaces_cnn/conv4"
SIZES, SIDES, FIXED, USUAL = [1_000, 3_000, 10_000, 30_000, 100_000, 200_000], [32, 64, 128], 3_000, 64
MIB = 2**20


def write_images(path: Path, n: int, side: int) -> None:
    """``n`` images one after another, as :mod:`vaebench.datasets.image_cache` lays them."""
    block = pictures(DISTINCT, (3, side, side)).numpy()
    with path.open("wb") as out:
        for start in range(0, n, DISTINCT):
            out.write(block[: n - start].tobytes())


def mapped(path: Path, n: int, side: int) -> Tensor:
    """The first ``n`` of them."""
    flat = torch.from_file(str(path), shared=False, size=n * 3 * side * side, dtype=torch.uint8)
    return flat.view(n, 3, side, side)


def training(images: Tensor, device: str, steps: int) -> Point:
    """Seconds an epoch by the rate of some steps."""
    recipe, _ = find_recipe(RECIPE)
    for part in images.split(DISTINCT):
        part.max()
    seconds, peak = trained(recipe, dataset(images), choose(device=device), steps)
    epoch = seconds * (len(images) // recipe.batch_size)
    return Point("training", len(images), images.shape[-1], epoch, peak / MIB, f"rate of {steps} steps")


def measuring(images: Tensor, device: str) -> Point:
    """Seconds of a whole evaluation of an untrained model, real images' features included."""
    keep_freed_memory()
    torch.set_num_threads(cores())
    recipe, _ = find_recipe(RECIPE)
    data, networks = dataset(images, "test"), Networks(device)
    model = build_model(recipe, data.image_shape, 0).to(device).eval()
    metrics = [*fidelity.fcd(SPACE), *sharpness.blur(), *reconstruction.mse()]
    forget_peak_memory(device)
    began = time.perf_counter()
    context = SplitContext(data, None, networks).context()
    identity = Identity("made", device=str(device))
    wrapped = TrainedModel(model, data.image_shape)
    subject = model_source.of_model(wrapped, data, samples=len(data), seed=0, context=context, identity=identity)
    refused = [score.note for _, score in evaluator.measure(metrics, subject, networks) if score.value is None]
    assert not refused, refused
    seconds = time.perf_counter() - began
    return Point("evaluation", len(images), images.shape[-1], seconds, peak_memory(device) / MIB, "whole")


def measured(kind: str, n: int, side: int, path: Path, given: argparse.Namespace, device: str) -> Point:
    """One point, in a process of its own with an empty cache."""
    arguments = ["--only", kind, "--sizes", n, "--sides", side, "--file", path, "--out", given.out]
    arguments += ["--steps", given.steps, "--device", device]
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        # what the machine is best at was measured once, before: it is no part of a training
        kept = {"VAEBENCH_CACHE": cache} if kind == "evaluation" else {}
        return Point(*answer(__file__, *arguments, environment=kept))


def points(given: argparse.Namespace, device: str) -> list[Point]:
    """All that can be had; what fails (for want of memory, say) is named and left out."""
    found: list[Point] = []
    wanted = {side: {given.fixed} for side in given.sides}
    wanted[USUAL] = wanted.get(USUAL, set()) | set(given.sizes)
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        for side, sizes in sorted(wanted.items()):
            needed, path = max(sizes) * 3 * side * side, Path(scratch) / f"{side}.uint8"
            if needed > shutil.disk_usage(scratch).free:
                print(f"{max(sizes):,} images of {side} x {side} need {needed / 1e9:.1f} GB: set --scratch")
                continue
            write_images(path, max(sizes), side)
            for n in sorted(sizes):
                for kind in KINDS:
                    try:
                        found.append(measured(kind, n, side, path, given, device))
                        print(found[-1].line(), flush=True)
                    except Failed as error:
                        print(f"{kind} of {n:,} images of {side} x {side}: left out ({error})", flush=True)
            path.unlink()
    return found


def as_csv(found: list[Point]) -> str:
    """A table with a line a point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows(found)
    return text.getvalue()


def main() -> None:
    """All points, the table and the figure; or in its own process one point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of images, a batch of 64 or more")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="pixels, multiples of 16")
    parser.add_argument("--fixed", type=int, default=FIXED, help="images where their size is what varies")
    parser.add_argument("--steps", type=int, default=45, help="of training, 3 or more; the first third is not timed")
    parser.add_argument("--scratch", help="folder for the images' file (2.5 GB for 200,000)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = pick_device(given.device)
    if given.only:
        images = mapped(given.file, given.sizes[0], given.sides[0])
        print(
            json.dumps(training(images, device, given.steps) if given.only == "training" else measuring(images, device))
        )
        return
    print(f"{machine(device)}; {RECIPE}, training at {choose(device=device)}")
    print(f"\n{'':10} {'images':>8} {'pixels':>9} {'seconds':>9} {'peak MiB':>9}   how")
    found = points(given, device)
    if not found:
        sys.exit("no point could be measured")
    write_text(given.out / "growth.csv", as_csv(found))
    draw(found, given.out / "growth.png", machine(device))
    print(f"headline: {slopes(found)}", flush=True)


if __name__ == "__main__":
    main()
