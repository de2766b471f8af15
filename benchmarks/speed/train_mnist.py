"""Training speed of the 28 x 28 VAE: vaebench's trainer against a plain PyTorch DataLoader loop, in one run.

    python benchmarks/speed/train_mnist.py [--recipe vae-mnist] [--steps 300] [--rounds 5]

Both train the same model from the same weights at the article's batch size, in turns and each in a process of its
own, so that a machine whose speed drifts slows both. Prints the median images/s of each, the ratio to the plain loop,
and the share of the rate at which this machine multiplies matrices in that precision. Before timing, it shows on real
digits that losses and gradients agree with the plain loop's. Uses MNIST where VAEBENCH_DATA has it, else
scikit-learn's digits.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from vaebench.checkpoints import RunFolder
from vaebench.compute import Compute, choose, cores, machine, measured
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.model import Batch, Step
from vaebench.runs import build_model, find_recipe, load_split, open_dataset
from vaebench.training import Plan, train

FLOP = 135e6  # an image and training step of the 28 x 28 VAE: forward once, backward twice


def images(name: str) -> ImageDataset:
    """The recipe's training split, or digits where MNIST is not at hand."""
    try:
        return load_split(open_dataset(name), "train")
    except UserError as missing:
        print(f"{missing}; using digits")
        return load_split(open_dataset("digits"), "train")


def plain_loop(recipe, data: ImageDataset, steps: int) -> float:
    """What one writes without a toolkit: float images in a DataLoader, float32, torch's own defaults. Images/s."""
    torch.set_num_threads(cores())
    model = build_model(recipe, data.image_shape, 0).train()
    phase = model.phases()[0]
    optimizer = phase.optimizer(model.parameters())
    loader = DataLoader(
        TensorDataset(to_float(data.images)), batch_size=recipe.batch_size, shuffle=True, drop_last=True
    )
    generator = torch.Generator().manual_seed(0)
    done, began = 0, 0.0
    while True:
        for (batch,) in loader:
            if done == steps // 3:  # the first third warms up
                began = time.perf_counter()
            loss = sum(phase.loss(Batch(images=batch), Step(index=done, total=steps, generator=generator)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # the loss is looked at, as a progress bar does
            done += 1
            if done == steps:
                return (steps - steps // 3) * recipe.batch_size / (time.perf_counter() - began)


def vaebench_loop(recipe, data: ImageDataset, steps: int, compute: Compute) -> float:
    """The trainer as the command line runs it, checkpoint and log included. Images/s after the first third."""
    model = build_model(recipe, data.image_shape, 0)
    rows = []
    plan = Plan(seed=0, batch_size=recipe.batch_size, steps=steps, compute=compute, log_every=steps // 3)
    with tempfile.TemporaryDirectory() as scratch:
        train(model, data, plan, RunFolder(Path(scratch)), on_progress=rows.append, should_stop=lambda: False)
    return (rows[-1].step - rows[0].step) * recipe.batch_size / (rows[-1].seconds - rows[0].seconds)


def agreement(recipe, data: ImageDataset, compute: Compute) -> tuple[float, float, float]:
    """Losses of the plain path and of ``compute`` on one batch, and the cosine between their gradients."""
    losses, gradients = [], []
    for chosen in (replace(compute, precision="fp32", channels_last=False), compute):
        model = build_model(recipe, data.image_shape, 0).to(memory_format=chosen.memory_format).train()
        batch = to_float(data.images[:32]).contiguous(memory_format=chosen.memory_format)
        step = Step(index=0, total=1, generator=torch.Generator().manual_seed(0))
        with chosen.autocast():
            loss = sum(model.phases()[0].loss(Batch(images=batch), step).values())
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    return losses[0], losses[1], functional.cosine_similarity(*gradients, dim=0).item()


def matrix_rate(precision: str, threads: int, size: int = 1024) -> float:
    """Operations a second of a large matrix product in this precision."""
    torch.set_num_threads(threads)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(2, size, size).to(kind)
    seconds = []
    for _ in range(30):
        began = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds)


PLAIN = "plain DataLoader loop, fp32"


def candidates(compiled: bool) -> dict[str, Compute]:
    """What is timed beside the plain loop."""
    count = cores()
    found = {
        f"vaebench {precision}, {threads} threads": choose(precision=precision, threads=threads)
        for precision in ("fp32", "bf16")
        for threads in sorted({1, count}, reverse=True)
    }
    layout = choose(precision="bf16", threads=count, channels_last=False)
    found[f"vaebench bf16, {count} threads, contiguous"] = layout
    if compiled:
        found[f"vaebench bf16, {count} threads, compiled"] = choose(precision="bf16", threads=count, compile=True)
    return found


def timed(name: str, given: argparse.Namespace) -> float:
    """Images/s of one candidate, in a process of its own: what one changes of the process must not help the other."""
    command = [sys.executable, __file__, "--only", name, "--recipe", given.recipe, "--steps", str(given.steps)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="vae-mnist")
    parser.add_argument("--steps", type=int, default=300, help="per round, 3 or more")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="time torch.compile too (a minute to start)")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    recipe, _ = find_recipe(given.recipe)
    data = images(recipe.dataset)
    if given.only == PLAIN:
        print(plain_loop(recipe, data, given.steps))
        return
    if given.only:
        print(vaebench_loop(recipe, data, given.steps, candidates(compiled=True)[given.only]))
        return
    print(f"{machine('cpu')}; {given.recipe}, batch {recipe.batch_size}, {given.rounds} rounds of {given.steps} steps")
    print("measured default:", choose(), measured("cpu"))
    found = candidates(given.compile)
    for name, compute in found.items():
        plain, ours, cosine = agreement(recipe, data, compute)
        print(f"{name:40} loss {ours:.3f} (plain path {plain:.3f}), cosine of gradients {cosine:.6f}")
    rates: dict[str, list[float]] = {PLAIN: [], **{name: [] for name in found}}
    for _ in range(given.rounds):
        for name, values in rates.items():
            values.append(timed(name, given))
    report(rates, cores(), plain_vae="dfc" not in given.recipe)


def report(rates: dict[str, list[float]], count: int, *, plain_vae: bool) -> None:
    """One line a candidate: median rate, ratio to the plain loop round by round, share of the matrix rate."""
    peaks = {(kind, threads): matrix_rate(kind, threads) for kind in ("fp32", "bf16") for threads in {1, count}}
    plain = next(iter(rates.values()))
    print(f"\n{'':40} {'images/s':>9} {'ratio':>6} {'min':>6} {'max':>6}   share of the matrix-product rate")
    for name, values in rates.items():
        ratios = [value / base for value, base in zip(values, plain, strict=True)]
        kind, threads = ("bf16" if "bf16" in name else "fp32"), (1 if " 1 threads" in name else count)
        rate = statistics.median(values)
        share = (
            f"{rate * FLOP / peaks[kind, threads]:.0%} of {peaks[kind, threads] / 1e9:.0f} GFLOP/s" if plain_vae else ""
        )
        print(f"{name:40} {rate:9.0f} {statistics.median(ratios):6.2f} {min(ratios):6.2f} {max(ratios):6.2f}   {share}")


if __name__ == "__main__":
    main()
