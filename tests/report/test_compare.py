"""`compare` and `explain`: what the report says of two runs, and where one number came from."""

import csv
import shutil

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, provenance, result, write_real, write_run
from scipy import stats

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.report.compare import between, origins

N = 40
HEADER = "metric,protocol,stratum,test,n,a - b,95 %,effect,statistic,p,p Holm,better"


@pytest.fixture
def runs():
    values = {
        ("real", None): drawn(0, N, 1),
        ("vae", 0): drawn(1, N, 0.2),
        ("vae", 1): drawn(2, N, 0.3),
        ("gan", 0): drawn(3, N, 2),
        ("gan", 1): drawn(4, N, 2.1),
        ("external/x", None): drawn(5, N, 1.2),
    }
    for (recipe, seed), scores in values.items():
        if recipe == "real":
            write_real({"blur": scores})
        else:
            write_run(recipe, seed, {"blur": scores, "mse": scores})
    return values


def table(lines):
    """Rows of the printed table by column; columns are two blanks or more apart."""
    import re

    head = HEADER.split(",")
    return [
        dict(zip(head, re.split(r" {2,}", line), strict=True))
        for line in lines[2:]
        if not line.startswith("what would decide")
    ]


def test_two_recipes_stand_as_in_the_report(cli, runs, tmp_path):
    assert cli(["report", "--dataset", "toy", "--out", tmp_path / "reports"]).code == 0
    with (tmp_path / "reports/toy/comparisons.csv").open() as handle:
        report = [row for row in csv.DictReader(handle) if (row["a"], row["b"]) == ("gan", "vae")]
    answer = cli(["compare", "gan", "vae"])
    shown = table(answer.out.splitlines())
    assert answer.code == 0
    assert len(shown) == len(report) == 6
    for ours, row in zip(shown, report, strict=True):
        assert (ours["metric"], ours["test"], ours["n"]) == (row["metric"], row["test"], row["n"])
        assert (ours["p"], ours["p Holm"]) == (row["p_value"], row["p_holm"])
        numbers = ("mean_difference", "effect_size", "statistic", "ci_low", "ci_high")
        wanted = [row[name] or "n/a" for name in numbers]
        interval = ours["95 %"].strip("[]").split(", ")
        assert [ours["a - b"], ours["effect"], ours["statistic"], *interval] == wanted  # to the last digit
        better = {"a": "gan", "b": "vae"}.get(row["verdict"], row["verdict"])
        assert ours["better"] == better + (f" (could have shown {row['detectable']})" if row["detectable"] else "")


def test_names_swapped_turn_the_signs(runs):
    straight, turned = table(between("gan", "vae")), table(between("vae", "gan"))
    for one, other in zip(straight, turned, strict=True):
        assert float(one["a - b"]) == -float(other["a - b"])
        assert float(one["effect"]) == -float(other["effect"])
        assert (one["p"], one["p Holm"], one["better"]) == (other["p"], other["p Holm"], other["better"])
        sign = 1 if one["test"] == "wilcoxon" else -1
        assert float(one["statistic"]) == sign * float(other["statistic"])
        if one["test"] != "wilcoxon":
            low, high = (float(part) for part in one["95 %"].strip("[]").split(", "))
            assert [float(part) for part in other["95 %"].strip("[]").split(", ")] == [-high, -low]


@pytest.mark.parametrize("other", ["gan/seed-1", "external/x"])
def test_single_runs_are_compared_on_their_own(runs, other):
    lines = between("vae/seed-0", other)
    key = ("gan", 1) if other == "gan/seed-1" else ("external/x", None)
    expected = stats.ttest_rel(runs["vae", 0], runs[key])
    assert lines[0] == f"toy: a = vae/seed-0, b = {other}"
    rows = {(row["metric"], row["test"]): row for row in table(lines)}
    assert set(rows) == {(metric, test) for metric in ("blur", "mse") for test in ("paired-t", "wilcoxon")}
    assert float(rows["mse", "paired-t"]["statistic"]) == pytest.approx(expected.statistic, rel=1e-5)
    assert float(rows["mse", "paired-t"]["p"]) == pytest.approx(expected.pvalue, rel=1e-5)
    # mse: the two alone; blur: the real images make three pairs
    assert rows["mse", "paired-t"]["p Holm"] == rows["mse", "paired-t"]["p"]
    assert float(rows["blur", "paired-t"]["p Holm"]) > float(rows["blur", "paired-t"]["p"])


def test_two_seeds_of_one_recipe(runs):
    (row,) = [
        row for row in table(between("vae/seed-1", "vae/seed-0")) if (row["metric"], row["test"]) == ("mse", "paired-t")
    ]
    expected = stats.ttest_rel(runs["vae", 1], runs["vae", 0])
    assert float(row["statistic"]) == pytest.approx(expected.statistic, rel=1e-5)


def test_the_same_recipe_and_seed_from_two_places(runs, tmp_path):
    elsewhere = write_run("vae", 0, {"mse": drawn(77, N, 3)}, root=tmp_path / "elsewhere").path
    (row,) = [row for row in table(between("vae/seed-0", str(elsewhere))) if row["test"] == "paired-t"]
    assert float(row["statistic"]) == pytest.approx(
        stats.ttest_rel(runs["vae", 0], drawn(77, N, 3)).statistic, rel=1e-5
    )
    assert row["better"] == "vae/seed-0 (this checkpoint)"


@pytest.mark.parametrize("pair", [("vae", "vae"), ("vae", "vae/seed-1"), ("vae/seed-0", "vae")])
def test_a_run_is_not_compared_with_itself(cli, runs, pair):
    answer = cli(["compare", *pair])
    assert answer.code == 2
    assert "cannot be compared with itself" in answer.err


def test_the_same_folder_by_name_and_by_path_is_one_run(runs):
    with pytest.raises(UserError, match="cannot be compared with itself"):
        between("vae/seed-0", str(runs_dir() / "vae" / "seed-0"))


def test_runs_without_a_dataset_in_common_are_refused(runs, tmp_path):
    other = runs_dir() / "other" / "seed-0"
    results.append(other / "results.jsonl", [result("other", 0, "mse", 1.0, dataset="faces")])
    with pytest.raises(UserError, match="not measured on a dataset in common"):
        between("vae", "other")


def test_a_run_that_was_never_measured_is_named(runs):
    (runs_dir() / "new" / "seed-0").mkdir(parents=True)
    with pytest.raises(UserError, match=r"new/seed-0 was never measured: run 'vaebench evaluate"):
        between("vae", "new")


def test_an_unknown_run_is_refused_with_the_nearest(cli, runs):
    answer = cli(["compare", "vae", "gann"])
    assert (answer.code, "did you mean 'gan'?" in answer.err) == (2, True)


def test_other_images_are_refused(runs):
    folder = runs_dir() / "gan"
    shutil.rmtree(folder)
    write_run("gan", 0, {"mse": drawn(0, N - 1)})
    with pytest.raises(UserError, match="share no metric on the same image ids"):
        between("gan", "vae")


def test_explain_shows_where_a_number_came_from(cli, runs):
    answer = cli(["explain", "vae/seed-1", "mse"])
    mean, error = runs["vae", 1].mean(), stats.sem(runs["vae", 1])
    for text in [
        "vae/seed-1: mse",
        f"{mean:.10g} ± {error:.6g}",
        "protocol          recon",
        f"toy:test, stratum all, n = {N}",
        FINGERPRINT,
        "training seed     1",
        "units, lower",
        '"torch": "2"',
        "vaebench 0.0",
        "abacus",
        "2026-01-02T03:04:05+00:00, in a pass of 1.5 s",
        "command           vaebench evaluate",
    ]:
        assert text in answer.out
    assert answer.code == 0


def test_explain_shows_hashes_where_there_are_any(runs):
    line = result("vae", 0, "mse", 1.0, provenance=provenance(weights_sha256="abc123", extractor_sha256="def456"))
    results.append(runs_dir() / "vae" / "seed-0" / "results.jsonl", [line])
    text = "\n".join(origins("vae/seed-0", "mse"))
    assert "weights sha256    abc123" in text and "extractor sha256  def456" in text


def test_explain_of_a_recipe_shows_every_seed(runs):
    heads = [line for line in origins("vae", "mse") if not line.startswith(" ") and line]
    assert [head.rsplit("/", 1)[1] for head in heads] == ["seed-0: mse", "seed-1: mse"]


def test_explain_says_what_is_stale(runs):
    from test_measured_runs import with_record

    from vaebench.runs.record import RunFolder

    assert "stale" not in "\n".join(origins("vae/seed-0", "mse"))
    with_record(RunFolder(runs_dir() / "vae" / "seed-0"), "trained-on-since")
    assert "stale: the run was trained on since" in "\n".join(origins("vae/seed-0", "mse"))


@pytest.mark.parametrize(
    ("metric", "said"),
    [("msee", "did you mean 'mse'?"), ("zzz", "choose from"), ("ssim", "run 'vaebench evaluate vae --metrics ssim'")],
)
def test_explain_of_what_was_not_measured(cli, runs, metric, said):
    answer = cli(["explain", "vae", metric])
    assert answer.code == 2
    assert f"vae has no value of '{metric}'" in answer.err and said in answer.err


def test_values_that_hold_no_spread_are_printed():
    for name, value in [("a", 0.5), ("b", 1.5)]:
        write_run(name, 0, {"mse": np.full(N, value)})
    row = next(row for row in table(between("a", "b")) if row["test"] == "paired-t")
    assert (row["statistic"], row["p"], row["p Holm"], row["better"]) == (
        "-inf",
        "<1e-300",
        "<1e-300",
        "a (this checkpoint)",
    )
