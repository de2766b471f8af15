"""The gate on real trainings: planted faults are caught, reseeded twins pass, and too few images decide nothing.

The accepted table is of eight training seeds. Every candidate is drawn from trainings of other seeds, so that a fault
must stand out from the scatter of seeds, as it must where a processor trains to other weights. Some 40 small trainings
on scikit-learn's digits: run by ``tox -e calibration``.
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from noted import note

from vaebench.cli.main import main
from vaebench.datasets.digits import Digits
from vaebench.report.analysis.formatting import to_csv
from vaebench.report.analysis.leaderboard import Row, leaderboard
from vaebench.report.analysis.measured import Measured, collect
from vaebench.report.gate.accept import accept
from vaebench.report.gate.gate import Gate, check
from vaebench.report.gate.table import read_table
from vaebench.runs.per_image import PerImageValues
from vaebench.runs.record import RunFolder

pytestmark = pytest.mark.calibration
RECIPES = Path(__file__).parent / "recipes.py"
STEPS, METRICS = 800, "blur,mse,ssim,psnr,nll,fcd,diversity,svm_accuracy"
# training seeds of the accepted table, of other tables, and of faulted candidates (45 ways to take eight). Five a table
# would not do: a margin of six deviations between seeds lets 95 in 100 twins pass, but catches 87 in 100 squared errors
# times 1.5, and a narrower one turns twins away
ACCEPTED, POOL = range(8), range(8, 25)
FAULTED = POOL[:10]
DRAWS, TWINS = 20, 100
SWAPPED = (3, 8)  # classes
# what matters on runs this small: wider than what metrics declare, as their training seeds scatter more
MARGINS = ["blur=5%", "mse=15%", "ssim=0.02", "psnr=0.75", "nll=3%", "fcd=30%", "diversity=6%"]


def vaebench(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert not stopped.value.code


def in_folder(folder, *arguments):
    """Call the command line with ``folder`` as the runs folder."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VAEBENCH_RUNS", str(folder))
        vaebench(*arguments)


def evaluate(folder, *options, metrics=METRICS):
    in_folder(
        folder, "evaluate", "--all", "--metrics", metrics, "--samples", 500, "--out", folder / "reports", *options
    )
    return folder


def train(folder, function, seeds, steps=STEPS):
    """Runs of one way of training, measured, in a runs folder of their own."""
    listed, settings = ",".join(map(str, seeds)), ("--threads", "1", "--precision", "fp32", "--resume")
    in_folder(folder, "train", f"{RECIPES}:{function}", "--seeds", listed, "--steps", steps, *settings)
    return evaluate(folder)


def spoilt(good, folder, way):
    """The same weights as ``good``, since what spoils the outputs takes no part in the training."""
    for seed in FAULTED:
        run = shutil.copytree(good / "dense-gate" / f"seed-{seed}", folder / "dense-gate" / f"seed-{seed}")
        (run / "results.jsonl").unlink()
        record = json.loads((run / "run.json").read_text())
        record["hyperparameters"]["spoilt"] = way
        (run / "run.json").write_text(json.dumps(record))
    return evaluate(folder, "--recipe-file", RECIPES)


def swapped_labels(good, folder):
    """The same runs, whose latents are classified by SVMs that learnt from training labels of which two are swapped."""
    shutil.copytree(good, folder)
    load = Digits.load

    def mislabelled(self, split):
        data = load(self, split)
        if split != "train":
            return data
        one, other = SWAPPED
        labels = data.labels.clone()
        labels[data.labels == one], labels[data.labels == other] = other, one
        return replace(data, labels=labels)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Digits, "load", mislabelled)
        return evaluate(folder, "--again", "--recipe-file", RECIPES, metrics="svm_accuracy")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VAEBENCH_CACHE", str(folder / "cache"))
        good = train(folder / "good", "good", [*ACCEPTED, *POOL])
        yield {
            "good": good,
            "blurred outputs": spoilt(good, folder / "blurred", "blurred"),
            "collapsed generator": spoilt(good, folder / "collapsed", "collapsed"),
            "half the steps": train(folder / "half", "good", FAULTED, STEPS // 2),
            "KL weight x 4": train(folder / "kl", "heavy_kl", FAULTED),
            "two classes swapped in the training labels": swapped_labels(good, folder / "swapped"),
        }


FAULTS = (
    *("blurred outputs", "collapsed generator", "half the steps", "KL weight x 4"),
    "two classes swapped in the training labels",
)


@cache
def all_measured(folder):
    """What a runs folder holds over all images, which is what the gate reads."""
    paths = [*(folder / "real").iterdir(), *(folder / "dense-gate").iterdir()]
    known = collect("digits", [RunFolder(path) for path in paths])
    return replace(known, results=[line for line in known.results if line.stratum == "all"])


def measured(folder, seeds):
    """The same of a few training seeds, and of the real images."""
    known, chosen = all_measured(folder), {None, *seeds}
    return replace(
        known,
        results=[line for line in known.results if line.seed in chosen],
        values={subject: kept for subject, kept in known.values.items() if subject[1] in chosen},
        records={subject: record for subject, record in known.records.items() if subject[1] in chosen},
    )


def draws(pool: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """As many seeds as the accepted table has, drawn ``count`` times; no two draws are the same."""
    ways = list(combinations(pool, len(ACCEPTED)))
    chosen = np.random.default_rng(0).choice(len(ways), count, replace=False)
    return [ways[place] for place in chosen]


def table(known, path):
    path.write_text(to_csv(Row, leaderboard(known, [])))
    return read_table(path)


def accepted_table(known, path):
    """As a user does: the accepted table is made by ``vaebench accept``."""
    table(known, path)
    accept(path, path)
    return read_table(path)


@pytest.fixture(scope="module")
def accepted(runs, tmp_path_factory):
    return accepted_table(measured(runs["good"], ACCEPTED), tmp_path_factory.mktemp("accepted") / "accepted.csv")


def times(known: Measured, metric: str, factor: float) -> Measured:
    """The same measurements by a metric that is off by a factor."""
    lines = [
        replace(line, value=line.value * factor, std_error=line.std_error and line.std_error * factor)
        if line.metric == metric and line.value is not None
        else line
        for line in known.results
    ]
    values = {
        subject: {
            series: replace(content, values=content.values * factor) if series.metric == metric else content
            for series, content in kept.items()
        }
        for subject, kept in known.values.items()
    }
    return replace(known, results=lines, values=values)


GATE = (
    "The gate",
    f"`vaebench check` on small VAEs trained for {STEPS} steps on scikit-learn's digits, eight training seeds a table; "
    "the accepted table's margins are those of `vaebench accept`. Faulted candidates are draws of eight from "
    f"{len(FAULTED)} other training seeds.",
    ["candidate", "exit code", "metrics that regressed, in how many draws"],
)


def counted(codes: Counter[int]) -> str:
    return ", ".join(f"{code} in {count} of {codes.total()}" for code, count in sorted(codes.items()))


def assert_caught(fault: str, gates: Sequence[Gate]) -> None:
    """Note how often the fault was caught, and by which metrics; it must be each time."""
    rows = Counter(
        metric
        for gate in gates
        for metric in {row.baseline.metric for row in gate.rows if row.verdict in ("regression", "missing")}
    )
    codes = Counter(gate.exit_code for gate in gates)
    note(*GATE, fault, counted(codes), ", ".join(f"{metric} {rows[metric]}" for metric in sorted(rows)))
    assert codes == {1: len(gates)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault, runs, accepted, tmp_path):
    drawn = (measured(runs[fault], seeds) for seeds in draws(FAULTED, DRAWS))
    assert_caught(fault, [check(table(known, tmp_path / "candidate.csv"), accepted) for known in drawn])


@pytest.mark.parametrize("metric", ["mse", "nll", "fcd"])
def test_a_metric_off_by_half_is_caught(metric, runs, accepted, tmp_path):
    """Those where lower is better, and of which real images have no value that would give it away as bad input."""
    drawn = (times(measured(runs["good"], seeds), metric, 1.5) for seeds in draws(FAULTED, DRAWS))
    assert_caught(f"{metric} x 1.5", [check(table(known, tmp_path / "candidate.csv"), accepted) for known in drawn])


def test_reseeded_twins_pass(runs, tmp_path):
    """Both tables are drawn anew each time, so that the luck of the accepted seeds is in the figure."""
    random, codes, size = np.random.default_rng(0), Counter(), len(ACCEPTED)
    for _ in range(TWINS):
        seeds = random.permutation([*ACCEPTED, *POOL]).tolist()
        known = accepted_table(measured(runs["good"], seeds[:size]), tmp_path / "accepted.csv")
        twin = table(measured(runs["good"], seeds[size : 2 * size]), tmp_path / "candidate.csv")
        codes[check(twin, known).exit_code] += 1
    note(*GATE, f"twins of other training seeds, both drawn from {len(ACCEPTED) + len(POOL)}", counted(codes), "")
    assert codes[0] >= 0.95 * TWINS


def of_few_images(known: Measured, images: int) -> Measured:
    """The same with as few images: values that are of all images together fall away."""
    cut = {
        subject: {
            series: PerImageValues(content.ids[:images], content.values[:images])
            for series, content in kept.items()
            if series.protocol == "recon" or series.metric in ("psnr", "ssim", "nll")
        }
        for subject, kept in known.values.items()
    }
    lines = []
    for line in known.results:
        values = {(s.metric, s.protocol): content.values for s, content in cut[line.recipe, line.seed].items()}
        if line.stratum == "all" and (line.metric, line.protocol) in values:
            kept = values[line.metric, line.protocol]
            error = float(kept.std(ddof=1) / np.sqrt(images))
            lines.append(replace(line, value=float(kept.mean()), std_error=error, n=images))
    return replace(known, results=lines, values=cut)


def test_one_seed_of_eight_images_decides_nothing(runs, tmp_path):
    accepted, candidate = (of_few_images(measured(runs["good"], [seed]), 8) for seed in (0, 7))
    kept = [margin for margin in MARGINS if not margin.startswith(("fcd", "diversity"))]
    gate = check(table(candidate, tmp_path / "candidate.csv"), table(accepted, tmp_path / "accepted.csv"), kept)
    note(*GATE, "one training seed of eight images", gate.exit_code, "")
    assert gate.exit_code == 3
