"""Bad input and missing data: exit code 2, one line that says what is wrong, no traceback, and nothing is lost."""

import gzip
import json
import shutil

import numpy as np
import pytest

from vaebench.cli import main as command_line

TRAIN = ["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"]
EVALUATE = ["evaluate", "vae-digits", "--metrics", "mse", "--samples", "10"]
EXTERNAL = ["evaluate", "--name", "peer", "--reference", "digits", "--metrics", "mse", "--images"]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, measured_defaults):
    """Runs folder with one short training of ``vae-digits``, seed 0."""
    folder = tmp_path_factory.mktemp("trained")
    measured_defaults(folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEBENCH_RUNS", str(folder / "runs"))
        patch.setenv("VAEBENCH_CACHE", str(folder / "cache"))
        with pytest.raises(SystemExit) as stopped:
            command_line.main(TRAIN)
    assert not stopped.value.code
    return folder / "runs"


@pytest.fixture
def home(places, monkeypatch):
    """The working directory; runs, data and caches of this test lie in it."""
    monkeypatch.chdir(places)
    return places


@pytest.fixture
def trained(home, trained_once):
    """A copy of the trained run for this test to spoil."""
    shutil.copytree(trained_once, home / "runs")
    return home / "runs" / "vae-digits" / "seed-0"


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(cli, home):
    """Call a command that must fail; returns its one line."""

    def call(arguments):
        before = snapshot(home)
        answer = cli(arguments)
        assert answer.code == 2, answer
        assert answer.err.startswith("error: ")
        assert answer.err.endswith("\n")
        assert len(answer.err.splitlines()) == 1, answer.err
        assert "Traceback" not in answer.out + answer.err
        after = snapshot(home)
        assert {path: after.get(path) for path in before} == before
        return answer.err

    return call


def changed(**fields):
    """A spoiler that rewrites these fields of run.json."""

    def spoil(run):
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**record, **fields}))

    return spoil


def of_model(**settings):
    """A spoiler that rewrites these hyperparameters in run.json."""

    def spoil(run):
        record = json.loads((run / "run.json").read_text())
        changed(hyperparameters={**record["hyperparameters"], **settings})(run)

    return spoil


def cut(name, part=0.5):
    def spoil(run):
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: int(len(content) * part)])

    return spoil


def removed(name):
    return lambda run: (run / name).unlink()


def replaced(name, content):
    return lambda run: (run / name).write_bytes(content)


def interrupted(spoil):
    """A run that was stopped while training, and then spoiled."""

    def both(run):
        changed(status="training")(run)
        spoil(run)

    return both


COMMAND_LINES = [
    (["train", "vae-digit"], "no recipe is named 'vae-digit': did you mean 'vae-digits'?"),
    (["train", "zzz"], "no recipe is named 'zzz': choose from"),
    (["train", "vae-digits", "dfcvae-digist"], "did you mean 'dfcvae-digits'?"),
    (["train"], "nothing to train: name a recipe, or --all"),
    (["train", "vae-digits", "--dataset", "mnist"], "nothing to train"),
    (["train", "./absent.py:recipe"], "absent.py does not exist"),
    ([*TRAIN, "--set", "latent_dmi=3"], "vae-digits has no setting 'latent_dmi': did you mean 'latent_dim'?"),
    ([*TRAIN, "--set", "latent_dim=three"], "latent_dim='three' is no int"),
    ([*TRAIN, "--set", "latent_dim"], "--set 'latent_dim' has no value"),
    ([*TRAIN, "--set", "latent_dim=0"], "latent_dim=0 is no latent space"),
    ([*TRAIN, "--set", "batch_size=0"], "batch_size=0 is no batch"),
    ([*TRAIN, "--set", "batch_size=5000"], "1437"),
    ([*TRAIN, "--set", "dataset.path=x"], "no setting 'dataset.path'"),
    ([*TRAIN, "--epochs", "1"], "--steps and --epochs both set the length: give one of them"),
    (["train", "vae-digits", "--steps", "0", "--precision", "fp32", "--threads", "1"], "would train 0 steps"),
    (["train", "vae-digits", "--epochs", "-1", "--precision", "fp32", "--threads", "1"], "--steps or --epochs"),
    ([*TRAIN, "--seeds", "one"], "--seeds 'one' is no list of different whole numbers"),
    ([*TRAIN, "--seeds", "0,,1"], "is no list of different whole numbers"),
    ([*TRAIN, "--seeds", ""], "is no list of different whole numbers"),
    ([*TRAIN, "--steps", "many"], "Invalid value for '--steps'"),
    ([*TRAIN, "--device", "gpu"], "device 'gpu' is not here: use --device auto"),
    ([*TRAIN, "--device", "cuda:99"], "device 'cuda:99' is not here"),
    (["train", "vae-digits", "--precision", "fp8"], "precision 'fp8' is unknown: choose auto, fp32 or bf16"),
    (["train", "vae-digits", "--threads", "0"], "threads=0 is no number of threads"),
    (["train", "vae-mnist", "--steps", "2", "--precision", "fp32", "--threads", "1"], "run 'vaebench fetch mnist'"),
    (["evaluate"], "nothing to measure: name a RUN, or --all"),
    (["evaluate", "--all"], "nothing to measure"),
    (["evaluate", "vae-digits"], "run 'vaebench train vae-digits' first"),
    (["evaluate", "--all", "--samples", "1"], "--samples 1 is too few"),
    (["evaluate", "--all", "--metrics", "blurr"], "no metric is named 'blurr': did you mean 'blur'?"),
    (["evaluate", "--all", "--set", "blur"], "--set 'blur' sets no metric's option"),
    (["evaluate", "--all", "--set", "blur=1"], "--set 'blur=1' sets no metric's option"),
    (["evaluate", "--all", "--set", "blur.size=1"], "blur has no option 'size'"),
    (["evaluate", "--all", "--metrics", "mse", "--set", "msee.x=1"], "did you mean 'mse'?"),
    ([*EXTERNAL, "absent.npz"], "absent.npz does not exist"),
    (["report"], "nothing has been measured yet: run 'vaebench evaluate --all' first"),
    (["report", "--dataset", "digits"], "nothing was measured on 'digits'"),
    (["compare", "vae-digits", "dfcvae-digits"], "no run 'vae-digits'"),
    (["explain", "vae-digits", "blur"], "no run 'vae-digits'"),
    (["fetch", "mnits"], "nothing to fetch is named 'mnits': did you mean 'mnist'?"),
    (["fetch", "mnist", "--from", "absent"], "absent does not exist"),
    (["fetch", "digits", "--from", "."], "digits come with scikit-learn"),
    (["list", "recipe"], "nothing is listed under 'recipe': did you mean 'recipes'?"),
    (["trian"], "No such command 'trian'"),
    (["list", "--jsno"], "No such option"),
    (["list", "recipes", "models"], "unexpected extra argument"),
    (["compare", "vae-digits"], "Missing argument 'B'"),
    (["train", "--steps"], "--steps"),
]


@pytest.mark.parametrize(("arguments", "message"), COMMAND_LINES, ids=[" ".join(line) for line, _ in COMMAND_LINES])
def test_bad_command_lines(refused, home, arguments, message):
    assert message.lower() in refused(arguments).lower()


@pytest.mark.parametrize("arguments", [line for line, _ in COMMAND_LINES if line[0] == "train"])
def test_a_refused_training_leaves_no_run_behind(cli, home, arguments):
    """What never began must not stand in the way of the corrected command."""
    assert cli(arguments).code == 2
    assert not list((home / "runs").rglob("*.json"))


SPOILED_TRAINING = [
    (changed(status="training"), TRAIN, "holds an interrupted run: add --resume to go on"),
    (removed("run.json"), TRAIN, "holds no run.json"),
    (removed("run.json"), [*TRAIN, "--resume"], "holds no run.json"),
    (cut("run.json"), TRAIN, "run.json cannot be read"),
    (replaced("run.json", b""), TRAIN, "run.json cannot be read"),
    (replaced("run.json", b"[]"), TRAIN, "run.json cannot be read"),
    (replaced("run.json", b"\xff\xfe"), TRAIN, "run.json cannot be read"),
    (changed(format=99), TRAIN, "run.json has format 99"),
    (changed(unknown_field=1), TRAIN, "run.json cannot be read"),
    (removed("weights.safetensors"), TRAIN, "weights.safetensors is missing"),
    # as versions wrote it that kept all settings of a recipe in one folder
    (of_model(latent_dim=7), TRAIN, "other hyperparameters (latent_dim is 7 there, 5 was asked for)"),
    (of_model(latent_dim=7), [*TRAIN, "--resume"], "holds a run with other hyperparameters"),
    (changed(batch_size=16), TRAIN, "holds a run with other batch_size"),
    (changed(), ["train", "vae-digits", "--steps", "3", *TRAIN[4:]], "holds a run with other steps"),
    (changed(data_fingerprint="0" * 64), TRAIN, "holds a run with other data_fingerprint"),
    (
        interrupted(cut("training_state.safetensors")),
        [*TRAIN, "--resume"],
        "training_state.safetensors is missing or damaged",
    ),
    (
        interrupted(lambda run: shutil.copy(run / "weights.safetensors", run / "training_state.safetensors")),
        [*TRAIN, "--resume"],
        "training_state.safetensors is no training state",
    ),
]


@pytest.mark.parametrize(("spoil", "arguments", "message"), SPOILED_TRAINING)
def test_training_into_a_folder_that_holds_something_else(refused, trained, spoil, arguments, message):
    spoil(trained)
    line = refused(arguments)
    assert message in line
    assert str(trained) in line


SPOILED_RUNS = [
    (changed(status="training"), "is not finished (vae-digits, seed 0)"),
    (removed("run.json"), "holds no run.json"),
    (cut("run.json"), "run.json cannot be read"),
    (removed("weights.safetensors"), "weights.safetensors is missing or damaged"),
    (cut("weights.safetensors"), "weights.safetensors is"),
    (cut("weights.safetensors", 0), "weights.safetensors is"),
    (replaced("weights.safetensors", b"x" * 5000), "weights.safetensors is"),
    (changed(hyperparameters={"latent_dim": 7}), "weights.safetensors does not fit the model"),
    (changed(hyperparameters={"latent_dims": 5}), "latent_dims"),
    (changed(facts={"parameters": 1, "x\x1b": 1}), r"facts cannot be read (unknown field x\x1b)"),
    (changed(compute={"device": "cpu", "x": 1}), "compute cannot be read (unknown field x)"),
    (changed(reference="vae-gone"), "no recipe is named 'vae-gone'"),
    (changed(dataset="gone"), "no dataset is named 'gone'"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED_RUNS)
def test_evaluating_a_spoiled_run(refused, trained, spoil, message):
    spoil(trained)
    assert message in refused(EVALUATE)


def test_evaluating_weights_that_are_not_those_of_the_record(refused, trained):
    """One changed bit leaves a readable file: only the hash in run.json can tell."""
    content = bytearray((trained / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (trained / "weights.safetensors").write_bytes(bytes(content))
    assert "weights.safetensors" in refused(EVALUATE)


@pytest.mark.parametrize("name", ["results.jsonl", "per_image.parquet"])
def test_corrupt_measurements(refused, cli, trained, name):
    """A report leaves the run out and says so; what it advises mends the run."""
    assert cli(EVALUATE).code == 0
    cut(name, 0.9)(trained)
    answer = cli(["report"])
    left_out, problem = answer.err.splitlines()  # nothing else was measured
    assert (answer.code, problem[:27]) == (
        2,
        "error: nothing has been mea" if "jsonl" in name else "error: nothing was measured",
    )
    assert left_out.startswith("warning: left out: ") and name in left_out
    if name == "results.jsonl":
        assert name in refused(["explain", "vae-digits", "mse"])
        assert "delete that line, then evaluate the run again" in left_out
        whole = (trained / name).read_bytes().splitlines(keepends=True)[:-1]
        (trained / name).write_bytes(b"".join(whole))
        assert cli(EVALUATE).code == 0
    else:
        assert "move it away, then evaluate the run again with --again" in left_out
        (trained / name).unlink()
        assert cli([*EVALUATE, "--again"]).code == 0
    assert (cli(["report"]).err, cli(["explain", "vae-digits", "mse"]).code) == ("", 0)


def test_measured_but_not_by_that_metric(refused, cli, trained):
    assert cli(EVALUATE).code == 0
    assert "has no value of 'msee': did you mean 'mse'?" in refused(["explain", "vae-digits", "msee"])
    assert "cannot be compared with itself" in refused(["compare", "vae-digits", "vae-digits"])
    assert "nothing was measured on 'mnist'" in refused(["report", "--dataset", "mnist"])


def test_trained_but_never_measured(refused, trained):
    assert "was never measured" in refused(["explain", "vae-digits", "mse"])
    assert "nothing has been measured yet" in refused(["report"])


@pytest.mark.parametrize("misspelt", ["vae-digitz", "vae-digits/seed-9", "external/peer", "seed-0"])
def test_unknown_run(refused, trained, misspelt):
    assert f"no run '{misspelt}'" in refused(["evaluate", misspelt])


def test_misspelt_run_gets_the_nearest(refused, trained):
    assert "did you mean 'vae-digits'?" in refused(["evaluate", "vae-digitz"])


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_runs_folder_that_is_a_file(refused, home, monkeypatch, inside):
    (home / "taken").write_text("a file")
    monkeypatch.setenv("VAEBENCH_RUNS", str(home / "taken" / inside))
    assert "cannot write to" in refused(TRAIN)


def test_reports_folder_that_is_a_file(refused, cli, trained, home):
    (home / "taken").write_text("a file")
    assert "cannot write to" in refused([*EVALUATE, "--out", str(home / "taken")])


MNIST = ["train", "vae-mnist", "--steps", "2", "--precision", "fp32", "--threads", "1"]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(bytes(5000))[:20], gzip.compress(bytes(5000)), b"no gzip", b""],
    ids=["truncated", "corrupt", "no gzip", "empty"],
)
def test_damaged_data(refused, home, content):
    (home / "data" / "mnist").mkdir(parents=True)
    (home / "data" / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    line = refused(MNIST)
    assert str(home / "data" / "mnist" / "train-images-idx3-ubyte.gz") in line
    assert "vaebench fetch mnist --from" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "images are 28 x 27, those of digits are 28 x 28: add --size 28"),
        (["--reference", "digits:tset"], "digits has no split 'tset': did you mean 'test'?"),
        (["--reference", "digist"], "did you mean 'digits'?"),
        (["--kind", "sample"], "did you mean 'samples'?"),
        (["--name", "../../real"], "names no run"),
        (["--paired", "--kind", "samples"], "leave --kind samples away"),
    ],
)
def test_images_that_do_not_fit(refused, home, arguments, message):
    np.savez(home / "made.npz", images=np.zeros((3, 27, 28), np.uint8))
    assert message in refused([*EXTERNAL, "made.npz", *arguments])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def recipe(): return 3", "returns int, no Recipe"),
        ("raise RuntimeError('first line\\nsecond line')", "fails to load (RuntimeError: first line)"),
        ("def other(): ...", "has no 'recipe'"),
    ],
)
def test_recipes_of_ones_own(refused, home, source, message):
    (home / "mine.py").write_text(source)
    assert message in refused(["train", "./mine.py:recipe"])


@pytest.fixture
def small_disk():
    """No file can grow beyond 100 kB: the weights do not fit, the records do."""
    resource = pytest.importorskip("resource", reason="a limit that POSIX systems have")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_weights_that_the_disk_has_no_room_for(small_disk, refused, home):
    assert "free some space" in refused(TRAIN)
    assert not list(home.rglob("*.tmp"))


def test_a_bigger_model_than_the_disk_has_room_for_spoils_no_run(trained, refused, small_disk):
    line = refused([*TRAIN, "--seeds", "1"])
    assert "seed-1" in line
    assert "free some space" in line


def test_debug_shows_the_traceback_and_keeps_the_exit_code(home, cli):
    answer = cli(["--debug", "train", "vae-digit"])
    assert answer.code == 2  # 1 would say that a check found a regression
    assert "Traceback" in answer.err
    assert answer.err.rstrip().endswith("did you mean 'vae-digits'?")
