"""Trial trainings: measured once a machine and kept, so that the choice does not change with its load."""

import json
import subprocess
import sys
import time

import pytest
import torch

from vaebench.core import machine, trials
from vaebench.core.memory import keep_freed_memory
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores
from vaebench.training import autotune
from vaebench.training.autotune import Measured, Trial

RATES = {"fp32/1": 100.0, "bf16/1": 250.0}


def test_a_machine_is_measured_once(monkeypatch):
    monkeypatch.setattr(autotune, "measure", lambda device: Measured(dict(RATES)))
    assert autotune.measured("cpu") == RATES
    monkeypatch.setattr(autotune, "measure", lambda device: pytest.fail("measured again"))
    assert autotune.measured("cpu") == RATES
    kept = json.loads((cache_dir() / "compute.json").read_text())
    assert kept == {machine.machine("cpu"): RATES}


def test_a_damaged_cache_is_measured_anew(monkeypatch):
    monkeypatch.setattr(autotune, "measure", lambda device: Measured(dict(RATES)))
    cache_dir().mkdir(parents=True)
    (cache_dir() / "compute.json").write_text("{")
    assert autotune.measured("cpu") == RATES


def test_trials_of_earlier_versions_are_kept_but_for_several_at_once(monkeypatch):
    monkeypatch.setattr(autotune, "measure", lambda device: pytest.fail("measured again"))
    cache_dir().mkdir(parents=True)
    (cache_dir() / "compute.json").write_text(json.dumps({machine.machine("cpu"): RATES | {"bf16/1/x2": 300.0}}))
    assert autotune.measured("cpu") == RATES


def test_every_setting_is_tried_and_threads_and_global_generator_are_left_alone():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    tried = [Trial.parse(name) for name in autotune.measure("cpu").rates]
    assert {trial.precision for trial in tried} == {"fp32", "bf16"}
    assert {trial.threads for trial in tried} == {1, cores()}
    assert sum(not trial.channels_last for trial in tried) == 1
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_a_setting_without_hope_is_not_tried_to_the_end(monkeypatch):
    class Slow(torch.nn.Module):
        def __init__(self, size):
            super().__init__()
            self.network = torch.nn.Linear(28, 2 * size)

        def forward(self, images):
            taken.append(time.sleep(0.02))
            return self.network(images).chunk(2, dim=-1)

    taken: list[None] = []
    monkeypatch.setattr(autotune, "digit_encoder", Slow)
    for best, steps in ((0.0, autotune.STEPS), (1.0, autotune.STEPS), (1e6, autotune.UNCOUNTED)):
        taken.clear()
        rate, _ = autotune._rate("cpu", Trial("fp32", 1), best)
        assert len(taken) == steps
        assert 0 < rate < autotune.BATCH / 0.02


def test_a_trial_that_others_disturb_says_by_what(monkeypatch):
    """A thread that waits while it should work, as one does that is given a part of a processor."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(autotune, "_reference_step", lambda device, trial: lambda: time.sleep(0.005))
    assert "of a processor" in autotune._rate("cpu", Trial("fp32", 1), 0.0)[1]
    assert "each of 2 threads got" in autotune._rate("cpu", Trial("fp32", 2), 0.0)[1]
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")  # then threads that wait take no processor
    waits = iter([0.002] * autotune.UNCOUNTED + [0.005, 0.02, 0.02, 0.02, 0.02])
    monkeypatch.setattr(autotune, "_reference_step", lambda device, trial: lambda: time.sleep(next(waits)))
    assert "times as long as others" in autotune._rate("cpu", Trial("fp32", 2), 0.0)[1]


def test_a_disturbed_measurement_is_used_and_not_kept(monkeypatch, caplog):
    asked = []

    def busy(device):
        asked.append(device)
        return Measured(dict(RATES), "each of 2 threads got 40% of a processor")

    monkeypatch.setattr(autotune, "measure", busy)
    with caplog.at_level("INFO"):
        assert autotune.measured("cpu") == RATES
    assert len(asked) == trials.ATTEMPTS and not (cache_dir() / "compute.json").exists()
    assert "this machine is busy (each of 2 threads got 40% of a processor)" in caplog.text
    monkeypatch.setattr(autotune, "measure", lambda device: Measured({"fp32/1": 7.0}))
    assert autotune.measured("cpu") == {"fp32/1": 7.0}  # quiet now: measured and kept
    assert trials.known_rates()[machine.machine("cpu")] == {"fp32/1": 7.0}


def test_processes_that_start_at_once_choose_alike(tmp_path):
    """Each would measure other rates: all but one take those that the first one wrote."""
    code = (
        "import random; from vaebench.training import autotune\n"
        "autotune.measure = lambda device: autotune.Measured({'fp32/1': random.uniform(1, 100)})\n"
        "print(autotune.measured('cpu'))"
    )
    (cache_dir() / "compute.json").unlink(missing_ok=True)
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=120)[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


@pytest.mark.parametrize(
    "name", ["fp32/1", "bf16/16/contiguous", "fp32/2/contiguous", "bf16/16/graphs", "fp32/16/contiguous/graphs"]
)
def test_a_trial_is_its_name(name):
    assert str(Trial.parse(name)) == name


def test_freed_memory_is_kept_where_the_c_library_can():
    import platform

    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
