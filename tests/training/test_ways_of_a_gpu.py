"""The way in which a GPU trains, chosen by trials of the recipe's own steps; a stand-in takes the GPU's place."""

import json
import logging
from dataclasses import dataclass

import pytest

from vaebench.core import trials
from vaebench.core.errors import UserError
from vaebench.core.paths import cache_dir
from vaebench.training import compute
from vaebench.training.compute import Workload, choose, disagreement

RATES = {  # images/s by precision, channels_last, CUDA graphs, as on an H200 with dfcvae-celeba
    ("fp32", False, False): 4_050.0,
    ("fp32", False, True): 9_000.0,
    ("bf16", False, True): 15_000.0,
    ("fp32", True, True): 10_000.0,
    ("bf16", True, True): 20_600.0,
    ("bf16", True, False): 3_760.0,
}
PLAIN_LOSSES = ({"vae": (10.0, 10.0)}, {"vae": (9.0, 9.0)})


@dataclass
class Found:
    """What a trial on the stand-in finds."""

    rate: float
    spread: float = 0.01
    losses: tuple = PLAIN_LOSSES


@pytest.fixture
def gpu(monkeypatch):
    """A stand-in for a GPU; gives a function that makes a workload of ways changed, and counts its trials."""
    monkeypatch.setattr(compute, "pick_device", lambda name: "cuda")
    monkeypatch.setattr(compute, "machine", lambda device: "Stand-in")
    monkeypatch.setattr(compute, "cores", lambda: 16)
    taken = []

    def made(changed=None, name="dfcvae-celeba"):
        def take(settings):
            way = settings.precision, settings.channels_last, settings.cuda_graphs
            taken.append(way)
            found = (changed or {}).get(way, Found(RATES[way]))
            if isinstance(found, Exception):
                raise found
            return found

        return Workload(name, take)

    made.taken = taken
    return made


def way_of(chosen):
    return chosen.precision, chosen.channels_last, chosen.cuda_graphs


def test_the_fastest_way_is_taken_and_kept(gpu):
    assert way_of(choose(workload=gpu())) == ("bf16", True, True)
    assert sorted(gpu.taken) == sorted(RATES)
    assert way_of(choose(workload=gpu())) == ("bf16", True, True)
    assert len(gpu.taken) == len(RATES)  # once a machine and recipe
    choose(workload=gpu(name="vae-celeba"))
    assert len(gpu.taken) == 2 * len(RATES)
    kept = json.loads((cache_dir() / "compute.json").read_text())
    assert kept["Stand-in, dfcvae-celeba"]["bf16/16/graphs"] == 20_600.0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"precision": "fp32"}, ("fp32", True, True)),
        ({"cuda_graphs": False}, ("fp32", False, False)),
        ({"cuda_graphs": False, "precision": "bf16"}, ("bf16", True, False)),
        ({"channels_last": False}, ("bf16", False, True)),
        ({"compile": True}, ("fp32", False, False)),  # graphs were not measured beside it
    ],
)
def test_flags_are_kept_to(gpu, flags, expected):
    assert way_of(choose(workload=gpu(), **flags)) == expected


@pytest.mark.parametrize(
    "losses",
    [
        ({"vae": (10.0, 10.0)}, {"vae": (7.0, 7.0)}),  # a third too low at the second step
        ({"vae": (10.0, 10.0)}, {"vae": (float("nan"), 9.0)}),
        ({"vae": (10.0, 10.0)}, {"critic": (9.0, 9.0)}),
    ],
)
def test_a_way_whose_losses_differ_is_refused(gpu, losses, caplog):
    wrong = {("bf16", True, True): Found(20_600.0, losses=losses)}
    with caplog.at_level(logging.WARNING):
        assert way_of(choose(workload=gpu(wrong))) == ("bf16", False, True)
    (record,) = caplog.records
    assert "bf16/16/graphs" in record.message and "is not used" in record.message


def test_losses_that_round_differently_are_not_refused(gpu):
    near = ({"vae": (10.2, 10.2)}, {"vae": (8.7, 8.7)})
    assert way_of(choose(workload=gpu({("bf16", True, True): Found(20_600.0, losses=near)}))) == ("bf16", True, True)


def test_a_way_that_fails_is_not_used_and_the_plain_one_s_failure_is_told(gpu):
    fails = RuntimeError("CUDA error: operation not permitted when stream is capturing")
    graphs = {way: fails for way in RATES if way[2]}
    assert way_of(choose(workload=gpu(graphs))) == ("fp32", False, False)
    with pytest.raises(RuntimeError, match="capturing"):
        choose(workload=gpu({("fp32", False, False): fails}, name="other"))


def test_full_precision_wins_unless_half_is_clearly_faster(gpu):
    close = {("fp32", True, True): Found(19_000.0)}
    assert way_of(choose(workload=gpu(close))) == ("fp32", True, True)


def test_a_trial_under_load_is_repeated_and_then_used_but_not_kept(gpu, caplog):
    busy = {way: Found(rate, spread=1.4) for way, rate in RATES.items()}
    with caplog.at_level(logging.INFO):
        assert way_of(choose(workload=gpu(busy))) == ("bf16", True, True)
    assert len(gpu.taken) == trials.ATTEMPTS * len(RATES)
    assert "this machine is busy (some repetitions took 2.4 times as long as others)" in caplog.text
    assert trials.known_rates() == {}


def test_without_a_workload_the_usual_way_is_taken(gpu, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    assert way_of(choose()) == ("bf16", True, True)
    assert way_of(choose(precision="fp32")) == ("fp32", False, True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 0))  # emulates bfloat16
    assert way_of(choose()) == ("fp32", False, True)


def test_disagreement_is_a_share_of_what_terms_add_up_to():
    """By hand: a critic's terms may cancel, so that a share of their sum would be about nothing."""
    plain = ({"critic": (0.5, 10.0), "vae": (4.0, 4.0)},)
    assert disagreement(({"critic": (1.0, 10.0), "vae": (4.1, 4.1)},), plain) == pytest.approx(0.05)


def test_several_processes_may_ask_for_graphs(gpu):
    chosen = choose(workload=gpu(), cuda_graphs=True, processes=2)
    assert (chosen.cuda_graphs, chosen.processes) == (True, 2)


def test_graphs_on_a_cpu_are_refused():
    with pytest.raises(UserError, match="--cuda-graphs needs a CUDA device"):
        choose(device="cpu", cuda_graphs=True)
