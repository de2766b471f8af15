"""FID, KID, precision and recall of four sets of samples against one real set: vaebench and its peers, in one run.

    python benchmarks/speed/evaluate.py [--images 512] [--rounds 2] [--layer 768] [--threads 2]

Peers: torch-fidelity, called once a set as its manual shows, and again with its cache switched on for the real images;
pytorch-fid (FID alone; pip install pytorch-fid), called once a set, and again with the real images' statistics saved
first, against vaebench's FID alone. All run Inception-v3 to the same layer with the same weights, those found through
VAEBENCH_WEIGHTS or random ones, which take as long. Images are made up, 64 x 64 RGB; pytorch-fid reads them from PNG
files, which are its only input. Each in a process of its own, in turns, caches empty; timed from opening the network
to the last value, imports left out. Prints median seconds, processor seconds (which a busy machine moves less), the
ratios to vaebench round by round, and the values, so that one sees that all answer the same.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Extractor

from vaebench import evaluation, subjects
from vaebench.compute import cores, keep_freed_memory, machine
from vaebench.core.dataset import ImageDataset
from vaebench.core.metric import Need
from vaebench.core.weight_files import find_weights, read_tensors
from vaebench.features import Networks
from vaebench.metrics import fidelity
from vaebench.perceptual.inception import EPSILON, PUBLISHED, STORED, TO_768
from vaebench.surroundings import Surroundings

try:
    from pytorch_fid import fid_score, inception
except ImportError:
    sys.exit("pytorch-fid is not installed: pip install --no-deps pytorch-fid")

Answer = tuple[float, float, list[dict[str, float]]]
SETS = 4
SUBSETS = 100  # of the kernel distance, both tools' default; of 1,000 images or as many as there are


def pictures(n: int, number: int) -> Tensor:
    """uint8 (n, 3, 64, 64): smooth blots and some noise; every set has contrast and noise of its own."""
    draw = torch.Generator().manual_seed(number)
    coarse = torch.rand(n, 3, 6, 6, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic", align_corners=False)
    noise = torch.randn(n, 3, 64, 64, generator=draw)
    return (255 * (smooth * (1 - 0.05 * number) + 0.02 * number * noise).clamp(0, 1)).to(torch.uint8)


def torch_fidelity_weights() -> tuple[dict[str, Tensor], str]:
    """State dict under torch-fidelity's names, and where it is from. What a file to 768 lacks is 0 and is never run."""
    with patch.object(Extractor, "load_state_dict"), patch.object(torch, "load"), torch.device("meta"):
        blank = Extractor("blank", ["2048"], feature_extractor_weights_path="none").state_dict()
    path = find_weights(STORED, PUBLISHED, TO_768)
    if path is None:
        draw = torch.Generator().manual_seed(0)
        state = {name: torch.randn(part.shape, generator=draw) for name, part in blank.items()}
        for name, part in state.items():
            if name.endswith("conv.weight"):
                part.mul_((2 / part[0].numel()) ** 0.5)
            elif name.endswith(("bn.weight", "running_var")):
                part.fill_(1)
        return state, "random weights: none in VAEBENCH_WEIGHTS (the time is the same)"
    tensors = read_tensors(path, PUBLISHED)
    state = {name: tensors.get(name, torch.zeros(part.shape, dtype=part.dtype)) for name, part in blank.items()}
    for name in {key.rpartition(".")[0] for key in tensors if f"{key.rpartition('.')[0]}.conv.weight" in blank}:
        bias = tensors[f"{name}.bias"]
        state[f"{name}.conv.weight"], state[f"{name}.bn.bias"] = tensors[f"{name}.weight"], bias
        state[f"{name}.bn.weight"] = torch.ones_like(bias)
        state[f"{name}.bn.running_var"] = torch.full_like(bias, 1 - EPSILON)
    return state, path.name


class Rows(Dataset):
    """Images as torch-fidelity takes them in."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return self.images[row]


def vaebench_values(n: int, layer: int, scratch: Path, names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """One network, the real images through it once, samples through it as they come."""
    keep_freed_memory()
    real, networks = pictures(n, 0), Networks()
    data = ImageDataset("made-up", "test", real, [str(row) for row in range(n)])
    context = Surroundings(data, None, networks).context()
    for number in range(1, SETS + 1):
        built = [
            *fidelity.fid(inception=layer),
            *fidelity.kid(inception=layer, subsets=SUBSETS),
            *fidelity.precision(inception=layer),
            *fidelity.recall(inception=layer),
        ]
        metrics = [metric for metric in built if metric.needs == Need.SAMPLE and metric.name in names]
        subject = subjects.of_images(pictures(n, number), data, kind=Need.SAMPLE, paired=False, context=context)
        yield {metric.name: score.value or 0.0 for metric, score in evaluation.measure(metrics, subject, networks)}


def torch_fidelity_values(n: int, layer: int, scratch: Path, *, cached: bool) -> Iterator[dict[str, float]]:
    """``calculate_metrics`` once a set; ``cached`` keeps the real images' features and statistics on disk."""
    real = Rows(pictures(n, 0))
    for number in range(1, SETS + 1):
        found = calculate_metrics(
            input1=Rows(pictures(n, number)),
            input2=real,
            input2_cache_name="real" if cached else None,
            cache=cached,
            cache_root=str(scratch / "fidelity cache"),
            cuda=False,
            fid=True,
            kid=True,
            prc=True,
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=str(scratch / "inception.pth"),
            **{f"feature_layer_{metric}": str(layer) for metric in ("fid", "kid", "prc")},
            kid_subsets=SUBSETS,
            kid_subset_size=min(1000, n),
            verbose=False,
        )
        fid, kid = found["frechet_inception_distance"], found["kernel_inception_distance_mean"]
        yield {"fid": fid, "kid": kid, "precision": found["precision"], "recall": found["recall"]}


def pytorch_fid_values(n: int, layer: int, scratch: Path, *, saved: bool) -> Iterator[dict[str, float]]:
    """``calculate_fid_given_paths`` once a set; ``saved`` keeps the real images' statistics in a file first."""
    state = torch.load(scratch / "inception.pth", weights_only=True)
    real, options = str(scratch / "0"), {"batch_size": 50, "device": "cpu", "dims": layer, "num_workers": 2}
    with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        if saved:
            fid_score.save_fid_stats([real, str(scratch / "real.npz")], **options)
            real = str(scratch / "real.npz")
        for number in range(1, SETS + 1):
            yield {"fid": float(fid_score.calculate_fid_given_paths([str(scratch / str(number)), real], **options))}


ALL, FID = ("fid", "kid", "precision", "recall"), ("fid",)
OURS, OURS_FID = "vaebench", "vaebench, FID alone"
CANDIDATES: dict[str, Callable[[int, int, Path], Iterator[dict[str, float]]]] = {
    OURS: lambda n, layer, scratch: vaebench_values(n, layer, scratch, ALL),
    "torch-fidelity": lambda n, layer, scratch: torch_fidelity_values(n, layer, scratch, cached=False),
    "torch-fidelity, real images cached": lambda n, layer, scratch: torch_fidelity_values(
        n, layer, scratch, cached=True
    ),
    OURS_FID: lambda n, layer, scratch: vaebench_values(n, layer, scratch, FID),
    "pytorch-fid": lambda n, layer, scratch: pytorch_fid_values(n, layer, scratch, saved=False),
    "pytorch-fid, real statistics saved": lambda n, layer, scratch: pytorch_fid_values(n, layer, scratch, saved=True),
}


def prepare(scratch: Path, n: int) -> str:
    """Weights in both forms, and the images as files; where the weights are from."""
    state, origin = torch_fidelity_weights()
    torch.save(state, scratch / "inception.pth")
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
        for part in ("inception.pth", *(str(number) for number in range(SETS + 1))):
            (Path(empty) / part).symlink_to(scratch / part)
        command = [sys.executable, __file__, "--only", name, "--scratch", empty, "--images", str(given.images)]
        command += ["--layer", str(given.layer), "--threads", str(given.threads)]
        environment = {**os.environ, "VAEBENCH_CACHE": f"{empty}/cache"}
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    seconds, busy, values = json.loads(answer.stdout.splitlines()[-1])
    return seconds, busy, values


def run_one(given: argparse.Namespace) -> None:
    """In the candidate's process: time it, and print one line of JSON."""
    torch.set_num_threads(given.threads)
    fid_score.tqdm = lambda batches: batches
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
    parser.add_argument("--images", type=int, default=512, help="in each set, 4 or more")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layer", type=int, default=768, choices=(64, 192, 768, 2048))
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        run_one(given)
        return
    peers = ", ".join(f"{name} {version(name)}" for name in ("torch-fidelity", "pytorch-fid"))
    with tempfile.TemporaryDirectory() as scratch:
        origin = prepare(Path(scratch), given.images)
        print(f"{machine('cpu')}; {peers}; {given.threads} threads, {given.rounds} rounds")
        print(f"{SETS} sets of {given.images} images and {given.images} real ones, layer {given.layer}, {origin}")
        runs: dict[str, list[Answer]] = {name: [] for name in CANDIDATES}
        for _ in range(given.rounds):
            for name, answers in runs.items():
                answers.append(timed(name, given, Path(scratch)))
                print(f"{name}: {answers[-1][0]:.1f} s, processor {answers[-1][1]:.1f} s", file=sys.stderr, flush=True)
    report(runs)


def report(runs: dict[str, list[Answer]]) -> None:
    """One line a candidate: median seconds, ratios to vaebench's same task round by round, values of the first set."""
    print(f"\n{'':36} {'seconds':>8} {'ratio':>6} {'min':>6} {'max':>6} {'processor s':>12} {'ratio':>6}   first set")
    for name, answers in runs.items():
        values = answers[0][2][0]
        base = runs[OURS if len(values) == len(ALL) else OURS_FID]
        elapsed, busy = ([one[part] / other[part] for one, other in zip(answers, base, strict=True)] for part in (0, 1))
        seconds, used = (statistics.median(answer[part] for answer in answers) for part in (0, 1))
        shown = ", ".join(f"{metric} {value:.6g}" for metric, value in values.items())
        print(
            f"{name:36} {seconds:8.1f} {statistics.median(elapsed):6.2f} {min(elapsed):6.2f} {max(elapsed):6.2f} "
            f"{used:12.1f} {statistics.median(busy):6.2f}   {shown}"
        )


if __name__ == "__main__":
    main()
