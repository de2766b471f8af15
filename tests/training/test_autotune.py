"""Trial trainings: measured once a machine and kept, so that the choice does not change with its load."""

import json
import subprocess
import sys
import time

import pytest
import torch

from vaebench.core import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.paths import cache_dir
from vaebench.core.processes import cores
from vaebench.training import autotune
from vaebench.training.autotune import Trial

RATES = {"fp32/1": 100.0, "bf16/1": 250.0}


def test_a_machine_is_measured_once(monkeypatch):
    monkeypatch.setattr(autotune, "measure", lambda device: dict(RATES))
    assert autotune.measured("cpu") == RATES
    monkeypatch.setattr(autotune, "measure", lambda device: pytest.fail("measured again"))
    assert autotune.measured("cpu") == RATES
    kept = json.loads((cache_dir() / "compute.json").read_text())
    assert kept == {machine.machine("cpu"): RATES}


def test_a_damaged_cache_is_measured_anew(monkeypatch):
    monkeypatch.setattr(autotune, "measure", lambda device: dict(RATES))
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
    tried = [Trial.parse(name) for name in autotune.measure("cpu")]
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
        rate = autotune._rate("cpu", Trial("fp32", 1), best)
        assert len(taken) == steps
        assert 0 < rate < autotune.BATCH / 0.02


def test_processes_that_start_at_once_choose_alike(tmp_path):
    """Each would measure other rates: all but one take those that the first one wrote."""
    code = (
        "import random; from vaebench.training import autotune\n"
        "autotune.measure = lambda device: {'fp32/1': random.uniform(1, 100)}\n"
        "print(autotune.measured('cpu'))"
    )
    (cache_dir() / "compute.json").unlink(missing_ok=True)
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=120)[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


@pytest.mark.parametrize("name", ["fp32/1", "bf16/16/contiguous", "fp32/2/contiguous"])
def test_a_trial_is_its_name(name):
    assert str(Trial.parse(name)) == name


def test_freed_memory_is_kept_where_the_c_library_can():
    import platform

    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
