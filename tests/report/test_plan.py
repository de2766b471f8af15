"""``vaebench plan``: seeds that would decide, what they cost, and what cannot be planned."""

import pytest
from handmade import drawn, write_run

N = 60


def runs(name, shift, seeds, spread=0.3):
    for seed in range(seeds):
        write_run(
            name, seed, {"mse": 10 + drawn(0, N) + shift + spread * (seed - (seeds - 1) / 2) + drawn(seed, N, 0, 0.1)}
        )


def test_an_open_pair_is_told_how_many_seeds_would_decide(cli):
    runs("a", 0.0, 3)
    runs("b", 0.35, 3)
    answer = cli(["plan", "a", "b", "--metric", "mse"])
    assert answer.code == 0, answer
    cells = answer.out.splitlines()[1].split()
    assert cells[:3] == ["toy", "recon", "unresolved"]
    assert 3 < int(cells[-1]) < 30
    more = cli(["plan", "a", "b", "--metric", "mse", "--margin", "0.1"]).out.splitlines()[1].split()
    assert int(more[-1]) > int(cells[-1])
    less = cli(["plan", "a", "b", "--metric", "mse", "--power", "0.5"]).out.splitlines()[1].split()
    assert int(less[-1]) < int(cells[-1])


def test_compare_names_the_plan_where_a_pair_is_open(cli):
    runs("a", 0.0, 3)
    runs("b", 0.35, 3)
    assert cli(["compare", "a", "b"]).out.splitlines()[-1] == "next          vaebench plan a b --metric mse"


def test_one_seed_each_cannot_be_planned(cli):
    runs("a", 0.0, 1)
    runs("b", 1.0, 1)
    answer = cli(["plan", "a", "b", "--metric", "mse"])
    assert answer.code == 0
    assert "train a second seed of one of them" in answer.out and "unknown" in answer.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "mes"], "did you mean 'mse'?"),
        (["--metric", "mse", "--power", "80"], "is no probability"),
        (["--metric", "mse", "--margin", "five"], "margin 'five' is none"),
    ],
)
def test_bad_input(cli, options, said):
    runs("a", 0.0, 2)
    runs("b", 1.0, 2)
    answer = cli(["plan", "a", "b", *options])
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1


def test_recipes_that_were_not_measured(cli):
    answer = cli(["plan", "a", "b", "--metric", "mse"])
    assert answer.code == 2 and "evaluate both on one split" in answer.err
