"""Feature extraction against the bare network: images/s of Inception alone, of extraction, and of a whole evaluation.

    python benchmarks/speed/extraction.py [--images 1024] [--rounds 3] [--layer 768] [--recipe dcgan-celeba]
                                          [--threads 2] [--device cpu]

The bare network gets ready 299 x 299 float images on the device, in the batch and memory layout that are fastest here
(looked for first). Extraction is ``Networks.extract`` of 64 x 64 float images: checks, rounding to 8 bits, resizing,
the network. The evaluation is ``vaebench.evaluation.evaluator.measure`` of FID: a recipe's decoder makes the images,
they are extracted, and the Fréchet distance and its error are computed; the real images' features are at hand, as in
every evaluation but the first. The decoder alone is timed, too: on a CPU its work comes on top of the network's. All
take turns in every round, the first two every 64 images, so that a busy machine slows them alike. Weights are those
found through VAEBENCH_WEIGHTS, or random ones, which take as long. Prints median images/s, processor milliseconds an
image (which a busy machine moves less), and ratios to the bare network round by round."""

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from shared import dataset, pictures, random_weights
from torch import Tensor, nn

from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.distributed import ALONE
from vaebench.core.machine import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.metric import Need
from vaebench.core.processes import cores
from vaebench.evaluation import evaluator, model_source
from vaebench.evaluation.features import Networks
from vaebench.evaluation.source import EvaluationSource, Identity
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import fidelity
from vaebench.perceptual.inception import PUBLISHED, STORED, TO_768
from vaebench.perceptual.weight_files import find_weights
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.runs.trained_model import TrainedModel

BARE, EXTRACTION, EVALUATION, DECODER = "bare network", "extraction", "evaluation, FID", "decoder alone"
TURN = 64  # images
REAL = 64  # real images; how many there are does not matter to what is timed
BATCHES = {"cpu": (4, 8, 16, 32), "cuda": (32, 64, 128, 256)}
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
Work = Callable[[], object]


class Bare(nn.Module):
    """The network without the resizing: 299 x 299 images in [-1, 1) -> means over positions (n, d)."""

    def __init__(self, networks: Networks, space: FeatureSpace) -> None:
        super().__init__()
        stages = dict(networks.network(space).stages)
        first = next(iter(stages))
        (self.prepare, bare), wanted = stages[first], list(stages).index(space.layer)
        # a copy: the layout of its weights is tried out
        self.stages = copy.deepcopy(nn.ModuleList([bare, *list(stages.values())[1 : wanted + 1]])).to(networks.device)

    @torch.inference_mode()
    def over(self, images: Tensor, batch: int) -> Tensor:
        """All images, a batch at a time."""
        return torch.cat([self(part) for part in images.split(batch)])

    def forward(self, images: Tensor) -> Tensor:
        for stage in self.stages:
            images = stage(images)
        return images.flatten(2).mean(2)


def timed(work: Work, device: torch.device) -> tuple[float, float]:
    """Seconds and processor seconds."""
    began, busy = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, time.process_time() - busy


def fastest(bare: Bare, ready: Tensor) -> tuple[int, str]:
    """The batch and layout in which the bare network takes least, of three tries of each; it is left in that layout.

    On a CPU by processor time: other programs would else choose.
    """
    device, found = ready.device, {}
    by = 1 if device.type == "cpu" else 0
    for name, layout in LAYOUTS.items():
        bare.to(memory_format=layout)
        for batch in BATCHES[device.type]:
            images = ready[: max(64, batch)].contiguous(memory_format=layout)
            bare.over(images[:batch], batch)
            work = partial(bare.over, images, batch)
            found[batch, name] = min(timed(work, device)[by] for _ in range(3)) / len(images)
    batch, name = min(found, key=found.__getitem__)
    bare.to(memory_format=LAYOUTS[name])
    return batch, name


def evaluated(given: argparse.Namespace, networks: Networks, context: Context, data: ImageDataset) -> dict[str, Work]:
    """A whole evaluation of a recipe's decoder, made anew for each round, and the decoder's part of it."""
    model = build_model(find_recipe(given.recipe)[0], data.image_shape, 0).to(networks.device).eval()
    model.to(memory_format=torch.channels_last)  # as a run is opened
    options = {"samples": given.images, "seed": 0, "identity": Identity("made", device=str(networks.device))}

    def made() -> EvaluationSource:
        return model_source.of_model(TrainedModel(model, data.image_shape), data, context=context, **options)

    def evaluate() -> None:
        metrics = [metric for metric in fidelity.fid(inception=given.layer) if metric.spec.needs == Need.SAMPLE]
        ((_, score),) = evaluator.measure(metrics, made(), networks)
        assert score.value is not None, score.note

    return {EVALUATION: evaluate, DECODER: lambda: [batch.sample for batch in made().batches(Need.SAMPLE, ALONE)]}


def main() -> None:
    """All in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layer", type=int, default=768, choices=(64, 192, 768, 2048))
    parser.add_argument("--recipe", default="dcgan-celeba", help="whose decoder makes the images, 64 x 64 RGB")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        path = find_weights(STORED, PUBLISHED, TO_768)
        os.environ |= {"VAEBENCH_CACHE": scratch} | ({} if path else random_weights(Path(scratch)))
        print(f"{machine(given.device)}; {given.images} images, layer {given.layer}, {given.threads} threads, ", end="")
        print(f"{given.rounds} rounds; {path.name if path else 'random weights'}, decoder of {given.recipe}")
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Time all, and print what came of it."""
    networks, space = Networks(given.device), fidelity.inception_space(given.layer)
    device, bare, data = networks.device, Bare(networks, space), dataset(pictures(REAL, (3, 64, 64)), "test")
    context = SplitContext(data, None, networks).context()
    assert len(context.reference(space, "test").features) == REAL  # at hand from here on
    images = to_float(pictures(given.images, (3, 64, 64), seed=1)).to(device)
    with torch.inference_mode():
        ready = torch.cat([bare.prepare(part) for part in images.split(64)])
    batch, layout = fastest(bare, ready)
    ready = ready.contiguous(memory_format=LAYOUTS[layout])
    print(f"the bare network is fastest {batch} images at a time, {layout}; extraction takes {networks.batch}\n")
    ways = evaluated(given, networks, context, data)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (BARE, EXTRACTION, *ways)}
    for _ in range(given.rounds):
        turns: dict[str, list[tuple[float, float]]] = {BARE: [], EXTRACTION: []}
        for part, ready_part in zip(images.split(TURN), ready.split(TURN), strict=True):
            turns[BARE].append(timed(partial(bare.over, ready_part, batch), device))
            turns[EXTRACTION].append(timed(partial(networks.extract, part, [space]), device))
        for name, answers in turns.items():
            found[name].append((sum(answer[0] for answer in answers), sum(answer[1] for answer in answers)))
        for name, work in ways.items():
            found[name].append(timed(work, device))
    report(found, given.images)


def report(found: dict[str, list[tuple[float, float]]], images: int) -> None:
    """A line a way; ratios are of images/s and of processor time to the bare network's, 1 being as fast."""
    ratios = f"{'ratio':>6} {'min':>6} {'max':>6}"
    print(f"{'':16} {'images/s':>9} {ratios} {'processor ms':>13} {ratios}")
    shares: dict[str, list[float]] = {}
    for name, answers in found.items():
        seconds, busy = (statistics.median(answer[part] for answer in answers) for part in (0, 1))
        shown = [f"{name:16} {images / seconds:9.1f}", f"{1000 * busy / images:13.2f}"]
        shares[name] = []
        for part in (0, 1):
            turns = [base[part] / one[part] for one, base in zip(answers, found[BARE], strict=True)]
            shares[name].append(100 * statistics.median(turns))
            shown[part] += f" {statistics.median(turns):6.3f} {min(turns):6.3f} {max(turns):6.3f}"
        print(*shown)
    parts = [f"{name} {shares[name][0]:.1f} % ({shares[name][1]:.1f} %)" for name in (EXTRACTION, EVALUATION)]
    print(f"headline: of the bare network's images/s (by processor time), {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
