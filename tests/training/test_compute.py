"""Device, precision, layout and threads: given flags count, open ones follow what was measured of the machine."""

from dataclasses import replace

import pytest
import torch

from vaebench.core.distributed import ALONE
from vaebench.core.errors import UserError
from vaebench.training import autotune, compute

RATES = {"fp32/1": 100.0, "fp32/2": 180.0, "bf16/1": 250.0, "bf16/2": 90.0, "bf16/1/contiguous": 240.0}


@pytest.fixture
def machine_of(monkeypatch):
    """A machine with these rates, and as many processors as it takes; by default RATES.

    There bf16 is fast on one thread and collapses on two, as a loaded machine was seen to.
    """

    def set_to(rates):
        monkeypatch.setattr(autotune, "measure", lambda device: autotune.Measured(dict(rates)))
        monkeypatch.setattr(compute, "cores", lambda: 2)

    set_to(RATES)
    return set_to


@pytest.mark.parametrize(
    ("flags", "precision", "threads"),
    [
        ({}, "bf16", 1),
        ({"precision": "fp32"}, "fp32", 2),
        ({"threads": 2}, "fp32", 2),
        ({"precision": "bf16", "threads": 2}, "bf16", 2),
        ({"precision": "fp32", "threads": 7}, "fp32", 7),
        ({"precision": "fp32", "sharing": 2}, "fp32", 1),  # two processes on two processors
        ({"precision": "fp32", "sharing": 5}, "fp32", 1),
    ],
)
def test_the_fastest_setting_that_fits_the_flags_is_chosen(machine_of, flags, precision, threads):
    chosen = compute.choose(device="cpu", **flags)
    assert (chosen.precision, chosen.threads, chosen.channels_last) == (precision, threads, True)


@pytest.mark.parametrize(
    ("rate", "given", "channels_last"),
    [(255.0, None, True), (270.0, None, False), (270.0, True, True), (100.0, False, False)],
)
def test_the_other_layout_is_taken_where_it_was_clearly_faster(machine_of, rate, given, channels_last):
    machine_of({**RATES, "bf16/1/contiguous": rate})
    assert compute.choose(device="cpu", channels_last=given).channels_last is channels_last


def test_switches_are_as_given_and_fused_optimisers_the_default(machine_of):
    chosen = compute.choose(device="cpu")
    assert (chosen.fused, chosen.compile, chosen.cuda_graphs, chosen.stream) == (True, False, False, False)
    assert compute.choose(device="cpu", fused=False, stream=True) == replace(chosen, fused=False, stream=True)
    assert compute.agreed(ALONE, device="cpu") == chosen


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"precision": "fp16"}, "choose auto, fp32 or bf16"),
        ({"threads": 0}, "give 1 or more"),
        ({"device": "tpu9"}, "use --device auto"),
        ({"device": "cpu", "cuda_graphs": True}, "--cuda-graphs needs a CUDA device"),
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
