"""FID, KID, precision and recall of four sets of samples against one real set: vaebench and its peers, in one run.

    python benchmarks/speed/evaluate.py [--images 512] [--rounds 2] [--layer 768] [--threads 2]

Peers: torch-fidelity, called once a set as its manual shows, and again with its cache switched on for the real images;
pytorch-fid and clean-fid (FID alone), called once a set, and again with what they have of the real images kept,
against vaebench's FID alone. All run Inception-v3 to the same layer with the same weights, those found through
VAEBENCH_WEIGHTS or random ones, which take as long. Images are made up, 64 x 64 RGB; pytorch-fid and clean-fid read
them from PNG files, which are their only input. Each in a process of its own, in turns, caches empty; timed from
opening the network to the last value, imports left out. Prints median seconds, processor seconds (which a busy machine
moves less), the ratios to vaebench round by round, and the values, so that one sees that all answer the same.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import torch
from evaluation_peers import (
    MISSING,
    SETS,
    SUBSETS,
    WEIGHTS,
    Values,
    clean_fid_values,
    pytorch_fid_values,
    torch_fidelity_values,
)
from PIL import Image
from safetensors.torch import save_file
from shared import answer, in_turns, inception_shapes, random_inception, versions
from torch import Tensor

from vaebench.core.dataset import ImageDataset
from vaebench.core.machine import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.metric import Need
from vaebench.core.processes import cores
from vaebench.evaluation import evaluator, image_sources
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import fidelity
from vaebench.perceptual.inception import EPSILON, PUBLISHED, STORED, TO_768
from vaebench.perceptual.weight_files import find_weights, read_tensors

Answer = tuple[float, float, list[dict[str, float]]]


def pictures(n: int, number: int) -> Tensor:
    """uint8 (n, 3, 64, 64): smooth blots and some noise; every set has contrast and noise of its own."""
    draw = torch.Generator().manual_seed(number)
    coarse = torch.rand(n, 3, 6, 6, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic", align_corners=False)
    noise = torch.randn(n, 3, 64, 64, generator=draw)
    return (255 * (smooth * (1 - 0.05 * number) + 0.02 * number * noise).clamp(0, 1)).to(torch.uint8)


def torch_fidelity_weights() -> tuple[dict[str, Tensor], str]:
    """State dict under torch-fidelity's names, and where it is from. What a file to 768 lacks is 0 and is never run."""
    path = find_weights(STORED, PUBLISHED, TO_768)
    if path is None:
        return random_inception(), "random weights: none in VAEBENCH_WEIGHTS (the time is the same)"
    blank, tensors = inception_shapes(), read_tensors(path, PUBLISHED)
    state = {name: tensors.get(name, torch.zeros(part.shape, dtype=part.dtype)) for name, part in blank.items()}
    for name in {key.rpartition(".")[0] for key in tensors if f"{key.rpartition('.')[0]}.conv.weight" in blank}:
        bias = tensors[f"{name}.bias"]
        state[f"{name}.conv.weight"], state[f"{name}.bn.bias"] = tensors[f"{name}.weight"], bias
        state[f"{name}.bn.weight"] = torch.ones_like(bias)
        state[f"{name}.bn.running_var"] = torch.full_like(bias, 1 - EPSILON)
    return state, path.name


def vaebench_values(n: int, layer: int, scratch: Path, names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """One network, the real images through it once, samples through it as they come."""
    keep_freed_memory()
    real, networks = pictures(n, 0), Networks()
    data = ImageDataset("made-up", "test", real, [str(row) for row in range(n)])
    context = SplitContext(data, None, networks).context()
    for number in range(1, SETS + 1):
        built = [
            *fidelity.fid(inception=layer),
            *fidelity.kid(inception=layer, subsets=SUBSETS),
            *fidelity.precision(inception=layer),
            *fidelity.recall(inception=layer),
        ]
        metrics = [metric for metric in built if metric.spec.needs == Need.SAMPLE and metric.spec.name in names]
        subject = image_sources.of_images(pictures(n, number), data, kind=Need.SAMPLE, partners=None, context=context)
        yield {metric.spec.name: score.value or 0.0 for metric, score in evaluator.measure(metrics, subject, networks)}


ALL, FID = ("fid", "kid", "precision", "recall"), ("fid",)
OURS, OURS_FID = "vaebench", "vaebench, FID alone"
CANDIDATES: dict[str, Callable[[int, int, Path], Values]] = {
    OURS: partial(vaebench_values, names=ALL),
    "torch-fidelity": partial(torch_fidelity_values, pictures=pictures, cached=False),
    "torch-fidelity, real images cached": partial(torch_fidelity_values, pictures=pictures, cached=True),
    OURS_FID: partial(vaebench_values, names=FID),
    "pytorch-fid": lambda _, layer, scratch: pytorch_fid_values(layer, scratch, saved=False),
    "pytorch-fid, real statistics saved": lambda _, layer, scratch: pytorch_fid_values(layer, scratch, saved=True),
    "clean-fid": lambda _, layer, scratch: clean_fid_values(layer, scratch, kept=False),
    "clean-fid, real features kept": lambda _, layer, scratch: clean_fid_values(layer, scratch, kept=True),
}


def prepare(scratch: Path, n: int) -> str:
    """Weights in both forms, and the images as files; where the weights are from."""
    state, origin = torch_fidelity_weights()
    torch.save(state, scratch / WEIGHTS)
    if origin.startswith("random"):
        (scratch / "weights").mkdir()
        save_file(state, scratch / "weights" / STORED)
        os.environ["VAEBENCH_WEIGHTS"] = str(scratch / "weights")
    for number in range(SETS + 1):
        (scratch / str(number)).mkdir()
        for row, image in enumerate(pictures(n, number)):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(scratch / str(number) / f"{row:05d}.png")
    return origin


def timed(name: str, given: argparse.Namespace, scratch: Path) -> Answer:
    """Seconds, processor seconds and values of one candidate, in a process of its own with an empty cache."""
    with tempfile.TemporaryDirectory(dir=scratch) as empty:
        for part in (WEIGHTS, *(str(number) for number in range(SETS + 1))):
            (Path(empty) / part).symlink_to(scratch / part)
        arguments = ["--only", name, "--scratch", empty, "--images", given.images]
        arguments += ["--layer", given.layer, "--threads", given.threads]
        seconds, busy, values = answer(__file__, *arguments, environment={"VAEBENCH_CACHE": f"{empty}/cache"})
    return seconds, busy, values


def run_one(given: argparse.Namespace) -> None:
    """In the candidate's process: time it, and print one line of JSON."""
    torch.set_num_threads(given.threads)
    began, busy = time.perf_counter(), processor_seconds()
    with redirect_stdout(sys.stderr):
        values = list(CANDIDATES[given.only](given.images, given.layer, Path(given.scratch)))
    print(json.dumps([time.perf_counter() - began, processor_seconds() - busy, values]))


def processor_seconds() -> float:
    """Of this process and of the loaders it started and has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main() -> None:
    """Time all candidates in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="in each set, 4 or more; a few thousand take hours")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layer", type=int, default=768, choices=(64, 192, 768, 2048))
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        run_one(given)
        return
    names = [name for name in CANDIDATES if name.partition(",")[0] not in MISSING]
    with tempfile.TemporaryDirectory() as scratch:
        origin = prepare(Path(scratch), given.images)
        print(f"{machine('cpu')}; {versions('torch-fidelity', 'pytorch-fid', 'clean-fid')}; ", end="")
        print(f"{given.threads} threads, {given.rounds} rounds")
        print(f"{SETS} sets of {given.images} images and {given.images} real ones, layer {given.layer}, {origin}")
        print(*MISSING.values(), sep="\n", end="\n" if MISSING else "", flush=True)
        runs = in_turns(
            names,
            given.rounds,
            lambda name: timed(name, given, Path(scratch)),
            lambda found: f"{found[0]:.1f} s, processor {found[1]:.1f} s",
        )
    report(runs)


def report(runs: dict[str, list[Answer]]) -> None:
    """One line a candidate: median seconds, ratios to vaebench's same task round by round, values of the first set."""
    print(f"\n{'':36} {'seconds':>8} {'ratio':>6} {'min':>6} {'max':>6} {'processor s':>12} {'ratio':>6}   first set")
    said = []
    for name, answers in runs.items():
        values = answers[0][2][0]
        ours = OURS if len(values) == len(ALL) else OURS_FID
        base = runs.get(ours, answers)
        elapsed, busy = ([one[part] / other[part] for one, other in zip(answers, base, strict=True)] for part in (0, 1))
        seconds, used = (statistics.median(answer[part] for answer in answers) for part in (0, 1))
        shown = ", ".join(f"{metric} {value:.6g}" for metric, value in values.items())
        ratio = statistics.median(elapsed)
        print(
            f"{name:36} {seconds:8.1f} {ratio:6.2f} {min(elapsed):6.2f} {max(elapsed):6.2f} "
            f"{used:12.1f} {statistics.median(busy):6.2f}   {shown}"
        )
        if name not in (OURS, OURS_FID):
            said.append(f"{name} {ratio:.1f}")
    print(f"headline: times vaebench's time for the same: {'; '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
