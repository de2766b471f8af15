"""What a command ends with: the metrics that were asked for, whether they are headlines or not."""

import csv
import io
import json
import re

import pytest


@pytest.fixture
def measured(cli, places):
    assert cli(["train", "vae-digits", "--steps", "2"]).code == 0
    out = ["--out", places / "out"]
    answer = cli(["evaluate", "vae-digits", "--samples", "20", "--metrics", "blur,psnr,kl", *out])
    assert answer.code == 0, answer.err
    return answer, out


def first_words(text):
    return {line.split()[0] for line in text.splitlines() if line.strip()}


def test_metrics_that_were_asked_for_are_shown_without_being_headlines(cli, measured):
    answer, out = measured
    assert {"blur", "psnr", "kl"} <= first_words(answer.out)
    assert re.search(r"^psnr .*↑", answer.out, re.M) and not re.search(r"^kl .*[↑↓→]", answer.out, re.M)  # not ranked
    one = cli(["evaluate", "vae-digits", "--samples", "20", "--metrics", "psnr", *out])
    assert "psnr" in first_words(one.out) and "kl" not in first_words(one.out)
    report = cli(["report", *out])  # nobody asked for these by name
    assert not {"psnr", "kl"} & first_words(report.out)
    assert {"psnr", "kl"} <= first_words(cli(["report", *out, "--full"]).out)


def test_machines_get_every_metric(cli, measured):
    _, out = measured
    records = json.loads(cli(["report", *out, "--json"]).out)
    named = {(each["metric"], each["recipe"]) for each in records}
    assert {("psnr", "vae-digits"), ("kl", "vae-digits"), ("blur", "vae-digits"), ("blur", "real")} <= named
    rows = list(csv.DictReader(io.StringIO(cli(["report", *out, "--csv"]).out)))
    assert {(row["metric"], row["recipe"]) for row in rows} == named


def test_a_table_without_stars_explains_none(cli, measured):
    answer, out = measured
    assert "*" not in answer.out and "nearer to the originals is better" in answer.out
    assert cli(["train", "vae-digits", "--set", "kl_weight=2", "--steps", "3"]).code == 0
    two = cli(["evaluate", "--all", "--samples", "20", "--metrics", "psnr", *out])
    assert "* first, or not told apart from it; " in two.out
