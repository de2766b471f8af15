"""Every cell of a published report follows from the evidence beside it, by another way than vaebench's own.

``recomputed*.py`` read the evidence with pandas and work values, intervals, tests, corrections, verdicts and ranks out
anew with numpy, scipy and statsmodels; nothing of ``vaebench.report`` or ``vaebench.statistics`` takes part.
"""

import csv
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from handmade_evidence import SPLITS, without_figures, write_evident_report
from recomputed import complaints

from vaebench.report.analysis.claims import Claim
from vaebench.report.write import Report, write_report

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
MADE_BY = [
    *(ROOT / "vaebench" / "statistics", ROOT / "vaebench" / "report", ROOT / "vaebench" / "metrics"),
    *Path(__file__).parent.glob("recomputed*.py"),
]
PUBLISHED = sorted(path.parent for path in REPORTS.glob("*/evidence"))
EXPRESSIONS = (
    *("mse: gan > vae", "mse: gan < vae", "mse: vae = gan", "mse: alike >= vae", "mse: alike = vae"),
    *("mse: alike > vae", "mse: vae < 1 + margin", "mse: vae better than 30", "mse: single > 20", "fid: vae < 3.1"),
    *("blur/recon: vae nearer than gan", "blur/recon: gan better than vae", "ssim: gan better than vae"),
    *("mse, label!=1: gan > vae", "mse/recon, label=1: gan <= single", "recall: vae > gan", "blur/samples: gan > vae"),
    *("svm_accuracy/official: vae >= 0.5 - margin", "svm_accuracy/official, attribute=Male: vae > gan"),
    *("fcd: gan = 3", "parameters: vae = 1000", "parameters: gan > vae", "mse: external/made > baseline/pca"),
    "mse: vae > nobody",
)
CLAIMS = [Claim(says=each, source="handmade", where="", published="", expression=each) for each in EXPRESSIONS]
FEW = {"vae": 3, "gan": 2, "external/made": None, "real": None}
KINDS = {
    "plain": {},
    "people": {"people": True},
    "withheld": {"people": True, "shown": False},
    "few": {"models": FEW, "splits": dict(list(SPLITS.items())[:1])},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Reports made by hand, each once: kind -> folder."""
    known = {}

    def make(kind):
        if kind not in known:
            root = tmp_path_factory.mktemp(kind)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("VAEBENCH_RUNS", str(root / "runs"))
                without_figures(patch)
                write_evident_report(root / "reports", **KINDS[kind])
                known[kind], _ = write_report("toy", root / "reports", Report(published=Path("none"), claims=CLAIMS))
        return known[kind]

    return make


@pytest.fixture(scope="module")
def before(made):
    """What is said of the small report as it was written."""
    return set(complaints(made("few")))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_of_a_handmade_report_follows_from_its_evidence(made, kind):
    assert complaints(made(kind)) == []


@pytest.mark.parametrize(
    "report", PUBLISHED or [pytest.param(None, marks=pytest.mark.skip(reason="no report here has evidence"))]
)
def test_every_cell_of_a_published_report_follows_from_its_evidence(report, request):
    """Half a minute a report: again only if the report, or what makes and recomputes it, changed; in CI always."""
    cache, key, content = getattr(request.config, "cache", None), "", ""
    if cache is not None:
        key, content = f"vaebench/published/{report.name}", digest_of([report, *MADE_BY])
        if not os.environ.get("CI") and cache.get(key, "") == content:
            pytest.skip("it passed here before and nothing that it depends on has changed: set CI=1 to run it")
    assert complaints(report) == []
    if cache is not None:
        cache.set(key, content)


def digest_of(folders):
    """One hash of the contents of all files in the folders."""
    found = hashlib.sha256()
    for file in sorted(file for folder in folders for file in [folder, *folder.rglob("*")] if file.is_file()):
        if file.suffix != ".pyc":
            found.update(f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return found.hexdigest()


@pytest.mark.parametrize("changed", ["reports/mnist/leaderboard.csv", "vaebench/statistics/means.py"])
def test_a_change_anywhere_is_seen(tmp_path, monkeypatch, changed):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    for name in ("reports/mnist/leaderboard.csv", "vaebench/statistics/means.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("as it was")
    folders = [tmp_path / "reports" / "mnist", tmp_path / "vaebench" / "statistics"]
    before = digest_of(folders)
    assert before == digest_of(folders)
    (tmp_path / changed).write_text("otherwise")
    assert before != digest_of(folders)


def test_the_handmade_reports_have_every_kind_of_test_and_verdict(made):
    rows = [row for kind in ("plain", "people") for row in read_csv(made(kind) / "comparisons.csv")]
    kinds = {"paired-t", "clustered-t", "welch-t-images", "nested-t", "wilcoxon", "mann-whitney", "mcnemar"}
    assert {row["test"] for row in rows} == kinds
    for test in ("paired-t", "clustered-t", "nested-t"):
        assert {row["verdict"] for row in rows if row["test"] == test} == {"a", "b", "equivalent", "unresolved"}
    assert {row["split"] for row in rows} == {"test", "val"}
    board = read_csv(made("plain") / "leaderboard.csv")
    assert {"", "1"} < {row["rank_low"] for row in board} and any(row["rank_low"] < row["rank_high"] for row in board)


def test_attributes_are_tested_by_values_of_their_own(made):
    rows = read_csv(made("plain") / "comparisons.csv")
    assert {row["stratum"] for row in rows} >= {"attribute=Male", "attribute=Young", "Smiling=1", "label!=1"}


def change_digit(text):
    """Another third significant digit, or the last where there are fewer."""
    places = [place for place, sign in enumerate(text.partition("e")[0]) if sign.isdigit()]
    first = next((place for place in places if text[place] != "0"), places[-1])
    place = [at for at in places if at >= first][:3][-1]
    return f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}"


TAMPERED = [
    *[("leaderboard.csv", name, {"metric": "mse"}) for name in ("value", "std_error", "ci_low", "ci_high", "df")],
    *[("leaderboard.csv", name, {"metric": "mse"}) for name in ("seeds", "n", "rank_low", "rank_high")],
    *[("leaderboard.csv", name, {"metric": "fid", "recipe": "vae"}) for name in ("value", "std_error", "df")],
    ("leaderboard.csv", "value", {"stratum": "label!=1"}),
    ("leaderboard.csv", "ci_low", {"stratum": "attribute=Male"}),
    *[("comparisons.csv", name, {"test": "nested-t"}) for name in ("mean_difference", "ci_low", "statistic", "df")],
    *[("comparisons.csv", name, {"test": "paired-t"}) for name in ("p_value", "p_holm", "effect_size", "margin")],
    *[("comparisons.csv", "statistic", {"test": name}) for name in ("wilcoxon", "mann-whitney", "welch-t-images")],
    ("comparisons.csv", "p_equivalent", {"test": "nested-t", "metric": "mse"}),
    ("comparisons.csv", "detectable", {"verdict": "unresolved"}),
    ("comparisons.csv", "p_holm", {"stratum": "label=2"}),
    *[
        ("attributes.csv", name, {"attribute": "Male"})
        for name in ("accuracy", "ci_low", "ci_high", "lift", "majority")
    ],
    *[("claims.csv", name, {"test": "nested-t"}) for name in ("difference", "ci_low", "p_holm", "seeds", "each_seed")],
    *[("claims.csv", name, {"test": "95 % interval"}) for name in ("difference", "ci_high", "seeds")],
    *[("variance.csv", name, {}) for name in ("training_sd", "image_sd", "sampling_sd", "std_error", "training_share")],
]


def tamper(folder, table, column, where, change):
    """Change the first cell of a column that holds a digit or a word, in the rows that ``where`` speaks of."""
    rows = read_csv(folder / table)
    row = next(
        row
        for row in rows
        if row[column] and not row[column].startswith("<") and all(row[name] == value for name, value in where.items())
    )
    row[column] = change(row[column])
    write_csv(folder / table, rows)


@pytest.fixture
def copied(made, tmp_path):
    return Path(shutil.copytree(made("few"), tmp_path / "copy"))


@pytest.mark.parametrize(("table", "column", "where"), TAMPERED)
def test_a_changed_digit_is_seen(copied, before, table, column, where):
    tamper(copied, table, column, where, change_digit)
    said = set(complaints(copied)) - before
    assert any(line.startswith(table) and f": {column} is " in line for line in said), said


@pytest.mark.parametrize("verdict", ["a", "b", "equivalent", "unresolved"])
def test_another_verdict_is_seen(copied, before, verdict):
    tamper(copied, "comparisons.csv", "verdict", {"verdict": verdict}, lambda was: "b" if was == "a" else "a")
    assert any(f"must be {verdict}" in line for line in set(complaints(copied)) - before)


@pytest.mark.parametrize("verdict", ["holds", "does not hold", "undecided", "not measured"])
def test_another_verdict_on_a_claim_is_seen(copied, before, verdict):
    other = "holds" if verdict == "undecided" else "undecided"
    tamper(copied, "claims.csv", "verdict", {"verdict": verdict}, lambda was: other)
    assert any(line.startswith("claims.csv") for line in set(complaints(copied)) - before)


@pytest.mark.parametrize("table", ["leaderboard.csv", "comparisons.csv", "variance.csv"])
@pytest.mark.parametrize("how", ["left out", "made up"])
def test_a_row_too_few_or_too_many_is_seen(copied, before, table, how):
    rows = read_csv(copied / table)
    made_up = [{**rows[0], "metric": "beauty"}]
    write_csv(copied / table, rows[1:] if how == "left out" else rows + made_up)
    said = set(complaints(copied)) - before
    assert any(line.startswith(table) and ("missing" in line or "evidence has no such" in line) for line in said), said


@pytest.mark.parametrize("part", ["value", "half", "rank"])
def test_a_changed_digit_of_the_page_is_seen(copied, before, part):
    page = copied / "leaderboard.md"
    text = page.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| mse (recon)"))
    cell = line.split("|")[-2].strip()
    value, half, rank = cell.replace("± ", "").split(" ", 2)
    was = {"value": value, "half": half, "rank": rank}[part]
    changed = cell.replace(was, change_digit(was))
    page.write_text(text.replace(line, line.replace(cell, changed)), encoding="utf-8")
    assert any(line.startswith("leaderboard.md mse recon") for line in set(complaints(copied)) - before)
