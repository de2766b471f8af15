"""The answer of a report: who leads, what is undecided, and what comes next, against tests made by hand."""

import dataclasses
import json

import numpy as np
import pytest
from handmade import drawn, measured, result, write_real, write_run

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.report.answer import FILE, read_answers, to_json
from vaebench.report.answer_wording import metrics_apart, missing, sentence, short_names, what
from vaebench.runs.record import RunFolder

N = 60


@pytest.fixture
def answers(cli, tmp_path):
    """Write the report of what was measured, and read its answer."""

    def call():
        assert cli(["report", "--out", tmp_path / "reports"]).code == 0
        (found,) = read_answers(tmp_path / "reports" / "toy")
        return found

    return call


def finding(answer, metric):
    (found,) = [each for each in answer.findings if each.metric == metric]
    return found


def three_seeds(recipe, metric, mean, spread=0.05, first=0):
    for seed in range(3):
        write_run(recipe, seed, {metric: drawn(first + seed, N, mean, spread)})


def test_a_model_that_is_shown_to_be_better_leads(answers):
    three_seeds("good", "mse", 1.0)
    three_seeds("bad", "mse", 2.0, first=10)
    three_seeds("worst", "mse", 3.0, first=20)
    found = finding(answers(), "mse")
    assert (found.verdict, found.first, found.behind) == ("leads", ["good"], ["bad", "worst"])
    assert sentence(found).startswith("good leads by mse (recon): ")
    assert " against bad " in sentence(found)


def test_a_cost_has_a_line_a_setting(answers):
    """A model that was trained in another way has no time beside the others', and is not without one."""
    for recipe, threads in (("good", 1), ("bad", 1), ("other", 2)):
        three_seeds(recipe, "mse", 1.0)
        for seed in range(3):
            cost = [result(recipe, seed, "parameters", 5.0, protocol="trained")]
            cost.append(result(recipe, seed, "training_seconds", 9.0, protocol=f"training/cpu/threads={threads}"))
            results.append(runs_dir() / recipe / f"seed-{seed}" / "results.jsonl", cost)
    costs = answers().costs
    assert [(each.metric, sorted(each.values)) for each in costs] == [
        ("parameters", ["bad", "good", "other"]),
        ("training_seconds", ["bad", "good"]),
        ("training_seconds", ["other"]),
    ]
    names = metrics_apart([(each.metric, each.protocol) for each in costs])
    assert names[1:] == ["training_seconds (threads=1)", "training_seconds (threads=2)"]


def test_a_metric_that_one_model_has_answers_no_question_that_another_answers_of_several(answers):
    write_real({"blur": drawn(99, N, 1.0, 0.05)})
    three_seeds("lonely", "blur", 0.5)
    assert finding(answers(), "blur").verdict == "alone"
    three_seeds("good", "mse", 1.0)
    three_seeds("bad", "mse", 2.0, first=10)
    answer = answers()
    assert [(each.metric, each.first, each.behind) for each in answer.findings] == [("mse", ["good"], ["bad"])]


def test_higher_is_better_where_the_metric_says_so(answers):
    three_seeds("low", "ssim", 0.2, 0.01)
    three_seeds("high", "ssim", 0.8, 0.01, first=10)
    assert finding(answers(), "ssim").first == ["high"]


def test_nearness_to_the_originals_counts_and_not_the_value(answers):
    write_real({"blur": drawn(99, N, 1.0, 0.05)})
    three_seeds("over", "blur", 1.2)
    three_seeds("under", "blur", 0.1, first=10)
    found = finding(answers(), "blur")
    assert (found.verdict, found.first) == ("leads", ["over"])
    assert found.originals is not None and "originals" in sentence(found)


def test_what_no_test_tells_apart_is_undecided_with_the_seeds_that_would_decide(answers):
    for seed, (one, other) in enumerate(((1.0, 1.3), (1.4, 1.2), (0.9, 1.25))):
        write_run("one", seed, {"mse": drawn(seed, N, one, 0.01)})
        write_run("other", seed, {"mse": drawn(10 + seed, N, other, 0.01)})
    answer = answers()
    found = finding(answer, "mse")
    assert (found.verdict, found.first, found.open) == ("undecided", ["one", "other"], ["other"])
    assert found.seeds_needed is not None and found.seeds_needed > 3
    assert "would decide" in sentence(found) or "would be needed" in sentence(found)
    assert answer.next == ["vaebench plan one other --metric mse"]
    (line,) = [line for line in answer.lines if line.metric == "mse"]
    assert {name for name, value in line.values.items() if value.first} == {"one", "other"}


def test_equal_within_the_margin_is_said_as_that(answers):
    base = drawn(0, N, 0.5, 0.001)
    for seed in range(3):
        write_run("one", seed, {"mse": base + 1e-6 * seed}, margin="5%")
        write_run("other", seed, {"mse": base + 1e-6 * seed + 1e-5}, margin="5%")
    found = finding(answers(), "mse")
    assert (found.verdict, found.open) == ("tied", [])
    assert sentence(found).startswith("equal within the margin by mse")


def test_one_seed_each_is_said_to_be_of_checkpoints(answers):
    for place, name in enumerate(("one", "other")):
        write_run(name, 0, {"mse": drawn(place, N, 1.0 + place, 0.05)})
    answer = answers()
    assert answer.checkpoints
    assert what(answer).endswith("1 training seed each: checkpoints, not recipes")
    assert finding(answer, "mse").seeds_needed is None
    assert answer.next == ["vaebench compare one other"]


def test_what_is_from_elsewhere_is_not_told_to_train_or_plan_seeds(answers, cli, tmp_path):
    for place, name in enumerate(("external/a", "external/b")):
        write_run(name, None, {"mse": drawn(place, N, 1.0, 1.0)})
    found = finding(answers(), "mse")
    assert (found.verdict, found.untested) == ("undecided", [])
    page = (tmp_path / "reports" / "toy" / "index.html").read_text(encoding="utf-8")
    assert "Why is this undecided?" in page and "training seed nobody" not in page and "vaebench plan" not in page
    assert "vaebench plan" not in cli(["compare", "external/a", "external/b"]).out
    answer = cli(["plan", "external/a", "external/b", "--metric", "mse"])
    assert answer.code == 2 and "were not trained here" in answer.err
    write_run("one", 0, {"mse": drawn(7, N, 1.0, 1.0)})
    assert what(answers()).endswith("images, 2 from elsewhere, 1 training seed: checkpoints, not recipes")


def test_what_no_test_could_be_made_of_is_said_and_not_planned(answers, cli, tmp_path):
    for name, value in (("one", 10.0), ("two", 500.0)):
        results.append(RunFolder(runs_dir() / name / "seed-0").results, [result(name, 0, "fid", value, n=100)])
    answer = answers()
    found = finding(answer, "fid")
    assert (found.verdict, found.untested) == ("undecided", ["two"])
    assert sentence(found).endswith("; too few images or training seeds for any test")
    assert answer.next == []
    page = (tmp_path / "reports" / "toy" / "index.html").read_text(encoding="utf-8")
    assert "No test could be made between these models" in page and "more images." in page
    assert "vaebench plan" not in page


def test_a_model_by_itself_has_nobody_to_lead(answers):
    write_run("one", 0, {"mse": drawn(0, N, 1.0, 0.05)})
    found = finding(answers(), "mse")
    assert found.verdict == "alone"
    assert sentence(found).endswith("by mse (recon), the only model measured")
    assert answers().next == []


def test_without_originals_nearness_ranks_nobody(answers):
    three_seeds("one", "blur", 1.0)
    three_seeds("other", "blur", 2.0, first=10)
    found = finding(answers(), "blur")
    assert found.verdict == "no target" and found.first == []
    assert "originals were not measured" in sentence(found)


def test_the_same_results_give_the_same_bytes_and_the_file_is_read_as_it_was_written(answers, tmp_path):
    three_seeds("one", "mse", 1.0)
    answer = answers()
    text = (tmp_path / "reports" / "toy" / FILE).read_text(encoding="utf-8")
    assert to_json([answer]) == text
    assert json.loads(text)[0]["models"] == ["one"]


@pytest.mark.parametrize("content", ["", "[", "[{}]", '[{"title": 1}]', "null"])
def test_a_damaged_answer_is_named(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError, match=r"answer\.json"):
        read_answers(tmp_path)


def test_names_lose_the_dataset_only_where_they_stay_apart():
    name = short_names(["vae-toy", "dfcvae-toy[beta=2]", "external/mine"], "toy")
    assert [name(each) for each in ("vae-toy", "dfcvae-toy[beta=2]", "external/mine", "x")] == [
        "vae",
        "dfcvae[beta=2]",
        "mine",
        "x",
    ]
    clash = short_names(["vae-toy", "external/vae"], "toy")
    assert clash("vae-toy") == "vae-toy"


def test_what_a_command_gets_is_said_and_what_nobody_has_is_not(answers):
    three_seeds("one", "mse", 1.0)
    answer = answers()
    from vaebench.report.answer import Missing

    known = dataclasses.replace(
        answer,
        models=["one", "two"],
        missing=[
            Missing(reason="no weights: run 'vaebench fetch inception'", models=["one", "two"], metrics=["fid"]),
            Missing(reason="needs labels", models=["one", "two"], metrics=["svm_accuracy"]),
            Missing(reason="needs an encoder", models=["two"], metrics=["mse", "ssim"]),
        ],
    )
    assert missing(known) == [
        "fid: vaebench fetch inception",
        "2 metrics of two: needs an encoder",
    ]
    assert len(missing(known, full=True)) == 3


def test_measurements_in_memory_have_facts():
    """The handmade measurements carry what the answers read: a headline's question and place."""
    facts = measured({("one", 0): np.ones(3)}).facts()
    assert facts["mse", "recon"].headline


def test_metrics_that_would_read_alike_are_told_apart():
    pairwise, vendi = "pairwise/mnist_cnn-dense/samples", "vendi/mnist_cnn-dense/samples"
    assert metrics_apart([("diversity", pairwise), ("diversity", vendi), ("mse", "recon")]) == [
        "diversity (samples, pairwise)",
        "diversity (samples, vendi)",
        "mse (recon)",
    ]
    scaled = [("blur", "samples"), ("blur", "samples/size=28,crop=centre,filter=bicubic"), ("blur", "recon")]
    assert metrics_apart(scaled) == ["blur (samples)", "blur (samples, size=28)", "blur (recon)"]
    assert metrics_apart([("mse", "recon"), ("mse", "recon")]) == ["mse (recon)", "mse (recon)"]  # two strata
    assert metrics_apart([("svm_accuracy", "official"), ("svm_accuracy", "pca")]) == [
        "svm_accuracy (official)",
        "svm_accuracy (pca)",
    ]
