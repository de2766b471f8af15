"""What a command does once a process or once a dataset, counted over whole evaluations."""

import importlib.metadata
from collections import Counter

import pytest

from vaebench.core import registry
from vaebench.evaluation.protocol import Protocol


def look_anew():
    registry._entry_points_of.cache_clear()
    registry.installed.cache_clear()


@pytest.fixture
def counts(monkeypatch):
    """Count searches through all installed packages, by whomever, and protocols built."""
    counted = Counter()

    def count(owner, name):
        real = getattr(owner, name)

        def counting(*arguments, **options):
            counted[name] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    count(importlib.metadata, "distributions")
    count(Protocol, "build")
    return counted


def test_packages_are_searched_once_a_process_and_metrics_built_once_a_dataset(cli, places, counts):
    cli(["train", "vae-digits", "--seeds", "0-3", "--steps", "1"])
    counts.clear()  # torch's optimisers have triton search the packages, too
    look_anew()
    evaluate = ["evaluate", "--all", "--samples", "20", "--metrics", "mse,fcd,blend_realism", "--out", places / "out"]
    first = cli(evaluate)
    assert (first.code, first.out.count("/seed-")) == (0, 4), first.err
    assert "baseline/pixel-average: measured" in first.out
    # before anything is measured, and on the dataset: not by each of four runs, three baselines and the real images
    assert counts == {"distributions": 1, "build": 2}
    again = cli(evaluate)
    assert again.out.count("nothing new to measure") == 4
    assert counts == {"distributions": 1, "build": 4}
    look_anew()  # as another process would
    assert cli(["list"]).code == 0  # reads every group
    assert counts["distributions"] == 2


def test_metrics_that_are_fed_are_not_those_that_were_built(places):
    built = Protocol(metrics=("mse", "blur", "fcd")).build()
    chosen = [built[1], built[-1]]
    first, second = built.fresh(chosen), built.fresh(chosen)
    assert [metric.protocol_of() for metric in first] == [metric.protocol_of() for metric in chosen]
    assert len({id(metric) for metric in (*built, *first, *second)}) == len(built) + 4


def test_protocols_that_differ_only_in_their_number_of_samples_share_metrics():
    protocol = Protocol()
    assert protocol.builds_as(Protocol(samples=5, again=True, device="cpu"))
    for other in ({"posterior": "sample"}, {"prepared": "x"}, {"tf32": True}, {"given": {"inception": "64"}}):
        assert not protocol.builds_as(Protocol(**other))
