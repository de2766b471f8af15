"""Of many strata a report shows those that a claim names, and its evidence holds no more; all where that is asked."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, ids_of, lines_of, series, write_real

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.core.strata import strata
from vaebench.report import write
from vaebench.runs import per_image
from vaebench.runs.per_image import PerImageValues
from vaebench.runs.record import RunFolder

N = 60
CLAIMED = {"A3=1", "attribute=A5"}
PAPER = 'dataset = "toy"\nsource = "Doe 2020"\n' + "".join(
    f'[[claim]]\nsays = "So it is"\npublished = ""\nclaim = "mse, {stratum}: vae < gan"\n'
    for stratum in sorted(CLAIMED)
)


def measure(attributes):
    """Two recipes of two seeds on images with attributes: values on each one's images, and of each one's classifier."""
    names = [f"A{place}" for place in range(attributes)]
    labels = {name: [int((row + place) % 3 == 0) for row in range(N)] for place, name in enumerate(names)}
    masks = {name: np.array(rows) for name, rows in strata(labels).items()}
    write_real({"mse": np.zeros(N)}, [0] * N)
    labelled = runs_dir() / "real" / f"toy-test-{FINGERPRINT[:12]}" / "images.parquet"
    per_image.write_labels(labelled, ids_of(N), labels)
    for place, (recipe, seed) in enumerate((recipe, seed) for recipe in ("vae", "gan") for seed in (0, 1)):
        folder = RunFolder(runs_dir() / recipe / f"seed-{seed}")
        parts = {f"attribute={name}": drawn(100 * place + at, N, place) for at, name in enumerate(names)}
        values = drawn(place, N, place)
        kept = {replace(series("mse"), stratum=part): PerImageValues(ids_of(N), each) for part, each in parts.items()}
        per_image.write(folder.per_image, {series("mse"): PerImageValues(ids_of(N), values), **kept})
        lines = lines_of(recipe, seed, "mse", values, masks)
        of_parts = [lines_of(recipe, seed, "mse", each, {})[0] for each in parts.values()]
        named = [replace(line, stratum=part) for part, line in zip(parts, of_parts, strict=True)]
        results.append(folder.results, [*lines, *named])
    return set(masks), set(parts)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(write, "draw_all", lambda measured, folder: {})


@pytest.fixture
def report(cli, tmp_path):
    def make(*more, out="reports", published="papers"):
        (tmp_path / "papers").mkdir(exist_ok=True)
        (tmp_path / "papers" / "doe.toml").write_text(PAPER)
        answer = cli(["report", "--out", tmp_path / out, "--published", tmp_path / published, *more])
        assert answer.code == 0, answer.err
        return tmp_path / out / "toy"

    return make


def strata_of(path):
    with path.open(newline="") as handle:
        return {row["stratum"] for row in csv.DictReader(handle)}


def strata_of_runs(folder):
    files = folder.glob("*/seed-*/results.jsonl")
    return {result.stratum for file in files for result in results.read(file)}


def tree(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "evidence" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_of_many_strata_tables_and_page_show_those_that_a_claim_names(report):
    measure(21)
    folder = report()
    for table in ("leaderboard.csv", "comparisons.csv"):
        assert strata_of(folder / table) == {"all", *CLAIMED}
    page = (folder / "index.html").read_text()
    assert "A3=1" in page and "A4=1" not in page
    assert "not measured" not in (folder / "leaderboard.md").read_text()


def test_few_strata_are_all_shown_and_so_are_many_that_are_asked_for(report):
    subsets, parts = measure(20)
    assert strata_of(report(published="none") / "comparisons.csv") == {"all", *subsets, *parts}
    subsets, parts = measure(21)
    assert strata_of(report("--strata", published="none") / "comparisons.csv") == {"all", *subsets, *parts}
    assert strata_of(report(published="none") / "comparisons.csv") == {"all"}


def test_a_report_of_many_strata_is_made_again_from_less_evidence(report, monkeypatch):
    _, parts = measure(21)
    folder = report("--evidence")
    assert strata_of_runs(folder / "evidence") == {"all", "A3=1", *parts}  # sections of their own are made of the parts
    monkeypatch.setenv("VAEBENCH_RUNS", str(folder / "evidence"))
    assert tree(report(out="again")) == tree(folder)


def test_evidence_holds_all_strata_that_were_asked_for(report, monkeypatch):
    subsets, parts = measure(21)
    folder = report("--evidence", "--strata")
    assert strata_of_runs(folder / "evidence") == {"all", *subsets, *parts}
    monkeypatch.setenv("VAEBENCH_RUNS", str(folder / "evidence"))
    assert tree(report("--strata", out="again")) == tree(folder)


def test_compare_has_every_stratum(cli):
    measure(21)
    said = cli(["compare", "vae", "gan", "--strata"]).out
    assert "A4=1" in said and "attribute=A4" in said
