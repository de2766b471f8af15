"""Many runs and many workers: shares, claims, several at once. No run is trained twice, none is left out."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.console import Console

from vaebench.cli.job_queue import train_at_once
from vaebench.core.errors import Interrupted
from vaebench.core.files import exclusive
from vaebench.core.paths import runs_dir
from vaebench.runs.record import RunFolder

pytestmark = pytest.mark.usefixtures("defaults_known")

SHORT = ["--precision", "fp32", "--threads", "1", "--steps", "2"]
RECIPES = ["vae-digits", "dfcvae-digits", "dcgan-digits"]


def trained():
    return {f"{path.parent.parent.name}/{path.parent.name}" for path in runs_dir().glob("*/*/weights.safetensors")}


def test_shares_are_disjoint_and_together_all(cli):
    seen = []
    for share in ("1/2", "2/2"):
        before = trained()
        assert cli(["train", *RECIPES[:2], "--seeds", "0,1", "--shard", share, *SHORT]).code == 0
        seen.append(trained() - before)
    assert [len(share) for share in seen] == [2, 2]
    assert seen[0] | seen[1] == {f"{name}/seed-{seed}" for name in RECIPES[:2] for seed in (0, 1)}


def test_a_share_with_nothing_in_it_is_no_error(cli):
    answer = cli(["train", "vae-digits", "--shard", "2/3", *SHORT])
    assert (answer.code, trained()) == (0, set())


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shares_that_cannot_be(cli, share):
    answer = cli(["train", "vae-digits", f"--shard={share}", *SHORT])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "write I/N with I from 1 to N" in answer.err


def test_what_another_worker_trains_is_passed_over_and_the_rest_is_done(cli):
    busy = runs_dir() / "vae-digits" / "seed-0"
    busy.mkdir(parents=True)
    with exclusive(busy, wait=False):
        answer = cli(["train", *RECIPES[:2], *SHORT])
        assert answer.code == 0
        assert "vae-digits/seed-0: another process is at work in" in answer.out and "passed over" in answer.out
        assert trained() == {"dfcvae-digits/seed-0"}
        alone = cli(["train", "vae-digits", *SHORT])
        assert (alone.code, "wait for it, or stop it" in alone.err) == (2, True)
    assert cli(["train", *RECIPES[:2], *SHORT]).code == 0  # every job is idempotent
    assert trained() == {"vae-digits/seed-0", "dfcvae-digits/seed-0"}


@contextmanager
def vaebench(*arguments, **options):
    """A process of its own, since the command line starts others as it was started; none of them outlives the test."""
    command = [sys.executable, "-m", "vaebench", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            for pid in (*_trainings(process.pid), process.pid) if process.poll() is None else ():
                os.kill(int(pid), signal.SIGKILL)


def test_several_at_once_train_what_one_after_another_would(cli, tmp_path, monkeypatch):
    settings = ["--seeds", "3", "--set", "latent_dim=4", "--no-fused", *SHORT]
    with vaebench("train", *RECIPES, "--jobs", "2", *settings) as command:
        said, errors = command.communicate(timeout=240)
    assert (command.returncode, errors) == (0, "")
    assert said.count("trained, in") == 3
    together = {name: (runs_dir() / f"{name}/seed-3/weights.safetensors").read_bytes() for name in RECIPES}
    records = [json.loads((runs_dir() / f"{name}/seed-3/run.json").read_text()) for name in RECIPES]
    assert [record["command"] for record in records] == [
        f"vaebench train {name} --steps 2 --set latent_dim=4 --precision fp32 --no-fused --seeds 3 --threads 1"
        for name in RECIPES
    ]  # each can be repeated by its own command
    monkeypatch.setenv("VAEBENCH_RUNS", str(tmp_path / "apart"))
    assert cli(["train", *RECIPES, *settings]).code == 0
    apart = {name: (runs_dir() / f"{name}/seed-3/weights.safetensors").read_bytes() for name in RECIPES}
    assert together == apart


def test_a_failure_among_several_is_the_command_s(cli):
    with vaebench("train", *RECIPES, "--jobs", "2", "--set", "learning_rate=1e30", *SHORT) as command:
        said, _ = command.communicate(timeout=240)
    assert command.returncode == 2
    assert "not finite" in said


def test_an_interruption_reaches_all_of_several(tmp_path):
    long = ["--precision", "fp32", "--threads", "1", "--steps", "100000"]
    with vaebench("train", *RECIPES, "--jobs", "2", *long) as command:
        deadline = time.monotonic() + 120
        while len(list(runs_dir().glob("*/*/run.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(3)  # into the loop
        os.kill(command.pid, signal.SIGINT)
        said, _ = command.communicate(timeout=120)
    assert command.returncode == 130
    assert said.count("interrupted: stopped at step") == 2
    assert len(list(runs_dir().glob("*/*/training_state.safetensors"))) == 2  # and the third was not begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_before_trainings_can_hear_it_is_one_all_the_same(number):
    """They end at once: nothing is lost, for nothing was begun."""
    with vaebench("train", *RECIPES, "--jobs", "2", "--steps", "100000", "--threads", "1") as command:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        deadline = time.monotonic() + 120
        while not _trainings(command.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(command.pid, number)
        _, errors = command.communicate(timeout=120)
    assert not children.exists()
    assert command.returncode == 130
    assert "interrupted: what was running is saved or finished" in errors


def _trainings(parent):
    """Processes of vaebench that any of its threads has started; importing torch starts others."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):  # threads and processes end while they are being looked at
            lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in task.read_text().split()}
            found += [child for child, line in lines.items() if b"--seeds" in line]  # its own, once it is executed
    return found


def test_a_signal_that_wakes_another_thread_is_heard(tmp_path, monkeypatch):
    """Python handles signals in the main thread, which a wait without end would keep from looking."""
    command = ["train", "vae-digits", "--steps", "100000", "--seeds", "0", *SHORT[:4]]
    asked = threading.Event()

    def ask():
        while not _trainings(os.getpid()):
            time.sleep(0.05)
        asked.set()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        time.sleep(30)

    threading.Thread(target=ask, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Interrupted, match="what was running is saved or finished"):
        train_at_once([command], 1, Console(quiet=True))
    assert asked.is_set()
    assert time.monotonic() - began < 60


def record_of(name):
    return runs_dir() / name / "seed-0" / "run.json"


def test_a_run_that_goes_on_elsewhere_says_so(cli):
    """As what went on after it was begun on another machine by two processes, in a version without fused."""
    assert cli(["train", "vae-digits", *SHORT]).code == 0
    record = json.loads(record_of("vae-digits").read_text())
    assert record["compute"]["fused"] and "earlier" not in record["compute"]
    begun = {**record["compute"], "machine": "a faster one", "processes": 2}
    del begun["fused"]
    record_of("vae-digits").write_text(json.dumps({**record, "status": "training", "compute": begun}))
    assert cli(["train", "vae-digits", "--resume"]).code == 0
    after = json.loads(record_of("vae-digits").read_text())
    (earlier,) = after["compute"]["earlier"]
    assert earlier | {"resumed": ""} == {"device": "cpu", "machine": "a faster one", "processes": 2, "resumed": ""}
    assert after["resumed"] == [earlier["resumed"]]
    assert after["compute"] == {**record["compute"], "fused": False, "earlier": after["compute"]["earlier"]}
    assert RunFolder(record_of("vae-digits").parent).read_record().training_facts().setting.endswith("begun elsewhere")


def test_a_run_that_a_faulty_version_resumed_is_named_when_it_is_measured(cli, tmp_path):
    """Its moments were laid on other weights; that shows only where the record tells of a resume."""
    assert cli(["train", "vae-digits", *SHORT]).code == 0
    measure = ["evaluate", "vae-digits", "--metrics", "blur", "--samples", "16", "--again", "--out", tmp_path / "out"]
    assert "resumed" not in cli(measure).out
    record = json.loads(record_of("vae-digits").read_text())
    elsewhere = {"device": "cpu", "machine": "a faster one", "processes": 1}
    for changes, said in (
        ({"channels_last": True, "fused": True, "earlier": [elsewhere]}, True),
        ({"channels_last": False, "fused": True, "earlier": [elsewhere]}, False),
        ({"channels_last": True, "fused": False, "earlier": [elsewhere]}, False),
        ({"channels_last": True, "fused": True, "earlier": [elsewhere | {"resumed": "2026-11-26T10:00:00"}]}, False),
    ):
        record_of("vae-digits").write_text(json.dumps(record | {"compute": record["compute"] | changes}))
        answer = cli(measure)
        assert (answer.code, "was resumed by a version of vaebench that" in answer.out) == (0, said), answer


@pytest.mark.parametrize("jobs", ["0", "some", "-1"])
def test_numbers_of_jobs_that_cannot_be(cli, jobs):
    answer = cli(["train", "vae-digits", f"--jobs={jobs}", *SHORT])
    assert (answer.code, "give 1 or more, or auto" in answer.err) == (2, True)


def test_several_runs_at_once_and_several_processes_at_one_exclude_each_other(cli, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os._exit", lambda code: None)  # how a process of several ends
    answer = cli(["train", *RECIPES, "--jobs", "2", *SHORT])
    assert (answer.code, "choose one of them" in answer.err) == (2, True)
