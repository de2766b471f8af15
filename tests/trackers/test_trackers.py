"""Trackers of a training: they get what history.csv gets, once, and change nothing of the training."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from importlib import util
from pathlib import Path
from types import SimpleNamespace

import pytest

from vaebench import trackers
from vaebench.core.paths import runs_dir
from vaebench.runs import history
from vaebench.runs.record import RunFolder
from vaebench.trackers import Kind
from vaebench.training import checkpoint, job

pytestmark = pytest.mark.usefixtures("defaults_known")

PLAIN = ["--threads", "1", "--precision", "fp32", "--device", "cpu"]
TRAIN = ["train", "vae-digits", *PLAIN]
RUN = "vae-digits/seed-0"


def run_folder(name=RUN):
    return RunFolder(runs_dir() / name)


def rows(name=RUN):
    """The run's history as trackers see it: step -> values."""
    return {row.step: values_of(row) for row in history.read(run_folder(name).history)}


def values_of(row):
    return {
        "epoch": row.epoch,
        "seconds": row.seconds,
        "images_per_second": row.images_per_second,
        **row.terms,
    }


@pytest.fixture
def short(monkeypatch):
    """Rows of the history every ten steps, in this process."""
    monkeypatch.setattr(job, "Plan", partial(job.Plan, log_every=10))


@pytest.fixture
def kept(monkeypatch, short):
    """A tracker in memory, ``--log memory``: what it was told, in order."""
    told = []

    def open_tracker(run, where, after):
        told.append(("open", run, after))
        return SimpleNamespace(
            shown_by="nothing",
            row=lambda step, values: told.append(("row", step, dict(values))),
            picture=lambda step, pixels: told.append(("picture", step, pixels)),
            final=lambda step, facts: told.append(("final", step, dict(facts))),
            close=lambda outcome: told.append(("close", outcome)),
        )

    named = SimpleNamespace(open_tracker=open_tracker)
    monkeypatch.setitem(sys.modules, "tracker_in_memory", named)
    known = {**trackers.TRACKERS, "memory": Kind(module="tracker_in_memory", package="json")}
    monkeypatch.setattr(trackers, "TRACKERS", known)
    return told


def told_rows(told):
    return [(step, values) for kind, step, *values in told if kind == "row"]


def test_a_tracker_gets_settings_rows_samples_and_facts(cli, kept):
    answer = cli([*TRAIN, "--steps", "22", "--snapshots", "1/2", "--set", "latent_dim=3", "--log", "memory"])
    name = "vae-digits[latent_dim=3]/seed-0"
    assert answer.code == 0 and f"{name}: tracked by memory: nothing" in answer.err
    kinds = [(kind, *rest[:1]) for kind, *rest in kept]
    assert kinds[1:] == [
        *[("picture", 3), ("picture", 6), ("picture", 8), ("row", 10)],
        *[("picture", 11)],  # an eighth and a snapshot
        *[("picture", 14), ("picture", 16), ("picture", 19), ("row", 20), ("row", 22)],
        *[("picture", 22), ("final", 22), ("close", "finished")],
    ]
    (_, run, after), *_ = kept
    assert (run.name, after) == (name, None)
    assert run.settings.items() >= {"latent_dim": 3, "seed": 0, "steps": 22, "dataset": "digits"}.items()
    assert {step: values for _, step, values in (each for each in kept if each[0] == "row")} == rows(name)
    first, *_, last = (pixels for kind, _, pixels in (each for each in kept if len(each) == 3) if kind == "picture")
    assert first.shape == last.shape and first.dtype == "uint8" and (first != last).any()
    facts = run_folder(name).read_record().facts
    assert kept[-2][2] == {key: value for key, value in facts.items() if key != "setting"}


def test_a_tracked_training_is_the_same_to_the_last_bit(cli, places, monkeypatch, kept, global_rng_untouched):
    from safetensors.torch import load_file

    for family in ("vae-digits", "dcgan-digits"):  # batch normalisation and a game, too
        long = ["train", family, "--steps", "12", "--snapshots", "1/2", *PLAIN]
        weights = []
        for number, more in enumerate(([], ["--log", "memory,tensorboard"])):
            monkeypatch.setenv("VAEBENCH_RUNS", str(places / f"{family}-{number}"))
            assert cli([*long, *more]).code == 0
            run = run_folder(f"{family}/seed-0")
            weights.append([load_file(each.weights) for each in (run, run.snapshot(6))])
        for plain, tracked in zip(*weights, strict=True):
            assert plain.keys() == tracked.keys() and all(plain[key].equal(tracked[key]) for key in plain)
    assert [each[1] for each in kept if each[0] == "picture"] == 2 * [2, 3, 4, 6, 8, 9, 10, 12]


def stop_at(monkeypatch, step, *, saved):
    """Let a training fail at a step, as if it was killed, with a checkpoint of an earlier one."""
    from vaebench.training.pace import Pace

    note = Pace.note

    def failing(self, row, size):
        if row.step == step:
            raise RuntimeError("killed")
        return note(self, row, size)

    monkeypatch.setattr(Pace, "note", failing)
    steps = iter(range(1, step + 1))
    monkeypatch.setattr(checkpoint.Saver, "is_due", lambda self: next(steps) == saved)


def test_a_training_that_was_killed_goes_on_in_the_tracker_without_doubled_steps(cli, monkeypatch, kept):
    with monkeypatch.context() as patched:
        stop_at(patched, 30, saved=15)
        assert cli([*TRAIN, "--steps", "35", "--log", "memory"]).code == 70
    assert [row.step for row in history.read(run_folder().history)] == [10]  # of the checkpoint
    assert [step for step, _ in told_rows(kept)] == [10, 20] and kept[-1] == ("close", "failed")
    pictures = [4, 9, 13, 18, 22, 26]
    assert [each[1] for each in kept if each[0] == "picture"] == pictures
    assert cli([*TRAIN, "--resume", "--log", "memory"]).code == 0
    assert [step for step, _ in told_rows(kept)] == [10, 20, 30, 35]
    after = [22, 26, 31, 35]  # none from before the last row that the tracker has
    assert [each[1] for each in kept if each[0] == "picture"] == pictures + after
    opened = [(run.identity, after) for kind, run, *rest in kept if kind == "open" for after in rest]
    assert opened == [(opened[0][0], None), (opened[0][0], 10)]


def test_a_training_that_is_tracked_later_gives_the_rows_from_before(cli, kept):
    assert cli([*TRAIN, "--steps", "12"]).code == 0
    assert cli([*TRAIN, "--steps", "22", "--resume", "--log", "memory"]).code == 0
    assert {step: values for step, (values,) in told_rows(kept)} == rows()
    assert [step for step, _ in told_rows(kept)] == [10, 20, 22]


def test_a_training_begun_anew_is_another_run_of_the_tracker(cli, kept):
    import shutil
    import time

    assert cli([*TRAIN, "--steps", "2", "--log", "memory"]).code == 0
    shutil.rmtree(run_folder().path)
    time.sleep(1.1)  # records have the time to the second
    assert cli([*TRAIN, "--steps", "2", "--log", "memory"]).code == 0
    first, second = (run for kind, run, *_ in kept if kind == "open")
    assert first.identity != second.identity and [step for step, _ in told_rows(kept)] == [2, 2]


def test_a_training_that_failed_before_its_first_checkpoint_and_is_begun_otherwise_gives_all_rows(
    cli, kept, monkeypatch
):
    import time

    with monkeypatch.context() as patched:
        stop_at(patched, 20, saved=None)
        assert cli([*TRAIN, "--steps", "30", "--log", "memory"]).code == 70
    time.sleep(1.1)  # records have the time to the second
    assert cli([*TRAIN, "--steps", "12", "--log", "memory"]).code == 0
    assert [step for step, _ in told_rows(kept)] == [10, 10, 12]


@pytest.mark.parametrize("fails", ["open_tracker", "row", "picture", "final", "close"])
def test_a_tracker_that_fails_is_said_once_and_the_training_goes_on(fails, cli, kept, monkeypatch):
    calls = []

    def failing(*args):
        calls.append(args)
        raise OSError("the server is away")

    def opened(run, where, after):
        found = sys.modules["tracker_in_memory"].open_tracker(run, where, after)
        setattr(found, fails, failing)
        return found

    opener = failing if fails == "open_tracker" else opened
    monkeypatch.setitem(sys.modules, "tracker_that_fails", SimpleNamespace(open_tracker=opener))
    known = {**trackers.TRACKERS, "failing": Kind(module="tracker_that_fails", package="json")}
    monkeypatch.setattr(trackers, "TRACKERS", known)
    answer = cli([*TRAIN, "--steps", "22", "--log", "failing,memory"])
    assert answer.code == 0 and run_folder().read_record().status == "finished"
    assert answer.err.count("tracked no more by failing (OSError: the server is away)") == 1
    assert len(calls) == 1  # it is left alone then
    last = [each for each in kept if each[0] in ("final", "close")]
    assert ("close", "finished") in last  # of the other one


def test_a_model_that_cannot_draw_samples_is_trained_and_tracked(cli, kept, monkeypatch):
    from vaebench.training import tracked

    monkeypatch.setattr(tracked, "to_pixels", lambda *args: 1 / 0)
    answer = cli([*TRAIN, "--steps", "2", "--log", "memory"])
    assert answer.code == 0 and "no picture of samples (ZeroDivisionError" in answer.err
    assert [each[0] for each in kept] == ["open", "row", "final", "close"]


def test_a_tracker_is_closed_when_the_training_is_interrupted(cli, kept, monkeypatch):
    from vaebench.training.pace import Pace

    monkeypatch.setattr(Pace, "note", lambda self, row, size: os.kill(os.getpid(), signal.SIGINT))
    assert cli([*TRAIN, "--steps", "40", "--log", "memory"]).code == 130
    assert kept[-1] == ("close", "interrupted") and [step for step, _ in told_rows(kept)] in ([], [10])


def test_a_tracker_is_closed_when_a_loss_is_not_finite(cli, kept):
    answer = cli([*TRAIN, "--steps", "20", "--set", "learning_rate=1e30", "--log", "memory"])
    assert (answer.code, kept[-1]) == (2, ("close", "failed"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tensorbord", "no tracker is named 'tensorbord': did you mean 'tensorboard'"),
        ("", "no tracker is named ''"),
        ("tensorboard,tensorboard:x", "names tensorboard twice"),
    ],
)
def test_what_is_no_tracker_is_refused(given, said, cli):
    answer = cli([*TRAIN, "--steps", "2", "--log", given])
    assert (answer.code, answer.err.count("\n")) == (2, 1) and said in answer.err
    assert not runs_dir().exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_package_that_is_missing_is_named_with_the_command_that_gets_it(name, cli, monkeypatch):
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda wanted, *rest: None if wanted == name else find(wanted, *rest))
    answer = cli([*TRAIN, "--steps", "2", "--log", name])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"pip install {name}" in answer.err and not runs_dir().exists()


def test_extras_name_what_the_table_needs():
    import tomllib

    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name, kind in trackers.TRACKERS.items():
        (needs,) = extras["optional-dependencies"][name]
        assert needs.partition(">=")[0] == kind.package


def of_event_files(folder):
    """Scalars, pictures and texts of event files, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    return read


def scalars_by_step(read):
    found = {}
    for tag in read.Tags()["scalars"]:
        for event in read.Scalars(tag):
            at = found.setdefault(event.step, {})
            assert tag not in at, f"{tag} twice at step {event.step}"
            at[tag] = event.value
    return found


def assert_history(found, name=RUN):
    """What TensorBoard shows is history.csv, in the precision of its files, and the final facts."""
    known = rows(name)
    facts = {
        step: {key: each.pop(key) for key in list(each) if key.startswith("final/")} for step, each in found.items()
    }
    assert found.keys() == known.keys()
    for step, values in known.items():
        assert found[step] == pytest.approx(values, rel=1e-6)
    assert {step for step, each in facts.items() if each} == {max(known)}
    assert facts[max(known)]["final/parameters"] == run_folder(name).read_record().facts["parameters"]


def test_event_files_hold_the_history_after_kills_and_extensions(cli, monkeypatch, short):
    needs("tensorboard")
    with monkeypatch.context() as patched:
        stop_at(patched, 30, saved=15)
        assert cli([*TRAIN, "--steps", "33", "--log", "tensorboard"]).code == 70
    assert cli([*TRAIN, "--resume", "--log", "tensorboard"]).code == 0
    folder = run_folder().path / "tensorboard"
    assert_history(scalars_by_step(of_event_files(folder)))
    assert cli([*TRAIN, "--steps", "43", "--resume", "--log", "tensorboard"]).code == 0  # 33 was cut short
    read = of_event_files(folder)
    found = scalars_by_step(read)
    assert sorted(found) == [10, 20, 30, 40, 43]
    assert_history(found)
    # the picture after 12 steps went with what was killed: it came after the last row that stands, and before step 15
    assert [image.step for image in read.Images("samples")] == [4, 8, 16, 21, 25, 29, 38, 43]
    assert read.Images("samples")[0].encoded_image_string.startswith(b"\x89PNG")
    (settings,) = read.Tensors("settings/text_summary")
    assert b"| latent\\_dim | 5 |" in settings.tensor_proto.string_val[0]


def test_event_files_go_into_a_folder_that_is_named_and_hide_what_lay_there(cli, places, monkeypatch, short):
    needs("tensorboard")
    for number, steps in enumerate(("22", "12")):
        monkeypatch.setenv("VAEBENCH_RUNS", str(places / f"runs-{number}"))
        assert cli([*TRAIN, "--steps", steps, "--log", f"tensorboard:{places / 'events'}"]).code == 0
    assert not (run_folder().path / "tensorboard").exists()
    assert_history(scalars_by_step(of_event_files(places / "events" / "vae-digits" / "seed-0")))


def test_rank_0_alone_tracks(places):
    needs("tensorboard")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--rdzv-backend", "c10d"]
    launch += ["--rdzv-endpoint", "localhost:0", "--nproc-per-node", "2", "-m", "vaebench"]
    answer = subprocess.run(
        [*launch, *TRAIN, "--steps", "3", "--track", "tensorboard"], capture_output=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert len(list(runs_dir().rglob("events.out.tfevents*"))) == 1
    assert_history(scalars_by_step(of_event_files(run_folder().path / "tensorboard")))


def needs(package):
    """Skip a test where a tracker's package is not installed."""
    if util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install {package}")


def own_process(*arguments, **environment):
    """Run the command line in a process of its own: these packages keep threads, and read their places once."""
    command = [sys.executable, "-m", "vaebench", *map(str, arguments)]
    here = runs_dir().parent  # MLflow puts pictures of a store that is named into ./mlruns
    environment = {**os.environ, **environment}
    answer = subprocess.run(command, env=environment, cwd=here, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert all(line.startswith(f"{RUN}: ") for line in answer.stdout.splitlines()), answer.stdout  # no tracker's own
    return answer


def test_wandb_offline(places):
    needs("wandb")
    mode = {"WANDB_MODE": "offline"}
    answer = own_process(*TRAIN, "--steps", "120", "--log", "wandb", **mode)
    assert answer.stderr.count("\n") == 1 and "tracked by wandb: wandb sync --append" in answer.stderr
    own_process(*TRAIN, "--steps", "220", "--resume", "--log", "wandb", **mode)
    first, second = sorted((runs_dir() / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime)
    assert first.name.rpartition("-")[2] == second.name.rpartition("-")[2]  # one id
    logs = [next(folder.glob("*.wandb")).read_bytes() for folder in (first, second)]
    known = rows()
    assert [repr(known[100]["vae/kl"]).encode() in log for log in logs] == [True, False]
    assert [repr(known[220]["vae/kl"]).encode() in log for log in logs] == [False, True]
    assert all(list(folder.glob("files/media/images/samples_*.png")) for folder in (first, second))


def test_wandb_asks_nobody_for_a_key(places):
    """Nobody is logged in, and no mode is set: the training is tracked offline."""
    needs("wandb")
    nowhere = {"HOME": str(places), "NETRC": str(places / "none"), "WANDB_CONFIG_DIR": str(places / "config")}
    answer = own_process(*TRAIN, "--steps", "2", "--log", "wandb", **nowhere)
    assert "tracked by wandb: wandb sync" in answer.stderr and list((runs_dir() / "wandb").glob("offline-run-*"))


def test_mlflow_in_a_file_beside_the_runs(places):
    needs("mlflow")
    answer = own_process(*TRAIN, "--steps", "120", "--log", "mlflow")
    assert answer.stderr.count("\n") == 1
    assert "tracked by mlflow: mlflow ui --backend-store-uri sqlite:///" in answer.stderr
    own_process(*TRAIN, "--steps", "220", "--resume", "--log", "mlflow")
    with sqlite3.connect(runs_dir() / "mlflow.db") as database:
        ((name, status, artifacts),) = database.execute("SELECT name, status, artifact_uri FROM runs")
        params = dict(database.execute("SELECT key, value FROM params"))
        told = list(database.execute("SELECT key, step, value FROM metrics"))
    assert (name, status, params["latent_dim"]) == (RUN, "FINISHED", "5")
    known = rows()
    steps = [100, 120, 200, 220]  # that of 120 was cut short, and MLflow cannot forget
    assert sorted(step for key, step, _ in told if key == "vae/kl") == steps
    for key, value in known[220].items():
        assert (key, 220, value) in told and (key, 100, known[100][key]) in told
    facts = run_folder().read_record().facts
    assert ("final/parameters", 220, facts["parameters"]) in told
    pictures = sorted(Path(artifacts.removeprefix("file://")).glob("samples/*.png"))
    assert [path.stem for path in pictures] == sorted(map(str, [*range(15, 121, 15), 138, 165, 192, 220]))


def test_mlflow_follows_the_user_s_tracking_uri(places):
    needs("mlflow")
    store = places / "elsewhere.db"
    own_process(*TRAIN, "--steps", "2", "--log", "mlflow", MLFLOW_TRACKING_URI=f"sqlite:///{store}")
    assert store.is_file() and not (runs_dir() / "mlflow.db").exists()


def test_a_server_that_is_away_does_not_stop_a_training(places):
    needs("mlflow")
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    answer = own_process(*TRAIN, "--steps", "2", "--log", "mlflow:http://127.0.0.1:9", **quick)
    assert answer.stderr.count("is tracked no more by mlflow") == 1 and run_folder().weights.exists()


def test_trackio_in_its_folder(places):
    needs("trackio")
    place = {"TRACKIO_DIR": str(places / "trackio")}
    answer = own_process(*TRAIN, "--steps", "120", "--log", "trackio:mine", **place)
    assert "trackio show --project mine" in answer.stderr and answer.stderr.count("\n") == 1
    own_process(*TRAIN, "--steps", "220", "--resume", "--log", "trackio:mine", **place)
    with sqlite3.connect(places / "trackio" / "mine.db") as database:
        told = [(step, json.loads(values)) for step, values in database.execute("SELECT step, metrics FROM metrics")]
        (names,) = zip(*database.execute("SELECT DISTINCT run_name FROM metrics"), strict=True)
    assert len(names) == 1
    with_terms = {step: values for step, values in told if "vae/kl" in values}
    known = rows()
    assert sorted(step for step, values in told if "vae/kl" in values) == [100, 120, 200, 220]
    assert {key: with_terms[220][key] for key in known[220]} == known[220]
    assert any("samples" in values for _, values in told)
