"""``vaebench accept``: margins from the seeds' scatter, what they catch, and tables that could catch nothing."""

import csv

import numpy as np
import pytest
from scipy import stats

from vaebench.core.errors import UserError
from vaebench.report.gate.accept import MOST_DEVIATIONS, TWINS_PASS, accept, deviations
from vaebench.report.gate.gate import check
from vaebench.report.gate.table import read_table

KNOWN = {
    **{"dataset": "digits", "split": "test", "stratum": "all", "recipe": "vae-digits", "metric": "mse"},
    **{"protocol": "recon", "unit": "squared intensity", "direction": "lower", "n": 360, "note": ""},
    **{"data_fingerprint": "aa", "extractor_sha256": "", "margin": "5%", "lowest": 0, "highest": ""},
}


def row(values, **changes):
    values = np.array(values)
    told = " ".join(f"{seed}={value:.10g}" for seed, value in enumerate(values))
    error = stats.sem(values) if len(values) > 1 else 0.001
    own = {"value": values.mean(), "std_error": error, "seeds": len(values), "df": max(len(values) - 1, 1)}
    return {**KNOWN, **own, "by_seed": told, **changes}


@pytest.fixture
def table(tmp_path):
    def write(name, *rows):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, [*row([1, 2])])
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def test_a_margin_is_the_wider_of_what_is_declared_and_six_deviations(table, tmp_path):
    calm, wild = [0.0500, 0.0501, 0.0502], [0.048, 0.050, 0.052]
    accept(table("new.csv", row(calm), row(wild, recipe="b")), tmp_path / "accepted.csv")
    first, second = read_table(tmp_path / "accepted.csv").lines
    assert first.margin.text == "5%"
    scatter = 6 * np.std(wild, ddof=1) / np.mean(wild)
    assert second.margin.text == f"{int(np.ceil(100 * np.expm1(scatter)))}%"


def test_a_margin_is_of_the_scatter_between_seeds_not_between_images(table, tmp_path):
    """Other images would give other values to a recipe and its twin alike: that is no reason for a wide margin."""
    wild = [0.0490, 0.0500, 0.0510]
    accept(table("new.csv", row(wild, std_error=0.002, df=300)), tmp_path / "accepted.csv")
    (line,) = read_table(tmp_path / "accepted.csv").lines
    assert line.margin.text == f"{int(np.ceil(100 * np.expm1(6 * np.std(np.log(wild), ddof=1))))}%" == "13%"


@pytest.mark.parametrize("seeds", [7, 8, 12, 30])
def test_so_many_deviations_let_reseeded_twins_pass(seeds):
    draws, sets = np.random.default_rng(5), 100_000
    accepted, twin = draws.normal(size=(2, sets, seeds))
    variances = accepted.var(axis=1, ddof=1) / seeds, twin.var(axis=1, ddof=1) / seeds
    df = (seeds - 1) * sum(variances) ** 2 / sum(variance**2 for variance in variances)
    high = twin.mean(axis=1) - accepted.mean(axis=1) + stats.t.ppf(0.975, df) * np.sqrt(sum(variances))
    passed = np.mean(high <= deviations(seeds) * accepted.std(axis=1, ddof=1))
    assert abs(passed - TWINS_PASS) < 4e-4


def test_few_seeds_ask_for_no_more_than_six_deviations():
    assert [deviations(seeds) for seeds in (2, 3, 5, 6)] == [MOST_DEVIATIONS] * 4
    assert 4.4 < deviations(8) < 4.7 and 1.8 < deviations(20) < 2.0


def test_what_is_caught_is_caught_95_times_in_100(table, tmp_path):
    """Candidates of other seeds, worse by what the table says, judged by the gate itself."""
    draws = np.random.default_rng(1)
    spread, caught = 0.01, []
    for _ in range(150):
        old = 0.05 * np.exp(draws.normal(0, spread, 3))
        new_path = table("new.csv", row(old))
        accept(new_path, tmp_path / "accepted.csv")
        accepted = read_table(tmp_path / "accepted.csv")
        factor = float(accepted.lines[0].catches.removeprefix("x"))
        # the worsening is of the values; its scatter is as large as the accepted seeds' own
        scatter = np.std(np.log(old), ddof=1)
        worse = old.mean() * factor * np.exp(scatter * np.array([-1.0, 0.0, 1.0]))
        told = {f"{seed + 10}": value for seed, value in enumerate(worse)}
        candidate = row(worse, by_seed=" ".join(f"{seed}={value:.10g}" for seed, value in told.items()))
        caught.append(check(read_table(table("worse.csv", candidate)), accepted).rows[0].verdict == "regression")
    assert np.mean(caught) == 1  # at the very factor, a candidate without chance in its mean is always caught


@pytest.mark.parametrize(
    "rows",
    [
        [row([0.05])],  # one checkpoint
        [row([0.01, 0.05, 0.2])],  # seeds that scatter more than anything that could be caught
        [row([0.05, 0.051, 0.052], margin="")],  # speeds: no margin is declared
    ],
)
def test_a_table_that_could_catch_nothing_is_refused(table, tmp_path, rows):
    with pytest.raises(UserError, match="could catch nothing as a baseline"):
        accept(table("new.csv", *rows), tmp_path / "accepted.csv")
    assert not (tmp_path / "accepted.csv").exists()


def test_shares_have_margins_in_their_unit(table, tmp_path):
    share = {"metric": "svm_accuracy", "direction": "higher", "margin": "0.01", "highest": 1}
    accept(table("new.csv", row([0.905, 0.91, 0.915], **share)), tmp_path / "accepted.csv")
    (line,) = read_table(tmp_path / "accepted.csv").lines
    assert line.margin.text == "0.03"  # six deviations of 0.005
    assert not line.catches.startswith("x") and 0.05 < float(line.catches) < 0.06


def test_as_a_command_it_says_what_is_caught_and_what_to_do(table, tmp_path, cli):
    new = table("new.csv", row([0.0500, 0.0501, 0.0502]), row([0.03, 0.05, 0.07], recipe="b"))
    answer = cli(["accept", new, "--as", tmp_path / "accepted.csv"])
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert "smallest worsening caught" in lines[0]
    assert lines[2].startswith("b") or lines[1].startswith("b")  # those that catch least first
    assert "1 of 2 rows catch less than a factor of 1.5 of an error" in answer.out
    assert cli(["check", new, "--baseline", tmp_path / "accepted.csv"]).code == 0


def test_undecided_rows_are_red_unless_allowed(table, tmp_path, cli):
    accepted = table("accepted.csv", row([0.050, 0.051, 0.052], margin="1%"))
    new = table("new.csv", row([0.0505, 0.0515, 0.0522], by_seed="7=0.0505 8=0.0515 9=0.0522", margin="1%"))
    asked = ["check", new, "--baseline", accepted]
    assert cli(asked).code == 3
    assert cli([*asked, "--allow-undecided"]).code == 0
