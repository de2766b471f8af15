"""`compare` and `explain`: what the report says of two runs, and where one number came from."""

import csv
import io
import json
import math
import shutil

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, provenance, result, write_real, write_run
from scipy import stats

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.report.compare import compared
from vaebench.report.origins import origins

N = 40


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


def every_test(a, b):
    """Every test of the only dataset, by metric and test."""
    (found,) = compared(a, b)
    return {(row.metric, row.test): row for row in found.tests}


def by_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_two_recipes_stand_as_in_the_report(cli, runs, tmp_path):
    assert cli(["report", "--dataset", "toy", "--out", tmp_path / "reports"]).code == 0
    with (tmp_path / "reports/toy/comparisons.csv").open() as handle:
        report = [row for row in csv.DictReader(handle) if (row["a"], row["b"]) == ("gan", "vae")]
    answer = cli(["compare", "gan", "vae", "--csv"])
    assert answer.code == 0
    assert by_csv(answer.out) == report  # to the last digit
    assert len(report) == 6


def test_json_holds_the_same_numbers(cli, runs):
    rows = json.loads(cli(["compare", "gan", "vae", "--json"]).out)
    for row, line in zip(rows, by_csv(cli(["compare", "gan", "vae", "--csv"]).out), strict=True):
        assert row["verdict"] == line["verdict"]
        assert f"{row['mean_difference']:.10g}" == line["mean_difference"]
        assert (row["detectable"] is None) == (line["detectable"] == "")


def test_names_swapped_turn_the_signs(runs):
    straight, turned = every_test("gan", "vae"), every_test("vae", "gan")
    assert straight.keys() == turned.keys()
    for key, one in straight.items():
        other = turned[key]
        assert (one.a, one.b) == (other.b, other.a) == ("gan", "vae")
        assert one.mean_difference == -other.mean_difference
        assert one.effect_size == -other.effect_size
        assert (one.p_value, one.p_holm) == (other.p_value, other.p_holm)
        assert {one.verdict, other.verdict} in ({"a", "b"}, {one.verdict})
        assert one.statistic == (1 if one.test == "wilcoxon" else -1) * other.statistic
        if one.test != "wilcoxon":
            assert (one.ci_low, one.ci_high) == (-other.ci_high, -other.ci_low)


@pytest.mark.parametrize("other", ["gan/seed-1", "external/x"])
def test_single_runs_are_compared_on_their_own(runs, other):
    (found,) = compared("vae/seed-0", other)
    key = ("gan", 1) if other == "gan/seed-1" else ("external/x", None)
    expected = stats.ttest_rel(runs["vae", 0], runs[key])
    assert (found.dataset, found.a, found.b, found.plannable) == ("toy", "vae/seed-0", other, False)
    rows = {(row.metric, row.test): row for row in found.tests}
    assert set(rows) == {(metric, test) for metric in ("blur", "mse") for test in ("paired-t", "wilcoxon")}
    assert rows["mse", "paired-t"].statistic == pytest.approx(expected.statistic, rel=1e-5)
    assert rows["mse", "paired-t"].p_value == pytest.approx(expected.pvalue, rel=1e-5)
    # mse: the two alone; blur: the real images make three pairs
    assert rows["mse", "paired-t"].p_holm == rows["mse", "paired-t"].p_value
    assert rows["blur", "paired-t"].p_holm > rows["blur", "paired-t"].p_value


def test_two_seeds_of_one_recipe(runs):
    expected = stats.ttest_rel(runs["vae", 1], runs["vae", 0])
    assert every_test("vae/seed-1", "vae/seed-0")["mse", "paired-t"].statistic == pytest.approx(
        expected.statistic, rel=1e-5
    )


def test_the_same_recipe_and_seed_from_two_places(cli, runs, tmp_path):
    elsewhere = write_run("vae", 0, {"mse": drawn(77, N, 3)}, root=tmp_path / "elsewhere").path
    row = every_test("vae/seed-0", str(elsewhere))["mse", "paired-t"]
    assert row.statistic == pytest.approx(stats.ttest_rel(runs["vae", 0], drawn(77, N, 3)).statistic, rel=1e-5)
    assert row.verdict == "a"
    shown = cli(["compare", "vae/seed-0", elsewhere])
    assert "checkpoints, not about recipes" in shown.out
    assert "vaebench plan" not in shown.out  # it knows recipes of the runs folder alone


def test_verdicts_are_counted_and_said_by_question(cli, runs):
    (found,) = compared("vae", "gan")
    standings = {row.metric: found.standing(row) for row in found.deciding}
    assert standings == {"mse": "better", "blur": "open"}
    lines = cli(["compare", "vae", "gan"]).out.splitlines()
    assert lines[0] == "toy: vae against gan: 1 better, 0 worse, 0 equal, 1 open"
    assert any("better by mse" in line and "open by blur" in line for line in lines)
    turned = cli(["compare", "gan", "vae"]).out.splitlines()
    assert turned[0] == "toy: gan against vae: 0 better, 1 worse, 0 equal, 1 open"


def test_more_is_shown_when_it_is_asked_for(cli, runs):
    brief, every = cli(["compare", "gan", "vae"]).out, cli(["compare", "gan", "vae", "--tests"]).out
    assert "wilcoxon" not in brief and "wilcoxon" in every
    alone = cli(["compare", "gan", "vae", "--metrics", "mse"]).out
    assert "mse" in alone and "blur" not in alone
    refused = cli(["compare", "gan", "vae", "--metrics", "msee"])
    assert (refused.code, "did you mean 'mse'?" in refused.err) == (2, True)


def test_values_without_a_test_are_named_with_both_sides(cli, runs):
    """A seed each, or values that no seed changes: nothing tests them, and nothing may hide them."""
    for recipe, value in (("vae", 5000.0), ("gan", 700.0)):
        folder = runs_dir() / recipe / "seed-0"
        results.append(folder / "results.jsonl", [result(recipe, 0, "parameters", value, protocol="trained")])
    said = "values that no test compares: parameters 5,000 and 700"
    assert said in cli(["compare", "vae", "gan"]).out
    assert "parameters 700 and 5,000" in cli(["compare", "gan", "vae"]).out
    alone = cli(["compare", "vae", "gan", "--metrics", "parameters"]).out
    assert alone.splitlines()[1:] == [said]
    assert "no test compares" not in cli(["compare", "vae", "gan", "--metrics", "mse"]).out
    assert by_csv(cli(["compare", "vae", "gan", "--metrics", "parameters", "--csv"]).out) == []


@pytest.mark.parametrize("pair", [("vae", "vae"), ("vae", "vae/seed-1"), ("vae/seed-0", "vae")])
def test_a_run_is_not_compared_with_itself(cli, runs, pair):
    answer = cli(["compare", *pair])
    assert answer.code == 2
    assert "cannot be compared with itself" in answer.err


def test_the_same_folder_by_name_and_by_path_is_one_run(runs):
    with pytest.raises(UserError, match="cannot be compared with itself"):
        compared("vae/seed-0", str(runs_dir() / "vae" / "seed-0"))


def test_runs_without_a_dataset_in_common_are_refused(runs, tmp_path):
    other = runs_dir() / "other" / "seed-0"
    results.append(other / "results.jsonl", [result("other", 0, "mse", 1.0, dataset="faces")])
    with pytest.raises(UserError, match="not measured on a dataset in common"):
        compared("vae", "other")


def test_a_run_that_was_never_measured_is_named(runs):
    (runs_dir() / "new" / "seed-0").mkdir(parents=True)
    with pytest.raises(UserError, match=r"new/seed-0 was never measured: run 'vaebench evaluate"):
        compared("vae", "new")


def test_an_unknown_run_is_refused_with_the_nearest(cli, runs):
    answer = cli(["compare", "vae", "gann"])
    assert (answer.code, "did you mean 'gan'?" in answer.err) == (2, True)


def test_other_images_are_refused(runs):
    folder = runs_dir() / "gan"
    shutil.rmtree(folder)
    write_run("gan", 0, {"mse": drawn(0, N - 1)})
    with pytest.raises(UserError, match="share no metric on the same image ids"):
        compared("gan", "vae")


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


def test_values_that_hold_no_spread_are_printed(cli):
    for name, value in [("a", 0.5), ("b", 1.5)]:
        write_run(name, 0, {"mse": np.full(N, value)})
    row = every_test("a", "b")["mse", "paired-t"]
    assert (row.statistic, row.p_value, row.p_holm, row.verdict) == (-math.inf, 0.0, 0.0, "a")
    (line,) = [line for line in by_csv(cli(["compare", "a", "b", "--csv"]).out) if line["test"] == "paired-t"]
    assert (line["statistic"], line["p_value"], line["p_holm"]) == ("-inf", "<1e-300", "<1e-300")
