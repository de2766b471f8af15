"""A DFC-VAE's perceptual term on 64 x 64 images: the written-out distance against autograd's own, in one run.

    python benchmarks/speed/perceptual_loss.py [--rounds 5] [--threads 1]

VGG-19's shape to relu3_1 with random weights, batch 64: features of real images without gradient, of made ones with,
the three layers' distances, and the gradient by the made images. Both forms in turns; prints the median seconds, the
ratio, and how far the gradients are from each other.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from vaebench.core.machine import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.perceptual import Perceptual
from vaebench.core.processes import cores
from vaebench.models.losses import mean_squared_distance
from vaebench.training.compute import Compute, choose

LAYERS = ("relu1_2", "relu2_1", "relu3_1")


def network() -> Perceptual:
    """VGG-19 up to relu3_1, untrained."""
    torch.manual_seed(0)

    def convolution(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())

    stages = {
        "relu1_1": convolution(3, 64),
        "relu1_2": convolution(64, 64),
        "relu2_1": nn.Sequential(nn.MaxPool2d(2), convolution(64, 128)),
        "relu2_2": convolution(128, 128),
        "relu3_1": nn.Sequential(nn.MaxPool2d(2), convolution(128, 256)),
    }
    return Perceptual("random vgg19", stages, channels=3, sha256="")


def plain(made: Tensor, real: Tensor) -> Tensor:
    """The same distance as one writes it: autograd keeps its own."""
    return (real.float() - made.float()).square().flatten(1).mean(1)


def seconds(features: Perceptual, images: Tensor, distance, compute: Compute) -> tuple[float, Tensor]:
    """Of one term with its gradient, and that gradient."""
    made = images.roll(1, 0).requires_grad_()
    began = time.perf_counter()
    with compute.autocast():
        with torch.no_grad():
            wanted = features.features(images, LAYERS)
        pairs = zip(features.features(made, LAYERS), wanted, strict=True)
        loss = torch.stack([distance(ours, theirs).mean() for ours, theirs in pairs]).sum()
    loss.backward()
    return time.perf_counter() - began, made.grad.float()


def main() -> None:
    """Time both forms in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    features = network()
    images = torch.rand(64, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    print(f"{machine('cpu')}; batch 64, {given.threads} threads, {given.rounds} rounds")
    for precision in ("fp32", "bf16"):
        compute = choose(device="cpu", precision=precision, threads=given.threads)
        times: dict[str, list[float]] = {"autograd's own": [], "written out": []}
        for _ in range(given.rounds + 1):
            first, expected = seconds(features, images, plain, compute)
            second, found = seconds(features, images, mean_squared_distance, compute)
            times["autograd's own"].append(first)
            times["written out"].append(second)
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        ratio = medians["autograd's own"] / medians["written out"]
        cosine = torch.nn.functional.cosine_similarity(expected.flatten(), found.flatten(), dim=0).item()
        shown = ", ".join(f"{name} {value:.3f} s" for name, value in medians.items())
        print(f"{precision}: {shown}, ratio {ratio:.2f}, cosine of gradients {cosine:.6f}")


if __name__ == "__main__":
    main()
