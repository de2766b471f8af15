"""Settings make recipes apart, through the command line: folders, tables, tests, commands that are printed, sweeps."""

import csv
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

import vaebench as vb
from vaebench.cli import main as command_line
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir

SHORT = ["--precision", "fp32", "--threads", "1", "--steps", "2"]
MEASURE = ["--metrics", "mse,blur", "--samples", "16", "--device", "cpu"]
PLAIN, TEN, TWO = "vae-digits", "vae-digits[latent_dim=10]", "vae-digits[latent_dim=2]"


@pytest.fixture(scope="module")
def made(tmp_path_factory, measured_defaults):
    """Runs of a sweep over three values, the recipe's own among them, two seeds each; measured, with reports."""
    home = tmp_path_factory.mktemp("made")
    measured_defaults(home / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaebench.evaluation.evaluate.GALLERY_SAMPLES", 2)
        for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
            patch.setenv(f"VAEBENCH_{place}", str(home / place.lower()))
        for command in (
            ["train", PLAIN, "--set", "latent_dim=10,5,2", "--seeds", "0,1", *SHORT],
            ["evaluate", "--all", *MEASURE, "--out", str(home / "reports")],
        ):
            with pytest.raises(SystemExit) as stopped:
                command_line.main(command)
            assert not stopped.value.code
    return home


@pytest.fixture
def home(places, made, monkeypatch):
    """A copy of what was made, and the working directory."""
    for place in ("runs", "cache", "reports"):
        shutil.copytree(made / place, places / place, dirs_exist_ok=True)
    monkeypatch.chdir(places)
    monkeypatch.setattr("vaebench.evaluation.evaluate.GALLERY_SAMPLES", 2)
    return places


def folders():
    return sorted(path.parent.name for path in runs_dir().glob("*/seed-0"))


def record_of(name, seed=0):
    return json.loads((runs_dir() / name / f"seed-{seed}" / "run.json").read_text())


def rows_of(table):
    with table.open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if row["stratum"] == "all"]


def typed(text):
    """The words of a command that a message shows, behind ``vaebench``."""
    words = shlex.split(text)
    assert words[0] == "vaebench"
    return words[1:]


def test_a_setting_makes_a_folder_a_record_and_a_row_of_its_own(home):
    assert folders() == sorted([PLAIN, TEN, TWO])
    assert {name: record_of(name)["hyperparameters"]["latent_dim"] for name in (PLAIN, TEN, TWO)} == {
        PLAIN: 5,
        TEN: 10,
        TWO: 2,
    }
    for name in (PLAIN, TEN, TWO):
        found = record_of(name, 1)
        assert (found["recipe"], found["reference"], found["seed"]) == (name, PLAIN, 1)
        assert found["settings"] == ([] if name == PLAIN else ["latent_dim"])
    rows = [row for row in rows_of(home / "reports" / "digits" / "leaderboard.csv") if row["metric"] == "mse"]
    assert [(row["recipe"], row["seeds"]) for row in rows] == [(PLAIN, "2"), (TWO, "2"), (TEN, "2")]
    assert not any("mixed" in row["note"] for row in rows)
    pairs = {(row["a"], row["b"]) for row in rows_of(home / "reports" / "digits" / "comparisons.csv")}
    assert {(PLAIN, TWO), (PLAIN, TEN), (TWO, TEN)} <= pairs


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["--set", "kl_weight=4"], "vae-digits[kl_weight=4]"),
        (["--set", "kl_weight=4.0"], "vae-digits[kl_weight=4]"),
        (["--set", "latent_dim=5", "--set", "kl_weight=1.0", "--set", "batch_size=32"], PLAIN),
        (["--set", "latent_dim=7", "--set", "batch_size=64"], "vae-digits[batch_size=64,latent_dim=7]"),
    ],
)
def test_equal_settings_have_one_name_however_they_are_typed(cli, given, name):
    assert cli(["train", PLAIN, *given, *SHORT]).code == 0
    assert folders() == [name]
    again = cli(["train", name, *SHORT])  # a name from a table is a recipe, too
    assert again.code == 0 and "already trained, left as it is" in again.out


def test_several_values_and_several_keys_are_all_trained(cli):
    answer = cli(["train", PLAIN, "--set", "latent_dim=2,3", "--set", "kl_weight=1", "--set", "kl_weight=2", *SHORT])
    assert answer.code == 0, answer.err
    assert folders() == [f"vae-digits[{more}latent_dim={k}]" for more in ("kl_weight=2,", "") for k in (2, 3)]


def test_of_lists_a_comma_is_part_of_one_value_and_the_option_is_repeated(cli):
    values = ["--set", "layer_weights=1,1", "--set", "layer_weights=0.5,2.0", "--set", "layers=conv2,conv1"]
    answer = cli(["train", "dfcvae-digits", *values, *SHORT])
    assert answer.code == 0, answer.err
    other = "dfcvae-digits[layer_weights=0.5+2,layers=conv2+conv1]"
    assert folders() == sorted(["dfcvae-digits[layers=conv2+conv1]", other])
    assert record_of(other)["hyperparameters"]["layers"] == ["conv2", "conv1"]
    assert record_of(other)["hyperparameters"]["layer_weights"] == [0.5, 2.0]
    again = cli(["train", other, *SHORT])
    assert again.code == 0 and "already trained" in again.out and len(folders()) == 2
    refused = cli(["train", "dfcvae-digits", *values[:2], "--set", "layer_weights=1.0,1", *SHORT])
    assert refused.code == 2 and "has the value 1.0,1 twice" in refused.err


def test_runs_are_named_alone_and_together(home, cli):
    answer = cli(["evaluate", PLAIN, "--metrics", "nll", "--device", "cpu", "--out", "other"])
    assert (
        answer.code == 0
        and f"{PLAIN}/seed-1: measured" in answer.out
        and "latent_dim" not in answer.out.partition("\n\n")[0]
    )
    answer = cli(["evaluate", f"{TEN}/seed-1", "--metrics", "nll", "--device", "cpu", "--out", "other"])
    assert answer.code == 0 and f"{TEN}/seed-1: measured" in answer.out
    compared = cli(["compare", TWO, PLAIN])
    assert compared.code == 0 and f"digits: {TWO} against {PLAIN}: " in compared.out
    assert cli(["explain", TEN, "mse"]).out.count("training seed") == 2
    table = home / "reports" / "digits" / "leaderboard.csv"
    checked = cli(["check", table, "--baseline", table])
    assert "identical" in checked.out and checked.code in (0, 3)
    allowed = ["--allow-missing", TEN, "--allow-undecided"]
    fewer = home / "fewer.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    fewer.write_text("".join(line for line in lines if TEN not in line), encoding="utf-8")
    assert cli(["check", fewer, "--baseline", table, "--allow-undecided"]).code == 1
    assert cli(["check", fewer, "--baseline", table, *allowed]).code == 0
    assert cli(["sample", TWO, "--device", "cpu", "--out", "reports"]).code == 0


def test_commands_that_are_printed_can_be_pasted(home, cli):
    compared = cli(["compare", TWO, PLAIN]).out
    found = re.search(r"^next +(vaebench .*)", compared, re.M)
    assert found is None or cli(typed(found[1])).code == 0  # none where all is decided
    planned = cli(["plan", TWO, TEN, "--metric", "mse"])
    assert planned.code == 0, planned.err
    lines = [line for line in planned.out.splitlines() if line.startswith("vaebench train")]
    assert lines, planned.out
    for line in lines:
        words = typed(line.partition("  #")[0])
        answer = cli([*words, *(["--most", "2"] if "--until-decided" in words else ["--seeds", "0"]), *SHORT])
        assert answer.code == 0, (line, answer.err)
    file = runs_dir() / TEN / "seed-1" / "run.json"
    file.write_text(json.dumps({**record_of(TEN, 1), "status": "training"}))
    refused = cli(["evaluate", TEN, *MEASURE])
    assert refused.code == 2 and refused.err.count("\n") == 1
    resumed = cli(typed(re.search(r"go on with '(vaebench .*)'", refused.err)[1]))
    assert resumed.code == 0 and record_of(TEN, 1)["status"] == "finished"
    (runs_dir() / TEN / "seed-1" / "results.jsonl").unlink()
    refused = cli(["compare", TEN, PLAIN])
    assert refused.code == 2
    command = re.search(r'run "(vaebench evaluate .*)" first', refused.err)[1]
    assert cli([*typed(command), *MEASURE]).code == 0


def test_a_test_decides_between_two_settings(home, cli):
    ask = ["train", "--until-decided", f"{TWO},vae-digits[latent_dim=10.0]:mse", "--most", "2", *SHORT]
    assert "no int" in cli(ask).err
    ask[2] = f"{TWO},vae-digits[latent_dim=010]:mse"
    answer = cli(ask)
    assert answer.code == 0, answer.err
    assert f"a = {TWO}, b = {TEN}" in answer.out and answer.out.count("already trained") == 4
    both = cli(
        ["train", "--until-decided", "vae-digits,dcgan-digits:blur", "--set", "latent_dim=2", "--most", "2", *SHORT]
    )
    assert both.code == 0, both.err
    assert f"a = {TWO}, b = dcgan-digits[latent_dim=2]" in both.out


def test_the_api_takes_settings_and_names(home):
    fast = {"steps": 2, "device": "cpu", "precision": "fp32", "threads": 1}
    assert vb.train(PLAIN, latent_dim=10, **fast).name == f"{TEN}/seed-0" == vb.train(TEN, **fast).name
    assert vb.load_run(TEN, device="cpu").sample(2).shape == (2, 1, 28, 28)
    assert set(vb.compare(PLAIN, TEN)["a"]) | set(vb.compare(PLAIN, TEN)["b"]) == {PLAIN, TEN}
    found = vb.evaluate(TEN, metrics=["mse"], samples=16, device="cpu")
    assert TEN in set(found.table["recipe"]) and PLAIN not in set(found.table["recipe"])


def test_a_sweep_is_drawn_and_its_report_made_again_from_evidence(home, cli, monkeypatch):
    assert cli(["report", "--dataset", "digits", "--out", "reports", "--evidence"]).code == 0
    folder = home / "reports" / "digits"
    drawing = (folder / "figures" / "sweep_latent_dim.svg").read_text(encoding="utf-8")
    assert "blur" in drawing and "mse" in drawing and drawing.count("<circle") >= 1 + 3 * 3
    assert "figures/sweep_latent_dim.svg" in (folder / "leaderboard.md").read_text(encoding="utf-8")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert re.search(r'alt="Against latent_dim\. [^"]*mse \(recon\) of vae-digits: 2: [^"]*, 5: [^"]*, 10: ', page)
    monkeypatch.setenv("VAEBENCH_RUNS", str(folder / "evidence"))
    assert cli(["report", "--dataset", "digits", "--out", "again"]).code == 0
    made = {path.relative_to(home / "again"): path.read_bytes() for path in (home / "again").rglob("*.*")}
    assert len(made) > 8 and all(content == (home / "reports" / path).read_bytes() for path, content in made.items())


def test_of_a_file_of_ones_own_settings_are_apart_too(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from vaebench.runs.recipes import find_recipe\n\n"
        "def small():\n"
        "    return replace(find_recipe('vae-digits')[0], name='small-digits', hyperparameters={'latent_dim': 2})\n"
    )
    answer = cli(["train", "./mine.py:small", "--set", "latent_dim=2,3", *SHORT])
    assert answer.code == 0 and folders() == ["small-digits", "small-digits[latent_dim=3]"]
    record = record_of("small-digits[latent_dim=3]")
    assert record["reference"] == f"{tmp_path / 'mine.py'}:small"
    assert cli(["evaluate", "small-digits[latent_dim=3]", *MEASURE, "--out", "reports"]).code == 0
    ask = ["--until-decided", "small-digits[latent_dim=3],small-digits:mse", "--most", "2"]
    assert cli(["train", "./mine.py:small", *ask, *SHORT]).code == 0
    planned = cli(["plan", "small-digits[latent_dim=3]", "small-digits", "--metric", "mse"]).out
    for line in [line for line in planned.splitlines() if line.startswith("vaebench train")]:
        words = typed(line.partition("  #")[0])
        assert cli([*words, *(["--most", "2"] if "--until-decided" in words else ["--seeds", "0"]), *SHORT]).code == 0


def test_images_of_another_folder_are_another_dataset(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("one/pictures", "two/pictures"):
        (tmp_path / place).mkdir(parents=True)
        for k in range(120):
            pixels = np.random.default_rng(k + len(place)).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(tmp_path / place / f"{k}.png")
    short = [*SHORT[:-1], "1", "--set", "batch_size=8"]
    for path in ("one/pictures", str(tmp_path / "one" / "pictures"), "./two/../one/pictures/", "two/pictures"):
        answer = cli(["train", "vae-folder", "--set", f"dataset.path={path}", *short])
        assert answer.code == 0, answer.err
    names = folders()
    assert len(names) == 2
    assert all(re.fullmatch(r"vae-folder\[batch_size=8,dataset.path=pictures~[0-9a-f]{8}\]", name) for name in names)
    file = runs_dir() / names[0] / "seed-0" / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "training"}))
    refused = cli(["evaluate", names[0], *MEASURE])
    monkeypatch.chdir(tmp_path / "one")  # the command holds elsewhere, too
    assert cli(typed(re.search(r"go on with '(vaebench .*)'", refused.err)[1])).code == 0
    assert json.loads(file.read_text())["status"] == "finished"


def test_runs_of_earlier_versions_stay_what_they_are(home, cli):
    """All settings lay in one folder then, and no record said which of them were not the recipe's own."""
    shutil.rmtree(runs_dir() / PLAIN)
    shutil.copytree(runs_dir() / TEN, runs_dir() / PLAIN)
    shutil.rmtree(runs_dir() / TEN)
    for seed in (0, 1):
        file = runs_dir() / PLAIN / f"seed-{seed}" / "run.json"
        old = {**json.loads(file.read_text()), "recipe": PLAIN}
        del old["settings"]
        file.write_text(json.dumps(old))
        (file.parent / "results.jsonl").unlink()
    answer = cli(["evaluate", PLAIN, *MEASURE, "--out", "other"])
    assert answer.code == 0 and f"{PLAIN}/seed-0: measured" in answer.out, answer.err
    assert cli(["compare", PLAIN, TWO]).code == 0
    assert vb.load_run(PLAIN, device="cpu").model.latent_shape == (10,)
    refused = cli(["train", PLAIN, *SHORT])
    assert refused.code == 2 and "latent_dim is 10 there, 5 was asked for" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([PLAIN, "--set", "latent_dim=5,5"], "--set latent_dim has the value 5 twice: give each value once"),
        ([PLAIN, "--set", "kl_weight=4", "--set", "kl_weight=4.0"], "has the value 4.0 twice"),
        ([PLAIN, "--set", "latent_dim=5,"], "latent_dim='' is no int: give one"),
        ([PLAIN, "--set", "latent_dim=5,six"], "latent_dim='six' is no int: give one"),
        ([PLAIN, "--set", "latent_dmi=5,6"], "did you mean 'latent_dim'?"),
        ([PLAIN, "--set", "batch_size=8,0"], "batch_size=0 is no batch"),
        ([TEN, "--set", "latent_dim=5"], "leave --set latent_dim away"),
        (["vae-digits[latent_dmi=5]"], "did you mean 'latent_dim'?"),
        (["vae-digits[latent_dim=six]"], "latent_dim='six' is no int"),
        (["vae-digits[latent_dim]"], "has no value: write --set latent_dim=VALUE"),
        (["vae-digit[latent_dim=5]"], "did you mean 'vae-digits'?"),
        (["vae-digits[]"], "did you mean 'vae-digits'?"),
        (["vae-folder[dataset.path=pictures~0123abcd]"], "name vae-folder, and give settings by --set"),
        (["--until-decided", f"{TEN},{TEN}:mse"], "twice"),
        (["--until-decided", "vae-digits[kl_weight=2,latent_dim=7],vae-digits[beta=1]:mse"], "no setting 'beta'"),
        (["--until-decided", "vae-digits[latent_dim=5],vae-digits:mse"], "names vae-digits twice, by its settings"),
        (["--until-decided", "vae-digits,dfcvae-digits:mse", "--set", "latent_dim=2,3"], "one value a key"),
        (["--until-decided", f"{TEN},{TWO},vae-digits:mse"], "write --until-decided A,B:METRIC"),
    ],
)
def test_bad_input(cli, arguments, said):
    answer = cli(["train", *arguments, *SHORT])
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1, answer.err
    assert not runs_dir().exists()


def test_a_name_that_is_not_there_is_likened_to_those_that_are(home, cli):
    answer = cli(["evaluate", "vae-digits[latent_dim=1]", *MEASURE])
    assert answer.code == 2 and f"did you mean '{TEN}'?" in answer.err and answer.err.count("\n") == 1
    with pytest.raises(UserError, match="is no int"):
        vb.train(PLAIN, latent_dim=[5, 10])
