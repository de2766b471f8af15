"""The gate's statistics: every verdict, direction and kind of margin, Welch's interval, and how often it errs."""

import csv
import math

import numpy as np
import pytest
from scipy import special, stats

from vaebench.core.errors import UserError
from vaebench.core.margin import read_margin
from vaebench.report.gate import rendering
from vaebench.report.gate.gate import check
from vaebench.report.gate.interval import Side, decide, half_width, needed, spread
from vaebench.report.gate.student import t_quantile
from vaebench.report.gate.table import read_table

ROW = {
    "dataset": "digits",
    "split": "test",
    "stratum": "all",
    "recipe": "vae-digits",
    "metric": "ssim",
    "protocol": "recon",
    "unit": "ratio",
    "direction": "higher",
    "value": 0.8,
    "std_error": 0.001,
    "seeds": 5,
    "n": 360,
    "data_fingerprint": "aa",
    "extractor_sha256": "",
    "note": "",
    "margin": "0.01",
    "df": 4,
    "by_seed": "",
    "lowest": "",
    "highest": "",
    "declared": "",
}
REAL = {"recipe": "real", "margin": "", "seeds": 0, "std_error": "", "df": ""}


@pytest.fixture
def table(tmp_path):
    """Write rows, each a change of ``ROW``, as a table and read it."""
    written = []

    def make(*rows, lacking=()):
        path = tmp_path / f"{len(written)}.csv"
        written.append(path)
        with path.open("w", newline="", encoding="utf-8") as handle:
            names = [name for name in ROW if name not in lacking]
            writer = csv.DictWriter(handle, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows([ROW | row for row in rows])
        return read_table(path)

    return make


@pytest.fixture
def judged(table):
    """The verdict on one row: changes of both sides, of the baseline, and of the candidate."""

    def judge(baseline, candidate, *margins, both=()):
        sides = []
        for side in (baseline, candidate):
            extra = [REAL | {"value": side.get("real")} | dict(both)] if "real" in side else []
            sides.append(table(dict(both) | side, *extra))
        return check(sides[1], sides[0], margins).rows[0]

    return judge


EXACT = {"std_error": 0, "df": ""}
HIGHER, LOWER, TARGET = {"direction": "higher"}, {"direction": "lower"}, {"direction": "target"}

VERDICTS = [
    (HIGHER, 0.80, 0.70, "regression"),
    (HIGHER, 0.80, 0.80, "ok"),
    (HIGHER, 0.80, 0.79, "undecided"),
    (HIGHER, 0.80, 0.85, "improved"),
    (LOWER, 0.80, 0.90, "regression"),
    (LOWER, 0.80, 0.80, "ok"),
    (LOWER, 0.80, 0.81, "undecided"),
    (LOWER, 0.80, 0.75, "improved"),
    (LOWER, -0.80, -0.70, "regression"),
]


@pytest.mark.parametrize(("direction", "baseline", "candidate", "verdict"), VERDICTS)
def test_verdicts(judged, direction, baseline, candidate, verdict):
    row = judged({"value": baseline}, {"value": candidate}, both=direction)
    assert row.verdict == verdict
    assert row.degradation == pytest.approx((baseline - candidate) * (1 if direction is HIGHER else -1))
    assert row.ci_low < row.degradation < row.ci_high


@pytest.mark.parametrize(
    ("baseline", "candidate", "degradation", "verdict"),
    [
        (0.9, 0.7, 0.2, "regression"),  # from 0.1 below the real images' 1.0 to 0.3 below
        (0.9, 1.3, 0.2, "regression"),  # higher than real is no better than lower
        (0.9, 1.1, 0.0, "ok"),
        (1.1, 0.99, -0.09, "improved"),
    ],
)
def test_a_target_is_the_distance_to_the_real_images(judged, baseline, candidate, degradation, verdict):
    row = judged({"value": baseline, "real": 1.0}, {"value": candidate, "real": 1.0}, both=TARGET)
    assert row.verdict == verdict
    assert row.degradation == pytest.approx(degradation)


def test_real_images_of_one_fingerprint_have_one_value(judged):
    with pytest.raises(UserError, match="real images of one fingerprint have one value"):
        judged({"value": 0.9, "real": 1.0}, {"value": 0.9, "real": 1.2}, both=TARGET)
    assert judged({"value": 0.9, "real": 1.0}, {"value": 0.9, "real": 1.0 + 1e-8}, both=TARGET).verdict != "regression"


@pytest.mark.parametrize(
    ("given", "both", "limit"),
    [
        ((), {"margin": "0.02"}, 0.02),
        ((), {"margin": "5%"}, 0.04),
        ((), {"margin": "5%", "direction": "lower", "value": -0.8}, 0.04),
        ((), {"margin": "5%", "direction": "target"}, 0.1),
        (("ssim=5%",), {"margin": "0.02"}, 0.04),
        (("ssim=.5",), {"margin": ""}, 0.5),
        (("ssim=1e-3",), {"margin": "none"}, 0.001),
        (("ssim=0",), {"margin": "5%"}, 0.0),
    ],
)
def test_margins(judged, given, both, limit):
    assert judged({"real": -2.0}, {"real": -2.0}, *given, both=both).margin == pytest.approx(limit)


def test_a_margin_decides(judged):
    sides = {"value": 0.8}, {"value": 0.75}
    assert judged(*sides, "ssim=0.02").verdict == "regression"
    assert judged(*sides, "ssim=0.1").verdict == "ok"
    assert judged(*sides, "ssim=2%").verdict == "regression"
    assert judged(*sides, "ssim=10%").verdict == "ok"


def test_none_takes_a_metric_out(table):
    accepted = table({}, {"metric": "fid"})
    gate = check(accepted, accepted, ["fid=none"])
    assert [row.baseline.metric for row in gate.rows] == ["ssim"]
    assert [line.metric for line in gate.ungated] == ["fid"]


def test_what_is_gated(table):
    accepted = table(
        {},
        {"stratum": "label=1"},
        REAL | {"margin": "0.01", "value": 1},
        {"recipe": "baseline/pca"},
        {"metric": "throughput", "margin": ""},
        {"metric": "kl", "value": "", "std_error": "", "df": ""},
        {"recipe": "external/peer"},
    )
    gate = check(accepted, accepted)
    assert [row.baseline.recipe for row in gate.rows] == ["external/peer", "vae-digits"]
    assert [line.metric for line in gate.ungated] == ["throughput"]


@pytest.mark.parametrize(("first", "second"), [((0.02, 3), (0.03, 5)), ((0.4, 2), (1e-3, 40)), ((1e-9, 4), (2.0, 3))])
def test_the_interval_is_welchs(judged, first, second):
    """scipy's, of the same means, standard deviations and numbers of seeds."""
    (se_b, n_b), (se_c, n_c) = first, second
    row = judged(
        {"value": 1.5, "std_error": se_b, "seeds": n_b, "df": n_b - 1},
        {"value": 0.7, "std_error": se_c, "seeds": n_c, "df": n_c - 1},
    )
    deviations = se_b * math.sqrt(n_b), se_c * math.sqrt(n_c)
    test = stats.ttest_ind_from_stats(1.5, deviations[0], n_b, 0.7, deviations[1], n_c, equal_var=False)
    # the statistic is d / se, and the interval's ends are where a test of d - end has p 0.05
    assert row.degradation / row.std_error == pytest.approx(test.statistic, rel=1e-9)
    assert 2 * special.stdtr(row.df, -abs(test.statistic)) == pytest.approx(test.pvalue, rel=1e-9)
    for end in (row.ci_low, row.ci_high):
        moved = stats.ttest_ind_from_stats(1.5 - end, deviations[0], n_b, 0.7, deviations[1], n_c, equal_var=False)
        assert moved.pvalue == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("df", [1, 1.001, 1.5, 2, 2.7, 3, 4, 7.3, 10, 30, 99.5, 150, 200, 200.1, 1e3, 1e6, 1e12])
def test_the_quantile_of_t(df):
    assert t_quantile(df) == pytest.approx(stats.t.isf(0.025, df), rel=1e-10)
    for tail in (0.005, 0.025 / 49):
        assert t_quantile(df, tail) == pytest.approx(stats.t.isf(tail, df), rel=1e-8)


def test_the_same_seeds_all_worse_alike_are_a_regression_within_a_wide_margin(judged):
    wide = {"direction": "lower", "lowest": 0, "margin": "900%", "declared": "5%"}
    old = [0.02, 0.05, 0.09]
    assert judged(of_seeds(*old, **wide), of_seeds(*(3 * np.array(old)), **wide)).verdict == "regression"
    assert judged(of_seeds(*old, **wide), of_seeds(*(1.04 * np.array(old)), **wide)).verdict == "ok"
    scattered = of_seeds(0.05, 0.09, 0.02, **wide)  # other weights of the same seeds: no better, no worse
    assert judged(of_seeds(*old, **wide), scattered).verdict in ("ok", "undecided")


def test_the_interval_of_raw_values(judged):
    rng = np.random.default_rng(3)
    accepted, new = rng.normal(5, 1, 4), rng.normal(6, 3, 6)
    sides = [{"value": x.mean(), "std_error": stats.sem(x), "seeds": len(x), "df": len(x) - 1} for x in (accepted, new)]
    row = judged(*sides, both=LOWER)
    expected = stats.ttest_ind(new, accepted, equal_var=False).confidence_interval(0.95)
    assert (row.ci_low, row.ci_high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("direction", ["higher", "lower", "target"])
def test_swapping_the_tables_turns_the_degradation_round(table, direction):
    rows = [{"value": value, "std_error": error, "direction": direction} for value, error in ((0.8, 0.02), (0.7, 0.05))]
    a, b = (table(row, REAL | {"value": 0.9, "direction": direction}) for row in rows)
    forth, back = check(b, a).rows[0], check(a, b).rows[0]
    assert forth.degradation == -back.degradation != 0
    assert (forth.ci_low, forth.ci_high) == (-back.ci_high, -back.ci_low)
    assert forth.df == back.df


def test_older_tables_say_no_degrees_of_freedom(table):
    accepted = table({"seeds": 3}, lacking=["df", "margin", "note"])
    new = table({"seeds": 1, "n": 100}, lacking=["df"])
    row = check(new, accepted, ["ssim=0.01"]).rows[0]
    assert row.df == pytest.approx(4 / (1 / 2 + 1 / 99))
    assert row.one_checkpoint


@pytest.mark.parametrize(
    ("value", "limit", "verdict"),
    [
        (1000, "0", "ok"),
        (1001, "0", "regression"),
        (1050, "5%", "ok"),
        (1051, "5%", "regression"),
        (900, "5%", "improved"),
        (960, "5%", "ok"),
    ],
)
def test_exact_values(judged, value, limit, verdict):
    row = judged({"value": 1000}, {"value": value}, both=LOWER | EXACT | {"margin": limit})
    assert row.verdict == verdict
    assert row.ci_low == row.ci_high == row.degradation == value - 1000
    assert row.df is None
    assert not row.one_checkpoint


def test_a_degradation_that_is_the_margin(judged):
    assert "the degradation is the margin itself" in judged({"value": 0.80}, {"value": 0.79}).reason


def test_a_margin_is_met_in_spite_of_binary_fractions(judged):
    assert 0.4 - 0.3 > 0.1
    assert judged({"value": 0.3}, {"value": 0.4}, both=LOWER | EXACT | {"margin": "0.1"}).verdict == "ok"


def test_one_exact_side_adds_nothing(judged):
    row = judged(EXACT, {"std_error": 0.001, "df": 4})
    assert row.std_error == pytest.approx(0.001)
    assert row.df == pytest.approx(4)


@pytest.mark.parametrize(
    ("baseline", "candidate", "reason"),
    [
        ({"std_error": "", "seeds": 1}, {}, "no interval: the baseline has one checkpoint and no standard error"),
        ({}, {"std_error": "", "seeds": 3}, "no interval: the candidate has 3 seeds and no standard error"),
        ({"std_error": ""}, {"std_error": ""}, "no interval: neither side"),
        (EXACT, {"std_error": ""}, "no interval: the candidate"),
        ({"seeds": 1, "n": 1, "df": ""}, {}, "has no degrees of freedom"),
    ],
)
@pytest.mark.parametrize(("value", "verdict"), [(0.7995, "undecided"), (0.9, "undecided"), (0.1, "regression")])
def test_without_an_interval_only_the_margin_decides(judged, baseline, candidate, reason, value, verdict):
    row = judged(baseline, candidate | {"value": value})
    assert row.verdict == verdict
    assert reason in row.reason
    assert ("beyond the margin" in row.reason) == (verdict == "regression")
    assert "more seeds" in row.reason
    assert row.ci_low is None
    assert row.degradation == pytest.approx(0.8 - value)


def test_equal_values_without_scatter_are_identical(judged):
    alike = {"value": 8, "std_error": "", "seeds": 3, "df": "", "by_seed": "0=8 1=8 2=8"}
    assert judged(alike, alike).verdict == "identical"
    assert judged({"value": 8, "std_error": ""}, {"value": 8, "std_error": ""}).verdict == "identical"
    assert judged({"value": 8, "std_error": ""}, {"value": 8.001, "std_error": ""}, both=LOWER).verdict == "undecided"


def of_seeds(*values, **more):
    """A row of training seeds 0, 1 and so on."""
    values = np.array(values)
    told = " ".join(f"{seed}={value:.10g}" for seed, value in enumerate(values))
    known = {"value": values.mean(), "std_error": stats.sem(values), "seeds": len(values), "df": len(values) - 1}
    return {**known, "by_seed": told, **more}


def test_the_same_seeds_are_compared_one_by_one(judged):
    old, new = [0.70, 0.80, 0.90], [0.701, 0.803, 0.902]
    row = judged(of_seeds(*old), of_seeds(*new))
    expected = stats.ttest_rel(old, new).confidence_interval(0.95)
    assert (row.ci_low, row.ci_high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert row.verdict == "ok"  # by Welch's interval, 0.23 wide each way, nothing could be said
    assert judged(of_seeds(*old), of_seeds(*old)).verdict == "identical"
    assert judged(of_seeds(*old), of_seeds(0.6, 0.7, 0.8)).verdict == "regression"


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_open_positive_values_are_compared_by_their_logarithms(judged, direction):
    """Paired t of logarithms by scipy, turned back into the metric's unit."""
    old, new = np.array([20.0, 30.0, 45.0]), np.array([23.0, 36.0, 50.0])
    both = {"direction": direction, "lowest": 0, "margin": "10%"}
    row = judged(of_seeds(*old, **both), of_seeds(*new, **both))
    expected = stats.ttest_rel(np.log(new), np.log(old)).confidence_interval(0.95)
    middle = np.log(new.mean() / old.mean())
    half = (expected.high - expected.low) / 2
    ends = [old.mean() * np.expm1(middle + sign * half) for sign in (-1, 1)]
    ours = [row.ci_low, row.ci_high] if direction == "lower" else [-row.ci_high, -row.ci_low]
    assert ours == pytest.approx(ends, rel=1e-9)
    assert row.margin == pytest.approx(0.1 * old.mean())


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.1, 2, "regression"), (1, 2, "undecided"), (0, 1, "ok"), (-3, -1, "ok"), (-3, -1.1, "improved")],
)
def test_ends_that_lie_on_the_margin(low, high, verdict):
    assert decide(low, high, 1.0) == verdict


@pytest.mark.parametrize("what", ["seeds", "images"])
@pytest.mark.parametrize("gap", [0.5, 0.1, 0.03])
def test_the_number_that_is_asked_for_is_the_smallest_that_serves(what, gap):
    sides = Side("baseline", 0.3, 2, 3, what), Side("candidate", 0.5, 3, 4, what)
    words = needed(*sides, gap)
    assert words.startswith(f"too few {what}: at least ")
    number = int(words.partition("at least ")[2].split()[0].replace(",", ""))
    assert half_width(*(side.with_count(number) for side in sides)) <= gap
    assert half_width(*(side.with_count(number - 1) for side in sides)) > gap


def test_what_is_asked_for_where_no_number_helps():
    seeds, images = Side("baseline", 0.3, 2, 3, "seeds"), Side("candidate", 0.3, 99, 100, "images")
    exact = Side("baseline", 0.0, 1, 1, "images")
    assert "more than 10,000 on each side" in needed(seeds, seeds, 1e-6)
    assert "which no number of them decides" in needed(seeds, seeds, 0.0)
    assert "train the candidate with several seeds" in needed(seeds, images, 0.1)
    assert "in the candidate" in needed(exact, images, 0.1)


def test_seeds_asked_for_where_they_are_compared_one_by_one(judged):
    """More seeds of the candidate alone would end the comparison seed by seed, and decide nothing."""
    row = judged(of_seeds(0.5, 0.6, 0.7), of_seeds(0.44, 0.59, 0.62))
    assert row.verdict == "undecided"
    number, _, rest = row.reason.removeprefix("too few seeds: at least ").partition(",")
    assert rest == " the same in both tables, if their spread stays as it is"
    assert 3 < int(number) < 100


@pytest.mark.parametrize(
    ("candidate", "steps"),
    [
        ((0.44, 0.59, 0.62), "Next: train undecided recipes with more training seeds, the baseline with the same; if "),
        ((0.44, 0.59), "Next: train undecided recipes again with the baseline's training seeds (0,1,2); if "),
        ((0.30, 0.40, 0.50), "Next: look at the samples of what regressed; if "),
    ],
)
def test_the_next_step_of_a_summary_is_one_that_helps(table, candidate, steps):
    summary = rendering.to_summary(check(table(of_seeds(*candidate)), table(of_seeds(0.50, 0.60, 0.70, margin="0.03"))))
    assert steps in summary


@pytest.mark.parametrize(("seeds", "what"), [(0, "images"), (1, "images"), (2, "seeds")])
def test_what_an_interval_is_over(judged, seeds, what):
    row = judged({}, {"value": 0.789}, both={"seeds": seeds, "df": "", "std_error": 0.004})
    assert row.reason.startswith(f"too few {what}: at least ")


def test_tiny_and_huge_standard_errors():
    tiny, huge = Side("baseline", 1e-200, 2, 3, "seeds"), Side("candidate", 1e90, 4, 5, "seeds")
    assert spread(tiny, tiny) == pytest.approx((math.sqrt(2) * 1e-200, 4.0), rel=1e-12)
    assert spread(tiny, huge) == (1e90, 4.0)


MISMATCHES = [
    ({"dataset": "mnist"}, "give two tables of one dataset"),
    ({"split": "validation"}, "split"),
    ({"data_fingerprint": "bb"}, "data_fingerprint"),
    ({"extractor_sha256": "cc"}, "extractor_sha256"),
    ({"unit": "decibels"}, "unit"),
    ({"direction": "lower"}, "direction"),
    ({"protocol": "recon/gaussian7"}, "protocol"),
]


@pytest.mark.parametrize(("change", "names"), MISMATCHES)
def test_what_does_not_compare_is_refused(table, change, names):
    accepted, new = table({}), table(change)
    with pytest.raises(UserError) as refused:
        check(new, accepted)
    assert names in str(refused.value)
    assert next(iter(change.values())) in str(refused.value)


def test_other_versions_and_devices_compare(tmp_path):
    text = "{}\n{}\n"
    paths = []
    for version in ("0.1.0,cpu", "9.9.9,cuda"):
        names = ",".join([*ROW, "vaebench_version", "device"])
        paths.append(tmp_path / f"{version}.csv")
        paths[-1].write_text(text.format(names, ",".join([*map(str, ROW.values()), version])))
    assert check(*map(read_table, paths)).rows[0].verdict == "ok"


def test_a_table_of_two_states_of_the_data_is_matched_to_the_same_state(table):
    accepted = table({}, {"data_fingerprint": "bb", "value": 0.5})
    new = table({"data_fingerprint": "bb", "value": 0.5}, {})
    assert [row.degradation for row in check(new, accepted).rows] == [0, 0]


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("real", [None, {"value": ""}, {"value": 1, "data_fingerprint": "bb"}])
def test_a_target_without_the_real_images_is_refused(table, side, real):
    whole = table(TARGET, REAL | TARGET | {"value": 1})
    bare = table(TARGET, *([] if real is None else [REAL | TARGET | real]))
    with pytest.raises(UserError, match=r"has no value of the real images for ssim \(recon\)"):
        check(*((bare, whole) if side else (whole, bare)))


FID = {"metric": "fid", "direction": "lower", "protocol": "n=10"}


def test_a_protocol_that_changed_is_named(table):
    with pytest.raises(UserError, match=r"'n=10' in .*0\.csv, line 3, but 'n=20' in .*1\.csv"):
        accepted = table({}, FID)
        check(table({}, FID | {"protocol": "n=20"}), accepted)


MISSING = [
    ({"metric": "psnr"}, "the candidate lacks the metric"),
    ({"value": "", "std_error": "", "df": "", "note": "needs a posterior"}, "n/a in the candidate: needs a posterior"),
]


@pytest.mark.parametrize(("change", "reason"), MISSING)
def test_missing_counts_as_a_regression(table, change, reason):
    accepted, new = table({}, FID), table(change, FID)
    gate = check(new, accepted)
    assert (gate.rows[0].verdict, gate.rows[0].reason) == ("missing", reason)
    assert gate.exit_code == 1
    for name in ("ssim", "vae-digits", "vae-digits:ssim"):
        allowed = check(new, accepted, allow_missing=[name])
        assert [row.verdict for row in allowed.rows] == ["ok", "allowed"]
        assert allowed.exit_code == 0
    assert check(new, accepted, allow_missing=["fid"]).exit_code == 1


def test_a_missing_recipe(table):
    accepted = table({}, {"recipe": "dcgan-digits"})
    row = check(table({}), accepted).rows[0]
    assert (row.verdict, row.reason) == ("missing", "the candidate lacks the recipe")
    assert check(table({}), accepted, allow_missing=["dcgan-digits"]).exit_code == 0


def test_a_missing_protocol_beside_one_that_both_have(table):
    other = FID | {"protocol": "n=20"}
    accepted, new = table(FID, other), table(FID)
    assert [row.reason for row in check(new, accepted).rows] == ["the candidate lacks the protocol", ""]
    changed = table(FID, FID | {"protocol": "n=30"})
    assert check(changed, accepted, allow_missing=["fid"]).exit_code == 0


def test_a_protocol_that_was_not_available_is_known_all_the_same(table):
    other = FID | {"protocol": "n=20"}
    row = check(table(other), table(FID, other | {"value": "", "std_error": "", "df": ""})).rows[0]
    assert (row.verdict, row.reason) == ("missing", "the candidate lacks the protocol")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sism", "did you mean 'ssim'"),
        ("vae-digit", "did you mean 'vae-digits'"),
        ("vae-digits:sism", "did you mean 'ssim'"),
        ("vae-digits:psnr", "choose from fid, ssim"),
        ("", "choose from fid, ssim, vae-digits"),
    ],
)
def test_a_name_that_names_nothing(table, name, hint):
    accepted = table({}, FID)
    with pytest.raises(UserError, match=hint):
        check(accepted, accepted, allow_missing=[name])


def test_new_rows_are_told_and_judged_by_nothing(table):
    accepted = table({}, FID | {"value": "", "std_error": "", "df": ""})
    new = table(
        {}, FID, {"metric": "psnr"}, {"metric": "kl", "value": ""}, {"recipe": "baseline/pca"}, {"stratum": "x"}
    )
    gate = check(new, accepted)
    assert [line.metric for line in gate.new] == ["fid", "psnr"]
    assert gate.exit_code == 0


def test_worst_first(table):
    metrics = {"a": 0.8, "b": 0.79, "c": 0.6, "d": 0.7, "e": 0.85, "f": 0.8, "g": 0.8}
    accepted = table(*({"metric": name} for name in metrics))
    new = table(*({"metric": name, "value": value} for name, value in metrics.items() if name != "g"))
    rows = check(new, accepted).rows
    assert [row.baseline.metric for row in rows] == ["c", "d", "g", "b", "a", "f", "e"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [(["ok"], 0), (["ok", "undecided"], 3), (["undecided", "regression"], 1), (["improved", "missing"], 1)],
)
def test_exit_codes(table, changes, code):
    values = {"ok": 0.8, "undecided": 0.79, "regression": 0.7, "improved": 0.9}
    accepted = table({"metric": "always"}, *({"metric": name} for name in changes))
    rows = [{"metric": name, "value": values[name]} for name in changes if name in values]
    assert check(table({"metric": "always"}, *rows), accepted).exit_code == code


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "5 %", "5%%", "%", "1e999", "1e999%", "1_0", "five", "+1", "٣"])
def test_margins_that_are_none(text):
    with pytest.raises(UserError, match=r"^here: margin .* is none: write 0\.01 \(absolute\), 5% "):
        read_margin(text, "here")


def _trials(rng, shift, seeds, deviations, trials=100):
    """Verdicts on tables of seeds drawn from two normal populations, ``shift`` apart, at a margin of 1."""
    verdicts = []
    for _ in range(trials):
        sides = []
        for who, mean, deviation, count in zip("bc", (0.0, shift), deviations, seeds, strict=True):
            values = rng.normal(mean, deviation, count)
            sides.append((values.mean(), Side(who, float(stats.sem(values)), count - 1, count, "seeds")))
        (accepted, first), (new, second) = sides
        half = half_width(first, second)
        verdicts.append(decide(new - accepted - half, new - accepted + half, 1.0))
    return verdicts


@pytest.mark.calibration
@pytest.mark.parametrize("seeds", [(3, 3), (3, 5), (4, 4), (5, 5)])
@pytest.mark.parametrize("deviations", [(1.0, 1.0), (0.3, 1.0)])
def test_noise_at_the_margin_is_rarely_called_a_regression(seeds, deviations):
    """2.5 % at most; three standard errors of 2,000 trials, and the small excess that Welch's test is known for."""
    verdicts = _trials(np.random.default_rng(sum(seeds)), 1.0, seeds, deviations, 2_000)
    assert verdicts.count("regression") / len(verdicts) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / len(verdicts)) + 0.005
    assert verdicts.count("ok") + verdicts.count("improved") <= 0.05 * len(verdicts)


@pytest.mark.calibration
@pytest.mark.parametrize(("limit", "most"), [(0.2, 0.05), (10.0, 0.025)])
def test_noise_about_a_target(limit, most):
    """Beside the target both tails are on the worse side: 2.5 % become 5 %, no more."""
    rng, exact = np.random.default_rng(5), Side("baseline", 0.0, 1, 1, "seeds")
    called = 0
    for _ in range(2_000):
        values = rng.normal(limit, 2.0, 4)  # the target is 0, and the baseline is on it
        half = half_width(exact, Side("candidate", float(stats.sem(values)), 3, 4, "seeds"))
        called += decide(abs(values.mean()) - half, abs(values.mean()) + half, limit) == "regression"
    assert most / 2 < called / 2_000 <= most + 3 * math.sqrt(most * (1 - most) / 2_000)


@pytest.mark.parametrize("seeds", [(3, 3), (3, 5), (5, 5)])
def test_a_large_degradation_is_always_caught(seeds):
    verdicts = _trials(np.random.default_rng(0), 3.0, seeds, (0.05, 0.05))
    assert set(verdicts) == {"regression"}


def test_no_difference_beside_a_wide_margin_passes_always():
    assert set(_trials(np.random.default_rng(1), 0.0, (3, 3), (0.02, 0.02))) == {"ok"}


def seeds(*values, first=0):
    """A row of so many training seeds, whose standard error speaks of other images as well."""
    told = " ".join(f"{first + seed}={value}" for seed, value in enumerate(values))
    return {"value": sum(values) / len(values), "by_seed": told, "seeds": len(values), "std_error": 0.02, "df": 300}


def test_images_that_both_sides_share_widen_no_interval(judged):
    """A fall by 0.05 at a margin of 0.01: the seeds' scatter says it is no chance, and other images do not matter."""
    old, new = seeds(0.80, 0.81, 0.79, 0.80), seeds(0.75, 0.76, 0.74, 0.75, first=7)
    row = judged(old, new)
    error = stats.sem([0.80, 0.81, 0.79, 0.80])
    assert row.verdict == "regression"
    assert row.std_error == pytest.approx(math.hypot(error, error)) and row.df == pytest.approx(6)
    assert row.ci_low == pytest.approx(0.05 - stats.t.ppf(0.975, 6) * row.std_error)
    unknown = judged({**old, "by_seed": ""}, {**new, "by_seed": ""})
    assert unknown.verdict == "undecided" and unknown.std_error == pytest.approx(math.hypot(0.02, 0.02))


def test_the_rows_own_standard_error_counts_where_it_is_narrower(judged):
    """Two seeds that scatter say less than a standard error of 300 degrees of freedom."""
    row = judged(seeds(0.78, 0.82), seeds(0.78, 0.83, first=7))
    assert row.std_error == pytest.approx(math.hypot(0.02, 0.02)) and row.df == pytest.approx(600)


def test_seeds_without_any_scatter_are_not_taken_for_certainty(judged):
    row = judged(seeds(0.8, 0.8, 0.8), seeds(0.78, 0.78, 0.78, first=7))
    assert row.verdict == "undecided"
