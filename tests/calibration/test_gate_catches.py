"""The gate on real trainings: sabotage is caught, a reseeded twin passes, and too few images decide nothing.

Some 30 small trainings on scikit-learn's digits: run by ``tox -e calibration``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from noted import note

from vaebench.cli.main import main
from vaebench.report.analysis.formatting import to_csv
from vaebench.report.analysis.leaderboard import Row, leaderboard
from vaebench.report.analysis.measured import Measured, collect
from vaebench.report.gate.accept import accept
from vaebench.report.gate.gate import check
from vaebench.report.gate.table import read_table
from vaebench.runs.per_image import PerImageValues
from vaebench.runs.record import RunFolder

pytestmark = pytest.mark.calibration
RECIPES = Path(__file__).parent / "recipes.py"
STEPS, METRICS = 800, "blur,mse,ssim,psnr,nll,fcd,diversity"
ACCEPTED, POOL = range(5), range(5, 25)  # training seeds of the accepted table, and of what twins are drawn from
# what matters on runs this small: wider than what metrics declare, as their training seeds scatter more
MARGINS = ["blur=5%", "mse=15%", "ssim=0.02", "psnr=0.75", "nll=3%", "fcd=30%", "diversity=6%"]


def vaebench(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert not stopped.value.code


def train(folder, function, seeds, steps=STEPS):
    """Runs of one way of training, measured, in a runs folder of their own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VAEBENCH_RUNS", str(folder))
        listed = ",".join(map(str, seeds))
        settings = ("--threads", "1", "--precision", "fp32", "--resume")
        vaebench("train", f"{RECIPES}:{function}", "--seeds", listed, "--steps", steps, *settings)
        vaebench("evaluate", "--all", "--metrics", METRICS, "--samples", 500, "--out", folder / "reports")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VAEBENCH_CACHE", str(folder / "cache"))
        yield {
            "good": train(folder / "good", "good", [*ACCEPTED, *POOL]),
            "blurred outputs": train(folder / "blurred", "blurred", ACCEPTED),
            "collapsed generator": train(folder / "collapsed", "collapsed", ACCEPTED),
            "half the steps": train(folder / "half", "good", ACCEPTED, STEPS // 2),
        }


def measured(folder, seeds):
    chosen = [folder / "dense-gate" / f"seed-{seed}" for seed in seeds]
    return collect("digits", [RunFolder(path) for path in [*(folder / "real").iterdir(), *chosen]])


def table(known, path):
    path.write_text(to_csv(Row, leaderboard(known, [])))
    return read_table(path)


def judged(accepted, candidate, tmp_path, margins=None):
    """As a user does: the accepted table is made by ``vaebench accept``, unless margins are given."""
    table(accepted, tmp_path / "accepted.csv")
    if margins is None:
        accept(tmp_path / "accepted.csv", tmp_path / "accepted.csv")
    return check(table(candidate, tmp_path / "candidate.csv"), read_table(tmp_path / "accepted.csv"), margins or (), ())


GATE = (
    "The gate",
    f"`vaebench check` on small VAEs trained for {STEPS} steps on scikit-learn's digits, five training seeds a table; "
    "the accepted table's margins are those of `vaebench accept`.",
    ["candidate", "exit code", "rows that regressed"],
)


@pytest.mark.parametrize("sabotage", ["blurred outputs", "collapsed generator", "half the steps"])
def test_sabotage_is_caught(sabotage, runs, tmp_path):
    gate = judged(measured(runs["good"], ACCEPTED), measured(runs[sabotage], ACCEPTED), tmp_path)
    caught = sorted({row.baseline.metric for row in gate.rows if row.verdict == "regression"})
    note(*GATE, sabotage, gate.exit_code, ", ".join(caught))
    assert gate.exit_code == 1
    assert caught


def test_a_reseeded_twin_passes(runs, tmp_path):
    accepted, draws = measured(runs["good"], ACCEPTED), np.random.default_rng(0)
    codes = []
    for _ in range(20):
        twin = measured(runs["good"], sorted(draws.choice(POOL, len(ACCEPTED), replace=False).tolist()))
        codes.append(judged(accepted, twin, tmp_path).exit_code)
    note(*GATE, f"twins of other training seeds, 20 draws of 5 from {len(POOL)}", f"0 in {codes.count(0)} of 20", "")
    assert codes.count(0) >= 19


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
    gate = judged(accepted, candidate, tmp_path, kept)
    note(*GATE, "one training seed of eight images", gate.exit_code, "")
    assert gate.exit_code == 3
