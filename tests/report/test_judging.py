"""Verdicts on claims: a planted difference and none, one seed and several, each direction; no more than the tables."""

import re
from dataclasses import replace

import numpy as np
import pytest
from handmade import drawn, measured, result
from scipy import stats

from vaebench.core.results import Facts
from vaebench.report.analysis import judging
from vaebench.report.analysis.claims import Claim
from vaebench.report.analysis.comparisons import all_pairs, decisive
from vaebench.report.analysis.judging import judge
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.report.analysis.needed_seeds import family_size

N = 60
LABELS = [i % 2 for i in range(N)]


def claim(expression):
    return Claim(says="so it is", source="Doe 2020", where="table 1", published="1.0", expression=expression)


def judged(expression, known):
    tested = all_pairs(known)
    (found,) = judge([claim(expression)], known, tested, leaderboard(known, tested))
    return found


def board_row(known, recipe, metric="mse", stratum="all"):
    rows = leaderboard(known, all_pairs(known))
    return next(row for row in rows if (row.recipe, row.metric, row.stratum) == (recipe, metric, stratum))


def deciding_row(known, stratum="all"):
    (row,) = [row for row in decisive(all_pairs(known)) if row.stratum == stratum]
    return row


def runs(difference, seeds=3, training=0.05):
    """``a`` about 5 and ``b`` above it; images in common, seeds that differ a little."""
    images, shifts = drawn(0, N), drawn(1, 2 * seeds, 0, training)
    return {
        **{("a", k): 5 + images + shifts[k] + drawn(10 + k, N, 0, 0.2) for k in range(seeds)},
        **{("b", k): 5 + difference + images + shifts[seeds + k] + drawn(50 + k, N, 0, 0.2) for k in range(seeds)},
    }


def with_margin(found, margin):
    return replace(found, results=[replace(line, margin=margin) for line in found.results])


def higher(found):
    """The same of a metric that vaebench does not know, without bounds, of which higher is better."""
    lines = [replace(line, metric="score", direction="higher") for line in found.results]
    values = {
        subject: {replace_metric(series): content for series, content in known.items()}
        for subject, known in found.values.items()
    }
    return replace(found, results=lines, values=values)


def replace_metric(series):
    return replace(series, metric="score")


def real(mean):
    return {("real", None): mean + drawn(0, N)}


PLANTED = [
    ("b > a", "holds"),
    ("a > b", "does not hold"),
    ("a < b", "holds"),
    ("b < a", "does not hold"),
    ("b >= a", "holds"),
    ("a >= b", "does not hold"),
    ("a <= b", "holds"),
    ("b <= a", "does not hold"),
    ("a = b", "does not hold"),
]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("claimed", "verdict"), PLANTED)
def test_a_planted_difference_decides_every_relation(claimed, verdict, seeds):
    known = measured(runs(2, seeds))
    found, row = judged(f"mse: {claimed}", known), deciding_row(known)
    assert (found.verdict, found.test, found.p_holm) == (verdict, row.test, row.p_holm)
    assert row.test == ("paired-t" if seeds == 1 else "nested-t")
    sign = 1 if claimed.startswith("a") else -1
    assert found.difference == sign * row.mean_difference
    assert (found.ci_low, found.ci_high) == tuple(sorted((sign * row.ci_low, sign * row.ci_high)))
    assert found.note == (judging.ONE_SEED_EACH if seeds == 1 else "")
    assert found.seeds_needed is None


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("metric", "better", "worse"), [("mse", "a", "b"), ("ssim", "b", "a")])
def test_better_follows_the_direction(metric, better, worse, seeds):
    known = measured(runs(2, seeds), metric=metric)
    assert judged(f"{metric}: {better} better than {worse}", known).verdict == "holds"
    assert judged(f"{metric}: {worse} better than {better}", known).verdict == "does not hold"


@pytest.mark.parametrize("claimed", ["b > a", "a > b", "a = b", "a >= b", "a better than b", "b better than a"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_without_a_difference_nothing_is_decided(claimed, seeds):
    apart = {1: 0.0, 3: 0.1}[seeds]
    known = measured(runs(apart, seeds, training=0.02 if seeds == 1 else 0.2))
    found, row = judged(f"mse: {claimed}", known), deciding_row(known)
    assert row.p_holm > 0.05
    assert found.verdict == "undecided"
    if seeds == 1:
        assert judging.SECOND_SEED in found.note and found.seeds_needed is None
    elif "=" in claimed and ">" not in claimed:
        assert found.seeds_needed is None
    else:
        assert (found.seeds_needed or 201) > 3
        assert (found.seeds_needed is None) == ("more than 200 seeds" in found.note)


def test_more_seeds_are_named_for_a_smaller_difference():
    needed = [judged("mse: b > a", measured(runs(apart, 3, training=0.3))).seeds_needed for apart in (0.55, 0.4)]
    assert 3 < needed[0] < needed[1]


def test_how_many_seeds_show_that_two_are_equal_is_not_planned():
    known = measured(runs(0.4, 3, training=0.3))
    assert judged("mse: a < b", known).seeds_needed is not None
    found = judged("mse: a = b", known)
    assert (found.verdict, found.seeds_needed, found.note) == ("undecided", None, "")


def crowd(apart, **options):
    """``a`` and ``b``, and others beside them, whose pairs are tested with theirs."""
    data = runs(apart, **options)
    others = {(f"c{n}", k): data["a", (k + n) % 3] + n / 50 for n in range(1, 4) for k in range(3)}
    return data, measured(data | others)


def test_a_p_value_counts_after_the_correction_over_all_pairs():
    data, many = crowd(0.5, training=0.13)
    rows = [row for row in decisive(all_pairs(many)) if {row.a, row.b} == {"a", "b"}]
    assert rows[0].p_value < 0.05 < rows[0].p_holm
    assert judged("mse: a < b", many).verdict == "undecided"
    assert judged("mse: a < b", measured(data)).verdict == "holds"


def test_seeds_are_planned_at_the_level_of_the_correction():
    data, many = crowd(0.45, training=0.3)
    few, more = (judged("mse: a < b", known).seeds_needed for known in (measured(data), many))
    assert 3 < few < more


EQUIVALENT = [
    ("a = b", "holds"),
    ("a >= b", "holds"),
    ("a <= b", "holds"),
    ("a better than b", "does not hold"),
    ("b better than a", "does not hold"),
    ("a > b", "does not hold"),
    ("b > a", "does not hold"),
]


@pytest.mark.parametrize(("claimed", "verdict"), EQUIVALENT)
def test_what_is_surely_within_the_margin_is_equal_and_neither_better_nor_larger(claimed, verdict):
    known = with_margin(measured(runs(0.0)), "1")
    assert (deciding_row(known).verdict, deciding_row(known).p_holm > 0.05) == ("equivalent", True)
    found = judged(f"mse: {claimed}", known)
    assert found.verdict == verdict and "equivalent" in found.note and found.seeds_needed is None


@pytest.mark.parametrize(
    ("claimed", "verdict"),
    [("b > a", "holds"), ("a > b", "does not hold"), ("b better than a", "does not hold"), ("a = b", "holds")],
)
def test_a_significant_difference_within_the_margin_is_larger_and_not_better(claimed, verdict):
    known = with_margin(measured(runs(0.5, training=0.01), metric="ssim"), "1")
    assert (deciding_row(known).verdict, deciding_row(known).p_holm < 0.05) == ("equivalent", True)
    assert judged(f"ssim: {claimed}", known).verdict == verdict


@pytest.mark.parametrize("relation", ["nearer than", "better than"])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("aim", "verdict"), [(4.0, "holds"), (9.0, "does not hold"), (5.5, "holds"), (6.9, "does not hold")]
)
def test_nearness_is_to_the_real_images_from_either_side(aim, verdict, relation, seeds):
    known = measured(runs(2, seeds) | real(aim), metric="blur")
    found = judged(f"blur: a {relation} b", known)
    assert (found.verdict, set(found.values)) == (verdict, {"a", "b", "real"})
    assert judged("blur: b > a", known).verdict == "holds"


@pytest.mark.parametrize("seeds", [1, 3])
def test_two_that_lie_as_far_on_either_side_are_not_decided(seeds):
    data = runs(2, seeds)
    known = measured(data | {("real", None): np.mean(list(data.values()), axis=0)}, metric="blur")
    assert judged("blur: b > a", known).verdict == "holds"
    found = judged("blur: a nearer than b", known)
    assert found.verdict == "undecided"
    assert ("more than 200 seeds" in found.note) == (seeds == 3)  # none shows which of two equals is nearer


@pytest.mark.parametrize(("claimed", "verdict"), [("a = b", "does not hold"), ("a >= b", "does not hold")])
def test_mirror_images_are_equally_near_and_not_equal(claimed, verdict):
    known = with_margin(
        measured(runs(2) | {("real", None): np.mean(list(runs(2).values()), axis=0)}, metric="blur"), "1"
    )
    row = next(row for row in decisive(all_pairs(known)) if {row.a, row.b} == {"a", "b"})
    assert row.verdict == "equivalent"
    assert judged(f"blur: {claimed}", known).verdict == verdict


def test_nearness_without_an_aim_is_not_measured():
    assert "does not aim" in judged("mse: a nearer than b", measured(runs(2))).note
    without = judged("blur: a nearer than b", measured(runs(2), metric="blur"))
    assert (without.verdict, "real images have no value" in without.note) == ("not measured", True)
    number = judged("blur: a better than 3", measured(runs(2) | real(4), metric="blur"))
    assert (number.verdict, "no number is better" in number.note) == ("not measured", True)


@pytest.mark.parametrize(("left", "right"), [("real", "a"), ("baseline/flat", "a"), ("baseline/flat", "real")])
def test_real_images_and_baselines_are_judged_by_their_rows(left, right):
    known = measured(runs(2) | real(9) | {("baseline/flat", None): 12 + drawn(3, N)}, metric="blur")
    found = judged(f"blur: {left} > {right}", known)
    row = next(row for row in decisive(all_pairs(known)) if {row.a, row.b} == {left, right})
    assert (found.verdict, found.test, found.p_holm) == ("holds", row.test, row.p_holm)
    assert judged(f"blur: {left} < {right}", known).verdict == "does not hold"


def test_a_stratum_is_judged_by_its_own_test():
    data = runs(0.0)
    for k in range(3):
        data["b", k][1::2] += 1
        data["b", k][::2] -= 1
    known = measured(data, labels=LABELS)
    for stratum, verdict in (("label=1", "holds"), ("label=0", "does not hold"), ("all", "undecided")):
        where = "" if stratum == "all" else f", {stratum}"
        found = judged(f"mse{where}: b > a", known)
        assert (found.verdict, found.p_holm) == (verdict, deciding_row(known, stratum).p_holm), stratum


def test_seeds_for_a_stratum_are_planned_on_its_images():
    data = runs(0.0, training=0.3)
    for k in range(3):
        data["b", k][1::2] += 0.5
    known = measured(data, labels=LABELS)
    found, whole = judged("mse, label=1: b > a", known), judged("mse: b > a", known)
    assert (found.verdict, whole.verdict) == ("undecided", "undecided")
    assert found.seeds_needed < (whole.seeds_needed or 201)


@pytest.mark.parametrize("draw", range(40))
def test_no_verdict_says_more_than_the_tables(draw):
    """Random measurements: an order holds where Holm's p says so, better where the verdict does."""
    apart = np.random.default_rng(draw).uniform(-1, 1)
    seeds, margin = 1 + draw % 4, ("", "0.2", "5%")[draw % 3]
    kind = "ssim" if draw % 2 else "mse"
    known = with_margin(measured(runs(apart, seeds, training=0.2), metric=kind), margin)
    row = deciding_row(known)
    larger, better = judged(f"{kind}: a > b", known), judged(f"{kind}: a better than b", known)
    shown = row.p_holm < 0.05
    assert (larger.verdict == "holds") == (shown and row.mean_difference > 0)
    assert larger.verdict != "does not hold" or (shown and row.mean_difference < 0) or row.verdict == "equivalent"
    wanted = {"a": "holds", "b": "does not hold", "equivalent": "does not hold", "unresolved": "undecided"}
    assert better.verdict == wanted[row.verdict]


def test_equal_recipes_seldom_differ(monkeypatch):
    """Of 100 pairs without a difference about 5 may be called different; all of them would be, tested over images."""
    monkeypatch.setattr(judging, "seeds_for_pair", lambda *given, **named: None)  # it takes its time
    called = 0
    for draw in range(100):
        rng = np.random.default_rng(draw)
        images, shifts = rng.normal(0, 1, N), rng.normal(0, 0.5, 6)
        data = {(name, k): images + shifts[3 * place + k] for place, name in enumerate("ab") for k in range(3)}
        data = {key: values + rng.normal(0, 0.1, N) for key, values in data.items()}
        called += judged("mse: a > b", measured(data)).verdict != "undecided"
    assert called <= 10


@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize("place", ["below", "low", "inside", "high", "above"])
def test_a_number_is_judged_by_the_interval_of_the_leaderboard(place, seeds):
    known = higher(measured(runs(0.0, seeds)))
    row = board_row(known, "a", "score")
    low, high = row.ci_low, row.ci_high
    number = {"below": low - 1, "low": low, "inside": (low + high) / 2, "high": high, "above": high + 1}[place]
    wanted = {
        ">": {"below": "holds", "high": "does not hold", "above": "does not hold"},
        ">=": {"below": "holds", "low": "holds", "above": "does not hold"},
        "<": {"above": "holds", "low": "does not hold", "below": "does not hold"},
        "<=": {"above": "holds", "high": "holds", "below": "does not hold"},
        "better than": {"below": "holds", "high": "does not hold", "above": "does not hold"},
    }
    for relation, verdicts in wanted.items():
        found = judged(f"score: a {relation} {number!r}", known)
        assert found.verdict == verdicts.get(place, "undecided"), relation
        assert (found.ci_low, found.ci_high, found.test) == (low - number, high - number, "95 % interval")
        assert (judging.ONE_SEED in found.note) == (seeds == 1)
        assert (found.seeds_needed is None) == (seeds == 1 or found.verdict != "undecided") or "200" in found.note


def test_a_lower_value_is_better_than_a_number_above():
    known = measured(runs(0.0))
    assert judged("mse: a better than 99", known).verdict == "holds"
    assert judged("mse: a better than 1", known).verdict == "does not hold"


def test_seeds_are_planned_for_a_number():
    alike = {key: x.mean() + (x - x.mean()) / 20 for key, x in runs(0.0, 3, training=0.3).items()}
    known = measured(alike)
    row = board_row(known, "a")
    half = row.ci_high - row.value
    near, far = (judged(f"mse: a > {row.value - share * half}", known) for share in (0.4, 0.8))
    assert (near.verdict, far.verdict) == ("undecided", "undecided")
    assert near.seeds_needed > far.seeds_needed > 3


def test_seeds_cannot_make_up_for_images():
    known = measured(runs(0.0, 3))
    row = board_row(known, "a")
    found = judged(f"mse: a > {row.value - (row.ci_high - row.value) / 10}", known)
    assert found.seeds_needed is None and "more than 200 seeds would be needed on these images" in found.note


def test_two_seeds_are_too_few_for_an_interval():
    found = judged("mse: a > -9", measured(runs(0.0, 2)))
    assert (found.verdict, found.ci_low, found.seeds_needed) == ("undecided", None, 3)
    assert "too few" in found.note


@pytest.mark.parametrize(("margin", "apart"), [("0.5", 0.5), ("5%", None)])
def test_a_margin_moves_the_number(margin, apart):
    known = with_margin(higher(measured(runs(0.0))), margin)
    high = board_row(known, "a", "score").ci_high
    number = high + 0.01
    size = apart if apart is not None else 0.05 * number
    assert judged(f"score: a >= {number!r}", known).verdict == "does not hold"
    found = judged(f"score: a >= {number!r} - margin", known)
    assert found.difference == pytest.approx(board_row(known, "a", "score").value - number + size)
    assert judged(f"score: a <= {number!r} + margin", known).verdict == "holds"
    assert judged(f"score: a >= {high + 5!r} - margin", known).verdict == "does not hold"


def test_a_margin_that_nobody_declares_is_said():
    found = judged("mse: a > 1 - margin", measured(runs(0.0)))
    assert (found.verdict, "declares no margin" in found.note) == ("not measured", True)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([4.0, 4.0], "holds"), ([4.0, 5.0], "does not hold"), ([5.0], "does not hold"), ([4.0], "holds")],
)
def test_a_number_is_equal_where_every_seed_has_it(values, verdict):
    found = judged("units: a = 4", measured({}, more=[result("a", k, "units", v) for k, v in enumerate(values)]))
    assert found.verdict == verdict
    assert (found.note == judging.ONE_SEED) == (len(values) == 1)
    assert len(values) == 1 or found.note.startswith("by seed: ")


def test_seeds_that_agree_decide_no_order():
    found = judged("units: a > 3", measured({}, more=[result("a", k, "units", 5.0) for k in range(3)]))
    assert (found.verdict, found.seeds_needed) == ("undecided", None)
    assert "same value" in found.note


@pytest.mark.parametrize(
    ("claimed", "verdict"),
    [
        ("a < b", "holds"),
        ("a better than b", "holds"),
        ("b <= a", "does not hold"),
        ("a = 9", "holds"),
        ("b > 9", "holds"),
    ],
)
def test_exact_values_need_no_test(claimed, verdict):
    more = [result(name, k, "size", v, std_error=0.0) for name, v in (("a", 9.0), ("b", 12.0)) for k in range(2)]
    found = judged(f"size: {claimed}", measured({}, more=more))
    assert found.verdict == verdict and found.p_holm is None


def test_a_pair_that_is_not_tested_is_undecided():
    more = [result(name, 0, "gap", value) for name, value in (("a", 1.0), ("b", 9.0))]
    found = judged("gap: a < b", measured({}, more=more))
    assert (found.verdict, found.difference, found.test) == ("undecided", -8.0, "")
    assert "no test of this pair" in found.note


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("ssim: a > b", "ssim was not measured"),
        ("mze: a > b", r"mze was not measured \(did you mean 'mse'\?\)"),
        ("mse/samples: a > b", "mse was measured as recon, not as samples"),
        ("mse, label=7: a > b", "mse has no stratum 'label=7' here"),
        ("mse: a > bb", "bb was not measured"),
        ("mse: a > gan", r"gan has no value of mse \(recon\): needs an encoder"),
        ("gap: a > b", "gap was measured in several ways: claim one of gap/n=9/recon, gap/n=9/samples"),
    ],
)
def test_what_is_missing_is_said(expression, missing):
    more = [result("gan", 0, "mse", None, note="needs an encoder")]
    more += [result(name, 0, "gap", 1.0, protocol=f"n=9/{kind}") for name in "ab" for kind in ("recon", "samples")]
    found = judged(expression, measured(runs(2), labels=LABELS, more=more))
    assert found.verdict == "not measured"
    assert re.search(missing, found.note), found.note


def test_some_words_of_a_protocol_name_it():
    more = [result(name, 0, "gap", 1.0, protocol=f"n=9/{kind}") for name in "ab" for kind in ("recon", "samples")]
    known = measured({}, more=more)
    assert judged("gap/samples: a < b", known).protocol == "n=9/samples"
    assert judged("gap/samples/n=9: a < b", known).protocol == "n=9/samples"
    headline = [replace(line, facts=Facts(headline=1)) if "recon" in line.protocol else line for line in known.results]
    assert judged("gap: a < b", replace(known, results=headline)).protocol == "n=9/recon"


def test_the_protocol_that_all_sides_have_is_taken():
    more = [result(name, 0, "gap", 1.0, protocol=f"n={n}") for name, n in (("a", 9), ("b", 9), ("a", 20))]
    assert judged("gap: a < b", measured({}, more=more)).protocol == "n=9"


@pytest.mark.parametrize("stratum", ["all", "label=1"])
def test_each_seed_has_its_own_t(stratum):
    data = runs(0.4)
    found = judged(f"mse, {stratum}: b > a", measured(data, labels=LABELS))
    step = slice(None) if stratum == "all" else slice(1, None, 2)
    each = [stats.ttest_rel(data["b", k][step], data["a", k][step]).statistic for k in range(3)]
    assert found.each_seed == pytest.approx(each)


def test_seeds_that_were_not_trained_alike_are_said(monkeypatch):
    known = measured(runs(2))
    monkeypatch.setattr(type(known), "mixed", lambda self: {"a": ["steps"], "c": ["steps"]})
    assert judged("mse: b > a", known).note == "a: its seeds were not trained alike"


def test_one_seed_against_several_says_what_is_taken_for_it():
    data = runs(2)
    known = measured({key: values for key, values in data.items() if key not in (("a", 1), ("a", 2))})
    assert "a has one training seed" in judged("mse: b > a", known).note


def test_parts_are_judged_by_values_of_their_own():
    part = "attribute=Male"
    found = higher(measured(runs(2)))
    lines = [replace(line, stratum=part) for line in found.results]
    values = {
        subject: {replace(series, stratum=part): content for series, content in known.items()}
        for subject, known in found.values.items()
    }
    only = replace(found, results=lines, values=values)
    assert judged(f"score, {part}: b better than a", only).verdict == "holds"
    assert judged("score: b better than a", only).verdict == "not measured"


def test_parts_share_one_family():
    found = higher(measured(runs(2)))
    parts = [f"attribute={name}" for name in ("Male", "Young", "Bald")]
    lines = [replace(line, stratum=part) for part in parts for line in found.results]
    values = {
        subject: {replace(series, stratum=part): content for part in parts for series, content in known.items()}
        for subject, known in found.values.items()
    }
    tested = all_pairs(replace(found, results=lines, values=values))
    assert [family_size(row, tested) for row in decisive(tested)] == [3, 3, 3]
