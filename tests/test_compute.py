"""Device, precision and threads: given flags count, open ones are measured once a machine and then kept."""

import json

import pytest
import torch

from vaebench import compute
from vaebench.core.errors import UserError
from vaebench.core.places import cache_dir

RATES = {"fp32/1": 100.0, "fp32/2": 180.0, "bf16/1": 250.0, "bf16/2": 90.0}


@pytest.fixture
def measured_rates(monkeypatch):
    """A machine on which bf16 is fast on one thread and collapses on two, as a loaded one was seen to."""
    calls = []
    monkeypatch.setattr(compute, "_measure", lambda device: calls.append(device) or dict(RATES))
    return calls


@pytest.mark.parametrize(
    ("flags", "precision", "threads"),
    [
        ({}, "bf16", 1),
        ({"precision": "fp32"}, "fp32", 2),
        ({"threads": 2}, "fp32", 2),
        ({"precision": "bf16", "threads": 2}, "bf16", 2),
        ({"precision": "fp32", "threads": 7}, "fp32", 7),
    ],
)
def test_the_fastest_setting_that_fits_the_flags_is_chosen(measured_rates, flags, precision, threads):
    chosen = compute.choose(device="cpu", **flags)
    assert (chosen.precision, chosen.threads) == (precision, threads)


def test_a_machine_is_measured_once_so_that_the_choice_does_not_change_with_its_load(measured_rates, monkeypatch):
    first = compute.choose(device="cpu")
    monkeypatch.setattr(compute, "_measure", lambda device: pytest.fail("measured again"))
    assert compute.choose(device="cpu") == first
    kept = json.loads((cache_dir() / "compute.json").read_text())
    assert kept == {compute.machine("cpu"): RATES}


def test_a_damaged_cache_is_measured_anew(measured_rates):
    cache_dir().mkdir(parents=True)
    (cache_dir() / "compute.json").write_text("{")
    assert compute.measured("cpu") == RATES


def test_the_measurement_times_every_setting_and_leaves_threads_and_global_generator_alone():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    rates = compute._measure("cpu")
    assert {name.partition("/")[0] for name in rates} == {"fp32", "bf16"}
    assert all(rate > 0 for rate in rates.values())
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"precision": "fp16"}, "choose auto, fp32 or bf16"),
        ({"threads": 0}, "give 1 or more"),
        ({"device": "tpu9"}, "use --device auto"),
    ],
)
def test_flags_that_cannot_be(flags, says):
    with pytest.raises(UserError, match=says):
        compute.choose(**flags)


def test_autocast_follows_the_precision():
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        chosen = compute.Compute(device="cpu", precision=precision, channels_last=True, compile=False, threads=1)
        with chosen.autocast():
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_freed_memory_is_kept_where_the_c_library_can():
    import platform

    assert compute.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
