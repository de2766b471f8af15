"""What a paper printed beside what was measured: agreement, and files that cannot be read."""

import pytest
from handmade import drawn, measured, result
from scipy import stats

from vaebench.core.errors import UserError
from vaebench.report.analysis.comparisons import all_pairs
from vaebench.report.analysis.published import claims

N = 60
LABELS = [i % 2 for i in range(N)]
SAME = 'dataset = "toy"\nsource = "A paper"\n'
ORDER = """
[[claim]]
says = "{greater} above {less}"
published = "t = 9"
metric = "mse"
protocol = "recon"
stratum = "{stratum}"
greater = "{greater}"
less = "{less}"
"""
VALUE = """
[[claim]]
says = "four in use"
published = "4"
metric = "active_units"
stratum = "all"
recipe = "a"
value = 4.0
"""


@pytest.fixture
def held(tmp_path):
    """Claims of a file with this text, on these measurements."""

    def answer(text, known):
        folder = tmp_path / "published"
        folder.mkdir(exist_ok=True)
        (folder / "paper.toml").write_text(text)
        return claims(folder, known, all_pairs(known))

    return answer


def runs(difference, seeds=1):
    return {
        **{("a", k): drawn(k, N) for k in range(seeds)},
        **{("b", k): drawn(100 + k, N, difference, 0.2) for k in range(seeds)},
    }


@pytest.mark.parametrize(
    ("difference", "greater", "agrees"), [(2, "b", "yes"), (2, "a", "no"), (-2, "b", "no"), (-2, "a", "yes")]
)
def test_an_order_agrees_where_it_is_significant(held, difference, greater, agrees):
    less = "a" if greater == "b" else "b"
    (claim,) = held(SAME + ORDER.format(greater=greater, less=less, stratum="all"), measured(runs(difference)))
    assert (claim.agrees, claim.source, claim.says) == (agrees, "A paper", f"{greater} above {less}")


def test_an_order_that_is_not_significant_does_not_agree(held):
    known = measured({("a", 0): drawn(0, N), ("b", 0): drawn(0, N) + drawn(1, N)})
    row = next(row for row in all_pairs(known) if row.test == "paired-t")
    greater, less = ("a", "b") if row.mean_difference > 0 else ("b", "a")
    (claim,) = held(SAME + ORDER.format(greater=greater, less=less, stratum="all"), known)
    assert row.p_holm > 0.05
    assert claim.agrees == "no"


@pytest.mark.parametrize("stratum", ["all", "label=1"])
def test_each_seed_has_its_own_t(held, stratum):
    data = runs(0.4, seeds=3)
    (claim,) = held(SAME + ORDER.format(greater="b", less="a", stratum=stratum), measured(data, labels=LABELS))
    step = slice(None) if stratum == "all" else slice(1, None, 2)
    each = [stats.ttest_rel(data["b", k][step], data["a", k][step]).statistic for k in range(3)]
    assert claim.ours.endswith("one seed at a time: " + ", ".join(f"{t:.2f}" for t in each))
    mean = {name: sum(data[name, k][step] for k in range(3)) / 3 for name in "ab"}
    t = stats.ttest_rel(mean["b"], mean["a"])
    assert f"t({t.df}) = {t.statistic:.2f} on means over seeds (p {t.pvalue:.6g})" in claim.ours


@pytest.mark.parametrize(("values", "agrees"), [([4.0, 4.0], "yes"), ([4.0, 5.0], "no"), ([5.0], "no")])
def test_a_value_agrees_where_every_seed_has_it(held, values, agrees):
    more = [result("a", k, "active_units", value) for k, value in enumerate(values)]
    (claim,) = held(SAME + VALUE, measured({}, more=more))
    assert claim.agrees == agrees
    assert claim.ours.startswith("by seed: ")


@pytest.mark.parametrize(
    "text", [VALUE, ORDER.format(greater="a", less="nobody", stratum="all")], ids=["value", "order"]
)
def test_what_was_not_measured_is_not_claimed(held, text):
    assert held(SAME + text, measured(runs(1))) == []


def test_other_datasets_are_passed_over(held):
    assert held('dataset = "mnist"\n', measured(runs(1))) == []


def test_no_folder_no_claims(tmp_path):
    assert claims(tmp_path / "none", measured(runs(1)), []) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dataset = ", "cannot be read"),
        ('dataset = "toy"\nclaim = 3\n', "no table of claims"),
        (SAME, "no table of claims.*'claim'"),
        (VALUE + 'dataset = "toy"\n', "no table of claims.*'dataset'"),
        (SAME + VALUE.replace("says", "sais"), "no table of claims.*'says'"),
        (SAME + VALUE.replace("recipe", "recipy"), "no table of claims.*'recipe'"),
        ('dataset = "toy"\n' + VALUE, "no table of claims.*'source'"),
        (SAME + 'claim = ["greater"]\n', "no table of claims"),
    ],
)
def test_a_malformed_file_is_named(held, text, reason):
    known = measured({}, more=[result("a", 0, "active_units", 4.0)])
    with pytest.raises(UserError, match=rf"paper\.toml.*({reason})"):
        held(text, known)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "paper.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"paper\.toml cannot be read"):
        claims(tmp_path, measured(runs(1)), [])
