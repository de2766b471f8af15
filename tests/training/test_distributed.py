"""Two processes at one job, as ``torchrun`` starts them, against one process that does the same alone."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import distributed_worker as worker
import pytest
import torch

from vaebench.core import seeding
from vaebench.core.distributed import ALONE, Group, joined
from vaebench.core.errors import Elsewhere, UserError
from vaebench.evaluation.run_selection import runs_to_measure
from vaebench.runs.history import read as read_history
from vaebench.runs.recipes import open_dataset
from vaebench.runs.record import RunFolder
from vaebench.training.batches import TrainingBatches

HERE = Path(__file__).resolve().parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--rdzv-backend", "c10d"]
TORCHRUN += ["--rdzv-endpoint", "localhost:0", "--nproc-per-node", "2"]
# difference of a loss over 20 steps as a share of its mean: sums in another order, which games amplify. The critic of
# VAE-WGAN pairs images within a process, for its penalty, so its path is another one of the same kind.
TOLERANCE = {"vae": 1e-4, "dfcvae": 1e-2, "dcgan": 1e-2, "vaewgan": 0.2}


@pytest.fixture(scope="module")
def two(tmp_path_factory, measured_defaults):
    """The folder in which two processes left their answers."""
    folder = tmp_path_factory.mktemp("two")
    measured_defaults(folder / "cache")
    places = {f"VAEBENCH_{name}": str(folder / name.lower()) for name in ("RUNS", "CACHE", "WEIGHTS", "DATA")}
    command = [*TORCHRUN, str(HERE / "distributed_worker.py"), str(folder)]
    answer = subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def answers(two):
    return [json.loads((two / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("family", worker.FAMILIES)
def test_two_processes_have_the_loss_curve_of_one(family, two, tmp_path):
    worker.trained(family, tmp_path)
    one, both = (read_history(folder / "history.csv") for folder in (tmp_path, two / family))
    assert [row.step for row in both] == [row.step for row in one] == list(range(1, worker.STEPS + 1))
    curves = [
        torch.tensor([sum(v for k, v in row.terms.items() if not k.startswith("samples/")) for row in rows])
        for rows in (one, both)
    ]
    difference = (curves[1] - curves[0]).abs() / curves[0].abs().mean()
    assert difference[0] < (0.05 if family == "vaewgan" else 1e-5)
    assert difference.max() < TOLERANCE[family]


def test_an_evaluation_over_two_processes_has_one_s_values(answers):
    """Fréchet distance among them, to 1e-6; per-image values are in the images' order."""
    one = worker.scores()
    assert answers[1]["scores"] == {}  # the first process has them
    assert set(answers[0]["scores"]) == set(one)
    assert any(name.startswith("fcd/") for name in one)
    for name, values in one.items():
        assert answers[0]["scores"][name] == pytest.approx(values, rel=1e-6, abs=1e-9), name


def test_batch_normalisation_together_is_that_of_the_whole_batch(answers):
    whole = worker.normalised()
    for name, values in whole.items():
        parts = [torch.tensor(answer["normalised"][name]) for answer in answers]
        if name in ("made", "slope"):  # a process has every second image
            got = torch.stack([part.view(4, -1) for part in parts], 1).flatten()
        else:
            assert torch.equal(*parts)
            got = parts[0]
        assert torch.allclose(got, torch.tensor(values), atol=1e-6), name


def test_what_processes_tell_each_other(answers):
    first, second = (answer["spoken"] for answer in answers)
    assert first["any"] == second["any"] == [True, False]
    assert first["led"] == second["led"] == ["from 0", None]
    assert (first["refused"], second["refused"]) == ("no", "elsewhere")
    assert first["alike"] == second["alike"] == [True, False]
    assert (first["gathered"], second["gathered"]) == (["!", "x!"], [])
    assert (first["share"], second["share"]) == ([0, 3], [3, 7])


def test_a_training_by_several_is_saved_as_often_as_it_is_told_to(answers):
    """Whether it is time is the first process's to say: the others save nothing, so to them it always is."""
    first, second = (answer["saved"] for answer in answers)
    assert second["times"] == 0
    assert 1 <= first["times"] <= first["expected"] + 2


def test_a_group_of_one_is_told_what_it_says():
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.led(lambda: "x") == "x"
    assert ALONE.alike("x")
    assert ALONE.gathered(b"x") == [b"x"]
    tensor = torch.ones(3, requires_grad=True)
    assert ALONE.sum(tensor) is tensor
    assert str(ALONE.error("x")) == "x" and type(ALONE.error("x")) is UserError


def test_shares_of_batch_and_noise_make_up_the_whole():
    data = open_dataset("digits").load("train")

    def seen(group):
        feed = TrainingBatches(data, seed=3, batch_size=12, compute=worker.COMPUTE, group=group)
        step = feed.step(5, 10)
        return feed.batch(5).images, seeding.normal((12 // group.size, 2), step.generator), seeding.uniform(
            (12 // group.size,), step.generator
        )  # fmt: skip

    whole, thirds = seen(ALONE), [seen(Group(rank, 3)) for rank in range(3)]
    for part, shares in zip(whole, zip(*thirds, strict=True), strict=True):
        assert torch.equal(torch.stack(shares, 1).flatten(0, 1), part)
        assert torch.equal(torch.cat([share[:2] for share in shares]).sort(0).values, part[:6].sort(0).values)


def test_a_batch_that_cannot_be_shared_out_is_bad_input():
    data = open_dataset("digits").load("train")
    with pytest.raises(UserError, match="a batch of 16 cannot be shared out evenly to 3 processes"):
        TrainingBatches(data, seed=0, batch_size=16, compute=worker.COMPUTE, group=Group(0, 3))


@pytest.mark.calibration  # half a minute of torchrun's waiting
def test_a_killed_worker_ends_the_job_and_a_restart_goes_on(places):
    """One worker is killed after a checkpoint: the other one ends, and the restarted job reaches the last step."""
    command = [*TORCHRUN, "--max-restarts", "1", "-m", "vaebench", "train", "vae-digits", "--steps", "200", "--resume"]
    command += ["--precision", "fp32", "--threads", "1", "--save-every", "0.2"]
    folder = RunFolder(places / "runs" / "vae-digits" / "seed-0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        deadline = time.monotonic() + 120
        while not (folder.history.exists() and read_history(folder.history)) and time.monotonic() < deadline:
            time.sleep(0.05)  # a checkpoint after step 100
        (victim, *_) = _workers(job.pid)
        os.kill(victim, signal.SIGKILL)
        said, errors = job.communicate(timeout=240)
    assert job.returncode == 0, errors[-3000:]
    assert folder.read_record().status == "finished"
    rows = read_history(folder.history)
    assert [row.step for row in rows] == [100, 200]
    assert said.count("trained, in") == 1
    steps = [int(step) for step in re.findall(r"step (\d+)", said)]
    back_to = [after for before, after in pairwise(steps) if after < before]
    assert all(step > 100 for step in back_to), said  # the restart did not begin anew
    assert "Traceback" not in errors.replace("traceback : ", "")


@pytest.mark.parametrize(
    ("device", "gpus", "says"),
    [("cuda:0", 4, "give --device cuda"), ("auto", 1, "2 processes on a machine with 1 GPUs: give --nproc-per-node 1")],
)
def test_each_process_wants_a_gpu_of_its_own(device, gpus, says, monkeypatch):
    several = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in several.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(UserError, match=says), joined(device):
        pass


def test_all_processes_measure_the_runs_that_the_first_one_found(tmp_path, monkeypatch):
    """Two that take turns with one message: what the first found, the second must see."""
    with pytest.raises(UserError, match="nothing to measure"):
        runs_to_measure([], every=True, dataset=None, snapshots=False, say=print, group=ALONE)
    monkeypatch.setattr(Group, "led", lambda self, act: [RunFolder(tmp_path / "elsewhere")])
    monkeypatch.setattr(Group, "alike", lambda self, text: text == "its weights")
    with pytest.raises(Elsewhere, match="give all the same VAEBENCH_RUNS"):
        runs_to_measure(["vae-digits"], every=False, dataset=None, snapshots=False, say=print, group=Group(1, 2))


def _workers(agent: int) -> list[int]:
    """Processes that a torchrun started."""
    children = Path(f"/proc/{agent}/task/{agent}/children")
    return [
        int(pid) for pid in children.read_text().split() if b"vaebench" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
