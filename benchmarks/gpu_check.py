"""Check a GPU in minutes: its tests, training steps, feature extraction, a whole evaluation, and pythae's trainer.

    python benchmarks/gpu_check.py [--minutes 8] [--device cuda] [--parts tests training ...] [--out reports/gpu.md]

Runs from a source tree without installation and without network, on made-up images and random weights. Each part has
a share of the minutes and leaves what it does not use to the next; what time did not suffice for is said. A part or a
case that fails, crashes or hangs stops no other. The report is written anew after every case. Packages that are missing
leave their part out; those that all parts need end the check with exit code 2. On a CPU: --device cpu --quick --out
FILE tries whether the script works, and measures nothing worth keeping.
"""

import argparse
import os
import platform
import pstats
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "speed"))

from gpu_names import ARITHMETIC, CEILINGS, FIDELITY, FLOOR, LOOP, OURS, OWN, PYTHAE, WAYS
from gpu_workers import Found, Setting, measured, plain, ran

from vaebench.core.files import write_text

ROOT, SPEED = Path(__file__).resolve().parents[1], Path(__file__).resolve().parent / "speed"
REPORT = ROOT / "reports" / "gpu.md"
NEEDED = ("torch", "torchvision", "numpy", "msgspec", "safetensors", "PIL", "filelock")  # modules
CALLED = {"PIL": "pillow", "sklearn": "scikit-learn", "torch_fidelity": "torch-fidelity"}  # packages, where not alike
RECIPES = [f"{model}-{data}" for data in ("celeba", "mnist") for model in ("dfcvae", "vae", "dcgan", "vaewgan")]
PROFILED = "dfcvae-celeba"
PEER_RECIPES = ("vae-celeba", "vae-mnist")
FOR_PROFILE = 0.2  # share of the training part's time
WITHOUT_INCEPTION = "blur,mse,psnr,ssim,nll,kl,elbo,fcd"
TOP = 15  # functions of a profile

Numbers = dict[str, Any]
Rows = list[list[str]]


@dataclass(frozen=True)
class Part:
    """A section of the report; ``run`` yields its text again and again, the more complete the later."""

    name: str
    title: str
    share: float  # of the minutes
    run: Callable[[Setting], Iterator[str]]
    packages: tuple[str, ...] = ()


def table(head: Sequence[str], rows: Rows) -> str:
    """Markdown; the first column is text, the others are numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(plain(cell) for cell in row)} |" for row in [list(head), rule, *rows])


def joined(*parts: str) -> str:
    """Paragraphs."""
    return "\n\n".join(part for part in parts if part)


def tests(setting: Setting) -> Iterator[str]:
    """Those marked ``gpu``; a failure is named with its error and place."""
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("test_*.py"))
             if "mark.gpu" in path.read_text(encoding="utf-8")]  # fmt: skip
    for found in measured("tests", files, setting):
        outcomes = [note["outcome"] for note in found.notes.values()]
        counted = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped", "begun")}
        shown = ", ".join(f"{n} {outcome.replace('begun', 'not ended')}" for outcome, n in counted.items() if n)
        failed = [
            f"- `{name}` {'failed' if note['outcome'] == 'failed' else 'did not end'}: {plain(note.get('words', ''))}"
            for name, note in found.notes.items()
            if note["outcome"] in ("failed", "begun")
        ]
        skipped = sorted({plain(note["words"]) for note in found.notes.values() if note["outcome"] == "skipped"})
        why = f"Skipped: {'; '.join(skipped)}." if skipped else ""
        yield joined(f"{shown or 'None ran'}, of {len(files)} files.", "\n".join(failed), why, found.said())


def training(setting: Setting) -> Iterator[str]:
    """Milliseconds a step of each recipe in each way, beside the floor; kernels of the fastest way of one."""
    recipes = [PROFILED] if setting.quick else RECIPES
    ways = [way for way in WAYS if way in ("fp32", "default") or not setting.quick]
    cases = [CEILINGS, *(f"{recipe}|{way}" for recipe in recipes for way in [FLOOR, *ways])]
    text, found = "", Found()
    most = replace(setting, deadline=setting.deadline - FOR_PROFILE * setting.left())
    for found in measured("training", cases, most):
        text = steps_table(found, recipes, ways)
        yield text
    timed = {way: found.values[f"{PROFILED}|{way}"]["seconds"] for way in ways if f"{PROFILED}|{way}" in found.values}
    if not timed:
        yield joined(text, f"No profile: {PROFILED} was timed in no way.")
        return
    fastest = min(timed, key=timed.__getitem__)
    for profiled in measured("profile", [f"{PROFILED}|{fastest}"], setting):
        yield joined(text, kernels(profiled, fastest))


def steps_table(found: Found, recipes: Sequence[str], ways: Sequence[str]) -> str:
    """A line a recipe of which anything is known."""
    rows = [row for recipe in recipes if any((row := steps_row(found, recipe, ways))[1:])]
    head = ["recipe", "GFLOP", "floor, ms", "by", *(f"{way}, ms" for way in ways)]
    head += ["fastest, times the floor", "images/s", "peak GB"]
    said = "Milliseconds a training step, log included. The floor is the longer of the step's operations at the "
    said += "fastest bf16 rate measured here and of what it must move at the rate of a large copy. "
    said += "fp32 is contiguous and eager (convolutions may use TF32, as is PyTorch's default); bf16 is channels_last."
    return joined(
        said, ceilings(found.values.get(CEILINGS)), table(head, rows) if rows else "", defaults(found), found.said()
    )


def defaults(found: Found) -> str:
    """What the measured default is, of recipes alike in one line."""
    alike: dict[str, list[str]] = {}
    for case, one in found.values.items():
        if case.endswith("|default"):
            alike.setdefault(one["compute"], []).append(case.partition("|")[0])
    return "\n".join(f"- the default of {', '.join(recipes)}: {compute}" for compute, recipes in alike.items())


def steps_row(found: Found, recipe: str, ways: Sequence[str]) -> list[str]:
    """Cells of the table; empty where nothing is known."""
    known = {way: found.values[f"{recipe}|{way}"] for way in ways if f"{recipe}|{way}" in found.values}
    counts, limits = found.values.get(f"{recipe}|{FLOOR}"), found.values.get(CEILINGS)
    best, floor, shown, rates = 0.0, 0.0, ["", "", ""], ["", "", ""]
    if counts and limits:
        bounds = {"arithmetic": counts["operations"] / limits["bf16"], "memory": counts["bytes"] / limits["bytes"]}
        bound = max(bounds, key=bounds.__getitem__)
        floor = bounds[bound]
        shown = [f"{counts['operations'] / 1e9:.1f}", f"{1e3 * floor:.3f}", bound]
    if known:
        best = min(one["seconds"] for one in known.values())
        batch, peak = (max(one[part] for one in known.values()) for part in ("batch", "peak"))
        rates = [f"{best / floor:.1f}" if floor else "", f"{batch / best:,.0f}", f"{peak / 1e9:.2f}"]
    cells = [f"{1e3 * known[way]['seconds']:.3f}" if way in known else "" for way in ways]
    return [recipe, *shown, *cells, *rates]


def ceilings(limits: Numbers | None) -> str:
    """A sentence on what the device can do."""
    if limits is None:
        return ""
    rates = f"{limits['fp32'] / 1e12:.1f} TFLOP/s in fp32 ({limits['fp32 in full'] / 1e12:.1f} without TF32)"
    return f"Ceilings: {rates}, {limits['bf16'] / 1e12:.1f} in bf16; {limits['bytes'] / 1e9:,.0f} GB/s of a large copy."


def kernels(found: Found, way: str) -> str:
    """The table of a profile."""
    if not found.values:
        return found.said()
    (one,) = found.values.values()
    share = one["busy"] / (1e3 * one["seconds"])
    said = f"Kernels of {PROFILED} in the fastest way ({way}): {one['launches']:.0f} launches of {one['kinds']} kinds "
    said += f"take {one['busy']:.3f} ms of a step's {1e3 * one['seconds']:.3f} ms ({share:.0%}; under the profiler)."
    rows = [[name[:110], f"{count:.1f}", f"{spent:.4f}", f"{spent / one['busy']:.1%}"]
            for name, count, spent in one["rows"]]  # fmt: skip
    return joined(said, table(["kernel", "a step", "ms a step", "of all kernels"], rows))


def features(setting: Setting) -> Iterator[str]:
    """Images/s to 2048 features."""
    ways = [next(iter(OWN)), next(iter(FIDELITY))] if setting.quick else [*OWN, *FIDELITY]
    for found in measured("features", [ARITHMETIC, *ways], setting):
        known = {way: found.values[way] for way in ways if way in found.values}
        rows = [[way, one["way"], f"{one['rate']:,.0f}", f"{one['difference']:.1e}"] for way, one in known.items()]
        said = "Inception-v3 to 2048 features of 64 x 64 images, resizing included; random weights. Differences are of "
        said += "the norm of the first images' features, to torch-fidelity's without TF32."
        allowed = found.values.get(ARITHMETIC)
        limit = ""
        if allowed:
            limit = f"Its {allowed['operations'] / 1e9:.1f} GFLOP an image would allow {allowed['full']:,.0f} images/s "
            limit += f"at this device's fp32 rate without TF32, {allowed['tf32']:,.0f} with it."
        yield joined(
            said,
            table(["extractor", "batch, way", "images/s", "difference"], rows) if rows else "",
            limit,
            found.said(),
        )


def evaluation(setting: Setting) -> Iterator[str]:
    """A quick training, its first evaluation by the clock, and a second one under cProfile."""
    steps, samples = (20, 64) if setting.quick else (300, 10_000)
    train = ["train", "vae-digits", "--steps", str(steps), "--device", setting.device]
    evaluate = ["evaluate", "vae-digits", "--samples", str(samples), "--device", setting.device]
    if setting.quick or not find_spec("torch_fidelity"):
        evaluate += ["--metrics", WITHOUT_INCEPTION]
    kept, out = setting.scratch / "profile", ["--out", str(setting.scratch / "reports")]
    shown: list[str] = []
    for name, options, arguments, what in (
        ("train", [], train, "start-up included"),
        ("evaluate", [], [*evaluate, *out], "with nothing in the cache"),
        ("again", ["-m", "cProfile", "-o", str(kept)], [*evaluate, *out, "--again"], "with real features in the cache"),
    ):
        seconds, failed = ran(name, [*options, "-m", "vaebench", *arguments], setting)
        command = shlex.join(["vaebench", *(part for part in arguments if part not in out)])
        under = " under cProfile" if options else ""
        shown.append(f"- `{command}`{under}: {plain(failed) or f'{seconds:.1f} s, {what}'}")
        yield "\n".join(shown)
        if failed:
            return
    yield joined("\n".join(shown), profile_tables(kept))


def profile_tables(path: Path) -> str:
    """Functions that take longest themselves, and vaebench's own with all that they call."""
    rows = [(f"{shortened(file)}:{line} {name}" if line else name, calls, own, total)
            for (file, line, name), (_, calls, own, total, _) in pstats.Stats(str(path)).stats.items()]  # fmt: skip
    longest = sorted(rows, key=lambda row: -row[2])[:TOP]
    ours = sorted((row for row in rows if row[0].startswith("vaebench/")), key=lambda row: -row[3])[: 2 * TOP]
    head = ["function", "calls", "own s", "with calls s"]
    tables = (table(head, [[name, f"{calls:,}", f"{own:.2f}", f"{total:.2f}"] for name, calls, own, total in some])
              for some in (longest, ours))  # fmt: skip
    first, second = tables
    return joined("By their own time:", first, "vaebench's, with what they call:", second)


def shortened(file: str) -> str:
    """A path from the source tree or from site-packages on."""
    for root in (f"{ROOT}/", "site-packages/"):
        if root in file:
            return file.rpartition(root)[2]
    return "/".join(Path(file).parts[-2:])


def peers(setting: Setting) -> Iterator[str]:
    """Training steps of pythae's trainer and of a plain loop beside ours."""
    at_hand = [LOOP, *([PYTHAE] if find_spec("pythae") else []), OURS]
    recipes = PEER_RECIPES[1:] if setting.quick else PEER_RECIPES
    missing = "" if PYTHAE in at_hand else "pythae is missing: pip install --no-deps pythae cloudpickle pydantic."
    cases = [f"{recipe}|{name}" for recipe in recipes for name in at_hand]
    for found in measured("peers", cases, setting):
        rows = []
        for recipe in recipes:
            ours = found.values.get(f"{recipe}|{OURS}")
            for name in at_hand:
                one = found.values.get(f"{recipe}|{name}")
                if one:
                    ratio = f"{one['seconds'] / ours['seconds']:.2f}" if ours else ""
                    rows.append([f"{recipe}, {name}", f"{1e3 * one['seconds']:.3f}",
                                 f"{one['batch'] / one['seconds']:,.0f}", ratio])  # fmt: skip
        head = ["trainer", "ms a step", "images/s", "vaebench is so many times as fast"]
        yield joined(missing, table(head, rows) if rows else "", found.said())


PARTS = (
    Part("tests", "Tests that need a GPU", 0.25, tests, ("pytest", "typer", "rich")),
    Part("training", "Training", 0.35, training),
    Part("features", "Feature extraction", 0.12, features, ("torch_fidelity",)),
    Part(
        "evaluation",
        "A whole evaluation",
        0.2,
        evaluation,
        ("typer", "rich", "pandas", "pyarrow", "scipy", "sklearn", "jinja2", "markupsafe", "matplotlib"),
    ),
    Part("peers", "Beside pythae", 0.08, peers),
)


def deadlines(parts: Sequence[Part], seconds: float) -> list[float]:
    """Seconds from the start by which each part has to end: what one leaves is the next one's."""
    whole = sum(part.share for part in parts)
    return [seconds * sum(part.share for part in parts[: place + 1]) / whole for place in range(len(parts))]


def missing(modules: Sequence[str]) -> list[str]:
    """Packages to install, of modules that are not there."""
    return [CALLED.get(module, module) for module in modules if find_spec(module) is None]


def outdated(project: Path = ROOT / "pyproject.toml") -> list[str]:
    """Packages that are older here than vaebench asks for, or not there."""
    found = []
    for asked in tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]:
        name, _, least = asked.partition(",")[0].partition(">=")
        try:
            here = version(name)
        except PackageNotFoundError:
            here = ""
        if not here or numbers(here) < numbers(least):
            found.append(f"{name} {here} (asked for: {least})" if here else f"{name} (missing)")
    return found


def numbers(text: str) -> list[int]:
    """Of a version, as far as they go: 2.11.0+cu130 is 2, 11, 0."""
    return [int(part) for part in re.split(r"[^0-9.]", text)[0].split(".") if part]


def checked(part: Part, setting: Setting) -> Iterator[str]:
    """The part's section, which says why it is left out or where it broke off."""
    lacking, text = missing(part.packages), ""
    if lacking:
        yield f"Left out: {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing here."
        return
    try:
        for text in part.run(setting):
            yield text
    except Exception as error:  # of one part, which stops no other
        yield joined(text, f"This part broke off: {plain(f'{type(error).__name__}: {error}')}")


def device_facts(device: str) -> str:
    """The card with its memory, its driver and clocks; or the processor."""
    import torch  # noqa: PLC0415  (first it is seen whether it is there)

    from vaebench.core.machine import machine  # noqa: PLC0415

    if not device.startswith("cuda"):
        return machine(device)
    found = torch.cuda.get_device_properties(device)
    card = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, compute capability {found.major}.{found.minor}"
    asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=10)
        card += f", driver, clock and power limit {done.stdout.strip().splitlines()[0]}"
    return card


def header(device: str, minutes: float) -> str:
    """What the report is of."""
    import torch  # noqa: PLC0415

    cudnn = torch.backends.cudnn.version()
    versions = (
        f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
    )
    unfit = outdated()
    lines = [
        "# A card, checked",
        "Written by `benchmarks/gpu_check.py`, not by hand. Images are made up and weights random.",
        f"- {device_facts(device)}\n- {versions}, {len(os.sched_getaffinity(0))} processor cores\n"
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{shlex.join(['python', *sys.argv])}`\n"
        f"- budget: {minutes:g} minutes, of which each part has its share"
        + (f"\n- older than vaebench asks for, or missing: {', '.join(unfit)}" if unfit else ""),
    ]
    return joined(*lines)


def check(given: argparse.Namespace, parts: Sequence[Part], scratch: Path) -> None:
    """Run the parts in order, and write the report whenever one knows more."""
    from shared import random_weights  # noqa: PLC0415

    weights = scratch / "weights"
    weights.mkdir()
    places = {f"VAEBENCH_{place}": str(scratch / place.lower()) for place in ("RUNS", "CACHE", "DATA")}
    path = os.pathsep.join([str(ROOT), str(SPEED), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **places, **random_weights(weights), "PYTHONPATH": path}
    began, texts = time.monotonic(), {"": header(given.device, given.minutes)}
    texts |= {part.name: f"## {part.title}\n\nNot run yet." for part in parts}
    write_text(given.out, joined(*texts.values()) + "\n")
    for part, until in zip(parts, deadlines(parts, 60 * given.minutes), strict=True):
        setting = Setting(given.device, given.quick, scratch, environment, began + until)
        started = time.monotonic()
        for text in checked(part, setting):
            spent = time.monotonic() - started
            texts[part.name] = joined(f"## {part.title}", text, f"({spent:.0f} s.)")
            write_text(given.out, joined(*texts.values()) + "\n")
        print(f"{part.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    texts["end"] = f"All parts took {(time.monotonic() - began) / 60:.1f} minutes."
    write_text(given.out, joined(*texts.values()) + "\n")


def main() -> int:
    """Check, and say where the report is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--parts", nargs="+", choices=[part.name for part in PARTS], help="only these")
    parser.add_argument("--quick", action="store_true", help="few steps, images and ways: whether the script works")
    parser.add_argument("--out", type=Path, default=REPORT)
    given = parser.parse_args()
    if given.out.resolve() == REPORT and (given.quick or not given.device.startswith("cuda")):
        parser.error("what --quick or a CPU measures is not worth keeping: give another --out")
    lacking = missing(NEEDED)
    if lacking:
        parser.error(f"these packages are missing here, and all parts need them: {', '.join(lacking)}")
    import torch  # noqa: PLC0415

    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here: give --device cpu --quick --out FILE to try the script")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that processes end, and scratch is removed
    parts = [part for part in PARTS if not given.parts or part.name in given.parts]
    with tempfile.TemporaryDirectory(prefix="gpu_check") as scratch:
        check(given, parts, Path(scratch).resolve())
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
