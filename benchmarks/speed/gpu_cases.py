"""What gpu_check.py measures, a case at a time, in a process of its own.

    python benchmarks/speed/gpu_cases.py PART CASE ... [--device cuda] [--quick]

Writes a line of JSON a case to standard output as soon as it is known: what is killed leaves what it has. All else that
is printed goes to standard error.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import train as trainers
from ceilings import product_rate
from counting import count
from floor import ceilings
from gpu_names import ARITHMETIC, CEILINGS, FIDELITY, FLOOR, OWN, POISONED, WAYS
from gpu_workers import last_words
from shared import dataset, fidelity_inception, pictures, random_inception, trained
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity
from torch.utils.flop_counter import FlopCounterMode

from vaebench.core.context import FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.recipe import Recipe
from vaebench.evaluation.features import Networks
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.training.compute import Compute, choose
from vaebench.training.trial import workload

ROOT = Path(__file__).parents[2]
STEPS_TO_JUDGE, LEAST, MOST = 12, 30, 1500  # training steps: to see how long one takes, and then to be timed
SECONDS = 1.0  # that a way of training is timed
FEATURE_SECONDS = 2.0
ROWS = 20  # of a profile

Numbers = dict[str, Any]
Note = Callable[[str, Any], None]  # something of a case that is not done yet


def tests(case: str, given: argparse.Namespace, note: Note) -> Numbers:
    """Run a file's tests marked ``gpu``; each is noted as it ends."""
    import pytest  # noqa: PLC0415  (what else is measured does without)

    began = time.perf_counter()
    # no plugin of the machine's: some warn where they find no use, and here warnings are errors
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-p", "no:benchmark", "-p", "no:cacheprovider", "--tb=short", "-m", "gpu and not calibration"]
    code = pytest.main([*options, "--rootdir", str(ROOT), str(ROOT / case)], plugins=[_Reporter(note)])
    return {"code": int(code), "seconds": time.perf_counter() - began}


class _Reporter:
    """A pytest plugin that notes each test's outcome."""

    def __init__(self, note: Note) -> None:
        self._note = note

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        """What is killed or crashes is named, too."""
        self._note(nodeid, {"outcome": "begun"})

    def pytest_runtest_logreport(self, report: Any) -> None:
        """The call's outcome, or that of a set-up that did not pass."""
        if report.when == "call" or report.outcome != "passed":
            words = report.longrepr[2].removeprefix("Skipped: ") if report.skipped else last_words(report.longreprtext)
            self._note(report.nodeid, {"outcome": report.outcome, "words": words})

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be imported has no tests to name."""
        if report.failed:
            self._note(report.nodeid, {"outcome": "failed", "words": last_words(report.longreprtext)})


def training(case: str, given: argparse.Namespace, note: Note) -> Numbers:
    """Ceilings of the device; or ``RECIPE|WAY``: a step's time, or its floor's operations and bytes."""
    if case == CEILINGS:
        return ceilings(given.device)
    recipe, _, way = case.partition("|")
    return _counted(recipe, given) if way == FLOOR else _timed(recipe, way, given)


def _counted(name: str, given: argparse.Namespace) -> Numbers:
    """Operations and bytes of a step in bf16."""
    recipe, data = _opened(name)
    model, compute = build_model(recipe, data.image_shape, 0), choose(device=given.device, **WAYS["bf16"])
    cost = count(model, data.images[: recipe.batch_size], compute)
    return {"batch": recipe.batch_size, "operations": cost.operations, "bytes": cost.moved, "precision": "bf16"}


def _timed(name: str, way: str, given: argparse.Namespace) -> Numbers:
    """Seconds a step in a way, over some seconds' worth of steps; and the peak memory."""
    recipe, data = _opened(name)
    compute = _computed(recipe, data, way, given)
    run = partial(trained, recipe, data, compute)
    seconds, peak = run(3 if given.quick else STEPS_TO_JUDGE)
    if not given.quick:
        seconds, peak = run(round(min(MOST, max(LEAST, 1.5 * SECONDS / seconds))))
    return {"seconds": seconds, "batch": recipe.batch_size, "peak": peak, "compute": _described(compute)}


def profile(case: str, given: argparse.Namespace, note: Note) -> Numbers:
    """Kernels of training steps (on a CPU: operators) by time, of ``RECIPE|WAY``."""
    name, _, way = case.partition("|")
    recipe, data = _opened(name)
    compute, steps = _computed(recipe, data, way, given), 3 if given.quick else 60
    on_gpu = given.device.startswith("cuda")
    kinds = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    # a graph's kernels are seen where the tracer was there before the graph, and did not leave in between
    os.environ |= {"TEARDOWN_CUPTI": "0", "DISABLE_CUPTI_LAZY_REINIT": "1"}
    with torch.profiler.profile(activities=kinds):
        torch.ones(1, device=given.device).add_(1)
    profiler = torch.profiler.profile(activities=kinds)

    def on_row(step: int) -> None:
        if step == max(1, steps // 3):
            profiler.start()
        elif step == steps:
            profiler.stop()

    seconds, _ = trained(recipe, data, compute, steps, on_row=on_row)
    counted = steps - max(1, steps // 3)
    rows = []
    for event in profiler.key_averages():
        if event.is_user_annotation or on_gpu == (event.device_type == DeviceType.CPU):
            continue  # operators are what launches kernels, and annotations what launches operators
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        rows.append((event.key, event.count / counted, spent / 1e3 / counted))
    rows.sort(key=lambda row: -row[2])
    busy, launches = (sum(row[place] for row in rows) for place in (2, 1))
    return {"rows": rows[:ROWS], "busy": busy, "launches": launches, "seconds": seconds, "kinds": len(rows)}


def features(case: str, given: argparse.Namespace, note: Note) -> Numbers:
    """Images/s of 64 x 64 images to 2048 features, and how far the first are from torch-fidelity's without TF32."""
    if case == ARITHMETIC:
        return _arithmetic(given.device)
    images = pictures(8 if given.quick else 2048, (3, 64, 64))
    there = images.to(given.device)
    first = slice(0, 8 if given.quick else 512)  # the same for all: a batch may choose other algorithms
    extract, way = _fidelity(given.device, *FIDELITY[case]) if case in FIDELITY else _ours(given.device, OWN[case][1])
    shown = images if case in OWN and not OWN[case][0] else there
    with torch.inference_mode():
        found = extract(shown[first])[:8]  # libraries choose their algorithms, and vaebench its way
        extract(shown[first])
        rounds, began = 0, time.perf_counter()
        while rounds == 0 or (not given.quick and time.perf_counter() - began < FEATURE_SECONDS):
            extract(shown).cpu()
            rounds += 1
        rate = rounds * len(images) / (time.perf_counter() - began)
        expected = _fidelity(given.device, 64, False)[0](there[first])[:8]
    difference = torch.linalg.vector_norm((found.cpu() - expected.cpu()).double()) / expected.double().norm().cpu()
    return {"rate": rate, "difference": difference.item(), "way": way()}


Extract = tuple[Callable[[Tensor], Tensor], Callable[[], str]]  # and in which way, once it has run


def _ours(device: str, allow_tf32: bool) -> Extract:
    networks, space = Networks(device, allow_tf32=allow_tf32), FeatureSpace("inception", "2048")

    def way() -> str:
        return str(networks._extractor.way(networks.network(space), [space.layer], (3, 64, 64)))

    return lambda images: networks.extract(to_float(images), [space])[space], way


@cache
def _fidelity_network(device: str) -> nn.Module:
    return fidelity_inception(random_inception()).to(device)


def _fidelity(device: str, batch: int, short: bool) -> Extract:
    """torch-fidelity's extractor, in batches; ``short`` switches TF32 on, which PyTorch has on for convolutions."""
    network = _fidelity_network(device)

    def extract(images: Tensor) -> Tensor:
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = short
        try:
            return torch.cat([network(part)[0] for part in images.split(batch)])
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before

    return extract, lambda: str(batch)


def _arithmetic(device: str) -> Numbers:
    """Images/s that the network's operations would allow at the device's rate in fp32, in full and with TF32."""
    import torch  # noqa: PLC0415

    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        _fidelity_network(device)(image)
    operations = counter.get_total_flops()
    full, short = (product_rate(device, "fp32", full=full) / operations for full in (True, False))
    return {"full": full, "tf32": short, "operations": operations}


def peers(case: str, given: argparse.Namespace, note: Note) -> Numbers:
    """Seconds a training step of ``RECIPE|CANDIDATE`` of train.py."""
    recipe, _, name = case.partition("|")
    steps = 3 if given.quick else trainers.STEPS["cuda"].get(recipe, trainers.STEPS_CUDA) // 3
    seconds = trainers.seconds_a_step(name, recipe, given.device, steps)
    return {"seconds": seconds, "batch": find_recipe(recipe)[0].batch_size}


def _computed(recipe: Recipe, data: ImageDataset, way: str, given: argparse.Namespace) -> Compute:
    """The way's settings; the default is what ``vaebench train`` would choose, which tries the recipe itself."""
    tried = {} if WAYS[way] else {"workload": workload(recipe, data)}
    return choose(device=given.device, **tried, **WAYS[way])


def _described(compute: Compute) -> str:
    layout = "channels_last" if compute.channels_last else "contiguous"
    parts = [compute.precision, layout, *(name for name in ("fused", "compile") if getattr(compute, name))]
    parts += ["CUDA graphs"] if compute.cuda_graphs else []
    return ", ".join([*parts, f"{compute.threads} threads"])


def _opened(name: str) -> tuple[Recipe, ImageDataset]:
    """A recipe, and made-up images of its dataset's shape."""
    recipe, _ = find_recipe(name)
    return recipe, dataset(pictures(16 * recipe.batch_size, trainers.SHAPES[recipe.dataset]))


PARTS: dict[str, Callable[[str, argparse.Namespace, Note], Numbers]] = {
    "tests": tests,
    "training": training,
    "profile": profile,
    "features": features,
    "peers": peers,
}


def main() -> int:
    """All cases, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # of libraries, too

    def say(case: str, kind: str, name: str = "", value: Any = None) -> None:
        answers.write(json.dumps({"case": case, "kind": kind, "name": name, "value": value}) + "\n")

    for case in given.cases:
        try:
            value = PARTS[given.part](case, given, lambda name, noted, case=case: say(case, "note", name, noted))
        except Exception as error:
            traceback.print_exc()
            words = (str(error).strip().splitlines() or [""])[0]
            say(case, "failed", value=f"{type(error).__name__}: {words}")
            if "CUDA" in str(error) or "cuDNN" in str(error):
                return POISONED
        else:
            say(case, "done", value=value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
