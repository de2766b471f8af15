"""How far the Fréchet distance moves when Inception's convolutions are rounded to TF32.

    python benchmarks/speed/tf32.py [--dataset celeba] [--images 1000] [--device auto]

Two pairs of image sets: halves of the dataset's test images against each other (a small distance), and test images
against the same images blurred (a large one). Each at Inception's deepest layer at hand, in full float32 and with
products rounded. A GPU rounds itself; on a CPU the convolutions' inputs and weights are rounded to TF32's ten bits as
the GPU's units round them (to nearest, ties away from zero), which sums in float32 afterwards as they do. Prints both
distances and the relative difference, and the largest difference of a feature.
"""

import argparse
import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.core.dataset import to_float
from vaebench.core.device import pick_device, tf32
from vaebench.core.machine import machine
from vaebench.core.perceptual import Perceptual
from vaebench.evaluation.feature_extraction import ON_CPU, Extractor
from vaebench.metrics.functional import Moments, frechet_distance
from vaebench.perceptual.inception import inception
from vaebench.runs.recipes import open_dataset

BLUR = 3  # pixels of the box that the large distance's images are averaged over
TIES, KEPT = 0x1000, ~0x1FFF  # half of the last bit that is kept; the bits that are


def rounded(values: Tensor) -> Tensor:
    """Round float32 to TF32's ten bits behind the point, to nearest, ties away from zero."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + TIES) & KEPT).view(torch.float32)


def emulated(network: Perceptual) -> Perceptual:
    """Copy a network so that its convolutions round inputs and weights."""
    stages = copy.deepcopy(dict(network.stages))
    for stage in stages.values():
        for part in stage.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.data = rounded(part.weight.data)
                part.register_forward_pre_hook(lambda module, given: (rounded(given[0]),))
    return Perceptual(network.name, stages, channels=network.channels, sha256=network.sha256)


def blurred(images: Tensor) -> Tensor:
    """Average each pixel with its neighbours; images uint8."""
    soft = functional.avg_pool2d(images.float(), BLUR, stride=1, padding=BLUR // 2, count_include_pad=False)
    return soft.round().to(torch.uint8)


def features(network: Perceptual, images: Tensor, device: torch.device, allowed: bool) -> Tensor:
    """Features of uint8 images at the deepest layer, float64 on the CPU."""
    extractor = Extractor(device, allow_tf32=allowed)
    layer = network.layers[-1]
    with torch.inference_mode(), tf32(allowed):
        parts = [
            extractor._in_way(ON_CPU, network, to_float(part), [layer])[0].cpu() for part in images.split(ON_CPU.batch)
        ]
    return torch.cat(parts).double()


def _distance(one: Moments, other: Moments) -> float:
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def main() -> None:
    """Both distances of both pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="celeba")
    parser.add_argument("--images", type=int, default=1000, help="of each set")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = torch.device(pick_device(given.device))
    images = open_dataset(given.dataset).load("test").images[: 2 * given.images]
    half = len(images) // 2
    sets = {"first half": images[:half], "second half": images[half:], "first half, blurred": blurred(images[:half])}
    network = inception()
    on_gpu = device.type == "cuda"
    rounding = network if on_gpu else emulated(network)
    how = "TF32" if on_gpu else "TF32, emulated"
    print(f"{machine(str(device))}; {half} images a set of {given.dataset}, Inception to {network.layers[-1]}")
    found = {}
    for name, part in sets.items():
        full = features(network, part, device, allowed=False)
        other = features(rounding, part, device, allowed=on_gpu)
        apart = (full - other).abs().max() / full.abs().max()
        found[name] = full, other
        print(f"{name}: a feature differs by {apart:.1e} of the largest at most", flush=True)
    moments = {name: [Moments.of(part) for part in ways] for name, ways in found.items()}
    for other_set in ("second half", "first half, blurred"):
        full, other = (_distance(moments["first half"][way], moments[other_set][way]) for way in (0, 1))
        print(f"first half against {other_set}: fp32 {full:.6f}, {how} {other:.6f}, apart {abs(other / full - 1):.1e}")


if __name__ == "__main__":
    main()
