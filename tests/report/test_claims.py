"""The grammar of claims, each form and each error; and what is impossible, said before anything is run."""

import csv
import re
from pathlib import Path

import pytest

from vaebench.core.errors import UserError
from vaebench.core.metric import MetricSpec, Need
from vaebench.metrics import METRICS as ALL
from vaebench.report.analysis.claims import Comparison, check, parse


def compared(**changes):
    known = {"metric": "mse", "protocol": "", "stratum": "all", "left": "a", "relation": ">", "right": "b"}
    return Comparison(**{**known, "number": None, "margin": 0, **changes})


def number(value, **changes):
    return compared(right="", number=value, **changes)


BLUR = {"metric": "blur", "relation": "nearer than"}


@pytest.mark.parametrize(
    ("expression", "means"),
    [
        ("mse: a > b", compared()),
        ("mse:a>b", compared()),
        ("  mse :  a\n >  b ", compared()),
        ("mse: a < b", compared(relation="<")),
        ("mse: a >= b", compared(relation=">=")),
        ("mse: a<=b", compared(relation="<=")),
        ("mse: a = b", compared(relation="=")),
        ("mse: a better than b", compared(relation="better than")),
        ("blur: a nearer than b", compared(**BLUR)),
        ("blur: a nearer than b to real", compared(**BLUR)),
        (
            "blur/recon, label!=1: dfcvae-mnist nearer than vae-mnist",
            compared(**BLUR, protocol="recon", stratum="label!=1", left="dfcvae-mnist", right="vae-mnist"),
        ),
        (
            "fid/tf-resize/n=2000/samples: a < b",
            compared(metric="fid", protocol="tf-resize/n=2000/samples", relation="<"),
        ),
        ("x/variance>0.01: a < b", compared(metric="x", protocol="variance>0.01", relation="<")),
        ("x, condition=weight 0.25: a > b", compared(metric="x", stratum="condition=weight 0.25")),
        ("mse: a[z=1] > b", compared(left="a[z=1]")),
        ("mse: a[z=1, beta=4] > b", compared(left="a[beta=4,z=1]")),
        ("mse: a > b[z=10]", compared(right="b[z=10]")),
        ("mse: a > b[sizes=8+16]", compared(right="b[sizes=8+16]")),
        ("mse: a[z=1]=b[z=2]", compared(left="a[z=1]", right="b[z=2]", relation="=")),
        ("mse: external/made > real", compared(left="external/made", right="real")),
        ("mse: a > baseline/pca-100", compared(right="baseline/pca-100")),
        ("mse: real/train < a", compared(left="real/train", right="a", relation="<")),
        ("mse: a > 3vae", compared(right="3vae")),
        ("mse: a = 4", number(4.0, relation="=")),
        ("mse: a > -0.5", number(-0.5)),
        ("mse: a < .5", number(0.5, relation="<")),
        ("mse: a better than 1e-3", number(0.001, relation="better than")),
        ("mse: a >= 0.8695 - margin", number(0.8695, relation=">=", margin=-1)),
        ("mse: a <= 3+margin", number(3.0, relation="<=", margin=1)),
    ],
)
def test_each_form_is_read(expression, means):
    assert parse(expression) == means


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("mse a > b", "no colon .*write it as 'blur/recon: "),
        (": a > b", "'' before the colon is no metric's name"),
        ("my metric: a > b", "'my metric' before the colon"),
        ("mse/: a > b", "no protocol follows 'mse/'"),
        ("mse/recon, : a > b", "no stratum follows 'mse/recon,'"),
        ("mse:", "does not begin with a name"),
        ("mse: > b", "'> b' does not begin with a name: write LEFT RELATION RIGHT"),
        ("mse: 0.5 > a", "a number stands left"),
        ("mse: a", "nothing follows 'a': write a relation"),
        ("mse: a >", "nothing follows '>': write a name or a number"),
        ("mse: a beats b", "'beats b' after 'a' is no relation: write >, <, >=, <=, =, 'better than' or 'nearer than'"),
        ("mse: a beter than b", "'beter than' .*did you mean 'better than'"),
        ("mse: a neerer than b", "did you mean 'nearer than'"),
        ("mse: a better b", "did you mean 'better than'"),
        ("mse: a == b", "write ="),
        ("mse: a => b", "'=> b' after 'a' is no relation"),
        ("mse: a != b", "no relation"),
        ("mse: a > b c", "'c' follows 'b': write nothing after the name"),
        ("mse: a > b to real", "'to real' follows 'b'"),
        ("mse: a nearer than b to c", "'to c' follows 'b': write nothing after the name, or 'to real'"),
        ("mse: a > b - margin", "only a number can have one"),
        ("mse: a > 4 pixels", "'pixels' follows the number: write nothing, '- margin' or"),
        ("mse: a > 4 - margins", "'- margins' follows the number"),
        ("mse: a > 86.95 %", "is a percentage: write 0.8695"),
        ("mse: a > 1e999", "too large"),
        ("mse: a > (b)", r"'\(b\)' after '>' is neither a name nor a number"),
        ("mse: a > somewhere/b", "'somewhere/b' is no name: write a recipe, external/NAME, baseline/NAME or real"),
        ("mse: a nearer than 4", "'nearer than' compares two names"),
        ("mse: a = 4 - margin", "write two claims, >= NUMBER - margin and <= NUMBER \\+ margin"),
        ("mse: a/seed-0 > b", "'a/seed-0' is one run, .*: write a$"),
        ("mse: external/x@3 > b", "'external/x@3' is one run"),
        ("mse: a[z=3 > b", "the bracket after 'a' is not closed"),
        ("mse: a[z] > b", "'z' in the brackets of 'a\\[z\\]' is no setting"),
        ("mse: a\x1b[2J > b", r"\\x1b"),
    ],
)
def test_an_error_says_which_part_is_wrong(expression, said):
    with pytest.raises(UserError, match=said) as raised:
        parse(expression)
    assert str(raised.value).startswith("claim '") and len(str(raised.value).splitlines()) == 1


def spec(name, protocol, **changes):
    known = {"needs": Need.RECONSTRUCTION, "unit": "units", "direction": "lower", "margin": "5%", "stratified": True}
    return MetricSpec(name=name, protocol=protocol, **{**known, **changes})


METRICS = {
    "mse": [spec("mse", "recon", lowest=0.0)],
    "blur": [spec("blur", kind, direction="target", of_real=True) for kind in ("recon", "samples")],
    "svm": [
        spec(
            "svm",
            "official",
            direction="higher",
            headline=7,
            lowest=0.0,
            highest=1.0,
            of_baselines=True,
            stratified=False,
        ),
        spec("svm", "official/views=6", direction="higher", lowest=0.0, highest=1.0, stratified=False),
    ],
    "kl": [spec("kl", "posterior", ranked=False, margin="")],
    "throughput": [spec("throughput", "training", direction="higher", margin="")],
    "fid": [spec("fid", "inception/samples", of_training_images=True)],
}
SUBJECTS = ["vae", "gan", "vae[z=10]", "external/made", "baseline/pca-100"]


@pytest.mark.parametrize(
    "expression",
    [
        "mse: vae > gan",
        "mse, label=1: vae[z=10] better than external/made",
        "blur/recon: vae nearer than gan to real",
        "blur/recon: real > vae",
        "svm: vae > gan",
        "svm/official: vae >= 0.5 - margin",
        "svm: vae > baseline/pca-100",
        "svm, attribute=Male: vae > gan",
        "kl: vae > gan",
        "throughput/cpu/bf16: vae > gan",
        "fid/n=2000/samples: vae < real/train",
    ],
)
def test_what_can_be_judged_has_no_problem(expression):
    assert check(parse(expression), METRICS, SUBJECTS) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("msee: vae > gan", "no metric 'msee' is measured here: did you mean 'mse'?"),
        ("mse: vea > gan", "'vea' is not compared here: did you mean 'vae'?"),
        ("mse: vae > external/mode", "'external/mode' is not compared here: did you mean 'external/made'?"),
        ("mse: vae > vae", "'vae' is compared with itself"),
        ("mse/samples: vae > gan", "mse never has the protocol 'samples', it has 'recon': name one of them, or none"),
        ("blur/sampels: vae > gan", "blur never has the protocol 'sampels', .*did you mean 'samples'"),
        ("mse: vae nearer than gan", "mse does not aim at the real images' value"),
        ("kl: vae better than gan", "kl describes, and no value of it is better"),
        ("blur/recon: vae better than 0.1", "no number is better by itself"),
        ("blur/recon: real nearer than gan", "nothing can be 'nearer than' beside it"),
        ("blur/recon: vae better than real", "nothing can be 'better than' beside it"),
        ("blur: vae nearer than gan", "blur is measured in several ways: write blur/recon or blur/samples"),
        ("svm, label=1: vae > gan", "svm has no strata such as 'label=1'"),
        ("mse: real < gan", "mse is never taken of 'real'"),
        ("mse: real/train < gan", "mse is never taken of 'real/train'"),
        ("mse: vae < baseline/pca-100", "mse is never taken of 'baseline/pca-100'"),
        ("svm/views=6: vae > baseline/pca-100", "svm is never taken of 'baseline/pca-100'"),
        ("svm: vae > 86.95", "svm lies between 0 and 1, so that 86.95 is none of its values: write 0.8695 for 86.95 %"),
        ("svm: vae > 200", "write another number"),
        ("mse: vae > -1", "mse lies at 0 or above, so that -1 is none of its values"),
        ("kl: vae > 1 - margin", "kl declares no margin: write the number alone"),
    ],
)
def test_a_problem_is_said_before_anything_is_run(expression, said):
    (problem,) = check(parse(expression), METRICS, SUBJECTS)
    assert re.search(said, problem), problem


def test_several_problems_are_said_at_once():
    assert len(check(parse("mse/samples: vea > gan"), METRICS, SUBJECTS)) == 2


def test_what_metrics_declare_today_matches_what_reports_have():
    """Every protocol of the committed reports is one that the check lets pass."""
    specs = {}
    for name in ALL.names():
        for metric in ALL.get(name)():
            specs.setdefault(metric.spec.name, []).append(metric.spec)
    for metric in ALL.get("fid")(inception=768):  # at another layer it has another name
        specs.setdefault(metric.spec.name, []).append(metric.spec)
    boards = sorted((Path(__file__).parents[2] / "reports").glob("*/leaderboard.csv"))
    assert boards
    for board in boards:
        with board.open(newline="", encoding="utf-8") as handle:
            kinds = {(row["metric"], row["protocol"]) for row in csv.DictReader(handle)}
        for metric, protocol in sorted(kinds):
            asked = parse(f"{metric}/{protocol}: vae > gan")
            assert check(asked, specs, SUBJECTS) == [], (metric, protocol)
