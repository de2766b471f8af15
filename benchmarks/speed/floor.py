"""How near a training step and an evaluation come to what the machine allows: operations and bytes against ceilings.

    python benchmarks/speed/floor.py [--recipes vae-mnist ...] [--precision auto] [--steps 6] [--device auto]

For each recipe the floating-point operations and bytes of one training step, all phases with their repeats, counted by
running the model's own phases (counting.py says what counts); the floor, the longer of operations at the fastest rate
measured here and bytes at the bandwidth of a large copy; what a step of vaebench's trainer takes; and how many times
the floor that is. The same of measuring 10,000 samples: decoder and Inception-v3 to 2048 features, in float32, timed on
a few images. Then the paper's schedule of the DFC-VAE on CelebA. Each recipe in a process of its own, in turns with the
ceilings, the best of which counts. VGG-19 and Inception have random weights, which take as long; images are made up.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ceilings import bandwidth, fastest_rate, product_rate
from counting import count
from shared import Failed, answer, dataset, pictures, random_weights, trained
from torch.utils.flop_counter import FlopCounterMode

from vaebench.core.context import FeatureSpace
from vaebench.core.device import pick_device
from vaebench.core.machine import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.processes import cores
from vaebench.evaluation.features import Networks
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.training.compute import choose

RECIPES = [f"{model}-{data}" for data in ("mnist", "celeba") for model in ("vae", "dfcvae", "dcgan", "vaewgan")]
CEILINGS, EVALUATION = "ceilings", "evaluation of "
SAMPLES = 10_000
SCHEDULE = "dfcvae-celeba"
SCHEDULED = 202_599  # images an epoch: the paper trains on all of CelebA, for the recipe's 5 epochs
FULL = "fp32 in full"  # what evaluation runs in: without a GPU's TF32 units, which training may use

Numbers = dict[str, Any]


def ceilings(device: str) -> Numbers:
    """Operations a second by precision, the faster of products and convolutions; bytes a second."""
    torch.set_num_threads(cores())
    found = {precision: fastest_rate(device, precision) for precision in ("fp32", "bf16")}
    full = product_rate(device, "fp32", full=True) if device.startswith("cuda") else found["fp32"]
    return {**found, FULL: full, "bytes": bandwidth(device)}


def step(name: str, device: str, precision: str, steps: int) -> Numbers:
    """Counts of one training step, and the trainer's seconds for one."""
    recipe, _ = find_recipe(name)
    data = dataset(pictures(16 * recipe.batch_size, _shape(recipe.dataset)))
    compute = choose(device=device, precision=precision)
    torch.set_num_threads(compute.threads)
    cost = count(build_model(recipe, data.image_shape, 0), data.images[: recipe.batch_size], compute)
    seconds, _ = trained(recipe, data, compute, steps)
    return {
        "batch": recipe.batch_size,
        "operations": cost.operations,
        "weights": cost.weights,
        "bytes": cost.moved,
        "seconds": seconds,
        "precision": compute.precision,
    }


@torch.inference_mode()
def evaluation(name: str, device: str, images: int) -> Numbers:
    """Of decoding and taking to features so many images in the evaluator's way, scaled to 10,000."""
    keep_freed_memory()
    torch.set_num_threads(cores())
    recipe, _ = find_recipe(name)
    model = build_model(recipe, _shape(recipe.dataset), 0).to(device).eval()
    networks, space = Networks(device), FeatureSpace("inception", "2048")
    latents = torch.randn(images, model.latent_dim, device=device)

    def run() -> float:
        began = time.perf_counter()
        networks.extract(model.decode(latents), [space])[space].cpu()
        return time.perf_counter() - began

    with FlopCounterMode(display=False) as counter:  # opens the network and warms up, too
        run()
    weights = sum(part.nbytes for part in model.parameters())
    weights += sum(part.nbytes for stage in networks.network(space).stages.values() for part in stage.parameters())
    scale = SAMPLES / images
    found = {"batch": SAMPLES, "operations": scale * counter.get_total_flops(), "weights": weights, "bytes": weights}
    return {**found, "seconds": scale * min(run(), run()), "precision": FULL}


def _shape(name: str) -> tuple[int, int, int]:
    return (1, 28, 28) if name in ("mnist", "digits") else (3, 64, 64)


def floor(found: Numbers, limits: Numbers, precision: str = "") -> tuple[float, str]:
    """Seconds at the least, and which of the two ceilings says so."""
    arithmetic = found["operations"] / limits[precision or found["precision"]]
    memory = found["bytes"] / limits["bytes"]
    return (arithmetic, "arithmetic") if arithmetic >= memory else (memory, "memory")


def report(found: dict[str, Numbers], limits: Numbers) -> None:
    """One line a recipe and an evaluation, the paper's schedule, and the headline."""
    print(f"ceilings: {limits['fp32'] / 1e9:.0f} GFLOP/s in fp32 ({limits[FULL] / 1e9:.0f} without TF32), ", end="")
    print(f"{limits['bf16'] / 1e9:.0f} in bf16, {limits['bytes'] / 1e9:.1f} GB/s read and written\n")
    print(f"{'':18} {'batch':>5} {'precision':>9} {'GFLOP':>9} {'MB':>8} {'of weights':>10} ", end="")
    print(f"{'floor ms':>9} {'by':>10} {'measured ms':>12} {'times the floor':>15}")
    times: dict[str, float] = {}
    for name, part in found.items():
        if name.startswith(EVALUATION):
            continue
        seconds, bound = floor(part, limits)
        times[name] = part["seconds"] / seconds
        counts = f"{part['operations'] / 1e9:9.2f} {part['bytes'] / 1e6:8.1f} {part['weights'] / 1e6:10.1f}"
        print(f"{name:18} {part['batch']:5} {part['precision']:>9} {counts} {1e3 * seconds:9.2f} {bound:>10} ", end="")
        print(f"{1e3 * part['seconds']:12.2f} {times[name]:15.1f}")
    print()
    for name in [name for name in found if name.startswith(EVALUATION)]:
        part = found[name]
        seconds, _ = floor(part, limits)
        print(
            f"{name}, {SAMPLES:,} samples, decoder and Inception-v3 in fp32: {part['operations'] / 1e12:.1f} ", end=""
        )
        print(
            f"TFLOP, floor {seconds:.1f} s, measured {part['seconds']:.1f} s, {part['seconds'] / seconds:.1f} times it"
        )
    if SCHEDULE in found:
        schedule(found[SCHEDULE], limits)
    if times:
        steps = list(times.values())
        print(
            f"headline: a training step takes {min(steps):.1f} to {max(steps):.1f} times this machine's floor ", end=""
        )
        print(f"(median {statistics.median(steps):.1f} of {len(steps)} recipes)", flush=True)


def schedule(part: Numbers, limits: Numbers) -> None:
    """What the paper's training of the DFC-VAE comes to."""
    recipe, _ = find_recipe(SCHEDULE)
    steps = recipe.epochs * (SCHEDULED // recipe.batch_size)
    hours = {kind: steps * floor(part, limits, kind)[0] / 3600 for kind in ("fp32", "bf16")}
    print(
        f"\nDFC-VAE on CelebA as published, {recipe.epochs} epochs of {SCHEDULED:,} images, {steps:,} steps: ", end=""
    )
    print(f"{steps * part['operations'] / 1e15:.2f} PFLOP; at least {hours['fp32']:.2f} hours in fp32 and ", end="")
    print(f"{hours['bf16']:.2f} in bf16 at this machine's ceilings, {steps * part['seconds'] / 3600:.2f} as measured")


def main() -> None:
    """Ceilings, recipes and evaluations, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--steps", type=int, default=6, help="of the trainer, 3 or more; the first third is not timed")
    parser.add_argument("--images", type=int, default=32, help="of the evaluation, taken as one in 10,000 / so many")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = pick_device(given.device)
    if given.only:
        print(json.dumps(run_one(given.only, device, given)))
        return
    print(f"{machine(device)}; measured default: {choose(device=device)}")
    evaluations = [f"{EVALUATION}{name}" for name in given.recipes if name.startswith("vae-")]
    found: dict[str, Numbers] = {}
    limits: list[Numbers] = []
    with tempfile.TemporaryDirectory() as scratch:
        environment = random_weights(Path(scratch))
        arguments = ["--device", device, "--precision", given.precision, "--steps", given.steps]
        arguments += ["--images", given.images]
        for name in [CEILINGS, *given.recipes, CEILINGS, *evaluations, CEILINGS]:
            try:
                numbers = answer(__file__, "--only", name, *arguments, environment=environment)
            except Failed as error:
                print(f"{name}: left out ({error})", flush=True)
                continue
            if name == CEILINGS:
                limits.append(numbers)
            else:
                found[name] = numbers
    if not limits:
        sys.exit("the machine's ceilings could not be measured")
    report(found, {key: max(one[key] for one in limits) for key in limits[0]})


def run_one(name: str, device: str, given: argparse.Namespace) -> Numbers:
    """In a process of its own."""
    if name == CEILINGS:
        return ceilings(device)
    if name.startswith(EVALUATION):
        return evaluation(name.removeprefix(EVALUATION), device, given.images)
    return step(name, device, given.precision, given.steps)


if __name__ == "__main__":
    main()
