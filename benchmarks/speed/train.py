"""Training speed: vaebench's trainer against pythae's and against plain PyTorch DataLoader loops, in one run.

    python benchmarks/speed/train.py [--case vae-mnist vae-celeba dcgan-celeba] [--rounds 5] [--device auto] [--compile]
        [--beside TREE [--alone]]

Same networks, first weights, batch, loss (Bernoulli likelihood summed over pixels and KL) and kind of optimiser; images
are made up. The peers run in float32 on all threads, as they do by default: pythae's BaseTrainer (pip install --no-deps
pythae cloudpickle pydantic), a DataLoader loop as one writes it, and for the GAN, which pythae has not, the loop of
PyTorch's DCGAN example. Candidates take turns, each in a process of its own. Timed are training steps after the first
third: no setting up, no evaluation, no checkpoints on any side. Before, it shows that losses and gradients agree with
the written-out ones. Prints median images/s, ratios round by round, and the share of the rate that this machine's
fastest arithmetic would allow in that precision and on as many threads (operations counted, see counting.py). --steps
sets the steps of every case. With --beside another source tree's trainer takes turns with this one at the measured
default, such as an earlier version's (git worktree add ../before REVISION). The case dfcvae-celeba, which has no peer,
is for that; its VGG-19 has random weights.
"""

import argparse
import importlib
import json
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from ceilings import fastest_rate
from counting import count
from shared import answer, dataset, in_turns, installed, pictures, random_weights, trained, versions
from torch import Tensor
from torch.nn import functional
from train_peers import plain_loop, plain_loss

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.device import pick_device
from vaebench.core.machine import machine
from vaebench.core.model import Batch, Step, trained_modules
from vaebench.core.processes import cores
from vaebench.core.recipe import Recipe
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.training.acceleration import compile_modules
from vaebench.training.compute import Compute, choose

PLAIN, PYTHAE, DEFAULT = "plain DataLoader loop, fp32", "pythae's trainer, fp32", "vaebench, measured default"
SHAPES = {"mnist": (1, 28, 28), "celeba": (3, 64, 64)}
IMAGES = {"mnist": 16_384, "celeba": 4_096}  # whole batches, and small enough for the peers' copies in float32
STEPS = {
    "cpu": {"vae-mnist": 240, "vae-celeba": 45, "dcgan-celeba": 18, "dfcvae-celeba": 15},
    "cuda": {"vae-mnist": 3000},
}
ALONE = "dfcvae-celeba"  # has no peer
BESIDE = "the other tree, measured default"
STEPS_CUDA = 900  # of the other cases on a GPU
Peaks = dict[tuple[str, int], float]  # by precision and threads
DISTINGUISHED = 8  # images are enough to count a step's operations, which are proportional to them


def candidates(device: str, compiled: bool) -> dict[str, Compute]:
    """vaebench's, by name."""
    on_gpu = device.startswith("cuda")
    counts = [cores()] if on_gpu else sorted({1, cores()}, reverse=True)
    found = {
        f"vaebench {precision}" + ("" if on_gpu else f", {threads} threads"): choose(
            device=device, precision=precision, threads=threads
        )
        for precision in ("fp32", "bf16")
        for threads in counts
    }
    found[DEFAULT] = choose(device=device)
    if on_gpu:
        found[f"{DEFAULT}, CUDA graphs"] = choose(device=device, cuda_graphs=True)
    if compiled:
        found[f"{DEFAULT}, compiled"] = choose(device=device, compile=True)
    return found


def peers(case: str) -> list[str]:
    """The first is what ratios are to."""
    if case == ALONE:
        return []
    return [PLAIN, PYTHAE] if case.startswith("vae") and installed("pythae") else [PLAIN]


def opened(case: str) -> tuple[Recipe, ImageDataset]:
    """The recipe, and made-up images of its dataset's shape."""
    recipe, _ = find_recipe(case)
    return recipe, dataset(pictures(IMAGES[recipe.dataset], SHAPES[recipe.dataset]))


def seconds_a_step(name: str, case: str, device: str, steps: int) -> float:
    """Of one candidate, in its own process."""
    recipe, data = opened(case)
    if name not in (PLAIN, PYTHAE):
        compute = choose(device=device) if name == BESIDE else candidates(device, compiled=True)[name]
        return trained(recipe, data, compute, steps)[0]
    torch.set_num_threads(cores())
    loop = plain_loop if name == PLAIN else importlib.import_module("pythae_trainer").pythae_loop
    return loop(recipe, data, steps, device)


def loss_and_gradient(recipe: Recipe, images: Tensor, number: int, way: Compute | str) -> tuple[float, Tensor]:
    """Of a phase on a batch of uint8 images: vaebench's at a Compute, written out, or pythae's."""
    compute = way if isinstance(way, Compute) else choose(device=str(images.device), precision="fp32", threads=1)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    model = build_model(recipe, shape, 0).to(compute.device).train().requires_grad_(False)
    phase = model.phases()[number]
    parameters = [part for module in phase.modules for part in module.requires_grad_(True).parameters()]
    generator = torch.Generator(compute.device).manual_seed(0)
    batch = to_float(images)
    if isinstance(way, Compute):
        model.to(memory_format=compute.memory_format)
        if compute.compile:
            compile_modules(trained_modules(model, model.phases()), model.phases())
        batch = batch.contiguous(memory_format=compute.memory_format)
        with compute.autocast():
            terms = phase.loss(Batch(images=batch), Step(index=0, total=1, generator=generator))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
    elif way == PYTHAE:
        loss = importlib.import_module("pythae_trainer").loss_of(model, batch, seed=0)
    else:
        loss = plain_loss(model, phase.name, batch, generator)
    loss.backward()
    return loss.item(), torch.cat([part.grad.flatten().double() for part in parameters if part.grad is not None])


def show_agreement(case: str, device: str, found: dict[str, Compute]) -> None:
    """One line a candidate and phase."""
    if not peers(case):
        return
    recipe, data = opened(case)
    images = data.images[: recipe.batch_size].to(device)
    # a CUDA graph replays what is shown here; it is no way to compute a loss of its own
    ours = {name: compute for name, compute in found.items() if not compute.cuda_graphs}
    ways: dict[str, Compute | str] = {**{name: name for name in peers(case)[1:]}, **ours}
    for number, phase in enumerate(build_model(recipe, data.image_shape, 0).phases()):
        expected, gradient = loss_and_gradient(recipe, images, number, PLAIN)
        for name, way in ways.items():
            value, other = loss_and_gradient(recipe, images, number, way)
            cosine = functional.cosine_similarity(gradient, other, dim=0).item()
            shown = f"{name:38} {phase.name:13} loss {value:.4f} (plain loop's {expected:.4f})"
            print(f"{shown}, cosine of gradients {cosine:.6f}", flush=True)


def compare(case: str, given: argparse.Namespace, device: str, peaks: Peaks, weights: dict[str, str]) -> None:
    """All candidates of one case in turns; before and after, what the machine can do."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    steps = given.steps or STEPS[kind].get(case, STEPS_CUDA)
    recipe, data = opened(case)
    found = candidates(device, given.compile)
    print(f"\n{case}: batch {recipe.batch_size} of {data.image_shape}, {given.rounds} rounds of {steps} steps")
    if not given.alone:
        show_agreement(case, device, found)

    def measure(name: str) -> float:
        wanted = ["--only", name, "--case", case, "--device", device, "--steps", steps]
        tree = {"PYTHONPATH": str(given.beside.resolve())} if name == BESIDE else {}
        return recipe.batch_size / float(answer(__file__, *wanted, environment={**weights, **tree}))

    look_for_peaks(found, peaks)
    beside = [BESIDE] if given.beside else []
    names = [DEFAULT] if given.alone else [*peers(case), *found]
    rates = in_turns([*names, *beside], given.rounds, measure, lambda rate: f"{rate:.0f} images/s")
    look_for_peaks(found, peaks)
    few = data.images[:DISTINGUISHED]
    model = build_model(recipe, data.image_shape, 0)
    operations = count(model, few, choose(device=device, precision="fp32", threads=1)).operations / len(few)
    report(case, rates, found, {setting: peak / operations for setting, peak in peaks.items()})


def look_for_peaks(found: dict[str, Compute], peaks: Peaks) -> None:
    """The fastest arithmetic of each precision and thread count; the most that was ever seen is the ceiling."""
    for precision, threads, device in {(one.precision, one.threads, one.device) for one in found.values()}:
        torch.set_num_threads(threads)
        seen = fastest_rate(device, precision)
        peaks[precision, threads] = max(seen, peaks.get((precision, threads), 0.0))


def report(case: str, rates: dict[str, list[float]], found: dict[str, Compute], ceilings: Peaks) -> None:
    """One line a candidate: median rate, ratios to the peers round by round, share of the fastest arithmetic."""
    print(
        f"\n{'':38} {'images/s':>9} {'to plain':>9} {'min':>6} {'max':>6} {'to pythae':>10}   of what arithmetic allows"
    )
    for name, values in rates.items():
        peers_own = replace(found[DEFAULT], precision="fp32", threads=cores())
        compute = found[DEFAULT] if name == BESIDE else found.get(name, peers_own)
        ceiling = ceilings[compute.precision, compute.threads]
        rate, plain, pythae = statistics.median(values), ratios(rates, name, PLAIN), ratios(rates, name, PYTHAE)
        shown = f"{statistics.median(plain):9.2f} {min(plain):6.2f} {max(plain):6.2f}" if plain else " " * 23
        beside = f"{statistics.median(pythae):10.2f}" if pythae else f"{'':10}"
        share = f"{rate / ceiling:.0%} of {ceiling:.0f} images/s"
        print(f"{name:38} {rate:9.0f} {shown} {beside}   {share}")
    headline(case, rates)
    if BESIDE in rates:
        found_ratios = ratios(rates, DEFAULT, BESIDE)
        shown = f"{statistics.median(found_ratios):.2f} times ({min(found_ratios):.2f} to {max(found_ratios):.2f})"
        print(f"headline: {case}: vaebench trains {shown} as fast as in the other tree", flush=True)


def ratios(rates: dict[str, list[float]], name: str, peer: str) -> list[float]:
    """Of one candidate's rate to another's, round by round; none where either failed."""
    if name not in rates or peer not in rates:
        return []
    return [one / other for one, other in zip(rates[name], rates[peer], strict=True)]


def headline(case: str, rates: dict[str, list[float]]) -> None:
    """Against each peer: the default, and at the peers' own precision and threads."""
    alike = next((name for name in rates if name.startswith("vaebench fp32")), "")
    parts = []
    for name, said in ((DEFAULT, "at its measured default"), (alike, "in fp32 on as many threads")):
        against = [
            f"{statistics.median(found):.2f} times as fast as {called}"
            for peer, called in ((PYTHAE, "pythae's trainer"), (PLAIN, "the plain loop"))
            if (found := ratios(rates, name, peer))
        ]
        if against:
            parts.append(f"{said} {' and '.join(against)}")
    print(f"headline: {case}: vaebench trains {'; '.join(parts)}", flush=True)


def main() -> None:
    """All cases, or in a candidate's process that one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", nargs="+", default=[case for case in STEPS["cpu"] if case != ALONE], choices=list(STEPS["cpu"])
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="a round, 3 or more; default: some seconds' worth")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too (a minute to start)")
    parser.add_argument("--beside", type=Path, metavar="TREE", help="another source tree of vaebench")
    parser.add_argument("--alone", action="store_true", help="vaebench's measured default, and nothing but --beside")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.steps is not None and given.steps < 3:
        parser.error("--steps must be 3 or more: the first third is not timed")
    device = pick_device(given.device)
    if given.only:
        print(json.dumps(seconds_a_step(given.only, given.case[0], device, given.steps)))
        return
    print(f"{machine(device)}; {versions('pythae')}")
    if not installed("pythae"):
        print("pythae is missing and left out: pip install --no-deps pythae cloudpickle pydantic")
    print("measured default:", choose(device=device))
    peaks: Peaks = {}
    with tempfile.TemporaryDirectory() as scratch:
        weights = random_weights(Path(scratch))
        os.environ.update(weights)
        for case in given.case:
            compare(case, given, device, peaks, weights)


if __name__ == "__main__":
    main()
